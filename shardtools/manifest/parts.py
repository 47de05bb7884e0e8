"""Manifest parts: one Parquet file a shard, which carries the shard's digest beside the rows.

Owns how a part is encoded. The price of one part a shard: a dataset of 64,000 shards has 64,000 small files, which is
why `dataset.commit` merges them when a dataset is committed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.errors import DatasetError, FormatVersionError, first_line
from shardtools.manifest.schema import COLUMNS, FORMAT_VERSION, SCHEMA

_PREFIX = b"shardtools."
_ROWS_PER_BATCH = 4096


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


class RowCollector:
    """Turns rows into a table with the manifest's schema, a batch at a time, so that few rows are Python objects."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {}
        self._num_pending = 0
        self._batches: list[pa.RecordBatch] = []
        self.num_rows = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row by column name; absent columns are null.

        Raises:
            DatasetError: The row has a column that the schema lacks.
        """
        for name, value in row.items():
            column = self._columns.get(name)
            if column is None:
                if name not in COLUMNS:
                    raise DatasetError(f"a manifest row has only the schema's columns, found {name}")
                column = self._columns[name] = [None] * self._num_pending
            column.append(value)
        self._num_pending += 1
        self.num_rows += 1
        if len(row) < len(self._columns):
            for column in self._columns.values():
                if len(column) < self._num_pending:
                    column.append(None)
        if self._num_pending == _ROWS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        arrays = [
            pa.array(self._columns[field.name], field.type)
            if field.name in self._columns
            else pa.nulls(self._num_pending, field.type)
            for field in SCHEMA
        ]
        self._batches.append(pa.record_batch(arrays, schema=SCHEMA))
        self._columns, self._num_pending = {}, 0

    def table(self) -> pa.Table:
        """All rows so far."""
        if self._num_pending:
            self._flush()
        return pa.Table.from_batches(self._batches, schema=SCHEMA).combine_chunks()


def rows_to_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows by column name -> a table with the manifest's schema; absent columns are null.

    Raises:
        DatasetError: A row has a column that the schema lacks.
    """
    collector = RowCollector()
    for row in rows:
        collector.add(row)
    return collector.table()


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
        # Not `read_table` of a Python stream: a thread of Arrow's may still hold it when the interpreter ends, which
        # then aborts.
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"{where} is no intact Parquet file ({first_line(error)}): restore it, or run the job again"
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
