"""Does accuracy in pretraining say how well a network transfers? Correlations over networks, with intervals.

Owns the questions of seed 003: how a set's metric goes with the accuracy in pretraining over all networks and over
those above a bar (figure 1, table 2), and whether a network's rank on the other sets says more of its rank on a set
than its accuracy in pretraining does (appendix N.2). Values are shares of one. Intervals draw networks again, so they
say what other networks of the kind might give, and nothing of the noise of a training; the price is that of ten
networks they are wide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import bootstrap_interval, pearson, slope, spearman
from shardtools.evaluation.variation import Estimate

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats, Floats], float]

ALL = "all"
"""The networks that correlations are taken of: all, or those above a bar (`above_name`)."""

STATISTICS: dict[str, Statistic] = {"pearson": pearson, "spearman": spearman, "slope": slope}
"""Name of a metric -> what it makes of accuracies in pretraining and values on a set."""

FEWEST = 3
"""Networks that a correlation is taken of at least; two always lie on a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A network.

    Attributes:
        model: Its name.
        accuracy: In pretraining, 0 to 1; `None` where it is not known.
        values: Name of a set -> its metric there.
        is_starred: Whether it is drawn apart, as figure 8 has the networks trained in two steps.
    """

    model: str
    accuracy: float | None
    values: Mapping[str, float]
    is_starred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """How a set's metric goes with the accuracy in pretraining.

    Attributes:
        set: Its name.
        group: `ALL`, or `above_name` of the bar.
        num_models: Networks that it is taken of.
        figures: Name in `STATISTICS` -> the figure; empty of fewer than `FEWEST` networks, or where a value is the same
            for all.
    """

    set: str
    group: str
    num_models: int
    figures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Ranks on a set beside ranks in pretraining and on the other sets (appendix N.2).

    Attributes:
        set: Its name.
        num_models: Networks with an accuracy in pretraining and a value on every set.
        pretraining: Spearman's correlation with the accuracy in pretraining.
        others: Likewise with the mean over the other sets.
        difference: `others` less `pretraining`, from the same draws.
    """

    set: str
    num_models: int
    pretraining: Estimate
    others: Estimate
    difference: Estimate


def above_name(bar: float) -> str:
    """What the networks above a bar are called."""
    return f"above {100 * bar:g} %"


def correlate(points: Sequence[Point], sets: Sequence[str], *, above: float, seed: int = 0) -> tuple[Correlation, ...]:
    """Every set's metric against the accuracy in pretraining, of all networks and of those above the bar.

    Args:
        points: The networks; one without an accuracy is left out.
        sets: Names of sets.
        above: The bar, 0 to 1; networks at it are above.
        seed: Of the draws.
    """
    return tuple(
        _correlation(points, name, group, least, seed)
        for name in sets
        for group, least in ((ALL, -1.0), (above_name(above), above))
    )


def _correlation(points: Sequence[Point], name: str, group: str, least: float, seed: int) -> Correlation:
    pairs = [
        (one.accuracy, one.values[name])
        for one in points
        if one.accuracy is not None and one.accuracy >= least and name in one.values
    ]
    figures: dict[str, Estimate] = {}
    if len(pairs) >= FEWEST:
        x, y = np.array(pairs, np.float64).T
        found = {metric: _estimate(x, y, statistic, seed) for metric, statistic in STATISTICS.items()}
        figures = {metric: estimate for metric, estimate in found.items() if estimate is not None}
    return Correlation(set=name, group=group, num_models=len(pairs), figures=figures)


def _estimate(x: Floats, y: Floats, statistic: Statistic, seed: int) -> Estimate | None:
    value = _of(statistic, x, y)
    if np.isnan(value):
        return None
    return _with_interval(value, len(x), lambda drawn: _of(statistic, x[drawn], y[drawn]), seed)


def _of(statistic: Statistic, x: Floats, y: Floats) -> float:
    """NaN where all networks have one accuracy or one value, as a draw of few may."""
    try:
        return statistic(x, y)
    except OptionError:
        return float("nan")


def _with_interval(
    value: float, num_models: int, statistic: Callable[[npt.NDArray[np.int64]], float], seed: int
) -> Estimate:
    low, high = bootstrap_interval(num_models, statistic, seed=seed)
    return Estimate(value=value, low=low, high=high) if np.isfinite([low, high]).all() else Estimate(value=value)


def agree(points: Sequence[Point], sets: Sequence[str], *, seed: int = 0) -> tuple[Agreement, ...]:
    """Spearman's correlation of each set with the pretraining, and with the mean of the other sets.

    Args:
        points: The networks; one that lacks an accuracy or a value of any set is left out, so that all sets speak of
            the same networks.
        sets: Names of sets; fewer than two, or fewer than `FEWEST` networks, give nothing.
        seed: Of the draws.
    """
    whole = [one for one in points if one.accuracy is not None and all(name in one.values for name in sets)]
    if len(sets) < 2 or len(whole) < FEWEST:
        return ()
    accuracy = np.array([one.accuracy for one in whole], np.float64)
    found = []
    for name in sets:
        own = np.array([one.values[name] for one in whole])
        # Each set counts the same, whatever its metric's range; as the seed takes it, values are not standardized.
        others = np.array([fmean(one.values[other] for other in sets if other != name) for one in whole])
        pair = [_estimate(axis, own, spearman, seed) for axis in (accuracy, others)]
        if pair[0] is None or pair[1] is None:
            continue
        found.append(
            Agreement(
                set=name,
                num_models=len(whole),
                pretraining=pair[0],
                others=pair[1],
                difference=_difference(accuracy, others, own, seed),
            )
        )
    return tuple(found)


def _difference(accuracy: Floats, others: Floats, own: Floats, seed: int) -> Estimate:
    def drawn(chosen: npt.NDArray[np.int64]) -> float:
        return _of(spearman, others[chosen], own[chosen]) - _of(spearman, accuracy[chosen], own[chosen])

    return _with_interval(drawn(np.arange(len(own))), len(own), drawn, seed)
