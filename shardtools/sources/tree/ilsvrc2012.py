"""ILSVRC2012 as it is published: a tar of one tar a class, a flat tar of validation images, and their labels.

Owns the splits, labels and keys of these archives. Images are byte ranges of the outer tars, so nothing is unpacked;
the price is a pass over all headers first, and that a validation image without a label stops the job.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shardtools.errors import SourceError
from shardtools.sources.image.check import IMAGE_EXTENSIONS, extension_of
from shardtools.sources.labels import labels_digest
from shardtools.sources.listing import ListingBuilder
from shardtools.sources.options import SourceOptions
from shardtools.sources.top_level import list_top_level
from shardtools.sources.tree.archive_members import tree_parts
from shardtools.sources.tree.archives import Archives, finish_table, list_files, refuse_shuffle
from shardtools.sources.tree.ilsvrc2012_labels import ValidationLabels, find_labels
from shardtools.sources.tree.listing import FilePlace, add_files, make_source
from shardtools.sources.tree.shape import Place
from shardtools.sources.tree.source import SCHEMA, TreeLabel, TreeSource
from shardtools.sources.tree.table import TreeFile, TreeTable
from shardtools.storage import Storage, StoredObject, open_storage
from shardtools.taxonomy import ImageClass, load_classes

_CLASSES = "imagenet-1k"
_NAMES = {
    "train": re.compile(r"ILSVRC2012_img_train\.(tar|tar\.gz|tgz)"),
    "val": re.compile(r"ILSVRC2012_img_val\.(tar|tar\.gz|tgz)"),
    "test": re.compile(r"ILSVRC2012_img_test[^/]*\.(tar|tar\.gz|tgz)"),
}
"""Split -> how its archive is named."""


def is_ilsvrc2012(names: Iterable[str]) -> bool:
    """Whether files side by side are ILSVRC2012's archives of training or validation images."""
    return any(_NAMES["train"].fullmatch(name) or _NAMES["val"].fullmatch(name) for name in names)


def open_ilsvrc2012(options: SourceOptions, classes: Sequence[ImageClass] | None, folder: Path) -> TreeSource:
    """Reads the headers of the archives in a folder, and the validation images' labels.

    Args:
        options: How to read them; `split` chooses one.
        classes: The class set given by the user; `None` takes ImageNet-1K's, which are the sorted wnids.
        folder: For the listing.

    Raises:
        SourceError: No archives, no labels, labels that do not fit the images, or classes outside the set.
        ShardError: A tar is cut off or damaged.
        OptionError: `shuffle` is asked for, and an archive is compressed as a whole.
    """
    storage = open_storage(options.source)
    names = list_top_level(storage).files
    splits = _find_splits(storage, names, options.split)
    found = Archives(storage, tuple(StoredObject(path, storage.size(path)) for path in splits.values()), ())
    is_forward = refuse_shuffle(found.paths, options)
    seed = None if is_forward or options.shuffle is False else options.shuffle_seed
    own = load_classes(_CLASSES) if classes is None else classes
    with TreeTable(folder) as table:
        for file in list_files(found):
            table.add(file)
        finish_table(table, found)
        labels = None
        # Before any image is indexed: a list of labels that does not fit should cost no more than the headers.
        if "val" in splits:
            labels = find_labels(storage, names, load_classes(_CLASSES))
            _check_count(table, list(splits).index("val"), found, labels)
        tree_labels = _tree_labels(own, labels)
        numbers = {(label.wnid, label.label_source): number for number, label in enumerate(tree_labels)}
        places = _Places(found, numbers, len(own), labels)
        with ListingBuilder(folder, SCHEMA, seed) as builder:
            for number, split in enumerate(splits):
                files = (file for file in table.files() if file.archive == number)
                add_files(builder, split, files, getattr(places, split))
            listing = builder.finish()
    return make_source(
        listing,
        kind="ilsvrc2012",
        storage=storage,
        archives=found.paths,
        options=options,
        seed=seed,
        labels=tree_labels,
        labels_sha256=labels_digest(own),
    )


def _find_splits(storage: Storage, names: Sequence[str], wanted: str | None) -> dict[str, str]:
    """Split -> its archive."""
    found: dict[str, str] = {}
    for split, pattern in _NAMES.items():
        matching = [name for name in names if pattern.fullmatch(name)]
        if len(matching) > 1:
            raise SourceError(f"{storage.url} has {' and '.join(matching)} for split {split}: move one of them away")
        if matching:
            found[split] = matching[0]
    if not found:
        raise SourceError(f"{storage.url} has no ILSVRC2012_img_train.tar or ILSVRC2012_img_val.tar: check the path")
    if wanted is None:
        return found
    if wanted not in found:
        raise SourceError(f"{storage.url} has splits {', '.join(found)}, not {wanted!r}: choose one of them")
    return {wanted: found[wanted]}


def _tree_labels(classes: Sequence[ImageClass], labels: ValidationLabels | None) -> list[TreeLabel]:
    sources = ["folder", *([labels.label_source] if labels else [])]
    return [TreeLabel(one.wnid, one.class_index, source) for source in sources for one in classes]


def _is_image(file: TreeFile) -> bool:
    return extension_of(file.path) in IMAGE_EXTENSIONS


def _val_images(table: TreeTable, archive: int) -> Iterator[str]:
    return (_stem(file) for file in table.files() if file.archive == archive and _is_image(file))


def _check_count(table: TreeTable, archive: int, found: Archives, labels: ValidationLabels) -> None:
    count = sum(1 for _ in _val_images(table, archive))
    if count != len(labels.wnids):
        raise SourceError(
            f"{labels.where} has {len(labels.wnids)} labels, {found.storage.object_url(found.paths[archive])} "
            f"{count} images: fetch both again"
        )


def _stem(file: TreeFile) -> str:
    return file.path.rpartition("/")[2].rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the files of each split belong; files that are no images by name are rows without a label."""

    found: Archives
    numbers: Mapping[tuple[str | None, str], int]
    num_classes: int
    labels: ValidationLabels | None

    def train(self, file: TreeFile) -> FilePlace:
        parts = tree_parts(file.path)
        if not _is_image(file):
            return FilePlace(Place(None, None, "/".join(parts)), -1)
        if len(parts) < 2:
            raise SourceError(
                f"{self._where(file)}: expected an image in the tar of its class: fetch the archive again"
            )
        return FilePlace(Place(None, parts[-2], "/".join(parts[-2:])), self._number(parts[-2], "folder", file))

    def val(self, file: TreeFile) -> FilePlace:
        name = file.path.rpartition("/")[2]
        if not _is_image(file) or self.labels is None:
            return FilePlace(Place(None, None, name), -1)
        wnid = self.labels.wnids.get(_stem(file))
        if wnid is None:
            raise SourceError(f"{self._where(file)}: {self.labels.where} has no label for it: fetch both again")
        return FilePlace(Place(None, wnid, name), self._number(wnid, self.labels.label_source, file))

    def test(self, file: TreeFile) -> FilePlace:
        return FilePlace(Place(None, None, file.path.rpartition("/")[2]), -1)

    def _number(self, wnid: str, label_source: str, file: TreeFile) -> int:
        number = self.numbers.get((wnid, label_source))
        if number is None:
            raise SourceError(
                f"{self._where(file)}: its class {wnid} is not among the {self.num_classes} of --classes: give "
                f"{_CLASSES}, or drop --classes"
            )
        return number

    def _where(self, file: TreeFile) -> str:
        url = self.found.storage.object_url(self.found.paths[file.archive])
        return f"{url}, {file.path!r}, byte {file.offset}"
