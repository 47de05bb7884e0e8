"""Which positions of an epoch are in which batch of which rank.

Owns the cut of a sequence into steps. A step takes the next `batch_size * world_size` positions, whoever takes them, so
the samples of a step do not depend on how many ranks share it; each rank has one run of neighbours. The price of an
epoch that does not divide evenly is chosen with `last`, and what it costs is listed, never silent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shardtools.arrays import Int64s
from shardtools.errors import OptionError

LAST_BATCHES = {
    "pad": "filled with positions from the start of the epoch, which then come twice",
    "drop": "left out: its positions are not delivered",
    "short": "dealt evenly as it is: some ranks get one sample fewer, or none",
}
"""What becomes of the positions that do not fill the last step -> what it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPositions:
    """A rank's share of a step.

    Attributes:
        positions: Places in the epoch's sequence, int64 [b]; those that pad come last.
        num_repeated: How many at the end of `positions` pad, and were or will be delivered elsewhere too.
    """

    positions: Int64s
    num_repeated: int

    @property
    def repeated(self) -> tuple[int, ...]:
        """The positions that pad."""
        return tuple(self.positions[len(self.positions) - self.num_repeated :].tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The steps of an epoch, or of the rest of one.

    Attributes:
        num_positions: Length of the epoch's sequence, at least 1.
        batch_size: Samples of one rank's batch, at least 1.
        world_size: Ranks, at least 1.
        last: One of `LAST_BATCHES`.
        start: Positions that were delivered before, 0 to `num_positions`.

    Raises:
        OptionError: A number is out of range, or "drop" would deliver nothing of a whole epoch.
    """

    num_positions: int
    batch_size: int
    world_size: int = 1
    last: str = "pad"
    start: int = 0

    def __post_init__(self) -> None:
        for name in ("num_positions", "batch_size", "world_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is at least 1, found {getattr(self, name)}")
        if self.last not in LAST_BATCHES:
            raise OptionError(f"last is one of {', '.join(LAST_BATCHES)}, found {self.last!r}")
        if not 0 <= self.start <= self.num_positions:
            raise OptionError(f"start is 0 to {self.num_positions}, found {self.start}")
        if self.start == 0 and self.num_steps == 0:
            raise OptionError(
                f"last='drop' would drop the whole epoch: {self.num_positions} samples do not fill one step of "
                f"{self.batch_size} x {self.world_size}: take smaller batches or last='pad'"
            )

    @property
    def global_batch_size(self) -> int:
        """Positions of a full step, over all ranks."""
        return self.batch_size * self.world_size

    @property
    def num_steps(self) -> int:
        """Steps that are left."""
        left = self.num_positions - self.start
        return left // self.global_batch_size if self.last == "drop" else -(-left // self.global_batch_size)

    def batch_positions(self, step: int, rank: int) -> BatchPositions:
        """The share of `rank` (0-based) in `step` (0-based, from `start`).

        Raises:
            IndexError: There is no such step or rank.
        """
        if not 0 <= step < self.num_steps or not 0 <= rank < self.world_size:
            raise IndexError(
                f"steps are 0 to {self.num_steps - 1} and ranks 0 to {self.world_size - 1}, found {step} and {rank}"
            )
        begin = self.start + step * self.global_batch_size
        left = self.num_positions - begin
        # Neighbouring shares that differ by one at most: the first ranks take what is over.
        if self.last == "short" and left < self.global_batch_size:
            share, extra = divmod(left, self.world_size)
            first = begin + rank * share + min(rank, extra)
            return BatchPositions(positions=np.arange(first, first + share + (rank < extra)), num_repeated=0)
        # Behind the end the epoch begins again, more than once where it has fewer positions than a step.
        wanted = np.arange(begin + rank * self.batch_size, begin + (rank + 1) * self.batch_size)
        num_repeated = int((wanted >= self.num_positions).sum())
        return BatchPositions(positions=wanted % self.num_positions, num_repeated=num_repeated)

    def delivered(self, num_steps: int) -> int:
        """Positions of the epoch delivered after `num_steps` steps, those before `start` included."""
        return min(self.start + num_steps * self.global_batch_size, self.num_positions)

    @property
    def repeated(self) -> Int64s:
        """All positions that "pad" delivers once more, over all ranks; empty otherwise."""
        if self.last != "pad":
            return np.empty(0, np.int64)
        end = self.start + self.num_steps * self.global_batch_size
        return np.arange(self.num_positions, max(end, self.num_positions)) % self.num_positions

    @property
    def dropped(self) -> Int64s:
        """The positions that "drop" leaves out; empty otherwise."""
        end = self.start + self.num_steps * self.global_batch_size
        return np.arange(end if self.last == "drop" else self.num_positions, self.num_positions)
