"""Files of samples behind a table of offsets: what MosaicML's MDS shards and LitData's chunks have in common.

    u32 number of samples, u32 offset[number + 1], header, samples

Owns that table, and how a sample is put together: the lengths (u32) of the columns whose length is not fixed, then the
values, all little-endian. The table stands in front and is known last, so room for the most samples that can come is
kept; the price is a gap of 4 bytes for each sample that did not come, and offsets of 32 bits keep a file below 4 GiB.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from shardtools.errors import ShardError

MAX_FILE_BYTES = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedShard:
    """What an index file says about one shard; all of it stands in the manifest's parts.

    Attributes:
        basename: File name within the folder of the index.
        num_samples: Samples with bytes.
        num_bytes: Length of the file.
        sha256: Its lower-case hexadecimal digest, by which Streaming can check a download; `None` leaves it out.
    """

    basename: str
    num_samples: int
    num_bytes: int
    sha256: str | None = None


class SampleTableWriter:
    """Appends samples to an empty seekable stream.

    Args:
        stream: Open for writing.
        max_samples: Most samples that will come.
        header: What follows the table.
        kind: Name of the format, for messages.
    """

    def __init__(self, stream: BinaryIO, *, max_samples: int, header: bytes, kind: str) -> None:
        self._stream = stream
        self._max_samples = max_samples
        self._header = header
        self._kind = kind
        self._offsets = array("Q", [table_bytes(max_samples) + len(header)])
        # Room for the table and the header, which come last.
        self._stream.write(bytes(self._offsets[0]))

    def add(self, key: str, values: Sequence[bytes], *, is_sized: Sequence[bool]) -> list[int]:
        """Appends a sample.

        Args:
            key: For messages.
            values: One a column.
            is_sized: For each column whether its length is stored.

        Returns:
            The byte offset of each value in the file.

        Raises:
            ShardError: There is no room for it.
        """
        if len(self._offsets) > self._max_samples:
            raise ShardError(
                f"key {key!r} is sample {len(self._offsets)} of a shard with room for {self._max_samples}: give the "
                "writer the number of rows"
            )
        lengths = [len(value) for value, sized in zip(values, is_sized, strict=True) if sized]
        start = self._offsets[-1]
        end = start + 4 * len(lengths) + sum(map(len, values))
        if end > MAX_FILE_BYTES:
            raise ShardError(
                f"key {key!r} would end at byte {end}, {self._kind} files end before 4 GiB: put fewer samples into a "
                "shard"
            )
        self._stream.write(struct.pack(f"<{len(lengths)}I", *lengths))
        places = []
        offset = start + 4 * len(lengths)
        for value in values:
            self._stream.write(value)
            places.append(offset)
            offset += len(value)
        self._offsets.append(end)
        return places

    def finish(self) -> int:
        """Writes the table; returns the length of the file in bytes."""
        count = len(self._offsets) - 1
        self._stream.seek(0)
        self._stream.write(struct.pack(f"<{count + 2}I", count, *self._offsets))
        self._stream.write(self._header)
        self._stream.seek(self._offsets[-1])
        return self._offsets[-1]


def table_bytes(num_samples: int) -> int:
    """Length of the count and the offsets in bytes."""
    return 4 * (num_samples + 2)


def read_offsets(
    read: Callable[[int, int], bytes], num_bytes: int, num_samples: int, *, where: str
) -> npt.NDArray[np.int64]:
    """The table of a file: [num_samples + 1] byte offsets, checked to ascend within the file.

    Args:
        read: Takes an offset and a length in bytes.
        num_bytes: Length of the file.
        num_samples: What its index says.
        where: The file, for messages.

    Raises:
        ShardError: The file is too short for its table, holds another number of samples, or has offsets that go back
            or point outside of it.
    """
    if num_bytes < table_bytes(num_samples):
        raise ShardError(
            f"{where} is cut off: the table of {num_samples} samples ends at byte {table_bytes(num_samples)}, the file "
            f"at {num_bytes}: fetch or make it again"
        )
    table = np.frombuffer(read(0, table_bytes(num_samples)), "<u4").astype(np.int64)
    if table[0] != num_samples:
        raise ShardError(
            f"{where} says {table[0]} samples at byte 0, its index {num_samples}: fetch or make the two again"
        )
    offsets = table[1:]
    steps = np.diff(offsets, prepend=table_bytes(num_samples))
    bad = np.flatnonzero((steps < 0) | (offsets > num_bytes))
    if len(bad):
        first = int(bad[0])
        least = table_bytes(num_samples) if first == 0 else int(offsets[first - 1])
        raise ShardError(
            f"{where} is damaged at byte {4 * (first + 1)}: expected an offset from {least} to {num_bytes}, found "
            f"{offsets[first]}: fetch or make it again"
        )
    return offsets


def cut_sample(sample: memoryview, lengths: Sequence[int | None], *, where: str) -> list[memoryview]:
    """The values of a sample.

    Args:
        sample: All of it.
        lengths: The fixed length of each column; `None` where the sample says it.
        where: File, row and byte offset, for messages.

    Raises:
        ShardError: The values are not exactly as long as the sample.
    """
    num_sized = sum(length is None for length in lengths)
    if len(sample) < 4 * num_sized:
        raise ShardError(
            f"{where}: expected {4 * num_sized} bytes of lengths, the sample has {len(sample)}: fetch or make the file "
            "again"
        )
    stored = iter(struct.unpack_from(f"<{num_sized}I", sample))
    values = []
    offset = 4 * num_sized
    for length in lengths:
        end = offset + (next(stored) if length is None else length)
        values.append(sample[offset:end])
        offset = end
    if offset != len(sample):
        raise ShardError(
            f"{where}: its values end at byte {offset} of the sample, the sample at {len(sample)}: fetch or make the "
            "file again"
        )
    return values
