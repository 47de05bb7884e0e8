"""Does accuracy in pretraining say how well a network transfers? Its figures, of the networks of a study.

Owns which networks are asked. The questions of seed 003 are `evaluation.metrics`' (figure 1, table 2, appendix N.2);
here a network without an accuracy in pretraining is left out, one without a value on a set is left out of that set's
correlations, and of N.2 altogether, so that its sets speak of the same networks. The price: one set whose cells are not
done leaves N.2 fewer networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import Estimated, LeftOut, compare_left_out, relate

ALL = "all"
"""The networks that correlations are taken of: all, or those above a bar (`above_name`)."""

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
        num_networks: Networks that it is taken of.
        figures: A name in `evaluation.metrics.RELATIONS` -> the figure; empty of fewer than `FEWEST` networks, or where
            a value is the same for all.
    """

    set: str
    group: str
    num_networks: int
    figures: Mapping[str, Estimated]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Ranks on a set beside ranks in pretraining and on the other sets (appendix N.2).

    Attributes:
        set: Its name.
        num_networks: Networks with an accuracy in pretraining and a value on every set.
        ranks: Spearman's correlations, and their difference.
    """

    set: str
    num_networks: int
    ranks: LeftOut


def above_name(bar: float) -> str:
    """What the networks above a bar are called."""
    return f"above {100 * bar:g} %"


def correlate(
    points: Sequence[Point], sets: Sequence[str] | Mapping[str, float], *, above: float, seed: int = 0
) -> tuple[Correlation, ...]:
    """Every set's metric against the accuracy in pretraining, of all networks and of those above the bar.

    Args:
        points: The networks.
        sets: Names of sets; or name -> the least value of its metric, 0 where none is given.
        above: The bar, 0 to 1.
        seed: Of the draws of networks.
    """
    return tuple(
        _correlation(points, name, sets[name] if isinstance(sets, Mapping) else 0.0, group, bar, seed)
        for name in sets
        for group, bar in ((ALL, -1.0), (above_name(above), above))
    )


def _correlation(points: Sequence[Point], name: str, least: float, group: str, bar: float, seed: int) -> Correlation:
    pairs = [
        (one.accuracy, one.values[name])
        for one in points
        if one.accuracy is not None and one.accuracy > bar and name in one.values
    ]
    figures: Mapping[str, Estimated] = {}
    if len(pairs) >= FEWEST:
        x, y = np.array(pairs, np.float64).T
        try:
            figures = relate(x, y, y_range=(least, 1.0), seed=seed).figures
        except OptionError:
            # All networks have one value, as at the ceiling of an easy set: nothing follows anything.
            figures = {}
    return Correlation(set=name, group=group, num_networks=len(pairs), figures=figures)


def agree(points: Sequence[Point], sets: Sequence[str], *, seed: int = 0) -> tuple[Agreement, ...]:
    """Spearman's correlation of each set with the pretraining, and with the mean of the other sets.

    Args:
        points: The networks.
        sets: Names of sets; fewer than two, or fewer than `FEWEST` networks that have all, give nothing.
        seed: Of the draws of networks.
    """
    whole = [one for one in points if one.accuracy is not None and all(name in one.values for name in sets)]
    if len(sets) < 2 or len(whole) < FEWEST:
        return ()
    reference = np.array([one.accuracy for one in whole], np.float64)
    values = {name: np.array([one.values[name] for one in whole], np.float64) for name in sets}
    try:
        found = compare_left_out(reference, values, seed=seed)
    except OptionError:
        return ()
    return tuple(Agreement(set=name, num_networks=len(whole), ranks=ranks) for name, ranks in found.items())
