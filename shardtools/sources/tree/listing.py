"""From the files of a tree to the listing of a source: shape, splits, labels, keys.

Owns the second pass of listing, the same for folders and archives. Nothing here reads a file's content; the price of
labels that count all classes is that the whole tree is listed even where one split is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shardtools.errors import SourceError
from shardtools.shards import check_split
from shardtools.sources.image.check import IMAGE_EXTENSIONS, extension_of
from shardtools.sources.labels import Label, label_folders, labels_digest
from shardtools.sources.listing import Listing, ListingBuilder
from shardtools.sources.options import SourceOptions
from shardtools.sources.top_level import dangling
from shardtools.sources.tree.ilsvrc2012_labels import SOLUTION, ValidationLabels, read_list
from shardtools.sources.tree.keys import make_key, rename_repeats
from shardtools.sources.tree.shape import VAL_FOLDERS, Place, TreeShape
from shardtools.sources.tree.source import SCHEMA, TreeLabel, TreeSource, read_file
from shardtools.sources.tree.survey import Names, PartsOf, Tree, survey_tree
from shardtools.sources.tree.table import DANGLING, FOLDER, TreeFile, TreeTable
from shardtools.storage import Storage
from shardtools.taxonomy import ImageClass


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
    strict: bool = True,
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
        strict: Whether folders that can be read in two ways are an error.

    Raises:
        SourceError: There are no files, no such split, names that cannot be used, or a doubt with `strict`.
    """
    # All folders first, also those of splits that are not read: labels count the classes of the whole tree.
    tree = Tree(table, parts_of, storage, archives, kind, classes, strict)
    names = survey_tree(tree, shape)
    chosen = _choose_splits(names, options.split, storage.url)
    labels = label_folders(names.classes, classes, where=storage.url, without_images=names.without_images)
    solution = read_solution(table, storage, archives, sorted(names.classes)) if names.splits else None
    numbers = {name: number for number, name in enumerate(labels)}
    places = _Places(names, parts_of, chosen, numbers, storage, solution)
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
            for source in ("folder", *(["list"] if solution or names.annotations else []))
            for label in labels.values()
        ],
        labels_sha256=labels_digest(labels),
        corruptions=names.corruptions,
        notes=_notes(names, labels, classes),
    )


def _notes(names: Names, labels: Mapping[str, Label], classes: Sequence[ImageClass] | None) -> tuple[str, ...]:
    """What the numbers of the classes count that a reader may count otherwise."""
    if classes is not None:
        return ()
    notes = []
    empty = sorted(names.without_images.intersection(labels))
    numbered = [label.class_index for _, label in sorted(labels.items())]
    if numbered != sorted(numbered, key=lambda number: -1 if number is None else number):
        name, label = next(
            (name, label) for n, (name, label) in enumerate(sorted(labels.items())) if label.class_index != n
        )
        notes.append(
            f"labels: folders that are numbers are labels themselves, {name} is {label.class_index} in the manifest; "
            f"torchvision's ImageFolder sorts them as text, there it is {sorted(labels).index(name)}"
        )
    elif empty:
        shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        notes.append(
            f"class folders without an image count as classes, as torchvision's allow_empty counts: {shown}; "
            "--classes (a .csv of the others' names) leaves them out"
        )
    return tuple(notes)


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
    notes: tuple[str, ...] = (),
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
        notes=notes,
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
        found = None if file.form == FOLDER else place_of(file)
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

    names: Names
    parts_of: PartsOf
    chosen: Mapping[str, str]
    numbers: Mapping[str, int]
    storage: Storage
    solution: ValidationLabels | None

    def of(self, file: TreeFile, split: str) -> FilePlace | None:
        """`None` for a file of another split."""
        parts = self.parts_of(file)
        place = self.names.shape.place(parts)
        # First what lies beside the split folders, which `split` would never match.
        if self.names.splits and place.split is None:
            self._refuse_loose_image(parts)
            # A README or a list of labels is no image of any split, but must not vanish: the first one records it.
            if split != next(iter(self.chosen)):
                return None
        elif (place.split or "") != split:
            return None
        if place.class_folder is None:
            if file.form == DANGLING and extension_of(file.path) not in IMAGE_EXTENSIONS:
                # It may have been a class, whose absence would shift the numbers of the others.
                raise dangling(self.storage, file.path)
            label = self._solve(file, place, parts)
        else:
            label = self.numbers.get(place.class_folder, -1)
        corruption = -1 if place.corruption is None else self.names.corruptions.index(place.corruption)
        return FilePlace(place, label, corruption)

    def _solve(self, file: TreeFile, place: Place, parts: Sequence[str]) -> int:
        """The label of an image that lies in no class folder; -1 where none is known."""
        annotations = self.names.annotations.get(place.split or "")
        if annotations is not None and extension_of(parts[-1]) in IMAGE_EXTENSIONS:
            wnid, where = annotations.class_of(parts[-1]), annotations.where
        elif self.solution is not None and place.split in VAL_FOLDERS:
            found = self.solution.wnids.get(place.key_path.rpartition("/")[2].rpartition(".")[0])
            if found is None:
                return -1
            wnid, where = found, self.solution.where
        else:
            return -1
        if wnid not in self.numbers:
            raise SourceError(f"{where}: the class {wnid} of {file.path!r} has no folder: give all of the archive")
        return len(self.numbers) + self.numbers[wnid]

    def _refuse_loose_image(self, parts: Sequence[str]) -> None:
        if extension_of(parts[-1]) in IMAGE_EXTENSIONS:
            raise SourceError(
                f"{self.storage.url} has images ({'/'.join(parts)}, ...) beside its split folders "
                f"{', '.join(self.names.splits)}: move them into one"
            )


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


def _choose_splits(names: Names, wanted: str | None, url: str) -> dict[str, str]:
    """Folder of each split that is read ("" without folders) -> name of the split."""
    if not names.splits:
        return {"": check_split(wanted or "train")}
    if len(names.splits) > 1 and wanted is not None:
        if wanted not in names.splits:
            raise SourceError(f"{url} has splits {', '.join(names.splits)}, not {wanted!r}: choose one of them")
        return {wanted: wanted}
    return {split: check_split(wanted or split) for split in names.splits}
