"""The order of an epoch: a sequence of table rows that is fixed before anyone asks for a part of it.

Owns the four shuffles. A *position* is a place in the epoch's sequence, a *row* a place in the table of samples; the
order maps one to the other as a pure function of (seed, epoch), so ranks, threads and resumed runs agree without a
word between them. The price of a global shuffle is one ranged read a sample; "blocks" reads whole pieces of shards one
after the other and mixes only what lies in the same block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.errors import OptionError
from shardtools.loader.order.permutation import MAX_SIZE, Permutation
from shardtools.loader.randomness import hash_counters, stream_key, to_unit

SHUFFLES = {
    "global": "every order of all samples is possible",
    "blocks": "pieces of shards in random order, samples shuffled within blocks of them",
    "none": "the order of the table",
    "weighted": "drawn with replacement, in proportion to weights: not exactly once",
}
"""Name -> what it means."""

_BLOCKS_KEPT = 2
"""Tables of blocks in memory: a batch that crosses from one block into the next needs both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderOptions:
    """How the samples of an epoch follow each other.

    Attributes:
        seed: Of the whole run.
        shuffle: One of `SHUFFLES`.
        block_size: "blocks" only: samples shuffled together, at least 1. A block is the fewest whole pieces with so
            many samples; an epoch's last block may have fewer. `None` follows from the samples' bytes: see
            `block_sizes.resolve_sizes`.
        piece_size: "blocks" only: most samples of a shard that stay together, at least 1; longer shards are cut evenly.
            `None` follows from the samples' bytes where `block_size` does too; where that is given, it keeps whole
            shards together, which a dataset of one huge shard should not.
        num_draws: "weighted" only: length of the epoch, at least 1; `None` for the number of samples.

    Raises:
        OptionError: A value is out of range.
    """

    seed: int = 0
    shuffle: str = "global"
    block_size: int | None = None
    piece_size: int | None = None
    num_draws: int | None = None

    def __post_init__(self) -> None:
        if self.shuffle not in SHUFFLES:
            raise OptionError(f"shuffle is one of {', '.join(SHUFFLES)}, found {self.shuffle!r}")
        for name in ("block_size", "piece_size", "num_draws"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is at least 1, found {value}")
        if self.num_draws is not None and self.shuffle != "weighted":
            raise OptionError(
                f"num_draws is for shuffle='weighted', found it with {self.shuffle!r}: other shuffles deliver each "
                "sample once"
            )


class EpochSequence(Protocol):
    """What a loader needs of an epoch: `EpochOrder` and `Mixture` are ones."""

    @property
    def num_positions(self) -> int:
        """Length of the sequence."""

    def rows(self, positions: Int64s) -> Int64s:
        """Row of the table at each position."""

    def repeats(self, positions: Int64s) -> Int64s:
        """What tells one delivery of a row from another in the same epoch: see `randomness.Draws.for_repeats`."""


class EpochOrder:
    """The sequence of one epoch over one table.

    Attributes:
        num_positions: Length of the sequence: the number of samples, but for "weighted".
        exactly_once: Whether every sample comes exactly once; false for "weighted".
    """

    def __init__(
        self,
        options: OrderOptions,
        *,
        epoch: int,
        num_samples: int,
        shard_starts: Int64s | None = None,
        weights: npt.NDArray[np.float32] | None = None,
        name: str = "order",
    ) -> None:
        """Fixes the sequence.

        Args:
            options: The kind of shuffle and the seed; for "blocks" with a `block_size` (`block_sizes.resolve_sizes`).
            epoch: 0-based.
            num_samples: Rows of the table, at least 1.
            shard_starts: "blocks" only: first row of each shard and, last, `num_samples`, [S + 1], rising.
            weights: "weighted" only: [num_samples], finite and at least 0, not all 0.
            name: Tells the streams of several orders with one seed apart.

        Raises:
            OptionError: A number is out of range, or `shard_starts` or `weights` lack or do not fit.
        """
        if not 1 <= num_samples <= MAX_SIZE:
            raise OptionError(f"an epoch needs at least 1 sample, found {num_samples}: check the split or the view")
        if epoch < 0:
            raise OptionError(f"epoch is at least 0, found {epoch}")
        self.num_positions = num_samples
        self.exactly_once = options.shuffle != "weighted"
        self._shuffle = options.shuffle
        stream = stream_key(options.seed, epoch, name)
        if options.shuffle == "global":
            self._permutation = Permutation(num_samples, stream)
        elif options.shuffle == "blocks":
            starts = _checked_starts(shard_starts, num_samples)
            if options.block_size is None:
                raise OptionError("an order of blocks needs a block_size, found None: give one, or call resolve_sizes")
            self._blocks = _Blocks(cut_pieces(starts, options.piece_size), options.block_size, stream)
        elif options.shuffle == "weighted":
            self.num_positions = options.num_draws or num_samples
            self._cumulative = _cumulate(weights, num_samples)
            self._stream = stream

    def rows(self, positions: Int64s) -> Int64s:
        """Row of the table at each position, in any order and of any number.

        Raises:
            IndexError: A position is not in the sequence.
        """
        positions = np.asarray(positions, np.int64)
        if positions.size and not 0 <= int(positions.min()) <= int(positions.max()) < self.num_positions:
            raise IndexError(f"positions are 0 to {self.num_positions - 1}, found {positions.min()}..{positions.max()}")
        if self._shuffle == "global":
            return self._permutation(positions)
        if self._shuffle == "blocks":
            return self._blocks.rows(positions)
        if self._shuffle == "weighted":
            drawn = to_unit(hash_counters(positions.astype(np.uint64), self._stream)) * self._cumulative[-1]
            # To the right of equal sums, or a sample of weight 0 could be drawn.
            found = np.searchsorted(self._cumulative, drawn, side="right")
            # A product that rounds up to the sum would point behind the last row.
            last = np.searchsorted(self._cumulative, self._cumulative[-1])
            return np.asarray(np.minimum(found, last), np.int64)
        return np.array(positions)

    def repeats(self, positions: Int64s) -> Int64s:
        """0 where each sample comes once; the position itself, plus 1, where samples are drawn with replacement."""
        positions = np.asarray(positions, np.int64)
        return np.zeros_like(positions) if self.exactly_once else positions + 1

    @property
    def block_starts(self) -> Int64s:
        """First position of each block of "blocks" and, last, `num_positions`, [B + 1]; one block otherwise."""
        if self._shuffle == "blocks":
            return self._blocks.starts
        return np.array([0, self.num_positions], np.int64)

    def block_ranges(self, block: int) -> Int64s:
        """First row and end (excluded) of each run of rows that a block of "blocks" reads, [R, 2], rising."""
        if self._shuffle == "blocks":
            return self._blocks.ranges(block)
        raise OptionError(f"only shuffle='blocks' has blocks to read one by one, found {self._shuffle!r}")


def cut_pieces(shard_starts: Int64s, piece_size: int | None) -> Int64s:
    """First row of each piece and, last, the number of rows: shards cut evenly into at most `piece_size` samples."""
    if piece_size is None:
        return shard_starts
    sizes = np.diff(shard_starts)
    num_pieces = -(-sizes // piece_size)
    ends = np.cumsum(num_pieces)
    number = np.arange(int(ends[-1])) - np.repeat(ends - num_pieces, num_pieces)
    pieces = np.repeat(shard_starts[:-1], num_pieces) + number * np.repeat(sizes, num_pieces) // np.repeat(
        num_pieces, num_pieces
    )
    return np.append(pieces, shard_starts[-1])


class _Blocks:
    """Pieces in random order, cut into blocks, each of which is shuffled; memory is O(pieces)."""

    def __init__(self, piece_starts: Int64s, block_size: int, stream: int) -> None:
        # From here on positions count along the pieces in their random order.
        order = Permutation(len(piece_starts) - 1, stream)(np.arange(len(piece_starts) - 1))
        self._stream = stream
        self._first_rows = piece_starts[order]
        self._piece_ends = np.cumsum(np.diff(piece_starts)[order])
        block_ends = []
        piece, position = 0, 0
        # The piece that reaches the wanted size is the block's last: pieces stay whole, or they would be read twice.
        while piece < len(order):
            wanted = position + block_size
            piece = min(int(np.searchsorted(self._piece_ends, wanted)) + 1, len(order))
            position = int(self._piece_ends[piece - 1])
            block_ends.append(piece)
        self._block_pieces = np.array([0, *block_ends], np.int64)
        self.starts: Int64s = np.concatenate(([0], self._piece_ends))[self._block_pieces].astype(np.int64)
        self._shuffled: dict[int, Permutation] = {}

    def rows(self, positions: Int64s) -> Int64s:
        # First to where the shuffle of its block puts a position, then from there to the piece, and to the row in it.
        blocks = np.searchsorted(self.starts, positions, side="right") - 1
        inner = np.empty_like(positions)
        for block in np.unique(blocks).tolist():
            chosen = blocks == block
            start = int(self.starts[block])
            inner[chosen] = start + self._permutation(block)(positions[chosen] - start)
        pieces = np.searchsorted(self._piece_ends, inner, side="right")
        piece_starts = np.concatenate(([0], self._piece_ends))[pieces]
        return np.asarray(self._first_rows[pieces] + (inner - piece_starts), np.int64)

    def _permutation(self, block: int) -> Permutation:
        if block not in self._shuffled:
            while len(self._shuffled) >= _BLOCKS_KEPT:
                del self._shuffled[next(iter(self._shuffled))]
            stream = int(hash_counters(np.array([block + 1], np.uint64), self._stream)[0])
            self._shuffled[block] = Permutation(int(self.starts[block + 1] - self.starts[block]), stream)
        return self._shuffled[block]

    def ranges(self, block: int) -> Int64s:
        pieces = slice(int(self._block_pieces[block]), int(self._block_pieces[block + 1]))
        ends = np.concatenate(([0], self._piece_ends))
        first = self._first_rows[pieces]
        sizes = np.diff(ends[pieces.start : pieces.stop + 1])
        ranges = np.stack([first, first + sizes], axis=1)
        return ranges[np.argsort(first)]


def _checked_starts(shard_starts: Int64s | None, num_samples: int) -> Int64s:
    if shard_starts is None:
        raise OptionError("shuffle='blocks' needs to know where shards begin: give shard_starts")
    starts = np.asarray(shard_starts, np.int64)
    if len(starts) < 2 or starts[0] != 0 or starts[-1] != num_samples or bool((np.diff(starts) < 1).any()):
        raise OptionError(
            f"shard_starts rises from 0 to the number of samples ({num_samples}), found {starts[:2]} to {starts[-2:]}: "
            "give SampleTable.shard_starts"
        )
    return starts


def _cumulate(weights: npt.NDArray[np.float32] | None, num_samples: int) -> npt.NDArray[np.float64]:
    if weights is None or len(weights) != num_samples:
        found = "none" if weights is None else f"{len(weights)}"
        raise OptionError(
            f"shuffle='weighted' needs a weight for each of {num_samples} samples, found {found}: select a column "
            "`weight` in the view"
        )
    if not bool(np.isfinite(weights).all()) or bool((weights < 0).any()) or not bool((weights > 0).any()):
        raise OptionError("weights are finite, at least 0 and not all 0, found others: correct the view's `weight`")
    return np.cumsum(weights, dtype=np.float64)
