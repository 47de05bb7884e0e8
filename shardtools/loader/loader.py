"""The loader: batches of decoded images, in an order and with crops that nothing but the options decides.

Owns what a caller holds: the table, the state, and the epoch that is being read. Everything is done ahead in a thread,
so that the caller's time is the loader's too. The price: the pixels of `prefetch` batches in memory beyond the one in
the caller's hand, and of two more that are being decoded.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import TracebackType

from shardtools.decode import Decoder, StageSeconds
from shardtools.loader.crops.decoding import BatchDecoder
from shardtools.loader.options import LoaderOptions
from shardtools.loader.order.batches import BatchPlan
from shardtools.loader.order.epoch import EpochOrder, EpochSequence
from shardtools.loader.order.mixing import Mixture, SourcePasses
from shardtools.loader.reading.batch import ReadCounts
from shardtools.loader.reading.block_sizes import resolve_sizes
from shardtools.loader.reading.handoff import Ahead
from shardtools.loader.reading.reader import BatchReader
from shardtools.loader.state import LoaderState, flat_options, resume
from shardtools.loader.steps import Batch, Steps
from shardtools.loader.table.datasets import read_all, read_split
from shardtools.loader.table.samples import SampleTable
from shardtools.loader.table.view import read_view

_PATIENCE_SECONDS = 1.0
"""For a thread that nobody waits for; one that waits for an object store is then told that it was closed."""


class Loader:
    """Reads epochs of one or several datasets. A context manager; not for several threads at a time.

    `epoch(n)` iterates over one epoch; `state()` after any batch says what was delivered, and `load_state` goes on from
    there, also with another number of ranks, threads or samples a batch.
    """

    def __init__(
        self, options: LoaderOptions, table: SampleTable | None = None, decoder: Decoder | None = None
    ) -> None:
        """Makes the table of samples; reads no image yet.

        Args:
            options: What to read, and how.
            table: The table, where another loader of the same options has made it.
            decoder: Decodes elsewhere, such as on a GPU; a batch's images are then in its memory.

        Raises:
            DatasetError: A dataset is not finished or damaged.
            QueryError: The view cannot run or selects nothing.
            OptionError: No such split, or options that contradict the table.
        """
        self.options = options
        self.table = table if table is not None else _make_table(options)
        self._order = resolve_sizes(options.order, self.table)
        self._decoder = decoder or Decoder(options.decode_options())
        self._reader: BatchReader | None = BatchReader(self.table, options.read, seed=options.order.seed)
        self._ahead: Ahead[Batch] | None = None
        self._state = self._start_of(0)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends reading; batches in hand stay valid, and another epoch begins it anew."""
        self._stop()
        self._close_reader()

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return self._plan(self._start_of(self._state.epoch)).num_steps

    def state(self) -> LoaderState:
        """What has been delivered: up to the last batch that was taken."""
        return self._state

    def load_state(self, state: LoaderState) -> None:
        """Goes on where another loader was; ends an epoch that is being read.

        Raises:
            PlanMismatchError: The table, the seed or an option differs; the message names it.
        """
        # Refused before anything is stopped: a state that does not fit leaves the loader as it was.
        resumed = resume(state, self._start_of(state.epoch))
        self._stop()
        self._state = resumed

    def facts(self) -> dict[str, str | bool | int]:
        """What decides on the pixels, for a run file."""
        return {**self._decoder.facts(), "table_digest": self.table.digest, "num_rows": len(self.table)}

    def passes(self, epoch: int) -> tuple[SourcePasses, ...]:
        """What a mixed epoch takes from each dataset, and how often each was seen by then; empty without a mixture."""
        sequence = self._sequence(epoch)
        return sequence.passes() if isinstance(sequence, Mixture) else ()

    def read_counts(self) -> ReadCounts:
        """What was read so far, and how long decoding waited for it."""
        return ReadCounts() if self._reader is None else self._reader.counts

    def stage_seconds(self) -> StageSeconds:
        """What decoding took so far, by stage."""
        return self._decoder.stage_seconds()

    def epochs(self, num_epochs: int) -> Iterator[Batch]:
        """Batches until `num_epochs` epochs are over, from where the state says."""
        while True:
            epoch = self._state.epoch + self._state.is_finished
            if epoch >= num_epochs:
                return
            yield from self.epoch(epoch)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, or of the rest of it where the state is in the middle of this one.

        An epoch that the caller leaves early is given up when its iterator is closed or another one is begun.

        Args:
            epoch: 0-based.

        Raises:
            StorageError: A place cannot be read, or the loader was closed in between.
            ShardError: A sample is bad and `on_bad` is "raise", or too many are.
        """
        self._stop()
        # Another epoch, or the same one again, from its start; else the state is in the middle of this one.
        if epoch != self._state.epoch or self._state.is_finished:
            self._state = self._start_of(epoch)
        started = self._state
        plan = self._plan(started)
        # None are left where "drop" leaves out the end.
        if plan.num_steps:
            yield from self._read(plan, started)
        self._state = self._start_of(epoch + 1)

    def _read(self, plan: BatchPlan, started: LoaderState) -> Generator[Batch]:
        if self._reader is None:
            self._reader = BatchReader(self.table, self.options.read, seed=self.options.order.seed)
        decoder = BatchDecoder(self.options, self.table, self._decoder)
        sequence = self._sequence(started.epoch)
        steps = Steps(self.options, self.table, self._reader, decoder, sequence, plan, started.epoch)
        ahead = Ahead(steps.batches, capacity=self.options.prefetch, name="shardtools-loader")
        self._ahead = ahead
        try:
            for batch in ahead:
                # Before the batch is handed over: a state that is saved with it in hand must not bring it again.
                self._state = started.advanced(plan.delivered(batch.step + 1))
                yield batch
                # The caller's alone, or there would be one more in memory while the next one is waited for.
                del batch
        finally:
            # By now another epoch may have begun, whose thread this is not to stop.
            if self._ahead is ahead:
                self._stop()

    def _stop(self) -> None:
        """Ends the epoch that is being read, if any."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close(interrupt=self._close_reader, patience_seconds=_PATIENCE_SECONDS)

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _sequence(self, epoch: int) -> EpochSequence:
        options, table = self.options, self.table
        if options.mix is not None:
            return Mixture(
                options.mix,
                self._order,
                epoch=epoch,
                source_starts=table.dataset_starts,
                shard_starts=table.shard_starts,
                weights=table.weight,
            )
        return EpochOrder(
            self._order,
            epoch=epoch,
            num_samples=len(table),
            shard_starts=table.shard_starts,
            weights=table.weight,
        )

    def _plan(self, state: LoaderState) -> BatchPlan:
        return BatchPlan(
            num_positions=state.num_positions,
            batch_size=self.options.batch_size,
            world_size=self.options.world_size,
            last=self.options.last,
            start=state.num_delivered,
        )

    def _start_of(self, epoch: int) -> LoaderState:
        return LoaderState(
            seed=self.options.order.seed,
            epoch=epoch,
            num_delivered=0,
            num_positions=self._sequence(epoch).num_positions,
            num_rows=len(self.table),
            table_digest=self.table.digest,
            options=flat_options(**{**self.options.result(), "order": self._order}),
        )


def _make_table(options: LoaderOptions) -> SampleTable:
    if options.view is not None:
        return read_view(options.datasets, options.view, options.view_parameters, overlays=options.overlays)
    if options.split is not None:
        return read_split(options.datasets, options.split, cache_folder=options.table_cache)
    return read_all(options.datasets)
