"""Manifest parts: one Parquet file a shard, which carries the shard's digest beside the rows.

Owns how a part is encoded. The price of one part a shard: a dataset of 64,000 shards has 64,000 small files, which is
why `dataset.commit` merges them when a dataset is committed.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.errors import DatasetError, FormatVersionError, first_line
from shardtools.manifest.schema import ADDED_COLUMNS, COLUMNS, FORMAT_VERSION, SCHEMA

_PREFIX = b"shardtools."
_ORIGIN = _PREFIX + b"origin"
_SHARD_FIELD = re.compile(r"([0-9a-f]{64}) (\d{1,18}) (.+)", re.DOTALL)
_ORIGIN_FIELD = re.compile(r"(\S{1,200}) ([a-z][a-z0-9]*) (\d{1,9})")
_ROWS_PER_BATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """A tar that a part speaks for: its path in the dataset, its length in bytes and its sha256."""

    path: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOrigin:
    """What a part was made for: the plan, the split and the 0-based number of its shard in the split."""

    plan_id: str
    split: str
    shard_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A decoded part: its rows and the tars that hold their bytes (none when every row failed).

    `origin` is `None` in parts of releases that did not write it.
    """

    table: pa.Table
    shards: tuple[ShardFile, ...]
    origin: PartOrigin | None = None


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


def encode_part(table: pa.Table, shards: Iterable[ShardFile], origin: PartOrigin | None = None) -> bytes:
    """Parquet bytes of a part; the same input gives the same bytes with the same pyarrow."""
    metadata = {_PREFIX + b"format_version": str(FORMAT_VERSION).encode()}
    if origin is not None:
        metadata[_ORIGIN] = f"{origin.plan_id} {origin.split} {origin.shard_index}".encode()
    for number, shard in enumerate(shards):
        metadata[_PREFIX + b"shard%d" % number] = f"{shard.sha256} {shard.num_bytes} {shard.path}".encode()
    if table.schema.equals(SCHEMA):
        # Parquet calls the values of a list "element", Arrow "item": rows that were read are as those that were made.
        table = table.cast(SCHEMA)
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
        # A text that is no UTF-8 would end whoever looks at it.
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"{where} is no intact Parquet file ({first_line(error)}): restore it, or run the job again"
        ) from None
    metadata = table.schema.metadata or {}
    version = metadata.get(_PREFIX + b"format_version", b"none")
    if version != str(FORMAT_VERSION).encode():
        raise FormatVersionError(
            f"{where} has format version {first_line(_text(version))}, this release reads {FORMAT_VERSION}: use the "
            "release that wrote it"
        )
    shards: list[ShardFile] = []
    while (entry := metadata.get(_PREFIX + b"shard%d" % len(shards))) is not None:
        sha256, num_bytes, path = _fields(entry, _SHARD_FIELD, f"{where}, field shard{len(shards)}")
        shards.append(ShardFile(path=path, num_bytes=int(num_bytes), sha256=sha256))
    bare = _with_added(table.replace_schema_metadata(None))
    if bare.schema != SCHEMA:
        raise DatasetError(
            f"{where} lacks the manifest's columns of format version {FORMAT_VERSION}{_differing(bare.schema)}: "
            "restore it, or run the job again"
        )
    return Part(table=bare, shards=tuple(shards), origin=_origin(metadata, where))


def _with_added(table: pa.Table) -> pa.Table:
    """The table with nulls in the columns that came later, in the order of the schema; another table as it is."""
    missing = frozenset(SCHEMA.names) - frozenset(table.schema.names)
    if missing not in ADDED_COLUMNS or table.schema.names != [name for name in SCHEMA.names if name not in missing]:
        return table
    for place, field in enumerate(SCHEMA):
        if field.name in missing:
            table = table.add_column(place, field, pa.nulls(table.num_rows, field.type))
    return table


def _origin(metadata: Mapping[bytes, bytes], where: str) -> PartOrigin | None:
    if _ORIGIN not in metadata:
        return None
    plan_id, split, shard_index = _fields(metadata[_ORIGIN], _ORIGIN_FIELD, f"{where}, field origin")
    return PartOrigin(plan_id=plan_id, split=split, shard_index=int(shard_index))


def _fields(entry: bytes, pattern: re.Pattern[str], place: str) -> tuple[str, ...]:
    match = pattern.fullmatch(_text(entry))
    if match is None:
        raise DatasetError(f"{place} is damaged, found {first_line(_text(entry))!r}: restore it, or run the job again")
    return match.groups()


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _differing(schema: pa.Schema) -> str:
    """Names the first column that is missing, too many or of another type."""
    for field in SCHEMA:
        if field.name not in schema.names:
            return f" ({field.name} is missing)"
        found = schema.field(schema.get_all_field_indices(field.name)[0])
        if found.type != field.type:
            return f" ({field.name} is {field.type}, found {first_line(str(found.type))})"
    return ""


def digest(content: bytes) -> str:
    """Lower-case hexadecimal sha256."""
    return hashlib.sha256(content).hexdigest()
