"""The listing of a source: one entry a sample in a memory-mapped file, and the order in which they are written.

Owns where entries live while a dataset is written. On disk they cost every process together one copy, which the system
may drop and read again; the price is a temporary file of some 100 bytes a sample. In memory stay 8 bytes a sample and
process at the most.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import secrets
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.hashes import hash_text, repeated_rows

_ROWS_PER_BATCH = 16_384
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A finished listing.

    Attributes:
        path: The Arrow file of the entries, in the order of the source.
        ranges: Split -> (first row, one past the last row).
        order_path: NumPy file of row numbers, in the order of writing; `None` where that is the source's.
        digest: sha256 over all entries.
        repeats: For each key that several entries have, their rows.
    """

    path: Path
    ranges: Mapping[str, tuple[int, int]]
    order_path: Path | None
    digest: str
    repeats: tuple[tuple[int, ...], ...]

    @property
    def splits(self) -> dict[str, int]:
        """Split -> number of entries."""
        return {split: stop - start for split, (start, stop) in self.ranges.items()}

    def rows(self, split: str, start: int, stop: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Row number and entry (column -> value) at positions `start` to `stop` of the split."""
        first = self.ranges[split][0]
        if self.order_path is None:
            numbers: Iterator[int] = iter(range(first + start, first + stop))
        else:
            numbers = iter(_open_order(self.order_path)[first + start : first + stop].tolist())
        # Columns of some hundred rows are fast; all of a shard at once would be in memory as Python objects.
        while some := list(itertools.islice(numbers, _ROWS_AT_ONCE)):
            yield from zip(some, self._take(some), strict=True)

    def _take(self, numbers: list[int]) -> list[dict[str, Any]]:
        """Entries by their row numbers, in that order; a column at a time, which a row at a time is slow beside."""
        batches = _open_batches(self.path)
        found: dict[int, dict[str, Any]] = {}
        by_batch: dict[int, list[int]] = {}
        for number in numbers:
            by_batch.setdefault(number // _ROWS_PER_BATCH, []).append(number)
        for batch, of_batch in by_batch.items():
            positions = pa.array([number % _ROWS_PER_BATCH for number in of_batch])
            found.update(zip(of_batch, batches[batch].take(positions).to_pylist(), strict=True))
        return [found[number] for number in numbers]

    def row(self, number: int) -> dict[str, Any]:
        """One entry by its row number."""
        batches = _open_batches(self.path)
        batch, position = batches[number // _ROWS_PER_BATCH], number % _ROWS_PER_BATCH
        names = batch.schema.names
        return {name: batch.column(column)[position].as_py() for column, name in enumerate(names)}


@functools.lru_cache(maxsize=4)
def _open_batches(path: Path) -> list[pa.RecordBatch]:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    return [reader.get_batch(number) for number in range(reader.num_record_batches)]


@functools.lru_cache(maxsize=4)
def _open_order(path: Path) -> npt.NDArray[np.int64]:
    loaded: npt.NDArray[np.int64] = np.load(path, mmap_mode="r")
    return loaded


class ListingBuilder:
    """Takes entries split by split; a context manager around a file in `folder`.

    Args:
        folder: Exists, and outlives the listing.
        schema: Columns of an entry; the first is `key`.
        shuffle_seed: Base of the order of writing; `None` keeps the source's.
    """

    def __init__(self, folder: Path, schema: pa.Schema, shuffle_seed: int | None) -> None:
        # Never a name that was used before: a file that is mapped must not be written again.
        self._path = folder / f"entries-{secrets.token_hex(8)}.arrow"
        self._schema = schema
        self._shuffle_seed = shuffle_seed
        self._columns: list[list[Any]] = [[] for _ in schema]
        self._num_rows = 0
        self._starts: dict[str, int] = {}
        self._split = ""
        self._key_hashes = array("Q")
        self._order_hashes = array("Q")
        self._digest = hashlib.sha256()

    def __enter__(self) -> ListingBuilder:
        self._writer = pa.ipc.new_file(str(self._path), self._schema)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add(self, split: str, *values: Any) -> None:
        """Appends an entry: one value a column, of the same split as the last one or of a new one."""
        if split != self._split:
            self._starts[split] = self._num_rows
            self._split = split
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        # Over the entries in the order of the source: writing in another order is another option, not another source.
        self._digest.update(json.dumps((split, *values), separators=(",", ":")).encode() + b"\n")
        self._key_hashes.append(hash_text(values[0]))
        if self._shuffle_seed is not None:
            self._order_hashes.append(_hash(values[0].encode(), f"order/{self._shuffle_seed}/{split}".encode()))
        self._num_rows += 1
        if self._num_rows % _ROWS_PER_BATCH == 0:
            self._flush()

    def _flush(self) -> None:
        arrays = [pa.array(column, field.type) for column, field in zip(self._columns, self._schema, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._columns = [[] for _ in self._schema]

    def finish(self) -> Listing:
        """Writes the rest and the order; call it once, within the block."""
        if self._num_rows % _ROWS_PER_BATCH:
            self._flush()
        self._writer.close()
        starts = [*self._starts.values(), self._num_rows]
        ranges = dict(zip(self._starts, itertools.pairwise(starts), strict=True))
        return Listing(
            path=self._path,
            ranges=ranges,
            order_path=None if self._shuffle_seed is None else self._store_order(ranges),
            digest=self._digest.hexdigest(),
            repeats=repeated_rows(np.frombuffer(self._key_hashes, np.uint64)),
        )

    def _store_order(self, ranges: Mapping[str, tuple[int, int]]) -> Path:
        """Rows of each split sorted by a hash of their keys: other samples' coming and going does not reorder them."""
        hashes = np.frombuffer(self._order_hashes, np.uint64)
        order = np.empty(self._num_rows, np.int64)
        for start, stop in ranges.values():
            order[start:stop] = start + np.argsort(hashes[start:stop], kind="stable")
        path = self._path.with_suffix(".npy")
        np.save(path, order)
        return path


def _hash(key: bytes, purpose: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8, key=_short(purpose)).digest(), "big")


@functools.lru_cache(maxsize=16)
def _short(purpose: bytes) -> bytes:
    return hashlib.blake2b(purpose, digest_size=16).digest()
