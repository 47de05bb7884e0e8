"""How two figures go together over networks: accuracy on one set against accuracy on another.

Owns the choice of scale. Accuracies that span a wide range go together along a line on the logit scale rather than the
plain one (Recht et al. 2019, section 4; Taori et al. 2020), so both are here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError


def pearson(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """The linear correlation of two figures.

    Args:
        x: `[N]`, at least two different values.
        y: `[N]`, likewise.

    Returns:
        -1 to 1.

    Raises:
        OptionError: They are not as many, fewer than two, not finite, or all equal.
    """
    one, other = _centered(x, y)
    return float(np.clip(np.sum(one * other) / np.sqrt(np.sum(one**2) * np.sum(other**2)), -1, 1))


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """The correlation of ranks; equal values share the mean of their ranks.

    Raises:
        OptionError: As in `pearson`.
    """
    _centered(x, y)
    return pearson(_ranks(np.asarray(x, np.float64)), _ranks(np.asarray(y, np.float64)))


def slope(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """The least-squares slope of y over x: points of one a point of the other.

    Raises:
        OptionError: As in `pearson`.
    """
    one, other = _centered(x, y)
    return float(np.sum(one * other) / np.sum(one**2))


def normalized_slope(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    x_range: tuple[float, float] = (0.0, 1.0),
    y_range: tuple[float, float] = (0.0, 1.0),
) -> float:
    """The slope with both figures on a scale from 0 to 1: the worst and the best that their metrics allow.

    One of two readings of the "normalized slope" of seed 003 (Fang et al. 2023), which never says what it is; the other
    is `spread_slope`. What it prints with it excludes some: a correlation of 0.44 with a slope of 0.05 is no slope of
    standard scores, which is the correlation itself, and no `spread_slope` of its 19 networks, which would be 0.14 at
    least. So this is the reading that its numbers allow. Of two shares it is `slope`.

    Args:
        x: `[N]`.
        y: `[N]`.
        x_range: The least and the greatest value of x's metric.
        y_range: Likewise; (-1, 1) for a kappa that may be negative.

    Raises:
        OptionError: As in `pearson`, or a range is empty.
    """
    widths = [high - low for low, high in (x_range, y_range)]
    if not min(widths) > 0:
        raise OptionError(f"a range goes from the least to the greatest value, found {x_range} and {y_range}")
    return slope(x, y) * widths[0] / widths[1]


def spread_slope(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """The slope with both figures on a scale from 0 to 1: from the worst network to the best of those at hand.

    The other reading of seed 003's "normalized slope" (see `normalized_slope`): it says how much of the networks'
    spread on one set goes with their spread on the other, and moves when a network is added at either end.

    Raises:
        OptionError: As in `pearson`.
    """
    found = slope(x, y)
    return float(found * np.ptp(np.asarray(x, np.float64)) / np.ptp(np.asarray(y, np.float64)))


def log_odds(accuracy: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Natural logarithm of right over wrong, ln(a / (1 - a)).

    The thesis takes it of the accuracy averaged over seeds, and then the mean over sets (Sariyildiz 2023, table D.1).

    Args:
        accuracy: Between 0 and 1, any shape.

    Raises:
        OptionError: One is 0 or 1, whose log odds are infinite, or outside.
    """
    found = np.asarray(accuracy, np.float64)
    if not np.all((found > 0) & (found < 1)):
        raise OptionError(f"log odds need accuracies between 0 and 1 (not 0, not 1), found {found.tolist()}")
    return np.asarray(np.log(found) - np.log1p(-found))


def _centered(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    one, other = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if one.ndim != 1 or one.shape != other.shape or one.size < 2:
        raise OptionError(f"a correlation needs two lists of two numbers at least, found {one.size} and {other.size}")
    for values in (one, other):
        if not np.isfinite(values).all() or values.min() == values.max():
            raise OptionError("a correlation needs finite numbers that are not all equal")
    return one - one.mean(), other - other.mean()


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])
