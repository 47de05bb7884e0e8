"""Rows of Parquet files, read forward with bounded memory.

Owns the open file of a process. Parquet has no way to a row but through those before it in its row group, so the place
that was reached is kept between calls, as neighbouring shards ask for neighbouring rows; the price is that a process
which skips rows within a group decompresses them. A group is read a few rows at a time: what is in memory is a batch
and three pages (the dictionary, one compressed, one not), however large the group is. Files by pandas and pyarrow with
large groups have pages of 1024 rows, some 100 MB of photos.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.errors import SourceError, first_line
from shardtools.sources.parquet.columns import Columns, find_columns
from shardtools.storage import Storage

_BATCH_BYTES = 4 * 1024 * 1024
"""Uncompressed length of the rows that are decoded together, as far as the group's mean row tells."""

_MAX_BATCH_ROWS = 4096
_LISTING_BATCH_ROWS = 16_384
_BUFFER_BYTES = 1024 * 1024
_REMOTE_BUFFER_BYTES = 4 * 1024 * 1024
"""Length of one read of a column; for object stores that of one request of `Storage.open`."""

_MAGIC = b"PAR1"
_ENCRYPTED_MAGIC = b"PARE"
_TAIL_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetRows:
    """A file of rows: path below the root, length in bytes, sha256 of its footer, rows of each group, its columns."""

    path: str
    num_bytes: int
    footer: str
    group_rows: tuple[int, ...]
    columns: Columns

    @property
    def num_rows(self) -> int:
        """Rows of all groups."""
        return sum(self.group_rows)


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Turns what Arrow raises for damaged files into a `SourceError`."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise SourceError(f"{where} is no intact Parquet file: {first_line(error)}: fetch or write it again") from None


def find_rows(storage: Storage, path: str) -> ParquetRows:
    """Reads a file's footer.

    Raises:
        SourceError: It is no Parquet file, is cut off or damaged, or has no image column.
    """
    where = storage.object_url(path)
    with storage.open(path) as stream:
        num_bytes = stream.seek(0, 2)
        footer = _footer_digest(stream, num_bytes, where)
        with explained(where):
            metadata = _open(stream, storage).metadata
            groups = tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
            schema = metadata.schema.to_arrow_schema()
        if any(count < 0 for count in groups) or sum(groups) != metadata.num_rows:
            raise SourceError(
                f"{where} says it has {metadata.num_rows} rows, its groups have {sum(groups)}: fetch or write it again"
            )
    return ParquetRows(
        path=path, num_bytes=num_bytes, footer=footer, group_rows=groups, columns=find_columns(schema, where=where)
    )


