"""Reading the bytes of batches, ahead of time and without copies.

Owns the way from rows to `RawBatch`: local files are mapped, object stores are read in ranges, several at a time, and
what is damaged is replaced or raised. The calling thread only plans and waits; reading and checking happen in threads,
none of which holds the interpreter's lock while it waits or hashes. The price of threads with an object store below:
a reader does not survive a fork; start processes with "spawn".
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.errors import ShardError, StorageError
from shardtools.loader.reading.ahead import RemoteAhead, Round
from shardtools.loader.reading.batch import Counter, RawBatch, ReadCounts, Replacement, Slots
from shardtools.loader.reading.integrity import MAX_ATTEMPTS, replace_row
from shardtools.loader.reading.local import LocalFiles, MappedFile
from shardtools.loader.reading.options import ReadOptions
from shardtools.loader.reading.ranges import BlockMap
from shardtools.loader.reading.remote import RemoteShards
from shardtools.loader.table.samples import SampleTable
from shardtools.storage import Storage, open_storage
from shardtools.storage.s3 import S3Storage
from shardtools.words import counted

_LOCAL_STEPS_AHEAD = 8
"""Steps for which local files are opened and announced to the system before their turn."""

_MAX_STEPS_AHEAD = 4096
_STEPS_PLANNED_AT_ONCE = 8
"""Steps that are planned while the caller waits for one: the first batch should not wait for the plan of all."""

_BAD_ALWAYS_ALLOWED = 16

_logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class _Step:
    """A step on its way: which of its rows are local, and which round has the others."""

    rows: Int64s
    local: Int64s
    parts: list[tuple[Int64s, Round]]
    files: Future[tuple[Slots, dict[int, MappedFile]]] | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class _Window:
    """The steps between the caller's iterator and the caller."""

    steps: Iterator[npt.NDArray[np.int64]]
    remote: RemoteAhead
    pending: deque[_Step] = field(default_factory=deque)
    is_exhausted: bool = False


