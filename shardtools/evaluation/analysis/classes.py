"""How far apart samples of one class are.

Owns the exact mean over all pairs, in blocks. The price of exactness: time grows with the square of a class's size
(1,300 samples a class in ImageNet are 0.8 million pairs), never memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float64s
from shardtools.errors import OptionError
from shardtools.features.checking import Features, check_features, normalized

_ROWS_PER_PAIR_BLOCK = 1024
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntraClassDistance:
    """Mean distances within classes, 0 to 2.

    Attributes:
        mean: Mean over the classes.
        classes: Labels that occur, rising, [C].
        per_class: Mean distance within each of them, [C].
    """

    mean: float
    classes: npt.NDArray[np.int64]
    per_class: Float64s


def intra_class_distance(features: Features, labels: npt.ArrayLike) -> IntraClassDistance:
    """Mean l2 distance between two samples of a class, of l2-normalised features.

    For a class with n samples z_i of length 1: the mean of ||z_i - z_j|| over the n (n - 1) / 2 pairs i < j; then the
    mean over classes, each counted alike (Sariyildiz, "On the evaluation and generalization of visual
    representations", thesis 2023, sections 4.4.2 and 5.5.5, figures 4.5 and 5.6b).

    Args:
        features: [N, d], of any floating type.
        labels: Whole numbers, [N].

    Raises:
        OptionError: Features that are not finite or of another shape, labels that fit not, or a class with one sample.
    """
    check_features(features, min_rows=2)
    given = np.asarray(labels)
    if given.shape != (len(features),) or not np.issubdtype(given.dtype, np.integer):
        raise OptionError(
            f"labels are whole numbers, one for each of {len(features)} samples, found {given.dtype} {given.shape}"
        )
    classes, counts = np.unique(given.astype(np.int64), return_counts=True)
    lonely = classes[counts < 2].tolist()
    if lonely:
        shown = ", ".join(map(str, lonely[:_SHOWN])) + (", ..." if len(lonely) > _SHOWN else "")
        raise OptionError(
            f"a class has at least 2 samples to have a distance within, found 1 in {len(lonely)} of {len(classes)} "
            f"classes ({shown}): leave them out"
        )
    order = np.argsort(given, kind="stable")
    members = np.split(order, np.cumsum(counts)[:-1])
    per_class = np.array([_mean_distance(features, rows) for rows in members])
    return IntraClassDistance(mean=float(per_class.mean()), classes=classes, per_class=per_class)


def _mean_distance(features: Features, rows: npt.NDArray[np.intp]) -> float:
    """Mean distance over all pairs of some rows."""
    total = 0.0
    starts = range(0, len(rows), _ROWS_PER_PAIR_BLOCK)
    for start in starts:
        left = _unit_rows(features, rows[start : start + _ROWS_PER_PAIR_BLOCK])
        for other in starts[starts.index(start) :]:
            if other == start:
                # The diagonal is 0 and each pair comes twice.
                total += _distances(left, left).sum() / 2
            else:
                total += _distances(left, _unit_rows(features, rows[other : other + _ROWS_PER_PAIR_BLOCK])).sum()
    return float(total / (len(rows) * (len(rows) - 1) / 2))


def _unit_rows(features: Features, rows: npt.NDArray[np.intp]) -> Float64s:
    return normalized(features[rows].astype(np.float64))


def _distances(left: Float64s, right: Float64s) -> Float64s:
    """Distance of each row of one to each of the other, [L, R]."""
    squares = (left * left).sum(axis=1)[:, None] + (right * right).sum(axis=1)
    distances: Float64s = np.sqrt(np.maximum(squares - 2 * (left @ right.T), 0))
    # Rounding leaves 1e-8 where a row meets itself or its like.
    distances[distances < 1e-7] = 0
    return distances
