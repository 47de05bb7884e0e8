"""Several sources in one epoch, in a stated ratio.

Owns whose turn it is. The pattern of sources repeats after as many positions as the ratio's parts add up to, and in any
run from the start of an epoch each source is less than one sample off its share, so every batch has the proportions to
within one sample at either end. Each source goes through its own orders again and again and carries on in the next
epoch where it was. The price: "an epoch" is exactly once for one source only, the one that defines its length; how
often each of the others was seen, `passes` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.errors import OptionError
from shardtools.loader.order.epoch import EpochOrder, OrderOptions

LENGTHS: dict[str, Callable[[Sequence[int]], int]] = {
    "first": lambda ends: ends[0],
    "longest": max,
    "shortest": min,
}
"""What ends an epoch -> its length, out of the lengths after which each source has been seen once."""

MAX_RATIO = 65_536
_ORDERS_KEPT = 3
"""Orders of a source in memory: a batch may end one of its epochs and begin the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixOptions:
    """How sources share an epoch.

    Attributes:
        ratio: Parts of each source, whole numbers of at least 1: (1, 1) is half and half.
        length: "first", "longest" or "shortest": the source that an epoch goes through exactly once (the one that
            takes longest or shortest at this ratio); or a number of samples.

    Raises:
        OptionError: A value is out of range.
    """

    ratio: tuple[int, ...]
    length: str | int = "first"

    def __post_init__(self) -> None:
        if not self.ratio or any(part < 1 for part in self.ratio):
            raise OptionError(
                f"ratio has whole numbers of at least 1, found {self.ratio}: leave out sources of 0 parts"
            )
        if sum(self.ratio) // math.gcd(*self.ratio) > MAX_RATIO:
            raise OptionError(f"the parts of a ratio add up to at most {MAX_RATIO}, found {self.ratio}: round them")
        if isinstance(self.length, str) and self.length not in LENGTHS:
            raise OptionError(f"length is one of {', '.join(LENGTHS)} or a number, found {self.length!r}")
        if isinstance(self.length, int) and self.length < 1:
            raise OptionError(f"length is at least 1 sample, found {self.length}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePasses:
    """What one epoch takes from one source.

    Attributes:
        source: 0-based number.
        num_samples: Samples of the source.
        num_drawn: Positions of the epoch that are the source's.
        start: Passes over the source before the epoch: 2.5 is two whole ones and half of the third.
        end: Passes after it.
    """

    source: int
    num_samples: int
    num_drawn: int
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRows:
    """Where the positions of a mixed epoch lead.

    Attributes:
        sources: 0-based number of the source, int64 [M].
        source_epochs: Which pass over the source it is, 0-based over the whole run, int64 [M].
        rows: Row of the table, int64 [M].
    """

    sources: Int64s
    source_epochs: Int64s
    rows: Int64s


class Mixture:
    """The sequence of one epoch over several runs of a table's rows, an `order.EpochSequence`.

    Attributes:
        num_positions: Length of the sequence.
    """

    def __init__(
        self,
        options: MixOptions,
        order: OrderOptions,
        *,
        epoch: int,
        source_starts: Int64s,
        shard_starts: Int64s | None = None,
        weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Fixes the sequence.

        Args:
            options: Ratio and length.
            order: How each source is shuffled.
            epoch: 0-based.
            source_starts: First row of each source and, last, the number of rows, [S + 1], rising:
                `SampleTable.dataset_starts`.
            shard_starts: As for `EpochOrder`, over all rows; no shard is in two sources.
            weights: As for `EpochOrder`, over all rows.

        Raises:
            OptionError: The ratio has not one part a source, or `EpochOrder` refuses a source.
        """
        self._starts = np.asarray(source_starts, np.int64)
        self._sizes = np.diff(self._starts)
        if len(self._sizes) != len(options.ratio):
            raise OptionError(
                f"ratio has one part for each of {len(self._sizes)} sources, found {options.ratio}: give as many parts"
            )
        if bool((self._sizes < 1).any()):
            raise OptionError(f"source {int(self._sizes.argmin())} of a mixture is empty: check its split or the view")
        self._options, self._order, self._epoch = options, order, epoch
        self._shard_starts, self._weights = shard_starts, weights
        self._pattern = turns(options.ratio)
        # Turns of each source among the first 0, 1, ... positions of a period, [S, period + 1]: with them any number of
        # positions is counted without going through them.
        is_turn = self._pattern == np.arange(len(options.ratio))[:, None]
        self._counts = np.concatenate((np.zeros((len(is_turn), 1), np.int64), np.cumsum(is_turn, axis=1)), axis=1)
        self.num_positions = self._length(options.length)
        self._orders: dict[tuple[int, int], EpochOrder] = {}

    def _length(self, length: str | int) -> int:
        if isinstance(length, int):
            return length
        return LENGTHS[length]([self._position_after(source) for source in range(len(self._sizes))])

    def _position_after(self, source: int) -> int:
        """Positions after which a source has been seen once."""
        counts = self._counts[source]
        # The turn of its last sample. Minus 1, or a source that fills whole periods would seem to end after one more.
        periods, rest = divmod(int(self._sizes[source]) - 1, int(counts[-1]))
        return periods * len(self._pattern) + int(np.searchsorted(counts, rest + 1))

    def _drawn(self, source: int, num_positions: Int64s) -> Int64s:
        """How many of the first positions are the source's."""
        periods, rest = np.divmod(num_positions, len(self._pattern))
        return np.asarray(periods * self._counts[source, -1] + self._counts[source, rest], np.int64)

    def locate(self, positions: Int64s) -> MixedRows:
        """Source, pass and row at each position.

        Raises:
            IndexError: A position is not in the sequence.
        """
        positions = np.asarray(positions, np.int64)
        if positions.size and not 0 <= int(positions.min()) <= int(positions.max()) < self.num_positions:
            raise IndexError(f"positions are 0 to {self.num_positions - 1}, found {positions.min()}..{positions.max()}")
        sources = self._pattern[positions % len(self._pattern)]
        source_epochs, rows = np.empty_like(positions), np.empty_like(positions)
        for source in np.unique(sources).tolist():
            mine = np.flatnonzero(sources == source)
            # All epochs are equally long and begin with the same turn, so what the earlier ones took is a product.
            before = self._epoch * self._drawn(source, np.array([self.num_positions]))
            passes, places = np.divmod(before + self._drawn(source, positions[mine]), self._sizes[source])
            source_epochs[mine] = passes
            for number in np.unique(passes).tolist():
                chosen = passes == number
                rows[mine[chosen]] = self._starts[source] + self._order_of(source, number).rows(places[chosen])
        return MixedRows(sources=sources, source_epochs=source_epochs, rows=rows)

    def rows(self, positions: Int64s) -> Int64s:
        """Row of the table at each position; see `locate`."""
        return self.locate(positions).rows

    def repeats(self, positions: Int64s) -> Int64s:
        """A number for each position that no other delivery of its row in this epoch has."""
        if self._order.shuffle == "weighted":
            return np.asarray(positions, np.int64) + 1
        return self.locate(positions).source_epochs

    def passes(self) -> tuple[SourcePasses, ...]:
        """What the epoch takes from each source."""
        found = []
        for source, size in enumerate(self._sizes.tolist()):
            drawn = int(self._drawn(source, np.array([self.num_positions]))[0])
            start, end = self._epoch * drawn / size, (self._epoch + 1) * drawn / size
            found.append(SourcePasses(source=source, num_samples=size, num_drawn=drawn, start=start, end=end))
        return tuple(found)

    def _order_of(self, source: int, source_epoch: int) -> EpochOrder:
        order = self._orders.get((source, source_epoch))
        if order is None:
            kept = [place for place in self._orders if place[0] == source]
            for place in kept[: max(len(kept) - _ORDERS_KEPT + 1, 0)]:
                del self._orders[place]
            start, stop = self._starts[source : source + 2].tolist()
            order = self._orders[source, source_epoch] = EpochOrder(
                # As many draws as samples, so that a pass is as long as for the other shuffles.
                replace(self._order, num_draws=None),
                epoch=source_epoch,
                num_samples=stop - start,
                shard_starts=self._shard_starts_of(start, stop),
                weights=None if self._weights is None else self._weights[start:stop],
                name=f"source{source}/order",
            )
        return order

    def _shard_starts_of(self, start: int, stop: int) -> Int64s | None:
        if self._shard_starts is None:
            return None
        inside = (self._shard_starts >= start) & (self._shard_starts <= stop)
        return self._shard_starts[inside] - start


def turns(ratio: Sequence[int]) -> Int64s:
    """One period of the sources' turns, [sum of the parts in lowest terms].

    After any number of turns each source has had its share to within less than one turn: a source may take its next
    turn only when its share has grown past what it had, and of those that may, the one whose turn is due first does
    (the Pfair schedule of Baruah, Cohen, Plaxton and Varvel, "Proportionate progress", 1996, for one processor).
    """
    parts = [part // math.gcd(*ratio) for part in ratio]
    period = sum(parts)
    had = [0] * len(parts)
    order = []
    for turn in range(period):
        due = [
            (-(-(had[source] + 1) * period // part), source)
            for source, part in enumerate(parts)
            if had[source] * period < part * (turn + 1)
        ]
        source = min(due)[1]
        had[source] += 1
        order.append(source)
    return np.array(order, np.int64)
