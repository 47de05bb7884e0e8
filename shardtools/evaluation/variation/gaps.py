"""Right answers by object and set, and what follows of them: accuracies, gaps, slopes, with intervals.

Owns the resampling. A figure is a function of how often each object counts, so that one set of draws serves all of them
and differences between figures keep what they share. Objects are drawn again, not pictures: pictures of one object are
right and wrong together. The price: the spread of training sets is not in an interval, and what repeats of a draw tell
of it is not either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from shardtools.arrays import Float64s, Int64s

CANONICAL_COLUMN = 0
NUM_DRAWS = 1000

_ENDS = (0.025, 0.975)
"""Of an interval of 95 %."""

Statistic = Callable[[Float64s], Float64s]
"""How often each object counts, [R, O], to R values."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counts:
    """Right answers and answers of held-out objects.

    Attributes:
        right: float64 [O, 1 + S]; the first column is of canonical pictures, the others are of sets.
        of: Likewise, all answers.
    """

    right: Float64s = field(repr=False)
    of: Float64s = field(repr=False)

    @classmethod
    def none(cls, num_objects: int, num_sets: int) -> Counts:
        """No answer yet."""
        shape = (num_objects, 1 + num_sets)
        return cls(right=np.zeros(shape), of=np.zeros(shape))

    def add(self, objects: Int64s, column: Int64s, is_right: Float64s) -> None:
        """Counts answers: to pictures of these objects, in these columns; all int64 or float64 [M]."""
        width = self.right.shape[1]
        places = objects * width + column
        self.right[:] += np.bincount(places, is_right, self.right.size).reshape(self.right.shape)
        self.of[:] += np.bincount(places, minlength=self.of.size).reshape(self.of.shape)

    def only(self, is_in: object) -> Counts:
        """Those of some objects, bool [O]; the others count nothing."""
        mask = np.asarray(is_in, bool)[:, None]
        return Counts(right=np.where(mask, self.right, 0), of=np.where(mask, self.of, 0))

    def accuracy(self, column: int) -> Statistic:
        """Right answers of all, 0 to 1; NaN of none."""

        def value(weights: Float64s) -> Float64s:
            of = weights @ self.of[:, column]
            found: Float64s = np.full(len(of), np.nan)
            np.divide(weights @ self.right[:, column], of, out=found, where=of > 0)
            return found

        return value

    def gap(self, column: int) -> Statistic:
        """Accuracy on a set less that on canonical pictures of these objects, by the same model; negative: a drop."""
        return less(self.accuracy(column), self.accuracy(CANONICAL_COLUMN))


def sum_of(counts: Iterable[Counts]) -> Counts:
    """Several added up."""
    several = list(counts)
    return Counts(right=np.sum([one.right for one in several], axis=0), of=np.sum([one.of for one in several], axis=0))


def less(one: Statistic, other: Statistic) -> Statistic:
    """The difference of two."""
    return lambda weights: one(weights) - other(weights)


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several, each counted alike."""
    return lambda weights: np.mean([one(weights) for one in statistics], axis=0)


def slope_of(shares: Sequence[float], gaps: Sequence[Statistic]) -> Statistic:
    """Points of gap a point of share: the line of least squares (seed 002, section 5.2), as `numpy.polyfit` has it.

    Args:
        shares: Share that varies in training, 0 to 1, two different ones at least.
        gaps: The gap at each.
    """
    return lambda weights: np.polyfit(shares, np.stack([one(weights) for one in gaps]), 1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure.

    Attributes:
        value: Over all judged objects.
        low: Lower end of the interval of 95 %, objects drawn again; `None` where there is none.
        high: Its upper end.
        deviation: Standard deviation over folds; `None` of one fold.
    """

    value: float
    low: float | None = None
    high: float | None = None
    deviation: float | None = None


class Resampling:
    """Draws of objects, the same for every figure."""

    def __init__(self, fold_of: Int64s, *, seed: int, num_draws: int = NUM_DRAWS) -> None:
        """Draws.

        Args:
            fold_of: Fold of each object, negative for one that is never judged, int64 [O].
            seed: Of the draws.
            num_draws: How many.
        """
        judged = np.flatnonzero(fold_of >= 0)
        folds = np.unique(fold_of[judged])
        generator = np.random.Generator(np.random.PCG64(seed))
        drawn = generator.multinomial(len(judged), np.full(len(judged), 1 / len(judged)), size=num_draws)
        self._weights = np.zeros((1 + num_draws + len(folds), len(fold_of)))
        self._weights[0, judged] = 1
        self._weights[1 : 1 + num_draws, judged] = drawn
        self._weights[1 + num_draws :] = fold_of[None, :] == folds[:, None]
        self._num_draws, self._num_folds = num_draws, len(folds)

    @staticmethod
    def plain(statistic: Statistic, num_objects: int) -> Estimate:
        """A figure of all objects alone, with no interval."""
        return Estimate(value=float(statistic(np.ones((1, num_objects)))[0]))

    def estimate(self, statistic: Statistic) -> Estimate | None:
        """A figure with its interval and its deviation over folds; `None` where no object has it."""
        values = statistic(self._weights)
        if not np.isfinite(values[0]):
            return None
        # A draw may hold no object that has the figure, such as one of a class.
        drawn = values[1 : 1 + self._num_draws]
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.quantile(drawn, _ENDS)
        by_fold = values[1 + self._num_draws :]
        by_fold = by_fold[np.isfinite(by_fold)]
        deviation = float(by_fold.std(ddof=1)) if len(by_fold) > 1 else None
        return Estimate(value=float(values[0]), low=float(low), high=float(high), deviation=deviation)