class BatchReader:
    """Reads batches of a table's rows. A context manager; `batches` is for one thread at a time."""

    def __init__(self, table: SampleTable, options: ReadOptions | None = None, *, seed: int = 0) -> None:
        """Asks nothing of local files yet, and of object stores only what a disk cache needs.

        Args:
            table: All samples.
            options: How to read.
            seed: The run's: decides what replaces a bad sample.

        Raises:
            StorageError: A dataset's address is malformed, or the cache's folder cannot be used.
            DatasetError: With a cache: a dataset was changed since the table was made.
        """
        self.table = table
        self.options = options or ReadOptions()
        self._seed = seed
        self._storages: list[Storage] = [open_storage(url) for url in table.datasets]
        stores = {number: found for number, found in enumerate(self._storages) if isinstance(found, S3Storage)}
        self._is_remote = np.array([number in stores for number in range(len(self._storages))])
        self._counter = Counter()
        self._files = LocalFiles(table, self._path_of)
        self._shards = RemoteShards(table, stores, self.options, self._counter)
        self._pool = ThreadPoolExecutor(self.options.num_requests, "shardtools-read")
        self._bad: tuple[int, set[int]] = (0, set())

    def __enter__(self) -> BatchReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def counts(self) -> ReadCounts:
        """What was read so far; a copy."""
        return self._counter.counts()

    def close(self) -> None:
        """Ends all reading, also that which waits for a store; batches in hand stay valid."""
        self._shards.close()
        self._pool.shutdown(cancel_futures=True)

    def batches(
        self, steps: Iterable[npt.NDArray[np.int64]], *, epoch: int = 0, blocks: BlockMap | None = None
    ) -> Iterator[RawBatch]:
        """The bytes of each step, in the order of the steps and of the rows in them.

        Args:
            steps: Rows of the table, int64 [N]; N may differ from step to step and be 0. Steps are asked for in the
                calling thread, earlier than they are delivered.
            epoch: 0-based; decides what replaces a bad sample.
            blocks: With shuffle="blocks": each block of an object store is then read from front to back. Half of
                `read_ahead_bytes` should hold a block; more than three quarters are read in parts.

        Raises:
            StorageError: A place cannot be read, or did not answer for as long as it was asked.
            ShardError: A sample is damaged and `on_bad` is "raise", or too many are.
            IndexError: A row is not in the table.
        """
        remote = RemoteAhead(self.table, self._shards, self.options, self._pool, self._counter, blocks)
        window = _Window(steps=iter(steps), remote=remote)
        try:
            while step := self._next(window):
                yield self._finish(step, remote, epoch)
                # The caller's batch may be the last to hold these bytes.
                del step
        finally:
            # Also where the caller leaves in the middle: requests that nobody waits for would hold up those of the next
            # epoch.
            remote.cancel()
            for left in window.pending:
                if left.files is not None:
                    left.files.cancel()

    def replace(self, batch: RawBatch, reasons: Mapping[int, str]) -> RawBatch:
        """Other samples for those that turned out to be bad after reading, such as images that cannot be decoded.

        Args:
            batch: As it was delivered, or as this method returned it.
            reasons: Position in the batch -> what is wrong; at least one.

        Returns:
            A batch of the replacements only, in the order of positions.

        Raises:
            ShardError: `on_bad` is "raise", or too many are bad.
            StorageError: A place cannot be read.
        """
        # From here on these are as bad as those with a wrong digest. Their attempts go on from where reading left off,
        # or a row that was tried before would be tried again.
        positions = np.array(sorted(reasons), np.int64)
        slots = Slots.empty(len(positions))
        slots.reasons = {index: reasons[position] for index, position in enumerate(positions.tolist())}
        delivery = _Delivery(
            asked=batch.asked[positions],
            rows=batch.rows[positions],
            attempts=batch.attempts[positions],
            places=positions,
            slots=slots,
        )
        return self._deliver(delivery, batch.epoch)

    def _path_of(self, shard: int) -> Path:
        dataset, path = self.table.shards[shard]
        found = self._storages[dataset].local_path(path)
        if found is None:
            raise StorageError(f"{self._storages[dataset].object_url(path)} is not a local file: expected a folder")
        return found

    def _next(self, window: _Window) -> _Step | None:
        """The next step, after asking for as many behind it as options allow."""
        # Three reasons to plan one step more: there is none yet, the next one waits for a round that takes more steps
        # before it is planned, or there is room. Without the first two nothing can be delivered, so only the third has
        # a quota.
        quota = _STEPS_PLANNED_AT_ONCE
        remote, pending = window.remote, window.pending
        while not window.is_exhausted and (
            not pending
            or any(part.ranges is None for _, part in pending[0].parts)
            or (quota > 0 and len(pending) < self._steps_ahead(pending) and remote.num_waiting == 0)
        ):
            quota -= 1
            rows = next(window.steps, None)
            if rows is None:
                window.is_exhausted = True
                # No step can fill the last round any more, and the one at the front may wait for it.
                remote.finish_round()
            else:
                pending.append(self._plan(rows, remote))
            remote.submit()
        if not pending:
            return None
        # Whatever memory says, the step that is handed over next must be on its way, or its caller would wait for ever.
        remote.submit(needed=[part for _, part in pending[0].parts])
        # Announced pages take the system's memory, not ours: only the nearest steps.
        for index, step in enumerate(pending):
            if index > _LOCAL_STEPS_AHEAD:
                break
            if step.files is None and len(step.local):
                step.files = self._pool.submit(self._take_local, step.rows[step.local], is_ahead=index > 0)
        return pending.popleft()

    def _steps_ahead(self, pending: deque[_Step]) -> int:
        return _MAX_STEPS_AHEAD if any(step.parts for step in pending) else _LOCAL_STEPS_AHEAD + 1

    def _plan(self, rows: npt.NDArray[np.int64], remote: RemoteAhead) -> _Step:
        rows = np.asarray(rows, np.int64)
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self.table):
            raise IndexError(f"rows are 0 to {len(self.table) - 1}, found {rows.min()}..{rows.max()}")
        is_remote = self._is_remote[self.table.dataset[rows]]
        there = np.flatnonzero(is_remote)
        parts = [(there[part], source) for part, source in remote.add(rows[there])] if len(there) else []
        return _Step(rows=rows, local=np.flatnonzero(~is_remote), parts=parts)

    def _take_local(self, rows: Int64s, *, is_ahead: bool) -> tuple[Slots, dict[int, MappedFile]]:
        return self._files.take(rows, verify=self.options.verify == "sha256", ahead=is_ahead)

    def _finish(self, step: _Step, remote: RemoteAhead, epoch: int) -> RawBatch:
        start = time.perf_counter()
        slots = Slots.empty(len(step.rows))
        # Decoding touches these bytes next, and one behind a file's new end would end the process (SIGBUS): so its
        # length is asked again as late as can be.
        if step.files is not None:
            found, files = step.files.result()
            self._files.recheck(step.rows[step.local], found, files)
            if step.parts:
                slots.put(step.local, found)
            else:
                slots = found
        for positions, source in step.parts:
            slots.put(positions, remote.take(source, step.rows[positions]))
        num_samples = len(step.rows)
        delivery = _Delivery(
            asked=step.rows,
            rows=step.rows.copy(),
            attempts=np.zeros(num_samples, np.int64),
            places=np.arange(num_samples),
            slots=slots,
        )
        batch = self._deliver(delivery, epoch)
        self._counter.add(
            num_batches=1,
            num_samples=num_samples,
            num_bytes=int(batch.lengths.sum()),
            wait_seconds=time.perf_counter() - start,
        )
        return batch

    def _deliver(self, delivery: _Delivery, epoch: int) -> RawBatch:
        """Replaces what is bad until nothing is."""
        slots, replacements = delivery.slots, []
        # A replacement may be bad too. Each turn uses up an attempt of every bad place, so it ends: with a sound batch,
        # or with an error of `_replace`.
        while slots.reasons:
            bad = np.array(sorted(slots.reasons), np.int64)
            for index in bad.tolist():
                replacements.append(self._replace(delivery, index, epoch))
            found = self._read_now(delivery.rows[bad])
            # Only now, `_replace` reads the reasons; `put` brings those of replacements that are bad themselves.
            slots.reasons.clear()
            slots.put(bad, found)
        return RawBatch(
            epoch=epoch,
            rows=delivery.rows,
            asked=delivery.asked,
            attempts=delivery.attempts,
            buffers=[content for content in slots.buffers if content is not None],
            addresses=slots.addresses,
            lengths=slots.lengths,
            replacements=tuple(replacements),
        )

    def _replace(self, delivery: _Delivery, index: int, epoch: int) -> Replacement:
        """Puts another row in the place of a bad one."""
        row, reason = int(delivery.rows[index]), delivery.slots.reasons[index]
        offset, num_bytes = int(self.table.member_offset[row]), int(self.table.num_bytes[row])
        key = self.table.key_strings(delivery.rows[index : index + 1])[0]
        dataset, path = self.table.shards[int(self.table.shard[row])]
        shard = self._storages[dataset].object_url(path)
        what = f"sample {key!r} is bad: {reason} ({num_bytes} bytes at byte {offset} of {shard})"
        if self.options.on_bad == "raise":
            raise ShardError(f"{what}: run shardtools verify, or read with on_bad='replace'")
        # From the row that the order gave, not from the last replacement: so every run tries the same rows in turn.
        other = replace_row(
            self.table,
            int(delivery.asked[index]),
            seed=self._seed,
            epoch=epoch,
            attempt=int(delivery.attempts[index]),
        )
        if other is None:
            tried = int(delivery.attempts[index])
            raise ShardError(
                f"{what}, and so are {tried} others that could take its place (at most {MAX_ATTEMPTS} are tried): run "
                "shardtools verify"
            )
        self._count_bad(epoch, row, what)
        delivery.rows[index] = other
        delivery.attempts[index] += 1
        found = Replacement(
            position=int(delivery.places[index]),
            row=row,
            key=key,
            shard=shard,
            offset=offset,
            num_bytes=num_bytes,
            reason=reason,
            by_row=other,
            by_key=self.table.key_strings(np.array([other]))[0],
        )
        self._counter.add(num_replaced=1)
        _logger.warning("%s", found)
        return found

    def _count_bad(self, epoch: int, row: int, what: str) -> None:
        if self._bad[0] != epoch:
            self._bad = (epoch, set())
        # One that was tried as a replacement before is still one sample.
        bad = self._bad[1]
        bad.add(row)
        allowed = max(_BAD_ALWAYS_ALLOWED, int(self.options.max_bad_share * len(self.table)))
        if len(bad) > allowed:
            raise ShardError(
                f"{counted(len(bad), 'sample')} of epoch {epoch} were bad, allowed are {allowed} of "
                f"{len(self.table)}; the last "
                f"one: {what}: run shardtools verify, or raise max_bad_share"
            )

    def _read_now(self, rows: Int64s) -> Slots:
        """The bytes of a few rows, out of turn."""
        slots = Slots.empty(len(rows))
        is_remote = self._is_remote[self.table.dataset[rows]]
        for positions, remote in ((np.flatnonzero(~is_remote), False), (np.flatnonzero(is_remote), True)):
            if len(positions) == 0:
                continue
            if remote:
                ahead = RemoteAhead(self.table, self._shards, self.options, self._pool, self._counter, None)
                # Not counted against the limit of memory: the caller waits for these, and they are few.
                slots.put(positions, ahead.read_now(rows[positions]))
            else:
                slots.put(positions, self._take_local(rows[positions], is_ahead=False)[0])
        return slots


@dataclass(slots=True, kw_only=True, eq=False)
class _Delivery:
    """A batch while its bad samples are being replaced.

    Attributes:
        asked: int64 [N].
        rows: What is delivered instead so far, int64 [N].
        attempts: int64 [N].
        places: Positions in the caller's batch, int64 [N].
        slots: The bytes.
    """

    asked: Int64s
    rows: Int64s
    attempts: Int64s
    places: Int64s
    slots: Slots
