"""LitData's packed chunks: zstd frames of some 256 samples, and Arrow rows.

Owns these two layouts, which LitData 0.2.76 writes when it compresses and when an item is bytes, texts and numbers
only. Both are read a frame or a record batch at a time; the price is that they cannot be read in another order.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from shardtools.errors import SourceError, first_line
from shardtools.sources.chunks.files import MAX_UNPACKED_BYTES, Chunk, ChunkFile, Column, Values, cut, unpack
from shardtools.storage import Storage

FRAMES_MAGIC = b"LDFZ01\0\0"
ROWS_MAGIC = b"LDARW01\0"

_FRAMES_HEADER = struct.Struct("<8sHHIII")
_FRAME = np.dtype([("first", "<u4"), ("count", "<u4"), ("offset", "<u8"), ("packed", "<u4"), ("unpacked", "<u4")])
_ROWS_PER_BATCH = 256


class FramedChunk(Chunk):
    """Some 256 samples compressed together with zstd. The last one used is kept unpacked."""

    def __init__(self, storage: Storage, columns: Sequence[Column], file: ChunkFile, num_bytes: int) -> None:
        super().__init__(storage.object_url(file.path), columns, None)
        self._read = partial(storage.read_range, file.path)
        if num_bytes < _FRAMES_HEADER.size:
            raise damaged(self.where, 0, "it ends in its header")
        _, version, _, count, _, num_frames = _FRAMES_HEADER.unpack(self._read(0, _FRAMES_HEADER.size))
        table = _FRAMES_HEADER.size + 4 * (count + 1)
        if version != 1 or count != file.num_samples or table + _FRAME.itemsize * num_frames > num_bytes:
            raise damaged(
                self.where, 8, f"expected version 1 with {file.num_samples} samples, found {version} with {count}"
            )
        self.offsets = np.frombuffer(self._read(_FRAMES_HEADER.size, 4 * (count + 1)), "<u4").astype(np.int64)
        if self.offsets[0] != 0 or (np.diff(self.offsets) < 0).any():
            raise damaged(self.where, _FRAMES_HEADER.size, "its offsets do not ascend from 0")
        self._offsets = self.offsets
        self._frames = np.frombuffer(self._read(table, _FRAME.itemsize * num_frames), _FRAME)
        ends = np.cumsum(self._frames["count"], dtype=np.int64)
        if not np.array_equal(self._frames["first"], ends - self._frames["count"]) or (ends[-1:] != count).any():
            raise damaged(self.where, table, "its frames do not hold each sample once")
        if num_frames == 0 and count:
            raise damaged(self.where, table, "it has no frames")
        largest = int(self._frames["unpacked"].max(initial=0))
        if largest > MAX_UNPACKED_BYTES:
            raise damaged(
                self.where, table, f"a frame has {largest} bytes unpacked, at most {MAX_UNPACKED_BYTES} are read"
            )
        self._unpacked: tuple[int, memoryview] = (-1, memoryview(b""))

    def values(self, row: int) -> Values:
        number = int(np.searchsorted(self._frames["first"], row, side="right")) - 1
        first, count, offset, packed, unpacked = (int(value) for value in self._frames[number])
        base = int(self._offsets[first])
        # Rows are asked for in their order, so each frame is unpacked once. Its length is checked against the samples'
        # own before anything is unpacked.
        if self._unpacked[0] != number:
            if int(self._offsets[first + count]) - base != unpacked:
                raise damaged(self.where, offset, f"its samples have not the {unpacked} bytes that the frame has")
            content = unpack(self._read(offset, packed), "zstd", unpacked, where=f"{self.where}, byte {offset}")
            self._unpacked = (number, memoryview(content))
        start, stop = int(self._offsets[row]) - base, int(self._offsets[row + 1]) - base
        return cut(self._unpacked[1][start:stop], self.columns, where=f"{self.where}, row {row}, byte {offset}")


class RowsChunk(Chunk):
    """An Arrow file at the end of the chunk, behind an empty table. The batch used last is kept."""

    def __init__(self, storage: Storage, columns: Sequence[Column], file: ChunkFile, num_bytes: int) -> None:
        super().__init__(storage.object_url(file.path), columns, None)
        (length,) = struct.unpack("<I", storage.read_range(file.path, num_bytes - 12, 4))
        self._start = num_bytes - 12 - length
        if self._start < 0:
            raise damaged(self.where, num_bytes - 12, f"its Arrow file would have {length} bytes")
        self._num_samples = file.num_samples
        self._held: tuple[int, pa.RecordBatch | None] = (-1, None)
        self._stream = storage.open(file.path)
        try:
            self._reader = pa.ipc.open_file(pa.PythonFile(_Part(self._stream, self._start, length), "r"))
            count = self._reader.num_record_batches
        except (pa.ArrowException, OSError, ValueError) as error:
            self._stream.close()
            raise damaged(self.where, self._start, f"no Arrow file: {first_line(error)}") from None
        if count != -(-file.num_samples // _ROWS_PER_BATCH) or length > MAX_UNPACKED_BYTES * count:
            self._stream.close()
            raise damaged(self.where, self._start, f"{file.num_samples} rows, {length} bytes in {count} batches")

    def values(self, row: int) -> Values:
        number = row // _ROWS_PER_BATCH
        if self._held[0] != number:
            # The batch before is let go first, or two would be in memory.
            self._held = (-1, None)
            self._held = (number, self._load(number))
        batch = self._held[1]
        return [self._value(batch, column, row - number * _ROWS_PER_BATCH) for column in self.columns]

    def _load(self, number: int) -> pa.RecordBatch:
        expected = min(_ROWS_PER_BATCH, self._num_samples - number * _ROWS_PER_BATCH)
        try:
            batch = self._reader.get_batch(number)
            # Offsets within a batch are not looked at on reading, and would be followed anywhere.
            batch.validate(full=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise damaged(self.where, self._start, f"record batch {number}: {first_line(error)}") from None
        if batch.num_rows != expected:
            raise damaged(
                self.where, self._start, f"record batch {number} has {batch.num_rows} rows, expected {expected}"
            )
        return batch

    def _value(self, batch: pa.RecordBatch, column: Column, row: int) -> bytes | None:
        name, *inner = column.name.split(".")
        positions = batch.schema.get_all_field_indices(name)
        # A whole column whose own name has a dot goes before a nested one.
        if column.name in batch.schema.names:
            positions, inner = batch.schema.get_all_field_indices(column.name), []
        if len(positions) != 1:
            raise damaged(self.where, self._start, f"expected one column {column.name!r}, found {len(positions)}")
        value = batch.column(positions[0])[row].as_py()
        for part in inner:
            value = value.get(part) if isinstance(value, dict) else None
        return _encode(value, column)

    def close(self) -> None:
        self._stream.close()


def _encode(value: Any, column: Column) -> bytes | None:
    """An Arrow value as the column's own encoding has it; JSON for what has none, such as lists."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if column.kind == "integer" and isinstance(value, int) and -(2**63) <= value < 2**63:
        return value.to_bytes(np.dtype(column.dtype).itemsize, "little", signed=True)
    if column.kind == "float" and isinstance(value, int | float):
        return struct.pack("<d", value)
    return json.dumps(value, default=str).encode()


def damaged(where: str, byte: int, what: str) -> SourceError:
    """The error for a file that is not what its index and its own tables say."""
    return SourceError(f"{where} is damaged at byte {byte}: {what}: fetch or make it again")


class _Part(io.RawIOBase):
    """A part of a stream as a file of its own, for pyarrow; closing it leaves the stream open."""

    def __init__(self, stream: BinaryIO, start: int, num_bytes: int) -> None:
        self._stream = stream
        self._start = start
        self._num_bytes = num_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._position, 2: self._num_bytes}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._num_bytes - self._position, 0)
        self._stream.seek(self._start + self._position)
        content = self._stream.read(left if size is None or size < 0 else min(size, left))
        self._position += len(content)
        return content
