"""Datasets of indexed files as a source: what MDS and LitData share once their index files are understood.

Owns the reading of samples. Those of plain files are fetched as ranges, neighbours together; of packed files one is
open at a time, whose unpacked part stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from shardtools.sample import Sample
from shardtools.sources.base import Source
from shardtools.sources.chunks.columns import Roles, member_payload, read_image, sample_labels
from shardtools.sources.chunks.files import Chunk, ChunkFile, Column, Values, cut
from shardtools.sources.chunks.opening import open_chunk
from shardtools.sources.image.check import IMAGE_EXTENSIONS, Rejection, make_sample, too_large
from shardtools.sources.listing import Listing
from shardtools.storage import read_ahead

_RANGE_BYTES = 8 * 1024 * 1024
"""Neighbouring samples are fetched together up to this length."""

_RANGES_AHEAD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkTable:
    """What the index files of a source say: its files in order, and the columns that all of them have."""

    files: tuple[ChunkFile, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample: its key, file, 0-based row there, and the place of its bytes if the file is plain."""

    key: str
    file: int
    row: int
    offset: int
    num_bytes: int


class _Opened:
    """The file that this process opened last; nothing of it goes into a pickle."""

    def __init__(self) -> None:
        self.number = -1
        self.chunk: Chunk | None = None

    def __reduce__(self) -> tuple[type[_Opened], tuple[()]]:
        return _Opened, ()

    def close(self) -> None:
        if self.chunk is not None:
            self.chunk.close()
        self.number, self.chunk = -1, None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkedSource(Source):
    """A listed dataset of MDS shards or LitData chunks.

    Attributes:
        chunks: Files and columns.
        is_plain: For each file whether its samples are ranges of it.
        roles: What the columns mean.
        listing: Entries: key, number of the file, row, offset and length (bytes).
        wnids: Class index -> wnid, if a class set was given.
        decode: Whether images are decoded in full.
        opened: The packed file that is being read.
    """

    chunks: ChunkTable
    is_plain: Sequence[bool]
    roles: Roles
    listing: Listing
    wnids: Sequence[str] | None
    decode: bool
    opened: _Opened = field(default_factory=_Opened, repr=False, compare=False)

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        entries = (Entry(**row) for _, row in self.listing.rows(split, start, stop))
        calls = (partial(self._fetch, group) for group in _neighbors(entries))
        # Packed files are unpacked in the order they are asked for.
        ahead = 0 if self.storage.is_local or not all(self.is_plain) else _RANGES_AHEAD
        for group, content in read_ahead(calls, ahead):
            for entry in group:
                yield self._sample(entry, content, group[0].offset)

    def keys(self, split: str) -> Iterator[str]:
        for _, row in self.listing.rows(split, 0, self.splits[split]):
            yield row["key"]

    def close(self) -> None:
        self.opened.close()

    def _fetch(self, group: list[Entry]) -> tuple[list[Entry], memoryview]:
        first, last = group[0], group[-1]
        # Packed files are unpacked where their samples are made, one file at a time; too long a sample is only
        # recorded.
        if not self.is_plain[first.file] or (len(group) == 1 and too_large(first.num_bytes)):
            return group, memoryview(b"")
        path = self.chunks.files[first.file].path
        num_bytes = last.offset + last.num_bytes - first.offset
        return group, memoryview(self.storage.read_range(path, first.offset, num_bytes))

    def _sample(self, entry: Entry, content: memoryview, base: int) -> Sample:
        file = self.chunks.files[entry.file]
        place = f"{file.path}:row {entry.row}"
        where = f"{self.storage.object_url(file.path)}, row {entry.row}, key {entry.key!r}, byte {entry.offset}"
        provenance: dict[str, Any] = {"source_path": place}
        # First: `_fetch` left the bytes of such a sample unread, so `content` is empty here.
        rejection = too_large(entry.num_bytes)
        if rejection is not None:
            return make_sample(rejection, decode=False, extension="", key=entry.key, provenance=provenance)
        if self.is_plain[entry.file]:
            sample = content[entry.offset - base : entry.offset - base + entry.num_bytes]
            values = cut(sample, self.chunks.columns, item_packed=file.item_packed, where=where)
        else:
            values = self._open(entry.file).values(entry.row)
        return self._make(entry.key, values, provenance, where)

    def _open(self, number: int) -> Chunk:
        if self.opened.chunk is None or self.opened.number != number:
            self.opened.close()
            self.opened.chunk = open_chunk(self.storage, self.chunks.files[number], self.chunks.columns)
            self.opened.number = number
        return self.opened.chunk

    def _make(self, key: str, values: Values, provenance: dict[str, Any], where: str) -> Sample:
        columns, roles = self.chunks.columns, self.roles
        members = {
            name: payload
            for number, name in roles.extras
            if (payload := member_payload(columns[number], values[number], where=where)) is not None
        }
        labels = sample_labels(columns, roles, values, members, self.wnids, where=where)
        image, encoded = read_image(columns[roles.image], values[roles.image])
        if not isinstance(image, Rejection):
            # Once more: what was packed, or is one column of several, has its own length only now.
            image = too_large(len(image)) or image
        sample = make_sample(
            image,
            decode=self.decode,
            extension=_extension(columns[roles.image].name),
            extra_members=members,
            key=key,
            provenance=provenance | encoded,
            **labels,
        )
        if encoded and sample.image_bytes is not None:
            return replace(sample, reason="raw pixels in the source, written as a lossless PNG")
        return sample


def _extension(name: str) -> str:
    """What a column's name says that its images are: "" for "image"."""
    last = name.rpartition(".")[2].lower()
    return last if last in IMAGE_EXTENSIONS else ""


def _neighbors(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Runs of samples that follow each other in one file, up to `_RANGE_BYTES` long."""
    group: list[Entry] = []
    for entry in entries:
        if group and (
            entry.file != group[-1].file
            or entry.row != group[-1].row + 1
            or entry.offset + entry.num_bytes - group[0].offset > _RANGE_BYTES
        ):
            yield group
            group = []
        group.append(entry)
    if group:
        yield group
