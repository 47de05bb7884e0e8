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
