"""A DuckDB connection over the manifests of datasets.

Owns the tables that SQL sees (`samples`, `events`, `datasets`, `overlays.NAME`, and those that a caller hands over). A
statement may read: what it would do is looked at first (`statements`), and the connection cannot write (`connection`).
Extensions are not fetched and not loaded, so nothing reaches the network but the reading of the given datasets. The
price: results leave through `sql.output` alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from shardtools.dataset import Dataset, find_twice, open_dataset, read_plan_file
from shardtools.errors import DatasetError, OptionError, ShardtoolsError
from shardtools.execution import read_events
from shardtools.manifest import COLUMNS, SCHEMA
from shardtools.quoting import quoted_text
from shardtools.sql.connection import ReadOnlyConnection
from shardtools.sql.explain import explain
from shardtools.sql.overlay_tables import OverlayTables
from shardtools.sql.statements import check_kind, check_plan
from shardtools.storage import StoredObject
from shardtools.storage.arrow import StorageHandler, local_source, scan_storage
from shardtools.words import counted

ROWS_PER_BATCH = 20_000
"""Rows of a result that are in Python's memory at a time."""

_EVENTS_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("event", pa.string()),
        ("log", pa.string()),
        ("facts", pa.string()),
    ]
)
_DATASETS_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("kind", pa.string()),
        ("committed", pa.bool_()),
        ("plan_id", pa.string()),
        ("scale", pa.int32()),
        ("num_rows", pa.int64()),
        ("num_images", pa.int64()),
        ("num_bytes", pa.int64()),
        ("settings", pa.string()),
        ("notes", pa.string()),
    ]
)
_TABLE_COLUMNS = {
    "samples": ("dataset", *COLUMNS),
    "events": tuple(_EVENTS_SCHEMA.names),
    "datasets": tuple(_DATASETS_SCHEMA.names),
}


class Rows:
    """The result of a statement, a batch at a time; it can be iterated once, while its session is open.

    Attributes:
        schema: Names and Arrow types of the columns.
    """

    def __init__(
        self,
        schema: pa.Schema,
        next_batch: Callable[[], pa.RecordBatch | None],
        explained: Callable[[Exception], ShardtoolsError],
    ) -> None:
        self.schema = schema
        self._next_batch = next_batch
        self._explained = explained

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                batch = self._next_batch()
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                raise self._explained(error) from None
            if batch is None:
                return
            yield batch


_KINDS = {pa.int8(): "tinyint", pa.int32(): "integer", pa.int64(): "bigint", pa.list_(pa.int32()): "integer[]"}
"""Arrow's integers in DuckDB, whose int8 has 8 bytes; all other types of the manifest are called the same."""

_NO_ROWS = "select {} where false".format(
    ", ".join(f"null::{_KINDS.get(field.type, field.type)} as {field.name}" for field in SCHEMA)
)
"""All columns of the manifest."""


