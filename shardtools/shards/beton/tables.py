"""Tables of a `.beton` on disk, and the search of every pointer of the metadata among the allocations.

Owns what makes an open file safe to read: no pointer leads outside of the pages, into another sample's payload or
across a page. Tables pass through memory in pieces and long allocation tables are sorted one range of addresses after
the other, so memory is bounded for any number of samples; the price is one pass over the tables for each range.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import ShardError
from shardtools.shards.beton.format import (
    ALLOCATION,
    MODE_JPEG,
    MODE_RAW,
    SCALAR_TYPES,
    SIZED_TYPES,
    BetonField,
    BetonHeader,
    FieldType,
    pointers,
)
from shardtools.storage import Storage, explained

ROWS_TOGETHER = 1 << 18
"""Rows of a table that pass through memory together."""

ALLOCATIONS_TOGETHER = 1 << 21
"""Allocations that are sorted together."""

_COPY_BYTES = 8 << 20
_LAST_ADDRESS = 2**64 - 1
_Rows = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of fixed length in a file, not in memory.

    Attributes:
        file: Holds them.
        offset: Byte offset of the first.
        dtype: Of a row.
        num_rows: How many.
    """

    file: Path
    offset: int
    dtype: np.dtype[Any]
    num_rows: int

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows `start` to `stop` (exclusive), copied.

        Raises:
            ShardError: The file was cut since it was opened.
        """
        offset = self.offset + start * self.dtype.itemsize
        with explained(self.file, "read"):
            rows = np.fromfile(self.file, self.dtype, stop - start, offset=offset)
        if len(rows) != stop - start:
            raise ShardError(f"{self.file} was cut off behind byte {offset} since it was opened: open it again")
        return rows

    def take(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The rows of these numbers, copied."""
        if len(numbers) and (np.diff(numbers) == 1).all():
            return self.read(int(numbers[0]), int(numbers[-1]) + 1)
        return np.concatenate([self.read(number, number + 1) for number in numbers.tolist()])

    def pieces(self) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """(number of the first row, rows) for all rows in order."""
        for start in range(0, self.num_rows, ROWS_TOGETHER):
            yield start, self.read(start, min(start + ROWS_TOGETHER, self.num_rows))


def open_table(storage: Storage, path: str, offset: int, dtype: np.dtype[Any], num_rows: int, folder: Path) -> Table:
    """Rows in place, or copied from an object store to a file of their own."""
    local = storage.local_path(path)
    if local is not None:
        return Table(file=local, offset=offset, dtype=dtype, num_rows=num_rows)
    file = folder / f"beton-{secrets.token_hex(8)}.rows"
    stop = offset + num_rows * dtype.itemsize
    with explained(file, "write"), file.open("wb") as stream:
        for start in range(offset, stop, _COPY_BYTES):
            stream.write(storage.read_range(path, start, min(_COPY_BYTES, stop - start)))
    return Table(file=file, offset=0, dtype=dtype, num_rows=num_rows)


