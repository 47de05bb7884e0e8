"""Opening a file of an MDS or LitData dataset, however it is packed.

Owns the comparison of a file with what its index says: length, number of samples, and offsets that end where the file
does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from shardtools.errors import NotFoundError, SourceError
from shardtools.shards.chunks.sample_table import read_offsets
from shardtools.sources.chunks.files import MAX_UNPACKED_BYTES, Chunk, ChunkFile, Column, PlainChunk, unpack
from shardtools.sources.chunks.litdata_packed import FRAMES_MAGIC, ROWS_MAGIC, FramedChunk, RowsChunk
from shardtools.storage import Storage


def open_chunk(storage: Storage, file: ChunkFile, columns: Sequence[Column]) -> Chunk:
    """Opens a file and checks its table.

    Raises:
        SourceError: It is missing, has not the length that the index says, is packed too large, or is damaged.
        ShardError: Its table is cut off or damaged.
    """
    where = storage.object_url(file.path)
    try:
        num_bytes = storage.size(file.path)
    except NotFoundError:
        raise SourceError(f"{where} is missing, the index lists it: fetch it") from None
    if file.packed is not None:
        content = _unpack_file(storage, file, num_bytes)
        return _plain(storage, file, columns, len(content), content)
    mark = storage.read_range(file.path, 0, 8) if file.is_litdata and num_bytes >= 8 else b""
    # Before anything is read by its table: a file that is cut off should be told by its length. Frames are exempt:
    # their own table is compared.
    if mark != FRAMES_MAGIC:
        _check_size(file, num_bytes, where)
    if mark == FRAMES_MAGIC:
        return FramedChunk(storage, columns, file, num_bytes)
    if file.is_litdata and num_bytes >= 12 and storage.read_range(file.path, num_bytes - 8, 8) == ROWS_MAGIC:
        return RowsChunk(storage, columns, file, num_bytes)
    return _plain(storage, file, columns, num_bytes, None)


def _plain(
    storage: Storage, file: ChunkFile, columns: Sequence[Column], num_bytes: int, content: bytes | None
) -> PlainChunk:
    where = storage.object_url(file.path)

    def read(offset: int, length: int) -> bytes:
        if content is not None:
            return content[offset : offset + length]
        return storage.read_range(file.path, offset, length)

    offsets = read_offsets(read, num_bytes, file.num_samples, where=where)
    if offsets[-1] != num_bytes:
        raise SourceError(
            f"{where}: its samples end at byte {offsets[-1]}, the file at {num_bytes}: fetch or make it again"
        )
    return PlainChunk(where, columns, offsets, read, in_memory=content is not None, item_packed=file.item_packed)


def _check_size(file: ChunkFile, num_bytes: int, where: str) -> None:
    if num_bytes not in file.sizes:
        raise SourceError(
            f"{where} has {num_bytes} bytes, its index says {file.sizes[0]}: it is cut off or of another dataset, "
            "fetch it again"
        )


def _unpack_file(storage: Storage, file: ChunkFile, num_bytes: int) -> bytes:
    where = storage.object_url(file.path)
    largest = max(file.sizes)
    if max(largest, num_bytes) > MAX_UNPACKED_BYTES:
        raise SourceError(
            f"{where} has {max(largest, num_bytes)} bytes, compressed files are read up to {MAX_UNPACKED_BYTES} bytes: "
            "unpack it first"
        )
    # At most what the index says, so that a damaged file cannot fill the memory.
    content = unpack(storage.read(file.path), cast(str, file.packed), largest, where=where)
    _check_size(file, len(content), f"{where}, unpacked,")
    return content
