"""Whether a sample's bytes are what the manifest says, and which sample takes its place if not.

Owns the check and the rule of replacement. The rule is a pure function of (table, seed, epoch, row, attempt), so each
rank, each number of threads and each resumed run replaces alike; the price is that looking for a class among a million
rows takes a millisecond, for each bad sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.loader.order.permutation import Permutation
from shardtools.loader.randomness import stream_key
from shardtools.loader.table.samples import SampleTable

MAX_ATTEMPTS = 16
"""Replacements tried for one sample; that all of them are bad is no accident."""

SAME_CLASS_ATTEMPTS = 8
"""How many of them come from the same class and dataset, where it has so many."""

_ROWS_PER_STEP = 1_000_000


def digest_reason(content: memoryview, expected: npt.NDArray[np.uint8]) -> str | None:
    """What is wrong with an image's bytes, `None` if nothing; hashes without holding the interpreter's lock."""
    found = hashlib.sha256(content).digest()
    if found == expected.tobytes():
        return None
    return f"expected sha256 {expected.tobytes().hex()[:12]}..., found {found.hex()[:12]}..."


def replace_row(table: SampleTable, row: int, *, seed: int, epoch: int, attempt: int = 0) -> int | None:
    """The row that takes the place of a bad one.

    First others of the same dataset and class in random order, no one twice, then any of the table; none whose weight
    is 0.

    Args:
        table: All samples of the run.
        row: The bad one, as the epoch's order gave it (not an earlier replacement).
        seed: The run's.
        epoch: 0-based.
        attempt: How many replacements of this row were bad already.

    Returns:
        A row; `None` after `MAX_ATTEMPTS`, or if the table has no other.
    """
    if attempt >= MAX_ATTEMPTS:
        return None
    stream = stream_key(seed, epoch, f"replace row {row}")
    dataset = int(table.dataset[row])
    start, stop = table.dataset_starts[dataset : dataset + 2].tolist()
    # Attempts count along one permutation of the candidates, so none is tried twice within either group.
    own = _Candidates(table, row, start, stop, int(table.class_index[row]))
    num_own = min(own.count, SAME_CLASS_ATTEMPTS)
    if attempt < num_own:
        return own.at(_place(own.count, stream, attempt))
    every = _Candidates(table, row, 0, len(table), None)
    if attempt - num_own >= every.count:
        return None
    return every.at(_place(every.count, stream, attempt - num_own))


def _place(count: int, stream: int, attempt: int) -> int:
    return int(Permutation(count, stream)(np.array([attempt], np.int64))[0])


class _Candidates:
    """Rows `start` to `stop` of one class (or any), without `row` and those of weight 0, found a piece at a time."""

    def __init__(self, table: SampleTable, row: int, start: int, stop: int, class_index: int | None) -> None:
        self._table, self._row, self._start, self._stop = table, row, start, stop
        self._class_index = class_index
        self._counts = [len(found) for found in self._pieces()]
        self.count = sum(self._counts)

    def _pieces(self) -> Iterator[Int64s]:
        for begin in range(self._start, self._stop, _ROWS_PER_STEP):
            part = slice(begin, min(begin + _ROWS_PER_STEP, self._stop))
            wanted = np.ones(part.stop - part.start, np.bool_)
            if self._class_index is not None:
                wanted &= self._table.class_index[part] == self._class_index
            if self._table.weight is not None:
                wanted &= self._table.weight[part] > 0
            if begin <= self._row < part.stop:
                wanted[self._row - begin] = False
            yield begin + np.flatnonzero(wanted)

    def at(self, place: int) -> int:
        for found in self._pieces():
            if place < len(found):
                return int(found[place])
            place -= len(found)
        raise IndexError(place)
