"""Caltech Camera Traps 20, of "Recognition in Terra Incognita": animals at 20 places.

Owns what a picture is. Its files list boxes, so a picture of two animals comes twice; the study of Fang, Kornblith and
Schmidt (2023) trained and tested on the boxes' list. `cct20` has each picture once, `cct20-boxes` that list.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from shardtools.errors import SourceError
from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder
from shardtools.words import counted

_LISTS = "eccv_18_annotation_files"
_IMAGES = "eccv_18_all_images_sm"
_SPLITS = {"train": "train", "val": "cis_val", "test": "cis_test"}
_MORE_SPLITS = {"transval": "trans_val", "transtest": "trans_test"}
"""Pictures of places that are in no other split; read where their files are there."""

_IDS = (1, 3, 5, 6, 7, 8, 9, 10, 11, 16, 21, 33, 34, 51, 99)
"""The set's category of each label."""

_EMPTY = 30


def _read(folder: SetFolder, *, each_box: bool) -> SetLists:
    files = {split: f"{_LISTS}/{name}_annotations.json" for split, name in _SPLITS.items()}
    for split, name in _MORE_SPLITS.items():
        if folder.storage.exists(path := f"{_LISTS}/{name}_annotations.json"):
            files[split] = path
    contents = {split: folder.json(path) for split, path in files.items()}
    names = {one.get("id"): str(one.get("name")) for one in contents["train"].get("categories", [])}
    classes = [names.get(number, str(number)) for number in _IDS]
    images: list[Listed] = []
    num_again = num_other = num_empty = 0
    for split, content in contents.items():
        seen: dict[str, tuple[int, int]] = {}
        for image, category in _boxes(content, folder.storage.object_url(files[split])):
            if category == _EMPTY:
                num_empty += 1
                continue
            if category not in _IDS:
                where = folder.storage.object_url(files[split])
                raise SourceError(f"{where}: picture {image} has category {category}, expected one of {_IDS}")
            label = _IDS.index(category)
            first, times = seen.get(image, (label, 0))
            seen[image] = (first, times + 1)
            num_again += times > 0
            num_other += times > 0 and label != first
            if each_box or not times:
                path = f"{_IMAGES}/{image}.jpg"
                images.append(
                    Listed(split, path, label, key_path=f"{_IMAGES}/{image}-{times + 1}.jpg" if times else "")
                )
    return SetLists(classes=classes, images=images, notes=_notes(num_again, num_other, num_empty, each_box))


def _notes(num_again: int, num_other: int, num_empty: int, each_box: bool) -> tuple[str, ...]:
    again = counted(num_again, "further box", "further boxes", spec=",")
    what = "rows of their own, as the study had them" if each_box else "left out: each picture is one row"
    notes = [f"{again} of pictures that have one already: {what}"]
    if num_other:
        labels = "kept" if each_box else "of a picture's first box"
        notes.append(f"{counted(num_other, 'of them has', 'of them have')} another class: labels are {labels}")
    if num_empty:
        notes.append(f"{counted(num_empty, 'row', spec=',')} of category {_EMPTY} (empty) left out, as in the study")
    return tuple(notes)


def _boxes(content: dict[str, Any], where: str) -> Iterator[tuple[str, int]]:
    """Picture and category of each annotation."""
    try:
        for one in content["annotations"]:
            yield str(one["image_id"]), int(one["category_id"])
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{where}: expected annotations with image_id and category_id, found no {error}: fetch it again"
        ) from None


_set = partial(
    PublishedSet,
    folders=("CCT-20", "cct20", "caltech-camera-traps", ""),
    marker=f"{_LISTS}/train_annotations.json",
    images=f"{_IMAGES}/",
    num_classes=len(_IDS),
    splits={},
    fit_splits=("train",),
    download="fetch eccv_18_annotations.tar.gz and eccv_18_all_images_sm.tar.gz (CCT-20, the small pictures) from "
    "lila.science/datasets/caltech-camera-traps and unpack both in --root/CCT-20",
    license="Community Data License Agreement, permissive (CDLA-Permissive-1.0)",
    citation="Beery, Van Horn, Perona: Recognition in Terra Incognita, 2018",
)
_TRAPS = (
    "splits val and test are of places that are in train, too (cis); transval and transtest are of others",
    "category 30 (empty) is dropped; labels count the other fifteen by rising category",
    "the study read pictures as BGR and did not turn them to RGB: train with channels=bgr for its figures",
)

CCT20 = _set(
    name="cct20",
    title="Caltech Camera Traps 20",
    read=partial(_read, each_box=False),
    traps=("the study lists a picture once a box: figures on single pictures differ a little", *_TRAPS),
)

CCT20_BOXES = _set(
    name="cct20-boxes",
    title="Caltech Camera Traps 20, a row a box as in the real-world study",
    read=partial(_read, each_box=True),
    traps=("pictures of several boxes come several times, in training and in the test", *_TRAPS),
)
