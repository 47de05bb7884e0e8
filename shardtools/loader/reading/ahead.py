"""Which ranges are asked for before their turn, and what memory they may take.

Owns the rounds. A round is what is planned and asked for together: some steps, or with blocks all that is needed of one
block, so that it is read from front to back though its samples are delivered in random order. Bytes count from the
request until the last buffer that refers to them is gone; the price is that a caller who keeps batches reads less far
ahead.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.loader.reading.batch import Counter, Slots
from shardtools.loader.reading.options import ReadOptions
from shardtools.loader.reading.ranges import BlockMap, Ranges, distinct, join_ranges, runs
from shardtools.loader.reading.remote import FetchedRange, RemoteShards
from shardtools.loader.table.samples import SampleTable

MAX_SAMPLE_BYTES = 256 * 1024 * 1024
"""A row that claims more is damaged: reading it would break the bound on memory."""

_ROUNDS_AHEAD = 8
"""Without blocks: rounds that fit into `read_ahead_bytes`, so that one can be used up while others arrive."""

_BLOCK_SHARE = 0.75
"""Of `read_ahead_bytes`, that one block may take: two are there at a time if they are of half, and a larger one now and
then is waited for, which costs less than reading it sample by sample."""

_STEPS_SHARE = 0.5
"""The same for the ranges of steps."""

_NARROW_GAP_BYTES = 16 * 1024
"""Where memory lacks, samples are still joined over what a tar puts between neighbours."""

_logger = logging.getLogger(__name__)


class Round:
    """Rows that are planned and read together.

    Attributes:
        row_bytes: Of the samples that were asked for so far.
        ranges: What is read, K ranges; `None` while rows are still added.
        tasks: The reading of each range, [K], once it was asked for; `None` after its last use.
        range_bytes: What each range counts against the limit of memory, int64 [K].
    """

    def __init__(self, table: SampleTable) -> None:
        self._table = table
        self._asked: list[Int64s] = []
        self.row_bytes = 0
        self.ranges: Ranges | None = None
        self.tasks: list[Future[FetchedRange] | None] = []
        self.range_bytes = np.zeros(0, np.int64)
        self._uses = np.zeros(0, np.int64)

    def add(self, rows: Int64s) -> None:
        """Asks for rows, which `take` then gives once for each time they were asked for."""
        self._asked.append(rows)
        self.row_bytes += int(self._table.num_bytes[rows[self._is_sound(rows)]].sum())

    def join_ranges(self, options: ReadOptions, chunk_bytes: int, max_bytes: int) -> None:
        """Takes no more rows, and joins neighbours as far as the ranges then have `max_bytes` at most."""
        asked = np.concatenate(self._asked)
        asked = asked[self._is_sound(asked)]
        self._asked = []
        # Gaps that are read through are what memory can do without first. What is too large without any gap is read all
        # the same, or it never would be.
        for gap_bytes in (options.coalesce_gap_bytes, min(options.coalesce_gap_bytes, _NARROW_GAP_BYTES), 0):
            ranges = join_ranges(
                self._table,
                asked,
                gap_bytes=gap_bytes,
                request_bytes=options.request_bytes,
                chunk_bytes=chunk_bytes,
            )
            # What the cache maps takes no memory.
            if chunk_bytes > 1 or ranges.num_bytes <= max_bytes:
                break
        self.ranges = ranges
        # How often each range will still be taken from: at 0 its bytes can go, before the round is over.
        self._uses = np.bincount(ranges.range_of[np.searchsorted(ranges.rows, asked)], minlength=len(ranges.shards))
        self.range_bytes = ranges.ends - ranges.starts
        if chunk_bytes > 1:
            # Here bytes only say how far ahead reading is.
            weights = self._table.num_bytes[ranges.rows].astype(np.float64)
            self.range_bytes = np.bincount(ranges.range_of, weights, minlength=len(ranges.shards)).astype(np.int64)

    def take(self, rows: Int64s) -> tuple[Slots, int]:
        """The bytes of rows, for which it waits, and the bytes of the ranges that were needed for the last time.

        Raises:
            StorageError: A range could not be read.
        """
        slots = Slots.empty(len(rows))
        sound = self._is_sound(rows)
        for position in np.flatnonzero(~sound).tolist():
            slots.reasons[position] = f"no image has {self._table.num_bytes[rows[position]]} bytes at such an offset"
        positions = np.flatnonzero(sound)
        if self.ranges is None or len(positions) == 0:
            return slots, 0
        ranges = self.ranges.range_of[np.searchsorted(self.ranges.rows, rows[positions])]
        offsets, lengths = self._table.member_offset[rows], self._table.num_bytes[rows]
        fetched = {number: self._result(number) for number in distinct(ranges).tolist()}
        for position, number in zip(positions.tolist(), ranges.tolist(), strict=True):
            row, found = int(rows[position]), fetched[number]
            if row in found.reasons:
                slots.reasons[position] = found.reasons[row]
                continue
            content, address = found.sample(row, int(offsets[position]), int(lengths[position]))
            slots.buffers[position] = content
            slots.addresses[position], slots.lengths[position] = address, len(content)
        self._uses -= np.bincount(ranges, minlength=len(self._uses))
        done = [number for number in fetched if self._uses[number] == 0]
        for number in done:
            self.tasks[number] = None
        return slots, int(self.range_bytes[done].sum())

    def cancel(self) -> None:
        """Forgets what nobody will take."""
        for task in self.tasks:
            if task is not None:
                task.cancel()
        self.tasks = []

    def _result(self, number: int) -> FetchedRange:
        task = self.tasks[number]
        if task is None:
            raise IndexError(f"range {number} was taken already")
        return task.result()

    def _is_sound(self, rows: Int64s) -> npt.NDArray[np.bool_]:
        offsets, lengths = self._table.member_offset[rows], self._table.num_bytes[rows]
        return np.asarray((offsets >= 0) & (offsets < 2**62) & (lengths >= 1) & (lengths <= MAX_SAMPLE_BYTES))


class RemoteAhead:
    """The rounds of one epoch, asked for in their order as memory allows. For one thread."""

    def __init__(
        self,
        table: SampleTable,
        shards: RemoteShards,
        options: ReadOptions,
        pool: ThreadPoolExecutor,
        counter: Counter,
        blocks: BlockMap | None,
    ) -> None:
        self._table, self._shards, self._options, self._pool = table, shards, options, pool
        self._counter, self._blocks = counter, blocks
        self._open: Round | None = None
        self._open_block = -1
        self._round_bytes = 0
        self._waiting: deque[Round] = deque()
        self._submitted: deque[Round] = deque()
        self._held = 0
        self._freed: deque[int] = deque()

    @property
    def num_waiting(self) -> int:
        """Rounds that are planned, but not asked for yet."""
        return len(self._waiting)

    def add(self, rows: Int64s) -> list[tuple[slice, Round]]:
        """Puts rows into rounds; gives each part of them with its round."""
        if self._blocks is None:
            return [(slice(0, len(rows)), self._add_step(rows))]
        parts = []
        numbers = self._blocks(rows)
        # Rows come in the order of delivery, block after block: another number closes the open round.
        for start, stop in runs(numbers):
            if self._open is None or self._open_block != int(numbers[start]):
                self.finish_round()
                self._open, self._open_block = Round(self._table), int(numbers[start])
            self._open.add(rows[start:stop])
            parts.append((slice(start, stop), self._open))
            # Waiting for the rest of this block would take more memory than a round may have.
            if self._open.row_bytes > self._max_round_bytes:
                self._tell_of_split(self._blocks.num_samples(self._open_block))
                self.finish_round()
        return parts

    def _add_step(self, rows: Int64s) -> Round:
        """Puts steps together until they are worth a round: the first alone, so that it comes soon, then more."""
        found = self._open = self._open or Round(self._table)
        found.add(rows)
        if found.row_bytes >= self._round_bytes:
            self._round_bytes = min(2 * found.row_bytes, self._options.read_ahead_bytes // _ROUNDS_AHEAD)
            self.finish_round()
        return found

    def finish_round(self) -> None:
        """Plans the round that rows were added to last."""
        if self._open is not None:
            self._open.join_ranges(self._options, self._shards.chunk_bytes, self._max_round_bytes)
            self._waiting.append(self._open)
            self._open = None

    def submit(self, needed: Collection[Round] = ()) -> None:
        """Asks for rounds: those that are needed now, and as many as there is memory for."""
        self._collect()
        # In their order, so what stands before a needed round is asked for with it. And never nothing (`_held == 0`): a
        # round that is larger than all memory must be read too.
        while self._waiting and (
            any(waiting is wanted for wanted in needed for waiting in self._waiting)
            or self._held == 0
            or self._held + int(self._waiting[0].range_bytes.sum()) <= self._options.read_ahead_bytes
        ):
            following = self._waiting.popleft()
            self._held += int(following.range_bytes.sum())
            self._start(following, is_held=self._shards.chunk_bytes == 1)
            self._submitted.append(following)
        if self._shards.chunk_bytes == 1:
            self._counter.see_peak(self._held)

    def take(self, source: Round, rows: Int64s) -> Slots:
        """See `Round.take`."""
        slots, num_bytes = source.take(rows)
        if self._shards.chunk_bytes > 1:
            # Without a cache the last buffer says when memory is free (`_collect`); mapped pieces count until their
            # last use.
            self._held -= num_bytes
        # Only from the front: steps are taken in order, so rounds are used up nearly in theirs.
        while self._submitted and not any(self._submitted[0].tasks):
            self._submitted.popleft()
        return slots

    def read_now(self, rows: Int64s) -> Slots:
        """Reads a few rows out of turn."""
        alone = Round(self._table)
        alone.add(rows)
        alone.join_ranges(self._options, self._shards.chunk_bytes, self._max_round_bytes)
        self._start(alone, is_held=False)
        return alone.take(rows)[0]

    def cancel(self) -> None:
        """Gives up what was not taken."""
        for submitted in self._submitted:
            submitted.cancel()
        self._waiting.clear()

    def _start(self, following: Round, *, is_held: bool) -> None:
        ranges = following.ranges
        if ranges is None:
            return
        # What the cache maps, and what is read out of turn, is not taken back here: no buffer of it counts.
        freed = self._freed.append if is_held else _ignore
        # In the order of places, not of need: stores give neighbours faster (measured: 15 % less in all).
        for number in range(len(ranges.shards)):
            place = (int(ranges.shards[number]), int(ranges.starts[number]), int(ranges.ends[number]))
            following.tasks.append(self._pool.submit(self._shards.fetch, *place, ranges.rows_of(number), freed))

    def _collect(self) -> None:
        # Filled by whoever drops the last buffer, in any thread: a deque needs no lock, `-=` would.
        while self._freed:
            self._held -= self._freed.popleft()

    @property
    def _max_round_bytes(self) -> int:
        share = _STEPS_SHARE if self._blocks is None else _BLOCK_SHARE
        return int(self._options.read_ahead_bytes * share)

    def _tell_of_split(self, num_samples: int) -> None:
        """Counts a block that is too large, and says so where it is the reader's first."""
        if self._counter.add(num_split_blocks=1).num_split_blocks == 1:
            _logger.warning(
                "a block of %d samples has more than the %d bytes that read_ahead_bytes=%d leaves for one and is read "
                "in parts, with many more requests: take a smaller block_size (None chooses one) or more "
                "read_ahead_bytes",
                num_samples,
                self._max_round_bytes,
                self._options.read_ahead_bytes,
            )


def _ignore(num_bytes: int) -> None: ...
