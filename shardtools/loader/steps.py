"""The steps of one epoch on their way from rows to batches.

Owns the order of work. One thread reads and plans; two batches are decoded at a time, so that no core waits for the
last image of one; then, in order, what turned out to be bad is replaced, so that replacements do not depend on which
image was decoded first. The price: one batch's pixels more in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.decode import DecodeStatus
from shardtools.loader.augmentation import MultiCropOptions
from shardtools.loader.crops.decoding import BatchDecoder, Images
from shardtools.loader.options import LoaderOptions
from shardtools.loader.order.batches import BatchPlan, BatchPositions
from shardtools.loader.order.epoch import EpochOrder, EpochSequence
from shardtools.loader.reading.batch import RawBatch, Replacement
from shardtools.loader.reading.ranges import BlockMap
from shardtools.loader.reading.reader import BatchReader
from shardtools.loader.table.samples import SampleTable

_BATCHES_AT_A_TIME = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """One rank's share of a step.

    Attributes:
        images: uint8 RGB [N, H, W, 3]; for multi-crop one array a kind of view, [N, K, H, W, 3].
        labels: Class indexes, int64 [N]; -1 where there is none.
        keys: Keys of the samples that were delivered.
        weights: float32 [N] of the view; `None` where it gives none.
        rows: Rows of the loader's table that were delivered, int64 [N].
        repeated: Keys at the end that fill up the last step and come twice in the epoch.
        replacements: Samples that could not be read or decoded, and what took their place.
        epoch: 0-based.
        step: 0-based within the epoch, counted from where this run began it.
    """

    images: npt.NDArray[np.uint8] | list[npt.NDArray[np.uint8]]
    labels: Int64s
    keys: list[str]
    weights: npt.NDArray[np.float32] | None
    rows: Int64s
    repeated: tuple[str, ...]
    replacements: tuple[Replacement, ...]
    epoch: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _UnderWay:
    """A batch that is being decoded."""

    raw: RawBatch
    share: BatchPositions
    repeats: Int64s
    decoded: Future[tuple[Images, npt.NDArray[np.int32]]]


class Steps:
    """Makes the batches of an epoch, or of the rest of one."""

    def __init__(
        self,
        options: LoaderOptions,
        table: SampleTable,
        reader: BatchReader,
        decoder: BatchDecoder,
        sequence: EpochSequence,
        plan: BatchPlan,
        epoch: int,
    ) -> None:
        self._options, self._table, self._reader, self._decoder = options, table, reader, decoder
        self._sequence, self._plan, self._epoch = sequence, plan, epoch
        self._shares: deque[BatchPositions] = deque()

    def batches(self) -> Generator[Batch]:
        """The batches in order; all reading happens in the calling thread."""
        under_way: deque[_UnderWay] = deque()
        step = 0
        with (
            ThreadPoolExecutor(_BATCHES_AT_A_TIME, "shardtools-decode") as threads,
            closing(self._raw_batches()) as raw_batches,
        ):
            for raw in raw_batches:
                under_way.append(self._begin(raw, threads))
                # What is decoded may be the last to hold the bytes of a range.
                del raw
                # Only now, when the next one is being decoded too: while this one is waited for, no core is idle.
                if len(under_way) == _BATCHES_AT_A_TIME:
                    yield self._finish(under_way.popleft(), step)
                    step += 1
            while under_way:
                yield self._finish(under_way.popleft(), step)
                step += 1

    def _raw_batches(self) -> Generator[RawBatch]:
        blocks = None
        if isinstance(self._sequence, EpochOrder) and self._options.order.shuffle == "blocks":
            blocks = BlockMap(self._sequence)
        yield from self._reader.batches(self._rows(), epoch=self._epoch, blocks=blocks)

    def _rows(self) -> Iterator[Int64s]:
        for step in range(self._plan.num_steps):
            share = self._plan.batch_positions(step, self._options.rank)
            # The reader asks for rows well before it delivers them. It keeps their order, so a queue finds the share
            # again.
            self._shares.append(share)
            yield self._sequence.rows(share.positions)

    def _begin(self, raw: RawBatch, threads: ThreadPoolExecutor) -> _UnderWay:
        share = self._shares.popleft()
        repeats = self._sequence.repeats(share.positions)
        decoded = threads.submit(self._decoder.decode, raw, repeats)
        return _UnderWay(raw=raw, share=share, repeats=repeats, decoded=decoded)

    def _finish(self, begun: _UnderWay, step: int) -> Batch:
        images, statuses = begun.decoded.result()
        rows, replacements = self._replace_bad(begun, images, statuses)
        keys = self._table.key_strings(rows)
        return Batch(
            images=images if isinstance(self._options.crop, MultiCropOptions) else images[0][:, 0],
            labels=self._table.class_index[rows].astype(np.int64),
            keys=keys,
            weights=None if self._table.weight is None else self._table.weight[rows],
            rows=rows,
            repeated=tuple(keys[len(keys) - begun.share.num_repeated :]),
            replacements=replacements,
            epoch=self._epoch,
            step=step,
        )

    def _replace_bad(
        self, begun: _UnderWay, images: Images, statuses: npt.NDArray[np.int32]
    ) -> tuple[Int64s, tuple[Replacement, ...]]:
        """Puts others into the places of images that do not decode, until all do.

        Returns:
            The rows that are delivered, and all replacements of the batch.
        """
        current, places = begun.raw, np.arange(len(begun.raw))
        rows, replacements = current.rows.copy(), list(current.replacements)
        # Each turn's batch holds only what replaced the bad ones of the last; `places` says where they belong. The
        # reader counts the attempts and gives up in the end.
        while len(bad := np.flatnonzero(statuses != DecodeStatus.OK)):
            reasons = {int(index): _reason(statuses[index]) for index in bad}
            current = self._reader.replace(current, reasons)
            # The reader counts within what it was given, the caller within the batch.
            replacements += [replace(found, position=int(places[found.position])) for found in current.replacements]
            places = places[bad]
            rows[places] = current.rows
            others = [self._decoder.empty((len(bad), *out.shape[1:])) for out in images]
            statuses = self._decoder.decode_into(current, begun.repeats[places], others)
            for out, other in zip(images, others, strict=True):
                out[places] = other
        return rows, tuple(replacements)


def _reason(status: np.int32) -> str:
    return f"it does not decode ({DecodeStatus(int(status)).name.lower().replace('_', ' ')})"