class PointerCheck:
    """Looks up every pointer of the metadata among the allocations.

    Args:
        where: The file, for messages.
        header: With the fields that the rows have.
        metadata: The rows.
        metadata_start: Byte offset of the rows in the file.
        allocations: As stored.

    Attributes:
        data_start: After `store_lengths`: byte offset of the first payload; 0 without any.
        data_stop: Byte behind the last one.
    """

    def __init__(
        self,
        where: str,
        header: BetonHeader,
        metadata: Table,
        metadata_start: int,
        allocations: Table,
    ) -> None:
        self._where = where
        self._header = header
        self._metadata = metadata
        self._metadata_start = metadata_start
        self._metadata_stop = metadata_start + metadata.num_rows * metadata.dtype.itemsize
        self._allocations = allocations
        self.data_start = 0
        self.data_stop = 0
        self._num_allocated = 0
        self._num_named = 0

    def store_lengths(self, folder: Path, *, is_whole: bool) -> Table:
        """Writes the lengths of all payloads to a file.

        Args:
            folder: For the file.
            is_whole: Whether the rows name every payload, which they do where no field is left out.

        Raises:
            ShardError: An allocation or a pointer is wrong.
        """
        fields = self._header.fields
        file = folder / f"beton-{secrets.token_hex(8)}.lengths"
        dtype = np.dtype(("<u8", (len(fields),)))
        with explained(file, "write"), file.open("wb") as stream:
            stream.truncate(self._metadata.num_rows * dtype.itemsize)
        table = Table(file=file, offset=0, dtype=dtype, num_rows=self._metadata.num_rows)
        # One range of addresses after the other: its allocations are sorted in memory, and every pointer into it is
        # looked up.
        for span in self._ranges():
            allocations = self._sorted_allocations(*span)
            for start, rows in self._metadata.pieces():
                lengths = table.read(start, start + len(rows))
                for number in range(len(fields)):
                    self._look_up(rows, lengths, start, number, allocations, span)
                with explained(file, "write"), file.open("r+b") as stream:
                    stream.seek(start * dtype.itemsize)
                    stream.write(lengths.tobytes())
        # Each named payload was found, so as many of both means that none is left over.
        if is_whole and self._num_allocated != self._num_named:
            raise ShardError(
                f"{self._where} has {self._num_allocated} payloads in its allocation table, its rows name "
                f"{self._num_named}: the file is damaged, fetch it again"
            )
        return table

    def _ranges(self) -> list[tuple[int, int]]:
        """(first, last) addresses, cut between pages, of about `ALLOCATIONS_TOGETHER` allocations each."""
        header = self._header
        count = -(-self._allocations.num_rows // ALLOCATIONS_TOGETHER)
        num_pages = -(-header.table_start // header.page_bytes)
        inner = sorted({number * num_pages // max(count, 1) * header.page_bytes for number in range(1, count)} - {0})
        return [(low, high - 1) for low, high in itertools.pairwise([0, *inner, _LAST_ADDRESS + 1])]

    def _sorted_allocations(self, first: int, last: int) -> _Rows:
        """Allocations with an address in the range, by address; those without bytes are left out."""
        parts = [np.zeros(0, ALLOCATION)]
        for start, rows in self._allocations.pieces():
            inside = (rows["ptr"] >= first) & (rows["ptr"] <= last)
            numbers = np.flatnonzero(inside & (rows["size"] > 0))
            self._check_bounds(rows[numbers], start + numbers)
            parts.append(rows[numbers])
        found = np.concatenate(parts)
        found = found[np.argsort(found["ptr"], kind="stable")]
        ends = found["ptr"] + found["size"]
        overlap = np.flatnonzero(ends[:-1] > found["ptr"][1:])
        if len(overlap):
            one, other = found[overlap[0]], found[overlap[0] + 1]
            raise ShardError(
                f"{self._where}: the payloads of samples {one['sample_id']} and {other['sample_id']} overlap at byte "
                f"{other['ptr']}: the allocation table is damaged, fetch the file again"
            )
        if len(found):
            self.data_start = min(self.data_start or _LAST_ADDRESS, int(found["ptr"][0]))
            self.data_stop = max(self.data_stop, int(ends[-1]))
        self._num_allocated += len(found)
        return found

    def _check_bounds(self, rows: _Rows, numbers: npt.NDArray[np.int64]) -> None:
        header = self._header
        page = np.uint64(header.page_bytes.bit_length() - 1)
        address, size = rows["ptr"], rows["size"]
        # The sum may pass 2**64 where one of the two is out of bounds already.
        last = address + size - np.uint64(1)
        complaints = (
            (rows["sample_id"] >= header.num_samples, f"expected a sample below {header.num_samples}"),
            (address < self._metadata_stop, f"expected an address at or behind byte {self._metadata_stop}"),
            (
                (size > header.table_start) | (address > header.table_start) | (last >= header.table_start),
                f"expected an end at or before byte {header.table_start}",
            ),
            (address >> page != last >> page, f"expected it within a page of {header.page_bytes} bytes"),
        )
        for is_bad, expected in complaints:
            bad = np.flatnonzero(is_bad)
            if len(bad):
                sample, start, length = rows[bad[0]].tolist()
                offset = header.table_start + int(numbers[bad[0]]) * ALLOCATION.itemsize
                raise ShardError(
                    f"{self._where}, byte {offset}: {expected}, found sample {sample} with {length} bytes at {start}: "
                    "the allocation table is damaged, fetch the file again"
                )

    def _look_up(
        self,
        rows: _Rows,
        lengths: npt.NDArray[np.uint64],
        start: int,
        number: int,
        allocations: _Rows,
        span: tuple[int, int],
    ) -> None:
        """Fills in a column of `lengths` where the pointers are in the span of addresses of `allocations`."""
        one = self._header.fields[number]
        if one.type in SCALAR_TYPES:
            return
        column = rows[f"f{number}"]
        address = pointers(rows, number, one.type)
        wanted = (address >= span[0]) & (address <= span[1])
        if one.type in SIZED_TYPES:
            wanted &= column["size"] > 0
        # Pointers into other ranges have their turn; empty payloads have no allocation to find.
        numbers = np.flatnonzero(wanted)
        if not len(numbers):
            return
        address = address[numbers]
        places = np.searchsorted(allocations["ptr"], address)
        is_known = places < len(allocations)
        found = allocations[np.where(is_known, places, 0)] if len(allocations) else np.zeros(len(numbers), ALLOCATION)
        samples = (start + numbers).astype(np.uint64)
        is_own = is_known & (found["ptr"] == address) & (found["sample_id"] == samples)
        self._refuse(~is_own, start + numbers, one, "expected the address of a payload of this sample", address)
        size = found["size"]
        if one.type in SIZED_TYPES:
            stored = column["size"][numbers]
            self._refuse(stored != size, start + numbers, one, "its length differs from the allocation's", stored)
        elif one.type is FieldType.IMAGE:
            self._check_images(column[numbers], size, start + numbers, one)
        lengths[numbers, number] = size
        self._num_named += len(numbers)

    def _check_images(
        self,
        images: _Rows,
        size: npt.NDArray[np.uint64],
        numbers: npt.NDArray[np.int64],
        one: BetonField,
    ) -> None:
        modes = images["mode"]
        unknown = (modes != MODE_JPEG) & (modes != MODE_RAW)
        self._refuse(unknown, numbers, one, "expected image mode 0 (JPEG) or 1 (raw)", modes)
        pixels = images["width"].astype(np.uint64) * images["height"]
        self._refuse(pixels == 0, numbers, one, "expected a width and a height", pixels)
        wrong = (modes == MODE_RAW) & (pixels * np.uint64(3) != size)
        self._refuse(wrong, numbers, one, "expected 3 bytes a pixel of its width and height", size)

    def _refuse(
        self,
        is_bad: npt.NDArray[np.bool_],
        numbers: npt.NDArray[np.int64],
        one: BetonField,
        expected: str,
        found: npt.NDArray[Any],
    ) -> None:
        bad = np.flatnonzero(is_bad)
        if len(bad):
            sample = int(numbers[bad[0]])
            offset = self._metadata_start + sample * self._metadata.dtype.itemsize
            raise ShardError(
                f"{self._where}, byte {offset}, sample {sample}, field {one.name!r}: {expected}, found "
                f"{found[bad[0]]}: the file is damaged or cut off, fetch it again"
            )
