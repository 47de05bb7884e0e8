"""A DuckDB connection that cannot write: the second wall behind the look at each statement.

Owns the thread that DuckDB works in. DuckDB knows no connection that reads files and writes none, so the kernel is
asked: the thread gives up the right to create, change or remove files (Linux's Landlock) before it connects, and the
threads that DuckDB starts from there have given it up too; only DuckDB's own folder for spilling is left. The rest of
the program keeps its rights. The price: a hop to that thread for each call, and one wall less on a kernel without
Landlock (before 5.13).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

import duckdb
import pyarrow as pa

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    # A table name is never looked up among the variables of the calling Python program.
    "python_enable_replacements": False,
}

# The kernel's interface (linux/landlock.h); the numbers of the calls are the same on all machines.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_BENEATH_A_FOLDER = 1
_NO_NEW_PRIVILEGES = 38
_WRITE_FILE = 1 << 1
_MAKE_AND_REMOVE = sum(1 << bit for bit in range(4, 13))
_TRUNCATE, _TRUNCATE_SINCE = 1 << 14, 3


_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Rule(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


class ReadOnlyConnection:
    """A connection to an empty database in memory, whose threads write no file.

    Every call goes to one thread; it is for one caller at a time.

    Attributes:
        is_walled: Whether the kernel holds the promise.
    """

    def __init__(self) -> None:
        self._spill: str | None = None
        # A place that cannot be written only means that results which do not fit into memory fail.
        with contextlib.suppress(OSError):
            self._spill = tempfile.mkdtemp(prefix="shardtools-sql-")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shardtools-sql")
        try:
            self.is_walled = self._thread.submit(_give_up_writing, self._spill).result()
            config = _CONFIG | ({} if self._spill is None else {"temp_directory": self._spill})
            self._connection = self._thread.submit(duckdb.connect, ":memory:", config=config).result()
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Ends the connection and its thread."""
        self.call(duckdb.DuckDBPyConnection.close)
        self._end()

    def execute(self, sql: str) -> None:
        """Runs a statement of the program's own."""
        self.call(duckdb.DuckDBPyConnection.execute, sql)

    def fetch(self, sql: str, parameters: Mapping[str, Any] | None) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        return self.call(lambda connection: connection.execute(sql, dict(parameters or {}) or None).fetchall())

    def register(self, name: str, rows: Any) -> None:
        """Makes an Arrow table or dataset a table."""
        self.call(duckdb.DuckDBPyConnection.register, name, rows)

    def reader(self, sql: str, parameters: Mapping[str, Any] | None, num_rows: int) -> pa.RecordBatchReader:
        """Batches of so many rows of a statement; take each by `next_batch`."""
        return self.call(lambda one: one.sql(sql, params=dict(parameters or {}) or None).to_arrow_reader(num_rows))

    def next_batch(self, reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
        """The next batch of a reader; `None` after the last."""

        def take(_: duckdb.DuckDBPyConnection) -> pa.RecordBatch | None:
            # An end that is raised would end the thread's future oddly, so it becomes a value here.
            return next(iter(reader), None)

        return self.call(take)

    def call(
        self, function: Callable[Concatenate[duckdb.DuckDBPyConnection, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """Gives the connection to a function, in the thread that writes nothing."""
        future = self._thread.submit(function, self._connection, *args, **kwargs)
        try:
            return future.result()
        except KeyboardInterrupt:
            # The thread hears no signal: without this, the program would end only with its statement.
            self._connection.interrupt()
            raise

    def _end(self) -> None:
        self._thread.shutdown()
        if self._spill is not None:
            shutil.rmtree(self._spill, ignore_errors=True)


def _give_up_writing(spill: str | None) -> bool:
    """Takes the calling thread, and those it starts, the right to write files outside of `spill`.

    Returns:
        Whether the kernel did; it keeps no thread from writing if it is old or forbids the calls.
    """
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    if version < 1:
        return False
    handled = _WRITE_FILE | _MAKE_AND_REMOVE | (_TRUNCATE if version >= _TRUNCATE_SINCE else 0)
    rights = ctypes.c_uint64(handled)
    rules = library.syscall(_CREATE_RULESET, ctypes.byref(rights), ctypes.c_size_t(8), ctypes.c_uint32(0))
    if rules < 0:
        return False
    try:
        if spill is not None:
            folder = os.open(spill, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = _Rule(handled, folder)
                arguments = (ctypes.c_int(_BENEATH_A_FOLDER), ctypes.byref(rule), ctypes.c_uint32(0))
                if library.syscall(_ADD_RULE, ctypes.c_int(rules), *arguments) != 0:
                    return False
            finally:
                os.close(folder)
        # Both hold for this thread alone: its creator and its siblings keep what they may.
        if library.prctl(_NO_NEW_PRIVILEGES, *(ctypes.c_ulong(value) for value in (1, 0, 0, 0))) != 0:
            return False
        return bool(library.syscall(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0)) == 0)
    finally:
        os.close(rules)
