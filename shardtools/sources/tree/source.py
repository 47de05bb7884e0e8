"""Samples of a tree of files, whatever holds the tree: a folder, a bucket, tars, tars in tars, zips, compressed tars.

Owns the reading. Every file has a path in the tree, a form that says how its bytes are reached, and a place in its
archive; what the path means (split, class, corruption) was settled while listing. Files that follow each other in an
archive are fetched together. The price of a compressed tar: it has no places, so every process unpacks it in memory
from its beginning, and samples keep its order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from shardtools.errors import SourceError
from shardtools.sample import Sample
from shardtools.sources.base import Source
from shardtools.sources.image.check import (
    IMAGE_EXTENSIONS,
    NUM_MAGIC_BYTES,
    Rejection,
    extension_of,
    looks_like_image,
    make_sample,
    too_large,
)
from shardtools.sources.listing import Listing
from shardtools.sources.tree.archive_forward import ForwardReader
from shardtools.sources.tree.archive_zip import unpack
from shardtools.sources.tree.table import BESIDE, DANGLING, FILE, FILE_COLUMNS, FORWARD, LINK, RANGE, ZIPPED, TreeFile
from shardtools.sources.tree.video import decode_frames
from shardtools.storage import REQUESTS_IN_FLIGHT, Storage, read_ahead

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        *FILE_COLUMNS,
        ("label", pa.int32()),
        ("corruption", pa.int16()),
        ("severity", pa.int8()),
        ("frame", pa.int32()),
    ]
)
"""Columns of the listing; `label`, `corruption`, `severity` and `frame` are -1 where there is none."""

_RANGE_BYTES = 8 * 1024 * 1024
"""Neighbouring files are fetched together up to this length."""
_GAP_BYTES = 64 * 1024
"""Headers, padding and an inner tar's end: so much between two files is read with them."""
_RANGES_AHEAD = 3


@dataclass(frozen=True, slots=True)
class TreeLabel:
    """A class, and who says so: see `Sample`."""

    wnid: str | None
    class_index: int | None
    label_source: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the listing; see `tree_table.TreeFile`."""

    key: str
    archive: int
    path: str
    form: int
    offset: int
    num_bytes: int
    span: int
    crc: int
    label: int
    corruption: int
    severity: int
    frame: int

    @property
    def stop(self) -> int:
        return self.offset + self.span

    @property
    def is_named_as_image(self) -> bool:
        return self.frame >= 0 or extension_of(self.path) in IMAGE_EXTENSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSource(Source):
    """A listed tree.

    Attributes:
        archives: Paths of the archives, as the listing numbers them.
        listing: Entries; columns as in `SCHEMA`.
        renamed: Row -> key, for files whose key another file has.
        labels: What the listing's label numbers stand for.
        corruptions: What its corruption numbers stand for.
        decode: Whether images are decoded in full.
        readers: Compressed tars that this process has open; empty until it reads.
    """

    archives: Sequence[str]
    listing: Listing
    renamed: Mapping[int, str]
    labels: Sequence[TreeLabel]
    corruptions: Sequence[str]
    decode: bool
    readers: dict[int, ForwardReader] = field(default_factory=dict, repr=False, compare=False)

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        entries = (self._entry(number, row) for number, row in self.listing.rows(split, start, stop))
        calls: Iterator[Callable[[], list[Sample]]] = (partial(self._read, group) for group in _neighbors(entries))
        return itertools.chain.from_iterable(read_ahead(calls, self._depth()))

    def keys(self, split: str) -> Iterator[str]:
        return (
            self.renamed.get(number, str(row["key"])) for number, row in self.listing.rows(split, 0, self.splits[split])
        )

    def close(self) -> None:
        while self.readers:
            self.readers.popitem()[1].close()

    def _depth(self) -> int:
        # A stream that is read forward has one reader, and threads come in any order.
        if self.storage.is_local or any(ForwardReader.reads(path) for path in self.archives):
            return 0
        # Neighbours in an archive come in long ranges; else each file is a request of its own.
        return _RANGES_AHEAD if self.archives and self.listing.order_path is None else REQUESTS_IN_FLIGHT

    def _entry(self, number: int, row: Mapping[str, Any]) -> _Entry:
        entry = _Entry(**row)
        renamed = self.renamed.get(number)
        return entry if renamed is None else _Entry(**{**row, "key": renamed})

    def _read(self, group: list[_Entry]) -> list[Sample]:
        first = group[0]
        if first.frame >= 0:
            return self._read_frames(group)
        if len(group) == 1:
            return [self._sample(first, self._find(first))]
        # All of a group are named as images and short (`_belongs`), so nothing needs a look at its first bytes or its
        # length.
        num_bytes = group[-1].stop - first.offset
        fetched = memoryview(self.storage.read_range(self.archives[first.archive], first.offset, num_bytes))
        pieces = (bytes(fetched[entry.offset - first.offset : entry.stop - first.offset]) for entry in group)
        return [self._sample(entry, _content(entry, piece)) for entry, piece in zip(group, pieces, strict=True)]

    def _read_frames(self, group: list[_Entry]) -> list[Sample]:
        """Frames of one video."""
        content = self._find(group[0])
        if isinstance(content, Rejection):
            return [self._sample(entry, content) for entry in group]
        frames = decode_frames(content, [entry.frame for entry in group])
        return [self._sample(entry, frame) for entry, frame in zip(group, frames, strict=True)]

    def _sample(self, entry: _Entry, found: bytes | Rejection) -> Sample:
        label = self.labels[entry.label] if entry.label >= 0 else None
        is_frame = entry.frame >= 0
        provenance: dict[str, Any] = {
            "source_path": entry.path if entry.archive < 0 else f"{self.archives[entry.archive]}/{entry.path}"
        }
        if entry.corruption >= 0:
            provenance["corruption"] = self.corruptions[entry.corruption]
        if entry.severity >= 0:
            provenance["severity"] = entry.severity
        if is_frame:
            provenance["frame"] = entry.frame
        return make_sample(
            found,
            decode=self.decode and not is_frame,
            extension="png" if is_frame else extension_of(entry.path),
            key=entry.key,
            wnid=label.wnid if label else None,
            class_index=label.class_index if label else None,
            label_source=label.label_source if label else None,
            source="real" if entry.corruption < 0 else "corrupted",
            provenance=provenance,
        )

    def _find(self, entry: _Entry) -> bytes | Rejection:
        """The content of one file; of one without an image's name only if it begins like an image."""
        if entry.form in (LINK, DANGLING, BESIDE):
            return _without_bytes(entry)
        # A few bytes first: a stray file may be huge. What is packed is read once, by `_content`.
        if not entry.is_named_as_image and entry.form in (FILE, RANGE):
            beginning = self._range(entry, min(entry.num_bytes, NUM_MAGIC_BYTES))
            if not looks_like_image(beginning):
                return _no_image(entry)
        rejection = too_large(entry.num_bytes)
        if rejection is not None:
            return rejection
        if entry.form != FILE:
            return _content(entry, self._range(entry, entry.span))
        content = self.storage.read(entry.path)
        # The listing is part of the plan: a file that was changed since belongs to another dataset.
        if len(content) != entry.num_bytes:
            raise SourceError(
                f"{self.storage.object_url(entry.path)} was {entry.num_bytes} bytes when it was listed, now "
                f"{len(content)}: let nothing write to the source, then run the same command again"
            )
        return content

    def _range(self, entry: _Entry, num_bytes: int) -> bytes:
        if entry.form == FILE:
            return self.storage.read_range(entry.path, 0, num_bytes)
        path = self.archives[entry.archive]
        if entry.form != FORWARD:
            return self.storage.read_range(path, entry.offset, num_bytes)
        reader = self.readers.get(entry.archive)
        if reader is None:
            reader = self.readers[entry.archive] = ForwardReader(self.storage, path)
        content = reader.read_at(entry.offset, num_bytes)
        if len(content) != num_bytes:
            raise SourceError(
                f"{self.storage.object_url(path)} unpacked ended at byte {entry.offset + len(content)}, in "
                f"{entry.path!r}: let nothing write to the source, then run the same command again"
            )
        return content


