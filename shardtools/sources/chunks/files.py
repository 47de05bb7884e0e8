"""Files of MDS and LitData datasets: what the index says about them, and where the samples of plain ones lie.

Owns columns, plain files and the compressions that are unpacked here. A file that is compressed as a whole is unpacked
in memory, which is why there is a limit on its unpacked size.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.errors import SourceError, first_line
from shardtools.shards.chunks.sample_table import cut_sample
from shardtools.storage import Storage

MAX_UNPACKED_BYTES = 256 * 1024 * 1024

_CODECS = {"zstd": "zstd", "gz": "gzip", "bz2": "bz2", "br": "brotli", "snappy": "snappy"}
"""Name of a compression in an index file -> pyarrow's name of the codec."""

Values = list[bytes | memoryview | None]
"""The values of one sample as they are encoded, one a column; `None` for a null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a sample.

    Attributes:
        name: Its own name; the parts of a nested one are joined by ".".
        kind: "image" (encoded), "pixels" (raw, MDS's and LitData's `pil`), "bytes", "text", "json", "integer",
            "float", "digits" (an integer as text), "array", or "opaque" for what is not looked into.
        encoding: What the index calls it, for messages.
        dtype: NumPy's name of the type of an "integer" or "float".
        num_bytes: Fixed length; `None` where each sample says it.
    """

    name: str
    kind: str
    encoding: str
    dtype: str | None = None
    num_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkFile:
    """One file as the index lists it.

    Attributes:
        split: The split it belongs to.
        path: Below the root.
        num_samples: How many the index says.
        sizes: Lengths in bytes that the unpacked file may have, by the index.
        packed: Name of the compression of the whole file, one of `_CODECS`; `None` for none.
        item_packed: Whether each sample is compressed with zstd on its own.
        is_litdata: Whether the file may hold frames or Arrow rows.
    """

    split: str
    path: str
    num_samples: int
    sizes: tuple[int, ...]
    packed: str | None = None
    item_packed: bool = False
    is_litdata: bool = False


def check_codec(name: str, *, where: str) -> str:
    """The compression's name without its level ("zstd:3" -> "zstd").

    Raises:
        SourceError: Nothing here unpacks it.
    """
    codec = name.partition(":")[0]
    if codec not in _CODECS or not pa.Codec.is_available(_CODECS[codec]):
        raise SourceError(f"{where} is compressed with {name!r}, expected one of {', '.join(_CODECS)}: unpack it first")
    return codec


def unpack(content: bytes | memoryview, codec: str, max_bytes: int, *, where: str) -> bytes:
    """Decompresses `content`, at most `max_bytes` of it.

    Raises:
        SourceError: It is damaged, or longer.
    """
    try:
        if codec == "snappy":
            # Arrow believes the length it is told, and leaves what is missing as the memory was.
            length = _snappy_length(content)
            if length <= max_bytes:
                return cast(bytes, pa.Codec("snappy").decompress(content, decompressed_size=length, asbytes=True))
            raise SourceError(f"{where} has {length} bytes unpacked, expected at most {max_bytes}: fetch it again")
        with pa.CompressedInputStream(pa.BufferReader(content), _CODECS[codec]) as stream:
            found = cast(bytes, stream.read(max_bytes + 1))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{where} is no intact {codec}: {first_line(error)}: fetch it again") from None
    if len(found) > max_bytes:
        raise SourceError(f"{where} has more than the {max_bytes} bytes unpacked that were expected: fetch it again")
    return found


def _snappy_length(content: bytes | memoryview) -> int:
    """The unpacked length, which a snappy block begins with (a little-endian base-128 number).

    Raises:
        ValueError: There is none.
    """
    length = 0
    for place, byte in enumerate(bytes(content[:5])):
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return length
    raise ValueError("no length at its begin")


class Chunk(ABC):
    """An opened file.

    Attributes:
        is_plain: Whether each sample is a range of the file.
        offsets: [num_samples + 1] byte offsets, of the unpacked samples where the file is packed; `None` for Arrow
            rows, whose lengths are not known before they are read.
    """

    is_plain = False
    offsets: npt.NDArray[np.int64] | None

    def __init__(self, where: str, columns: Sequence[Column], offsets: npt.NDArray[np.int64] | None) -> None:
        self.where = where
        self.columns = columns
        self.offsets = offsets

    @abstractmethod
    def values(self, row: int) -> Values:
        """The values of one sample, as they are encoded."""

    def close(self) -> None:  # noqa: B027  # what lies in memory has nothing to close
        """Closes the file."""


class PlainChunk(Chunk):
    """Samples one after another, in the file or in memory.

    Args:
        where: The file, for messages.
        columns: Of a sample.
        offsets: [num_samples + 1] byte offsets.
        read: Takes an offset and a length in bytes.
        in_memory: Whether the file is unpacked in memory.
        item_packed: See `ChunkFile`.
    """

    def __init__(
        self,
        where: str,
        columns: Sequence[Column],
        offsets: npt.NDArray[np.int64],
        read: Callable[[int, int], bytes],
        *,
        in_memory: bool,
        item_packed: bool,
    ) -> None:
        super().__init__(where, columns, offsets)
        self.is_plain = not in_memory
        self._offsets = offsets
        self._read = read
        self._item_packed = item_packed

    def values(self, row: int) -> Values:
        start, stop = int(self._offsets[row]), int(self._offsets[row + 1])
        where = f"{self.where}, row {row}, byte {start}"
        sample = memoryview(self._read(start, stop - start))
        return cut(sample, self.columns, item_packed=self._item_packed, where=where)


def cut(sample: memoryview, columns: Sequence[Column], *, item_packed: bool = False, where: str) -> Values:
    """The values of a sample, which is unpacked first if it is packed on its own; see `cut_sample`."""
    if item_packed:
        sample = memoryview(unpack(sample, "zstd", MAX_UNPACKED_BYTES, where=where))
    return [*cut_sample(sample, [column.num_bytes for column in columns], where=where)]


def column_values(
    storage: Storage, file: ChunkFile, chunk: Chunk, columns: Sequence[Column], position: int
) -> Iterator[bytes]:
    """One column of every sample; of a plain file only the lengths and the column itself are read."""
    # Packed bytes give nothing until they are unpacked whole, so there is nothing to save.
    if not chunk.is_plain or file.item_packed or chunk.offsets is None:
        for row in range(file.num_samples):
            yield bytes(chunk.values(row)[position] or b"")
        return
    # The lengths of the values stand before them, so a column is found without reading those before it.
    num_sized = sum(column.num_bytes is None for column in columns)
    with storage.open(file.path) as stream:
        for row in range(file.num_samples):
            start, stop = int(chunk.offsets[row]), int(chunk.offsets[row + 1])
            where = f"{chunk.where}, row {row}, byte {start}"
            stream.seek(start)
            stored = iter(struct.unpack(f"<{num_sized}I", _exactly(stream, 4 * num_sized, where)))
            lengths = [next(stored) if column.num_bytes is None else column.num_bytes for column in columns]
            # Before the seek: lengths that lie would lead into the next sample, whose bytes would pass for this one's.
            if 4 * num_sized + sum(lengths) != stop - start:
                raise SourceError(f"{where}: its values are not as long as the sample: fetch or make the file again")
            stream.seek(sum(lengths[:position]), 1)
            yield _exactly(stream, lengths[position], where)


def _exactly(stream: BinaryIO, num_bytes: int, where: str) -> bytes:
    content = stream.read(num_bytes)
    if len(content) != num_bytes:
        raise SourceError(f"{where}: the file ends {num_bytes - len(content)} bytes early: fetch it again")
    return content
