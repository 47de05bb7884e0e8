"""Manifest parts: one Parquet file a shard, which carries the shard's digest beside the rows.

Owns how a part is encoded. The price of one part a shard: a dataset of 64,000 shards has 64,000 small files, which is
why `dataset.commit` merges them when a dataset is committed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.errors import DatasetError, FormatVersionError
from shardtools.manifest.schema import FORMAT_VERSION, SCHEMA

_PREFIX = b"shardtools."


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """A tar that a part speaks for: its path in the dataset, its length in bytes and its sha256."""

    path: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A decoded part: its rows and the tars that hold their bytes (none when every row failed)."""

    table: pa.Table
    shards: tuple[ShardFile, ...]


def rows_to_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows by column name -> a table with the manifest's schema; absent columns are null.

    Raises:
        DatasetError: A row has a column that the schema lacks.
    """
    unknown = sorted({name for row in rows for name in row} - set(SCHEMA.names))
    if unknown:
        raise DatasetError(f"a manifest row has only the schema's columns, found {', '.join(unknown)}")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)


def encode_part(table: pa.Table, shards: Iterable[ShardFile]) -> bytes:
    """Parquet bytes of a part; the same input gives the same bytes with the same pyarrow."""
    metadata = {_PREFIX + b"format_version": str(FORMAT_VERSION).encode()}
    for number, shard in enumerate(shards):
        metadata[_PREFIX + b"shard%d" % number] = f"{shard.sha256} {shard.num_bytes} {shard.path}".encode()
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd", store_schema=True)
    return sink.getvalue()


def decode_part(content: bytes, *, where: str) -> Part:
    """The reverse of `encode_part`.

    Raises:
        DatasetError: Not a Parquet file with the manifest's columns.
        FormatVersionError: Written by another format version.
    """
    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"{where} is no intact Parquet file ({str(error).splitlines()[0]}): restore it, or run the job again"
        ) from None
    metadata = table.schema.metadata or {}
    version = metadata.get(_PREFIX + b"format_version", b"none").decode()
    if version != str(FORMAT_VERSION):
        raise FormatVersionError(
            f"{where} has format version {version}, this release reads {FORMAT_VERSION}: use the release that wrote it"
        )
    shards = []
    number = 0
    while (entry := metadata.get(_PREFIX + b"shard%d" % number)) is not None:
        sha256, num_bytes, path = entry.decode().split(" ", 2)
        shards.append(ShardFile(path=path, num_bytes=int(num_bytes), sha256=sha256))
        number += 1
    bare = table.replace_schema_metadata(None)
    if bare.schema != SCHEMA:
        raise DatasetError(
            f"{where} lacks the manifest's columns of format version {FORMAT_VERSION}: restore it, or run the job again"
        )
    return Part(table=bare, shards=tuple(shards))


def digest(content: bytes) -> str:
    """Lower-case hexadecimal sha256."""
    return hashlib.sha256(content).hexdigest()
