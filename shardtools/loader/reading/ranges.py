"""From rows to ranges of shards: which bytes to ask an object store for, as pure functions.

Owns the joining of neighbours. A longer range has less waiting in it and a gap between two samples is read for nothing;
`coalesce_gap_bytes` is the price of the first in units of the second: what the store sends while a request waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from shardtools.arrays import Int64s
from shardtools.loader.order.epoch import EpochOrder
from shardtools.loader.table.samples import SampleTable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranges:
    """Ranges to read, K of them, and the M rows that are in them.

    Attributes:
        rows: Rising, each once, int64 [M].
        range_of: The range that holds each row, int64 [M].
        shards: Number of each range's shard, int64 [K], never falling.
        starts: First byte, int64 [K].
        ends: Byte after the last, int64 [K].
    """

    rows: Int64s
    range_of: Int64s
    shards: Int64s
    starts: Int64s
    ends: Int64s

    @property
    def num_bytes(self) -> int:
        """Bytes of all ranges."""
        return int((self.ends - self.starts).sum())

    def rows_of(self, number: int) -> Int64s:
        """The rows in one range."""
        found: Int64s = self.rows[self.range_of == number]
        return found


def join_ranges(
    table: SampleTable, rows: Int64s, *, gap_bytes: int, request_bytes: int, chunk_bytes: int = 1
) -> Ranges:
    """Joins neighbours.

    Args:
        table: Where the rows lie; each has an offset of at least 0 and at least 1 byte.
        rows: In any order, repeated or not.
        gap_bytes: Longest piece between two samples that is read through.
        request_bytes: Ranges are cut at the first sample that begins after a multiple of this.
        chunk_bytes: Ranges begin and end at multiples of this.
    """
    rows = distinct(rows)
    shards, offsets = table.shard[rows].astype(np.int64), table.member_offset[rows]
    ends = offsets + table.num_bytes[rows]
    # From here on in the order of places; `range_of` alone goes back to that of `rows`, in which it is looked up.
    order = np.lexsort((offsets, shards))
    shards, offsets, ends = shards[order], offsets[order], ends[order]
    # How far the samples of the same shard reach so far; damaged tables have samples inside of others.
    reach = ends.copy()
    for start, stop in runs(shards):
        np.maximum.accumulate(reach[start:stop], out=reach[start:stop])
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = (shards[1:] != shards[:-1]) | (offsets[1:] - gap_bytes > reach[:-1])
    # Stores keep large objects in parts of a round length: ranges that follow them touch fewer.
    part = offsets // request_bytes
    is_first[1:] |= part[1:] != part[:-1]
    firsts = np.flatnonzero(is_first)
    range_of = np.empty(len(rows), np.int64)
    range_of[order] = np.cumsum(is_first) - 1
    range_ends = np.maximum.reduceat(ends, firsts) if len(rows) else ends
    return Ranges(
        rows=rows,
        range_of=range_of,
        shards=shards[firsts],
        # To whole pieces of the cache. Two ranges may then share one: the second finds it there.
        starts=offsets[firsts] // chunk_bytes * chunk_bytes,
        ends=-(-range_ends // chunk_bytes) * chunk_bytes,
    )


class BlockMap:
    """Which block of an epoch each row is in.

    With it, a reader waits until it knows all rows that it needs of a block and reads them from front to back.
    """

    def __init__(self, order: EpochOrder) -> None:
        """Reads off the blocks.

        Args:
            order: With shuffle="blocks".

        Raises:
            OptionError: It has another shuffle.
        """
        ranges = [order.block_ranges(block) for block in range(len(order.block_starts) - 1)]
        first_rows = np.concatenate([found[:, 0] for found in ranges])
        blocks = np.repeat(np.arange(len(ranges)), [len(found) for found in ranges])
        # Blocks are made of whole runs of rows, so the run that a row is in tells its block: memory for runs, not for
        # rows.
        by_row = np.argsort(first_rows)
        self._sizes = np.diff(order.block_starts)
        self._first_rows, self._blocks = first_rows[by_row], blocks[by_row]

    def __call__(self, rows: Int64s) -> Int64s:
        """Number of each row's block."""
        found: Int64s = self._blocks[np.searchsorted(self._first_rows, rows, side="right") - 1]
        return found

    def num_samples(self, block: int) -> int:
        """Samples of a block, over all ranks."""
        return int(self._sizes[block])


def distinct(values: Int64s) -> Int64s:
    """The values, rising, each once; `numpy.unique` does more and imports for a tenth of a second."""
    ordered = np.sort(values)
    found: Int64s = ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(ordered)]]
    return found


def runs(values: Int64s) -> list[tuple[int, int]]:
    """Start and end of each run of equal values."""
    edges = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return list(pairwise(edges))