def read_columns(storage: Storage, rows: ParquetRows, paths: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(row number of its first row, batch) over a whole file, for columns of short values.

    Raises:
        SourceError: The file is damaged.
    """
    where = storage.object_url(rows.path)
    with storage.open(rows.path) as stream:
        first = 0
        with explained(where):
            batches = _open(stream, storage).iter_batches(
                batch_size=_LISTING_BATCH_ROWS, columns=list(paths), use_threads=False
            )
        while True:
            with explained(where):
                batch = next(batches, None)
            if batch is None:
                break
            yield first, batch
            first += batch.num_rows
    if first != rows.num_rows:
        raise SourceError(f"{where} ends at row {first}, expected {rows.num_rows} rows: fetch or write it again")


def _open(stream: BinaryIO | pa.NativeFile, storage: Storage) -> pq.ParquetFile:
    return pq.ParquetFile(
        stream,
        # Read ahead, Arrow would fetch all of a row group at once.
        pre_buffer=False,
        buffer_size=_BUFFER_BYTES if storage.is_local else _REMOTE_BUFFER_BYTES,
        page_checksum_verification=True,
    )


def _footer_digest(stream: BinaryIO, num_bytes: int, where: str) -> str:
    """sha256 of the footer, which holds the place and length of every column of every group."""
    stream.seek(max(0, num_bytes - _TAIL_BYTES))
    tail = stream.read(_TAIL_BYTES)
    if tail[4:] == _ENCRYPTED_MAGIC:
        raise SourceError(f"{where} is encrypted: write it again without encryption")
    if tail[4:] != _MAGIC:
        raise SourceError(
            f"{where} does not end like a Parquet file (expected PAR1 at byte {max(0, num_bytes - 4)}): it is cut off "
            "or something else: fetch it again"
        )
    length = int.from_bytes(tail[:4], "little")
    if length + _TAIL_BYTES > num_bytes:
        raise SourceError(
            f"{where} is damaged: expected a footer of at most {num_bytes - _TAIL_BYTES} bytes, its last bytes say "
            f"{length}: fetch it again"
        )
    stream.seek(num_bytes - _TAIL_BYTES - length)
    return hashlib.sha256(stream.read(length)).hexdigest()


class RowReader:
    """One open file and the batch of rows that was reached in it.

    Args:
        storage: The root.
        rows: The file, as it was listed.

    Raises:
        SourceError: The file is not the one that was listed.
    """

    def __init__(self, storage: Storage, rows: ParquetRows) -> None:
        self.rows_file = rows
        self._where = storage.object_url(rows.path)
        self._starts = [0, *itertools.accumulate(rows.group_rows)]
        self._stream = storage.open(rows.path)
        self._group = -1
        self._batch_start = 0
        self._batch: pa.RecordBatch | None = None
        self._batches: Iterator[pa.RecordBatch] = iter(())
        try:
            num_bytes = self._stream.seek(0, 2)
            # The footer holds the place of every column, so a file that was written again is found without reading its
            # rows.
            if num_bytes != rows.num_bytes or _footer_digest(self._stream, num_bytes, self._where) != rows.footer:
                raise SourceError(
                    f"{self._where} was {rows.num_bytes} bytes with another footer when it was listed, now "
                    f"{num_bytes}: let nothing write to the source, then run the same command again"
                )
            local = storage.local_path(rows.path)
            with explained(self._where):
                # Python's files would hand each page over as a copy.
                self._file = _open(self._stream if local is None else pa.OSFile(str(local)), storage)
        except BaseException:
            self._stream.close()
            raise

    def read(self, start: int, stop: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """(row number, column -> value) of rows `start` to `stop` (exclusive).

        Raises:
            SourceError: The file is damaged.
        """
        for number in range(start, stop):
            batch = self._reach(number)
            with explained(f"{self._where} row {number}"):
                position = number - self._batch_start
                row = {name: batch.column(place)[position].as_py() for place, name in enumerate(batch.schema.names)}
            yield number, row

    def close(self) -> None:
        """Closes the file and gives Arrow's unused memory back."""
        self._batch, self._batches = None, iter(())
        self._file.close(force=True)
        self._stream.close()
        pa.default_memory_pool().release_unused()

    def _reach(self, number: int) -> pa.RecordBatch:
        """The batch that holds a row; only a row before the one reached makes the group start again."""
        group = bisect.bisect_right(self._starts, number) - 1
        # Within a group there is only forward; shards that follow each other go on where the last one ended.
        if group != self._group or number < self._batch_start:
            self._begin(group)
        while self._batch is None or number >= self._batch_start + self._batch.num_rows:
            self._batch_start += self._batch.num_rows if self._batch is not None else 0
            # Frees the rows before the next ones are decoded.
            self._batch = None
            with explained(f"{self._where} near row {self._batch_start}"):
                self._batch = next(self._batches, None)
            if self._batch is None:
                # So that another call begins the group anew instead of going on behind its end.
                self._group = -1
                raise SourceError(
                    f"{self._where} ends at row {self._batch_start} of its group {group}, expected "
                    f"{self.rows_file.group_rows[group]} rows in the group: fetch or write it again"
                )
        return self._batch

    def _begin(self, group: int) -> None:
        self._batch, self._batches = None, iter(())
        self._group, self._batch_start = group, self._starts[group]
        with explained(self._where):
            metadata = self._file.metadata.row_group(group)
            # Rows of photos are large and rows of thumbnails are not: a batch is bounded by bytes, not by a number of
            # rows.
            mean = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
            self._batches = self._file.iter_batches(
                batch_size=min(_MAX_BATCH_ROWS, max(1, _BATCH_BYTES // mean)),
                row_groups=[group],
                columns=self.rows_file.columns.paths,
                use_threads=False,
            )