class Session:
    """Datasets as SQL tables.

    `samples` has the manifest's columns and, first, `dataset`: the address as it was given. `events` has the event
    logs, which know the times; `datasets` has one row a dataset; `overlays.NAME` has `dataset` and the columns of an
    overlay. Tables of the caller's stand beside these. Use it as a context manager; it is for one thread.

    Attributes:
        notes: One line each on what a user should know about the rows (a dataset that is not finished).
    """

    def __init__(
        self,
        urls: Sequence[str | os.PathLike[str]],
        *,
        overlays: Sequence[str | os.PathLike[str]] = (),
        tables: Mapping[str, pa.Table] | None = None,
    ) -> None:
        """Opens the datasets.

        Args:
            urls: Folders or s3:// addresses; none where there are `tables`, and `samples` has no rows then.
            overlays: Folders or addresses of overlays that are not in their dataset.
            tables: Name -> rows of further tables; none of the names above.

        Raises:
            OptionError: No dataset and no table is given, or a dataset twice.
            DatasetError: There is no dataset, or one of its manifest files is missing.
            FormatVersionError: Written by another format version.
        """
        names = [os.fspath(url) for url in urls]
        if not names and not tables:
            raise OptionError("SQL needs at least one dataset: give its folder or s3:// address")
        self._names = names
        self._datasets = [open_dataset(url, incomplete=True) for url in urls]
        twice = find_twice(self._datasets)
        if twice is not None:
            one, other = (names[number] for number in twice)
            also = "" if one == other else f" (as {one} and {other})"
            raise OptionError(f"dataset {one} is given twice{also}, its rows would count double: give it once")
        self._handlers: list[StorageHandler] = []
        self._has_events = False
        self._tables = dict(tables or {})
        self.notes = tuple(
            f"{name} is not finished: the rows are those of the {counted(len(dataset.part_paths), 'shard')} so far"
            for name, dataset in zip(names, self._datasets, strict=True)
            if dataset.info is None
        )
        self._connection = ReadOnlyConnection()
        self._overlays = OverlayTables(self._connection, dict(zip(names, self._datasets, strict=True)), overlays)
        try:
            self._create_tables()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session; results that were not read to their end cannot be read on."""
        self._connection.close()

    def stream(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Runs one statement that reads.

        Args:
            sql: May hold parameters as `$name`.
            parameters: Parameter name -> value.

        Raises:
            QueryError: The SQL cannot run, or does something else than reading.
            DatasetError: It names an overlay of another version of its dataset, or a damaged one.
        """
        # In this order: what is no reading statement opens nothing, and overlays become views before the SQL is bound.
        try:
            asked = check_kind(self._connection, sql)
        except duckdb.Error as error:
            raise self._explained(sql, error) from None
        self._overlays.open(sql)
        if not self._has_events and _mentions(sql, "events"):
            # Read on demand only: the logs of a large dataset are thousands of small files.
            self._connection.register("events", self._events(self._datasets))
            self._has_events = True
        try:
            check_plan(self._connection, asked, parameters)
            reader = self._connection.reader(sql, parameters, ROWS_PER_BATCH)
            return Rows(reader.schema, partial(self._connection.next_batch, reader), partial(self._explained, sql))
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._explained(sql, error) from None

    def table(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The whole result of `stream`."""
        rows = self.stream(sql, parameters)
        return pa.Table.from_batches(rows, schema=rows.schema)

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The same as dictionaries."""
        return self.table(sql, parameters).to_pylist()  # type: ignore[no-any-return]  # pyarrow is untyped

    def _explained(self, sql: str, error: Exception) -> ShardtoolsError:
        """The error to raise for one of DuckDB's or Arrow's: the storage's own where reading failed."""
        handlers = [*self._handlers, *self._overlays.handlers]
        failure = next((handler.failure for handler in handlers if handler.failure), None)
        columns = [name for table, names in _TABLE_COLUMNS.items() if _mentions(sql, table) for name in names]
        columns += [name for table, rows in self._tables.items() if _mentions(sql, table) for name in rows.column_names]
        columns += self._overlays.columns(sql)
        # The storage's own error says more than what became of it on the way through Arrow and DuckDB.
        return failure or explain(error, columns, self._overlays.names if _mentions(sql, "overlays") else None)

    def _create_tables(self) -> None:
        branches = [self._samples_branch(number) for number in range(len(self._datasets))]
        if branches:
            self._connection.execute(f"create view samples as {' union all '.join(branches)}")
        else:
            no_samples = pa.schema([pa.field("dataset", pa.string()), *SCHEMA]).empty_table()
            self._connection.register("samples", no_samples)
        for name, rows in self._tables.items():
            self._connection.register(name, rows)
        self._connection.register("events", self._events([]))
        self._connection.register("datasets", self._datasets_table())
        self._connection.execute("create schema overlays")
        # Footers are read once a session, not once a statement.
        self._connection.execute("set parquet_metadata_cache = true")
        # Last: no statement of a user's can take any of this back.
        self._connection.execute("set lock_configuration = true")

    def _samples_branch(self, number: int) -> str:
        dataset = self._datasets[number]
        files = _find_files(dataset)
        source = local_source(dataset.storage, files, by_name=True)
        if source is not None:
            # Parts of before lack the columns that came later, in any mixture after `append`.
            source = f"({_NO_ROWS} union all by name from {source})"
        else:
            source = f"samples_of_dataset_{number}"
            rows, handler = scan_storage(dataset.storage, files, SCHEMA)
            self._handlers.append(handler)
            self._connection.register(source, rows)
        return f"select {quoted_text(self._names[number])} as dataset, {', '.join(COLUMNS)} from {source}"

    def _events(self, datasets: Sequence[Dataset]) -> pa.Table:
        rows = []
        for name, dataset in zip(self._names, datasets, strict=False):
            for facts in read_events(dataset.storage):
                event = {column: facts.pop(column, None) for column in ("time", "event", "log")}
                event["time"] = None if event["time"] is None else round(float(event["time"]) * 1e6)
                rows.append({"dataset": name, **event, "facts": json.dumps(facts)})
        return pa.Table.from_pylist(rows, schema=_EVENTS_SCHEMA)

    def _datasets_table(self) -> pa.Table:
        rows = []
        for name, dataset in zip(self._names, self._datasets, strict=True):
            plan, info = read_plan_file(dataset.storage), dataset.info
            row: dict[str, Any] = {"dataset": name, "committed": info is not None}
            if plan is not None:
                row |= {"kind": plan.kind, "plan_id": plan.plan_id, "scale": plan.scale}
                row |= {"settings": json.dumps(plan.settings), "notes": json.dumps(plan.notes)}
            if info is not None:
                row |= {"kind": info.kind, "plan_id": info.plan_id, "scale": info.scale, "num_rows": info.num_rows}
                row |= {
                    "num_images": info.num_images,
                    "num_bytes": sum(split.num_bytes for split in info.splits.values()),
                }
            rows.append(row)
        return pa.Table.from_pylist(rows, schema=_DATASETS_SCHEMA)


def query(
    sql: str,
    urls: Sequence[str | os.PathLike[str]],
    parameters: Mapping[str, Any] | None = None,
    *,
    overlays: Sequence[str | os.PathLike[str]] = (),
) -> pa.Table:
    """The result of one statement over datasets, whole; `Session.stream` gives it in batches.

    Raises:
        QueryError: The SQL cannot run.
        DatasetError: There is no dataset, or one of its manifest files is missing.
    """
    with Session(urls, overlays=overlays) as session:
        rows = session.stream(sql, parameters)
        return pa.Table.from_batches(rows, schema=rows.schema)


def _find_files(dataset: Dataset) -> list[StoredObject]:
    """The Parquet files to read, all of them there: one listing finds a missing one before a query half-answers."""
    paths = dataset.manifest_paths
    folders = {path.rpartition("/")[0] for path in paths}
    found = {stored.path: stored for folder in folders for stored in dataset.storage.list(folder)}
    missing = [path for path in paths if path not in found]
    if missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DatasetError(
            f"{dataset.storage.object_url(missing[0])}{others} is missing though the dataset lists it: restore it, or "
            "run the job again"
        )
    # DuckDB would say what it makes of damaged bytes in its own words, and nothing at all of another dataset's.
    dataset.check_manifest({path: found[path].num_bytes for path in paths})
    return [found[path] for path in paths]


def _mentions(sql: str, table: str) -> bool:
    return re.search(rf"\b{table}\b", sql, re.IGNORECASE) is not None
