"""Keys of an overlay's rows against those of the dataset, and against the rows before them.

Owns the two questions asked of every part before it is written: is each key in the dataset, and does each come once?
Both are asked of hashes in DuckDB, which spills to the disk: 8 bytes a row of the dataset and 16 a row of the overlay.
The price: an unknown key would pass where its 64-bit hash is that of a known one (odds of 4 in 10**12 at 64 million
rows); a doubled key is told by two hashes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from shardtools.dataset import Dataset
from shardtools.errors import DatasetError, ShardtoolsError, first_line
from shardtools.manifest import SCHEMA
from shardtools.overlays.overlay_file import KEY
from shardtools.quoting import quoted_name
from shardtools.storage import StoredObject
from shardtools.storage.arrow import StorageHandler, local_source, scan_storage
from shardtools.words import counted

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "preserve_insertion_order": False,
    "memory_limit": "2GB",
}
_SHOWN = 3


class KeyChecker:
    """Checks tables one after the other; a context manager, for one thread."""

    def __init__(self, dataset: Dataset, unique: Sequence[str]) -> None:
        """Reads nothing yet.

        Args:
            dataset: A finished dataset.
            unique: Columns that together come once in all tables; `key` is one of them.
        """
        self._dataset = dataset
        self._unique = tuple(unique)
        self._columns = ", ".join(map(quoted_name, unique))
        # The second hash is of another text, so that it says something new where the first ones agree.
        others = ", ".join(quoted_name(name) for name in unique if name != KEY)
        self._hashes = f"hash({self._columns}) as first, hash({KEY} || '.'{', ' if others else ''}{others}) as second"
        self._handler: StorageHandler | None = None
        spill = os.path.join(tempfile.gettempdir(), f"shardtools-overlay-{os.getpid()}-{id(self)}")
        self._connection = duckdb.connect(":memory:", config=_CONFIG | {"temp_directory": spill})
        self._connection.execute("create table seen (first ubigint, second ubigint)")
        self._is_ready = False

    def __enter__(self) -> KeyChecker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forgets all keys; may be called again."""
        self._connection.close()

    def check(self, table: pa.Table, *, where: str) -> None:
        """Checks a table and remembers its keys.

        Raises:
            DatasetError: A key is null, unknown or doubled; the message names the first few.
        """
        nulls = next((name for name in self._unique if table[name].null_count), None)
        if nulls is not None:
            raise DatasetError(
                f"{where} has {counted(table[nulls].null_count, 'row')} without {nulls}: every row names its {nulls}"
            )
        self._connection.register("part", table.select(list(self._unique)))
        try:
            self.check_known("part", where=where)
            self._check_doubled(where)
            self._run(f"insert into seen select {self._hashes} from part")
        finally:
            self._connection.unregister("part")

    def remember(self, table: pa.Table) -> None:
        """Remembers the keys of a table that was checked before."""
        self._connection.register("part", table.select(list(self._unique)))
        self._run(f"insert into seen select {self._hashes} from part")
        self._connection.unregister("part")

    def check_known(self, relation: str | pa.Table, *, where: str) -> None:
        """Checks that the dataset has all keys of a table.

        Raises:
            DatasetError: It has not.
        """
        if not isinstance(relation, str):
            self._connection.register("part", relation.select([KEY]))
            relation = "part"
        # Once: the keys of the dataset are read at the first question and kept for the others.
        if not self._is_ready:
            self._run(f"create table known as select hash({KEY}) as hash from {self._manifest()}")
            self._is_ready = True
        # As an anti join the smaller side is hashed, which is the part; `not in` would hash the dataset each time.
        unknown = self._run(
            f"select {KEY}, count(*) over () from (select distinct {KEY}, hash({KEY}) as hash from {relation}) "
            f"anti join known using (hash) order by {KEY} limit {_SHOWN}"
        )
        if unknown:
            keys = _shown([repr(row[0]) for row in unknown], unknown[0][-1])
            raise DatasetError(
                f"{where} has {counted(unknown[0][-1], 'key')} not in {self._dataset.storage.url}: {keys}: leave them "
                "out, or give the dataset that has them"
            )

    def _check_doubled(self, where: str) -> None:
        within = self._run(
            f"select {self._columns}, count(*) over () from part group by {self._columns} having count(*) > 1 "
            f"order by {self._columns} limit {_SHOWN}"
        )
        doubled = within or self._run(
            f"select {self._columns}, count(*) over () from (select {self._columns}, {self._hashes} from part) "
            f"semi join seen using (first, second) order by {self._columns} limit {_SHOWN}"
        )
        if not doubled:
            return
        total = doubled[0][-1]
        found = _shown([" ".join(map(_text, row[:-1])) for row in doubled], total)
        advice = (
            f"once for each {', '.join(self._unique)}"
            if len(self._unique) > 1
            else "once: keep one row of each, or declare what tells them apart (unique)"
        )
        raise DatasetError(f"{where} has {counted(total, 'key')} more than once: {found}: a key comes {advice}")

    def _manifest(self) -> str:
        storage, paths = self._dataset.storage, self._dataset.manifest_paths
        folders = {path.rpartition("/")[0] for path in paths}
        sizes = {stored.path: stored.num_bytes for folder in folders for stored in storage.list(folder)}
        missing = next((path for path in paths if path not in sizes), None)
        if missing is not None:
            raise DatasetError(
                f"{storage.object_url(missing)} is missing though the dataset lists it: restore it, or run the job "
                "again"
            )
        files = [StoredObject(path, sizes[path]) for path in paths]
        source = local_source(storage, files)
        if source is None:
            rows, self._handler = scan_storage(storage, files, SCHEMA)
            self._connection.register("manifest", rows)
            source = "manifest"
        return source

    def _run(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql).fetchall()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            failure: ShardtoolsError | None = self._handler.failure if self._handler else None
            raise failure or DatasetError(
                f"cannot check the keys against {self._dataset.storage.url}: {first_line(error)}"
            ) from None


def _shown(keys: list[str], total: int) -> str:
    return ", ".join(keys) + (", ..." if total > len(keys) else "")


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