def read_file(storage: Storage, archives: Sequence[str], file: TreeFile) -> bytes:
    """The content of one small file of a tree.

    Raises:
        SourceError: It has no bytes, is damaged, or is larger than a sample may be.
    """
    rejection = too_large(file.num_bytes)
    if file.form == FILE and rejection is None:
        return storage.read(file.path)
    path = archives[file.archive] if file.archive >= 0 else file.path
    found: bytes | Rejection = rejection or Rejection("not-an-image", "it is a link or a device")
    if rejection is None and file.form == FORWARD:
        reader = ForwardReader(storage, path)
        found = reader.read_at(file.offset, file.num_bytes)
        reader.close()
    elif rejection is None and file.form in (RANGE, ZIPPED):
        piece = storage.read_range(path, file.offset, file.span)
        found = unpack(piece, file.num_bytes, file.crc) if file.form == ZIPPED else piece
    if isinstance(found, Rejection):
        raise SourceError(f"{storage.object_url(path)}: {file.path!r} cannot be read: {found.reason}: pack it anew")
    return found


def _content(entry: _Entry, piece: bytes) -> bytes | Rejection:
    """What a piece of an archive holds."""
    content = unpack(piece, entry.num_bytes, entry.crc) if entry.form == ZIPPED else piece
    if isinstance(content, bytes) and not entry.is_named_as_image and not looks_like_image(content[:NUM_MAGIC_BYTES]):
        return _no_image(entry)
    return content


def _without_bytes(entry: _Entry) -> Rejection:
    if entry.form == DANGLING:
        status = "undecodable" if entry.is_named_as_image else "not-an-image"
        return Rejection(status, "a link to a file that is not there: is its disk mounted?")
    if entry.form == BESIDE:
        return Rejection("left-out", "it lies beside the archives that were read")
    where = " in the archive" if entry.archive >= 0 else ""
    return Rejection("not-an-image", f"a link or a device{where}, without bytes of its own")


def _no_image(entry: _Entry) -> Rejection:
    extension = extension_of(entry.path)
    named = f"its name ends in .{extension}" if extension else "its name has no extension"
    return Rejection("not-an-image", f"{named} and its bytes begin like no image's")


def _neighbors(entries: Iterator[_Entry]) -> Iterator[list[_Entry]]:
    """Runs of entries that are read together: images side by side in an archive, frames of one video."""
    group: list[_Entry] = []
    for entry in entries:
        if group and not _belongs(entry, group):
            yield group
            group = []
        group.append(entry)
    if group:
        yield group


def _belongs(entry: _Entry, group: list[_Entry]) -> bool:
    first, last = group[0], group[-1]
    if entry.archive != last.archive or entry.form != last.form:
        return False
    # One decoding gives all of them, if they are asked for in their order.
    if entry.frame >= 0 or last.frame >= 0:
        return entry.path == last.path and entry.frame > last.frame
    return (
        entry.form in (RANGE, ZIPPED)
        and entry.is_named_as_image
        and last.is_named_as_image
        and last.stop <= entry.offset <= last.stop + _GAP_BYTES
        and entry.stop - first.offset <= _RANGE_BYTES
        and max(entry.num_bytes, last.num_bytes) <= _RANGE_BYTES
    )
