"""From the files of a tree to the listing of a source: shape, splits, labels, keys.

Owns the second pass of listing, the same for folders and archives. Nothing here reads a file's content; the price of
labels that count all classes is that the whole tree is listed even where one split is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from shardtools.errors import SourceError
from shardtools.shards import check_split
from shardtools.sources.image.check import IMAGE_EXTENSIONS, extension_of
from shardtools.sources.labels import label_folders, labels_digest
from shardtools.sources.listing import Listing, ListingBuilder
from shardtools.sources.options import SourceOptions
from shardtools.sources.tree.ilsvrc2012_labels import SOLUTION, ValidationLabels, read_list
from shardtools.sources.tree.keys import make_key, rename_repeats
from shardtools.sources.tree.shape import VAL_FOLDERS, Place, TreeShape, are_splits
from shardtools.sources.tree.source import SCHEMA, TreeLabel, TreeSource, read_file
from shardtools.sources.tree.table import TreeFile, TreeTable
from shardtools.storage import Storage
from shardtools.taxonomy import ImageClass

PartsOf = Callable[[TreeFile], Sequence[str]]
"""Folders and file name of a file in the tree."""


@dataclass(frozen=True, slots=True)
class _Names:
    """What the folders of a tree are: those of splits, of classes, and the corruptions."""

    shape: TreeShape
    splits: tuple[str, ...]
    classes: frozenset[str]
    corruptions: tuple[str, ...]


def list_tree(
    table: TreeTable,
    parts_of: PartsOf,
    shape: TreeShape,
    *,
    kind: str,
    storage: Storage,
    archives: Sequence[str],
    options: SourceOptions,
    seed: int | None,
    classes: Sequence[ImageClass] | None,
    folder: Path,
) -> TreeSource:
    """A source of all files in the table.

    Args:
        table: Finished.
        parts_of: Where in the tree a file lies.
        shape: Its shape; whether it has splits is found here.
        kind: The source's kind.
        storage: Where the archives, or the files, lie.
        archives: Their paths, by number.
        options: How to read them.
        seed: Of the order; `None` for the table's.
        classes: The class set given by the user, if any.
        folder: For the listing.

    Raises:
        SourceError: There are no files, no such split, or names that cannot be used.
    """
    # All folders first, also those of splits that are not read: labels count the classes of the whole tree.
    names = _survey(table, parts_of, shape)
    chosen = _choose_splits(names, options.split, storage.url)
    labels = label_folders(names.classes, classes, where=storage.url)
    solution = read_solution(table, storage, archives, sorted(names.classes)) if names.splits else None
    numbers = {name: number for number, name in enumerate(labels)}
    places = _Places(names, parts_of, chosen, numbers, storage.url, solution)
    with ListingBuilder(folder, SCHEMA, seed) as builder:
        # Once through all files for each split, as the index holds a split's rows side by side.
        for split in chosen:
            add_files(builder, chosen[split], table.files(), partial(places.of, split=split))
        listing = builder.finish()
    if not listing.ranges:
        raise SourceError(f"{storage.url} holds no files: expected a folder of images for each class")
    return make_source(
        listing,
        kind=kind,
        storage=storage,
        archives=archives,
        options=options,
        seed=seed,
        labels=[
            TreeLabel(label.wnid, label.class_index, source)
            # Twice the same classes: a label number says both the class and who says so. `_solve` counts on this order.
            for source in ("folder", *(["list"] if solution else []))
            for label in labels.values()
        ],
        labels_sha256=labels_digest(labels),
        corruptions=names.corruptions,
    )


def make_source(
    listing: Listing,
    *,
    kind: str,
    storage: Storage,
    archives: Sequence[str],
    options: SourceOptions,
    seed: int | None,
    labels: Sequence[TreeLabel],
    labels_sha256: str,
    corruptions: Sequence[str] = (),
) -> TreeSource:
    """The source of a finished listing; arguments as in `list_tree`."""
    return TreeSource(
        kind=kind,
        splits=listing.splits,
        settings={
            "source_kind": kind,
            "source_listing": listing.digest,
            "labels": labels_sha256,
            "shuffle_seed": seed,
            "check": options.check,
        },
        storage=storage,
        archives=tuple(archives),
        listing=listing,
        renamed=rename_repeats(listing),
        labels=tuple(labels),
        corruptions=tuple(corruptions),
        decode=options.check == "decode",
    )


@dataclass(frozen=True, slots=True)
class FilePlace:
    """What a listing takes of a file: what its path says, and the numbers of label and corruption."""

    place: Place
    label: int
    corruption: int = -1


def add_files(
    builder: ListingBuilder, split: str, files: Iterable[TreeFile], place_of: Callable[[TreeFile], FilePlace | None]
) -> None:
    """Adds the rows of the files that have a place in a split: one a file, one a frame of a video."""
    for file in files:
        found = place_of(file)
        if found is None:
            continue
        path = found.place.key_path
        key = make_key(path.rpartition(".")[0] if file.num_frames else path)
        severity = -1 if found.place.severity is None else found.place.severity
        facts = (file.archive, file.path, file.form, file.offset, file.num_bytes, file.span, file.crc)
        # A file that is no video is one row, with the frame -1.
        for frame in range(file.num_frames) or (-1,):
            name = key if frame < 0 else f"{key}_{frame:03d}"
            builder.add(split, name, *facts, found.label, found.corruption, severity, frame)


@dataclass(frozen=True, slots=True)
class _Places:
    """Finds the place of each file of one split."""

    names: _Names
    parts_of: PartsOf
    chosen: Mapping[str, str]
    numbers: Mapping[str, int]
    url: str
    solution: ValidationLabels | None

    def of(self, file: TreeFile, split: str) -> FilePlace | None:
        """`None` for a file of another split."""
        parts = self.parts_of(file)
        place = self.names.shape.place(parts)
        # First what lies beside the split folders, which `split` would never match.
        if self.names.shape.has_splits and place.split_folder is None:
            self._refuse_loose_image(parts)
            # A README or a list of labels is no image of any split, but must not vanish: the first one records it.
            if split != next(iter(self.chosen)):
                return None
        elif (place.split_folder or "") != split:
            return None
        label = self._solve(file, place) if place.class_folder is None else self.numbers[place.class_folder]
        corruption = -1 if place.corruption is None else self.names.corruptions.index(place.corruption)
        return FilePlace(place, label, corruption)

    def _solve(self, file: TreeFile, place: Place) -> int:
        """The label of a validation image that lies in no class folder; -1 where none is known."""
        if self.solution is None or place.split_folder not in VAL_FOLDERS:
            return -1
        wnid = self.solution.wnids.get(place.key_path.rpartition("/")[2].rpartition(".")[0])
        if wnid is None:
            return -1
        if wnid not in self.numbers:
            raise SourceError(
                f"{self.solution.where}: the class {wnid} of {file.path!r} has no folder: give all of the archive"
            )
        return len(self.numbers) + self.numbers[wnid]

    def _refuse_loose_image(self, parts: Sequence[str]) -> None:
        if extension_of(parts[-1]) in IMAGE_EXTENSIONS:
            raise SourceError(
                f"{self.url} has images ({'/'.join(parts)}, ...) beside its split folders "
                f"{', '.join(self.names.splits)}: move them into one"
            )


def _survey(table: TreeTable, parts_of: PartsOf, shape: TreeShape) -> _Names:
    tops = set(_top_folders(table, parts_of, shape))
    # A folder that all images share is left out only around splits; else it is the one class, as torchvision counts.
    if shape.wraps_splits_only and shape.wrappers and not are_splits(tops):
        shape = replace(shape, wrappers=())
        tops = set(_top_folders(table, parts_of, shape))
    shape = replace(shape, has_splits=are_splits(tops))
    classes: set[str] = set()
    corruptions: set[str] = set()
    for file in table.files():
        place = shape.place(parts_of(file))
        if place.class_folder is not None:
            classes.add(place.class_folder)
        if place.corruption is not None:
            corruptions.add(place.corruption)
    return _Names(
        shape, tuple(sorted(tops)) if shape.has_splits else (), frozenset(classes), tuple(sorted(corruptions))
    )


def _top_folders(table: TreeTable, parts_of: PartsOf, shape: TreeShape) -> Iterator[str]:
    depth = len(shape.wrappers)
    for file in table.files():
        parts = parts_of(file)
        if len(parts) > depth + 1 and shape.holds(parts):
            yield parts[depth]


def read_solution(
    table: TreeTable, storage: Storage, archives: Sequence[str], wnids: Sequence[str]
) -> ValidationLabels | None:
    """Kaggle's labels of ImageNet's validation images, if the tree holds their file.

    Raises:
        SourceError: A line of it is no label.
    """
    file = next((file for file in table.files() if file.path.rpartition("/")[2] == SOLUTION), None)
    if file is None:
        return None
    where = storage.object_url(file.path if file.archive < 0 else f"{archives[file.archive]}/{file.path}")
    return ValidationLabels(read_list(read_file(storage, archives, file), wnids, where), where, "list")


def _choose_splits(names: _Names, wanted: str | None, url: str) -> dict[str, str]:
    """Folder of each split that is read ("" without folders) -> name of the split."""
    if not names.splits:
        return {"": check_split(wanted or "train")}
    if len(names.splits) > 1 and wanted is not None:
        if wanted not in names.splits:
            raise SourceError(f"{url} has splits {', '.join(names.splits)}, not {wanted!r}: choose one of them")
        return {wanted: wanted}
    return {split: check_split(wanted or split) for split in names.splits}
