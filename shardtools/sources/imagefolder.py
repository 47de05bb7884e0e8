"""Class folders of image files, as torchvision's ImageFolder reads them, with or without split folders around them.

Owns the keys made from paths. Every file that is not hidden gives one sample, readable or not. The price of keys that
say where a file lay: those of a layout with splits begin with the split, and long paths are shortened by a hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from shardtools.errors import SourceError
from shardtools.sample import Sample
from shardtools.shards import check_key
from shardtools.shards.names import check_split
from shardtools.sources.base import REQUESTS_IN_FLIGHT, Source, SourceOptions, read_ahead
from shardtools.sources.image_check import (
    IMAGE_EXTENSIONS,
    NUM_MAGIC_BYTES,
    Rejection,
    extension_of,
    looks_like_image,
    make_sample,
    too_large,
)
from shardtools.sources.index import Index, IndexBuilder
from shardtools.sources.labels import Label, label_folders, labels_digest
from shardtools.sources.listing import TopLevel, list_top_level, walk, walk_folder
from shardtools.storage import Storage, StoredObject
from shardtools.taxonomy import ImageClass

SPLIT_FOLDERS = frozenset({"train", "val", "valid", "validation", "test"})
"""A root whose folders are all named so holds splits, not classes."""

_SCHEMA = pa.schema([("key", pa.string()), ("path", pa.string()), ("num_bytes", pa.int64())])
_NOT_IN_KEYS = re.compile(r"[/\\.\x00-\x1f\x7f]")
_MAX_KEY_BYTES = 80
_KEPT_KEY_BYTES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder(Source):
    """An indexed folder.

    Attributes:
        index: Entries: key, path below the root, length in bytes.
        renamed: Row -> key, for files whose key another file has.
        labels: Class folder -> label.
        has_splits: Whether paths begin with a split.
        decode: Whether images are decoded in full.
    """

    index: Index
    renamed: Mapping[int, str]
    labels: Mapping[str, Label]
    has_splits: bool
    decode: bool

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        depth = 0 if self.storage.is_local else REQUESTS_IN_FLIGHT
        calls = (self._call(number, row) for number, row in self.index.rows(split, start, stop))
        return read_ahead(calls, depth)

    def _call(self, number: int, row: Mapping[str, str | int]) -> Callable[[], Sample]:
        key = self.renamed.get(number, str(row["key"]))
        return partial(self._sample, key, str(row["path"]), int(row["num_bytes"]))

    def _sample(self, key: str, path: str, num_bytes: int) -> Sample:
        folder = _class_folder(path, self.has_splits)
        label = self.labels[folder] if folder is not None else None
        return make_sample(
            self._read(path, num_bytes),
            decode=self.decode,
            extension=extension_of(path),
            key=key,
            wnid=label.wnid if label else None,
            class_index=label.class_index if label else None,
            label_source="folder" if label else None,
        )

    def _read(self, path: str, num_bytes: int) -> bytes | Rejection:
        extension = extension_of(path)
        if extension not in IMAGE_EXTENSIONS:
            beginning = self.storage.read_range(path, 0, min(num_bytes, NUM_MAGIC_BYTES))
            if not looks_like_image(beginning):
                named = f"its name ends in .{extension}" if extension else "its name has no extension"
                return Rejection("not-an-image", f"{named} and its bytes begin like no image's")
        rejection = too_large(num_bytes)
        if rejection is not None:
            return rejection
        content = self.storage.read(path)
        if len(content) != num_bytes:
            raise SourceError(
                f"{self.storage.object_url(path)} was {num_bytes} bytes when it was listed, now {len(content)}: "
                "let nothing write to the source, then run the same command again"
            )
        return content


def open_imagefolder(
    storage: Storage, options: SourceOptions, classes: Sequence[ImageClass] | None, folder: Path
) -> ImageFolder:
    """Lists the folder and makes its keys and labels.

    Args:
        storage: The root.
        options: How to read it.
        classes: The class set given by the user, if any.
        folder: For the index.

    Raises:
        SourceError: There are no files, no such split, or names that cannot be used.
    """
    top = list_top_level(storage)
    has_splits = bool(top.folders) and SPLIT_FOLDERS.issuperset(top.folders)
    seed = None if options.shuffle is False else options.shuffle_seed
    folders: set[str] = set()
    with IndexBuilder(folder, _SCHEMA, seed) as builder:
        for split, stored in _files(storage, top, options.split, has_splits):
            name = _class_folder(stored.path, has_splits)
            if name is not None:
                folders.add(name)
            builder.add(split, make_key(stored.path), stored.path, stored.num_bytes)
        index = builder.finish()
    if not index.ranges:
        raise SourceError(f"{storage.url} holds no files: expected a folder of images for each class")
    labels = label_folders(folders, classes, where=storage.url)
    return ImageFolder(
        kind="imagefolder",
        splits=index.splits,
        settings={
            "source_kind": "imagefolder",
            "source_listing": index.digest,
            "labels": labels_digest(labels),
            "shuffle_seed": seed,
            "check": options.check,
        },
        storage=storage,
        index=index,
        renamed=_rename(index),
        labels=labels,
        has_splits=has_splits,
        decode=options.check == "decode",
    )


def _files(storage: Storage, top: TopLevel, wanted: str | None, has_splits: bool) -> Iterator[tuple[str, StoredObject]]:
    """(split, file) in the order of splits and paths."""
    if not has_splits:
        split = check_split(wanted or "train")
        yield from ((split, stored) for stored in walk(storage, top))
        return
    several = len(top.folders) > 1
    if several and wanted is not None and wanted not in top.folders:
        raise SourceError(f"{storage.url} has splits {', '.join(top.folders)}, not {wanted!r}: choose one of them")
    _refuse_loose_images(storage, top)
    # Loose files (a README, a list of labels) are no images of any split, but must not vanish: the first one records
    # them.
    loose = TopLevel((), top.files)
    for folder in [wanted] if several and wanted is not None else top.folders:
        split = check_split(wanted or folder)
        yield from ((split, stored) for stored in walk(storage, loose))
        loose = TopLevel((), ())
        yield from ((split, stored) for stored in walk_folder(storage, folder))


def _refuse_loose_images(storage: Storage, top: TopLevel) -> None:
    loose = [name for name in top.files if extension_of(name) in IMAGE_EXTENSIONS]
    if loose:
        raise SourceError(
            f"{storage.url} has images ({loose[0]}, ...) beside its split folders {', '.join(top.folders)}: move them "
            "into one"
        )


def _class_folder(path: str, has_splits: bool) -> str | None:
    """Name of the class folder, `None` for a file that lies in none."""
    folders = path.split("/")[has_splits:-1]
    return folders[0] if folders else None


def make_key(path: str) -> str:
    """A key that says where a file lay: folders and stem joined by "_".

    A folder that the next name repeats is left out (n01440764/n01440764_10026.JPEG gives n01440764_10026), a file that
    is no image by its name keeps its extension (cat/a.txt gives cat_a_txt), characters that keys may not have become
    "_", and what is too long is cut and gets a hash of the path.
    """
    extension = extension_of(path)
    stem = path[: -len(extension) - 1] if extension in IMAGE_EXTENSIONS else path
    names: list[str] = []
    for name in stem.split("/"):
        if names and (name == names[-1] or name.startswith(f"{names[-1]}_")):
            names.pop()
        names.append(name)
    key = _NOT_IN_KEYS.sub("_", "_".join(names))
    if key.startswith("__"):
        key = f"x{key}"
    encoded = key.encode()
    if len(encoded) > _MAX_KEY_BYTES:
        key = f"{encoded[:_KEPT_KEY_BYTES].decode(errors='ignore')}-{hashlib.sha256(path.encode()).hexdigest()[:16]}"
    return check_key(key, where=path)


def _rename(index: Index) -> dict[int, str]:
    """New keys for all but the first of the files that share one: "-2", "-3", ... in the order of their paths."""
    if not index.repeats:
        return {}
    taken = {str(index.row(group[0])["key"]) for group in index.repeats}
    wanted = {f"{key}-" for key in taken}
    # Only a key that continues one of the repeated keys with "-" can clash with a new one.
    for split, count in index.splits.items():
        for _, row in index.rows(split, 0, count):
            stem, dash, _number = str(row["key"]).rpartition("-")
            if dash and f"{stem}-" in wanted:
                taken.add(str(row["key"]))
    renamed: dict[int, str] = {}
    for group in index.repeats:
        key = str(index.row(group[0])["key"])
        number = 2
        for row_number in group[1:]:
            while f"{key}-{number}" in taken:
                number += 1
            renamed[row_number] = f"{key}-{number}"
            taken.add(renamed[row_number])
    return renamed
