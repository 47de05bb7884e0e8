"""Reading FFCV's `.beton` with suspicion: every pointer is checked before any payload is read.

Owns the tables of an open file. They stay on disk (in place for a local file, copied to a folder for an object store)
and pass through memory in pieces, so a file of any size opens in bounded memory. The price: the lengths of the
payloads, which FFCV keeps in a table sorted by nothing, are looked up once and stored in a further file of 8 bytes a
field and sample.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shardtools.errors import ShardError
from shardtools.shards.beton.format import (
    ALLOCATION,
    DESCRIPTOR,
    HEADER,
    SCALAR_TYPES,
    BetonField,
    BetonHeader,
    FieldType,
    decode_fields,
    decode_numbers,
    encode_header,
    pointers,
    row_dtype,
    row_end,
)
from shardtools.shards.beton.tables import PointerCheck, Table, open_table
from shardtools.storage import Storage

_RANGE_BYTES = 8 << 20
_MAX_GAP_BYTES = 64 << 10
"""Payloads closer than this are fetched together: reading over the gap costs less than a request."""

_CUSTOM_ROWS = 64
_MAX_CUSTOM_BYTES = 2048
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beton:
    """An open `.beton`; may be pickled and read in other processes while the folder of its tables exists.

    Attributes:
        storage: Where it lies.
        path: Its path there.
        header: What it begins with; `fields` are those that can be read.
        skipped: Names of fields of a custom type, and of those behind them, whose places cannot be known.
        metadata: A row a sample, columns "f0", "f1", ... as `header.fields`.
        allocations: As stored: sample, address, length; not sorted.
        lengths: A row a sample: the length in bytes of each field's payload, 0 for scalars.
        data_start: Byte offset of the first payload; 0 without any.
        data_stop: Byte behind the last one.
    """

    storage: Storage
    path: str
    header: BetonHeader
    skipped: tuple[str, ...]
    metadata: Table
    allocations: Table
    lengths: Table
    data_start: int
    data_stop: int

    @property
    def page_bytes(self) -> int:
        """Size of a page."""
        return self.header.page_bytes

    @property
    def num_samples(self) -> int:
        """Rows of the metadata."""
        return self.header.num_samples

    @property
    def fields(self) -> tuple[BetonField, ...]:
        """Fields that can be read, in the order of the columns."""
        return self.header.fields

    @property
    def where(self) -> str:
        """The file, for messages."""
        return self.storage.object_url(self.path)

    def row_offset(self, number: int) -> int:
        """Byte offset of a sample's row."""
        return self.metadata_start + number * self.metadata.dtype.itemsize

    @property
    def metadata_start(self) -> int:
        """Byte offset of the first row."""
        return self.header.metadata_start + len(self.skipped) * DESCRIPTOR.itemsize

    def digest(self) -> str:
        """sha256 over header and tables: of addresses, lengths and labels, not of pixels."""
        sha256 = hashlib.sha256(encode_header(self.header) + repr(self.skipped).encode())
        for table in (self.metadata, self.allocations):
            for _, rows in table.pieces():
                sha256.update(rows.tobytes())
        return sha256.hexdigest()

    def read_payloads(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Payloads at (byte offset, length in bytes), neighbours fetched together.

        The file is read, not mapped: one that is cut while it is read then gives an error and kills no process.

        Raises:
            StorageError: The file is shorter than it was.
        """
        payloads = [b""] * len(places)
        # By place, so that neighbours meet whatever order they are asked for in; without bytes there is nothing to
        # read.
        order = sorted((number for number, (_, length) in enumerate(places) if length), key=places.__getitem__)
        group: list[int] = []
        stop = 0
        for number in order:
            start, length = places[number]
            first = places[group[0]][0] if group else start
            if group and (start > stop + _MAX_GAP_BYTES or start + length - first > _RANGE_BYTES):
                self._fetch(places, group, payloads)
                group, stop = [], 0
            group.append(number)
            stop = max(stop, start + length)
        if group:
            self._fetch(places, group, payloads)
        return payloads

    def _fetch(self, places: Sequence[tuple[int, int]], group: Sequence[int], payloads: list[bytes]) -> None:
        first = places[group[0]][0]
        stop = max(sum(places[number]) for number in group)
        content = self.storage.read_range(self.path, first, stop - first)
        for number in group:
            start, length = places[number]
            payloads[number] = content[start - first : start - first + length]


def open_beton(storage: Storage, path: str, folder: Path) -> Beton:
    """Checks a file and looks up the lengths of its payloads; reads no payload.

    Args:
        storage: Where it lies.
        path: Its path there.
        folder: For its tables; exists, and outlives the `Beton`.

    Raises:
        ShardError: It is no whole .beton: another version, interrupted while it was written, cut off, with a pointer
            to where no payload of that sample lies, or with payloads that overlap or cross a page.
        NotFoundError: Nothing is there.
    """
    where = storage.object_url(path)
    num_bytes = storage.size(path)
    beginning = storage.read_range(path, 0, min(num_bytes, HEADER.itemsize))
    # Step by step, as each part of the file says where the next one is: the header the descriptors, these the length of
    # a row, and rows and samples the end of the metadata. Nothing is asked of a place that was not checked.
    num_fields, page_bytes, num_samples, table_start = decode_numbers(beginning, where=where, num_bytes=num_bytes)
    descriptors = storage.read_range(path, HEADER.itemsize, num_fields * DESCRIPTOR.itemsize)
    every_field = decode_fields(descriptors, where=where)
    metadata_start = HEADER.itemsize + len(descriptors)
    fields = tuple(itertools.takewhile(lambda one: one.type is not FieldType.CUSTOM, every_field))
    skipped = tuple(one.name for one in every_field[len(fields) :])
    num_allocations = (num_bytes - table_start) // ALLOCATION.itemsize
    allocations = open_table(storage, path, table_start, ALLOCATION, num_allocations, folder)
    dtype = row_dtype(fields)
    if skipped:
        row_bytes = _find_row_bytes(storage, path, fields, skipped, metadata_start, num_samples, allocations)
        dtype = row_dtype(fields, row_bytes)
    if metadata_start + num_samples * dtype.itemsize > table_start:
        raise ShardError(
            f"{where}, byte 8: {num_samples} rows of {dtype.itemsize} bytes from byte {metadata_start} on end behind "
            f"byte {table_start}, where the allocation table begins: fetch the file again"
        )
    metadata = open_table(storage, path, metadata_start, dtype, num_samples, folder)
    header = BetonHeader(page_bytes=page_bytes, num_samples=num_samples, table_start=table_start, fields=fields)
    check = PointerCheck(where, header, metadata, metadata_start, allocations)
    return Beton(
        storage=storage,
        path=path,
        header=header,
        skipped=skipped,
        metadata=metadata,
        allocations=allocations,
        lengths=check.store_lengths(folder, is_whole=not skipped),
        data_start=check.data_start,
        data_stop=check.data_stop,
    )


def _find_row_bytes(
    storage: Storage,
    path: str,
    fields: tuple[BetonField, ...],
    skipped: tuple[str, ...],
    metadata_start: int,
    num_samples: int,
    allocations: Table,
) -> int:
    """Length of a row of which a custom field takes an unknown part.

    It is the least one at which the first rows' pointers are addresses of their samples' allocations.
    """
    where = storage.object_url(path)
    least = row_end(fields)
    if num_samples == 0:
        return least
    number = next((number for number, one in enumerate(fields) if one.type not in SCALAR_TYPES), None)
    if number is None:
        raise ShardError(
            f"{where}: field {skipped[0]!r} has a custom type and no field with a payload stands before it, so the "
            "rows cannot be found: write the file again with the image first"
        )
    count = min(num_samples, _CUSTOM_ROWS)
    known = {
        (sample, address)
        for _, rows in allocations.pieces()
        for sample, address, _ in rows[rows["sample_id"] < count].tolist()
    }
    room = metadata_start + least + (count - 1) * (least + _MAX_CUSTOM_BYTES)
    end = min(room, storage.size(path))
    content = storage.read_range(path, metadata_start, end - metadata_start)
    for row_bytes in range(least, least + _MAX_CUSTOM_BYTES + 1):
        if (count - 1) * row_bytes + least > len(content):
            break
        # What is unknown of the last row may lie behind what was read.
        padded = content.ljust(count * row_bytes, b"\0")
        rows = np.frombuffer(padded, row_dtype(fields, row_bytes), count)
        found = enumerate(pointers(rows, number, fields[number].type).tolist())
        if known.issuperset(found):
            _logger.warning("%s: fields %s have a custom type or follow one: they are not read", where, skipped)
            return row_bytes
    raise ShardError(f"{where}: the rows around the custom field {skipped[0]!r} cannot be found: write it again")
