"""How one figure of networks follows another: correlations, slopes and intervals, and which of two foretells a third.

Owns the tables of Fang, Kornblith and Schmidt, "Does progress on ImageNet transfer to real-world datasets?" (2023, seed
003): over all networks and over those above 70 %, and a set against the mean of the others (appendix N.2). Intervals
draw networks again. The price: of few networks they are wide, and a draw that leaves nothing to correlate is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError
from shardtools.evaluation.metrics.correlation import normalized_slope, pearson, slope, spearman, spread_slope
from shardtools.evaluation.metrics.intervals import NUM_DRAWS, bootstrap_interval

MIN_NETWORKS = 5
"""Fewer make no interval: their draws are a handful."""

RELATIONS: dict[str, Callable[[npt.ArrayLike, npt.ArrayLike], float]] = {
    "pearson": pearson,
    "spearman": spearman,
    "slope": slope,
    "normalized_slope": normalized_slope,
    "spread_slope": spread_slope,
}
"""Metric -> the function of two figures of networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """A figure over networks.

    Attributes:
        value: Over all of them.
        interval: Of 95 %, over networks drawn again; `None` of fewer than `MIN_NETWORKS`, or where most draws leave
            nothing to correlate.
    """

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """How one figure of networks follows another.

    Attributes:
        num_networks: How many there are.
        figures: A name in `RELATIONS` -> its value.
    """

    num_networks: int
    figures: dict[str, Estimated]


def relate(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    y_range: tuple[float, float] = (0.0, 1.0),
    above: float | None = None,
    seed: int = 0,
    num_draws: int = NUM_DRAWS,
) -> Relation:
    """Correlations and slopes of y over x.

    Args:
        x: Of each network, [N], 0 to 1: its accuracy on ImageNet, say.
        y: Its figure on another set, [N].
        y_range: The least and the greatest value of y's metric, for the normalized slope.
        above: Only networks whose x is above this, 0 to 1; seed 003 looks at those above 0.7 by themselves.
        seed: Of the draws; one seed gives one interval.
        num_draws: How often networks are drawn again.

    Raises:
        OptionError: As in `pearson`, also where `above` leaves too few networks.
    """
    one, other = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if above is not None and one.ndim == 1 and one.shape == other.shape:
        kept = one > above
        one, other = one[kept], other[kept]
    functions = dict(RELATIONS)
    functions["normalized_slope"] = partial(normalized_slope, y_range=y_range)
    figures = {
        name: Estimated(value=function(one, other), interval=_interval(function, one, other, seed, num_draws))
        for name, function in functions.items()
    }
    return Relation(num_networks=len(one), figures=figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What foretells the order of networks on a set: their mean on the others, or their accuracy in training.

    Attributes:
        with_others: Spearman's correlation with the mean of the other sets.
        with_reference: With the reference, ImageNet's accuracy in seed 003.
        difference: The first less the second: above 0 where the others know more.
    """

    with_others: float
    with_reference: float
    difference: Estimated


def compare_left_out(
    reference: npt.ArrayLike, sets: Mapping[str, npt.ArrayLike], *, seed: int = 0, num_draws: int = NUM_DRAWS
) -> dict[str, LeftOut]:
    """Of each set, whether the mean of the other sets ranks networks as it does better than a reference (N.2).

    Args:
        reference: Of each network, [N].
        sets: Set -> figure of each network, [N], in the same order; two sets at the least. The mean is taken of the
            figures as they are, whatever their metrics, as the seed has it.
        seed: Of the draws of networks, the same for all sets.
        num_draws: How many draws.

    Raises:
        OptionError: There is one set only, or a figure of the networks is constant or not there.
    """
    if len(sets) < 2:
        raise OptionError(
            f"a set is compared with the mean of others, found {', '.join(sets) or 'none'} alone: add one"
        )
    base = np.asarray(reference, np.float64)
    values = {name: np.asarray(one, np.float64) for name, one in sets.items()}
    wrong = next((name for name, one in values.items() if one.shape != base.shape), None)
    if wrong is not None:
        raise OptionError(f"{wrong} has figures of {values[wrong].size} networks, the reference of {base.size}")
    found = {}
    for name, own in values.items():
        others = np.mean([one for other, one in values.items() if other != name], axis=0)

        def difference(x: npt.ArrayLike, y: npt.ArrayLike, own: npt.NDArray[np.float64] = own) -> float:
            positions = np.asarray(y, np.int64)
            return spearman(own[positions], np.asarray(x)) - spearman(own[positions], base[positions])

        # Positions go along as the second figure, so that a draw takes the same networks of all three.
        found[name] = LeftOut(
            with_others=spearman(own, others),
            with_reference=spearman(own, base),
            difference=Estimated(
                value=spearman(own, others) - spearman(own, base),
                interval=_interval(difference, others, np.arange(len(own), dtype=np.float64), seed, num_draws),
            ),
        )
    return found


def _interval(
    function: Callable[[npt.ArrayLike, npt.ArrayLike], float],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    seed: int,
    num_draws: int,
) -> tuple[float, float] | None:
    if len(x) < MIN_NETWORKS:
        return None

    def statistic(positions: npt.NDArray[np.int64]) -> float:
        try:
            return function(x[positions], y[positions])
        except OptionError:
            # One network drawn N times, or networks that are alike: there is no line through them.
            return float("nan")

    low, high = bootstrap_interval(len(x), statistic, seed=seed, num_draws=num_draws)
    return None if np.isnan(low) else (low, high)
