"""iNaturalist 2018 and 2019, by the JSON files of the competitions; torchvision's reader knows no split of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from shardtools.errors import SourceError
from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder

_SPLITS = ("train", "val")


def _read(folder: SetFolder, *, year: int, num_classes: int) -> SetLists:
    contents = {split: folder.json(f"{split}{year}.json") for split in _SPLITS}
    names = _names(contents["train"].get("categories", []), num_classes)

    def images() -> Iterator[Listed]:
        for split, content in contents.items():
            where = folder.storage.object_url(f"{split}{year}.json")
            for image, label in _pairs(content, where):
                label = folder.number(label, f"{where}, {image}", least=0, last=num_classes - 1)
                yield Listed(split, image, label)

    return SetLists(classes=names, images=images())


def _names(categories: Any, num_classes: int) -> list[str]:
    """Names of the categories by id; the id where a file has none, or one twice."""
    try:
        found = {int(one["id"]): str(one["name"]) for one in categories}
    except (KeyError, TypeError, ValueError):
        found = {}
    names = [found.get(number, str(number)) for number in range(num_classes)]
    return names if len(set(names)) == num_classes else [str(number) for number in range(num_classes)]


def _pairs(content: dict[str, Any], where: str) -> Iterator[tuple[str, object]]:
    """File name and category of each image."""
    try:
        categories = {one["image_id"]: one["category_id"] for one in content["annotations"]}
        for image in content["images"]:
            yield str(image["file_name"]), categories[image["id"]]
    except (KeyError, TypeError) as error:
        raise SourceError(
            f"{where}: expected images with id and file_name, and annotations with image_id and category_id, found no "
            f"{error}: fetch it again"
        ) from None


def _set(year: int, num_classes: int, num_train: int, num_val: int) -> PublishedSet:
    return PublishedSet(
        name=f"inat{year}",
        title=f"iNaturalist {year}",
        folders=(f"inat{year}", f"inaturalist-{year}", str(year), ""),
        marker=f"train{year}.json",
        read=partial(_read, year=year, num_classes=num_classes),
        images=f"train_val{year}/",
        num_classes=num_classes,
        splits={"train": num_train, "val": num_val},
        fit_splits=("train",),
        test_split="val",
        download=f"fetch train_val{year}.tar.gz, train{year}.json and val{year}.json of the competition "
        f"(github.com/visipedia/inat_comp, {year}) and unpack all in --root/inat{year}",
        traps=("the official validation split is what is reported: labels of the test images are not published",),
        license="for non-commercial research; each photograph has its own license, in the JSON file",
        citation="Van Horn, Mac Aodha, Song, Cui, Sun, Shepard, Adam, Perona, Belongie: The iNaturalist Species "
        f"Classification and Detection Dataset, 2018; the competition of {year}",
    )


INAT2018 = _set(2018, 8142, 437513, 24426)
INAT2019 = _set(2019, 1010, 265213, 3030)
