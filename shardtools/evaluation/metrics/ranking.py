"""How well scores put samples of a class before the others, whatever the threshold.

Owns the treatment of equal scores: samples that no threshold parts are counted together, so that no order of the rows
matters. A class that all samples have, or none, has no such measure; it is refused and not left out of a mean, because
a mean over other classes is another figure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Bools, Float64s
from shardtools.errors import OptionError


def roc_auc(positive: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the curve of true against false positives, 0 to 1: how often a positive sample scores higher.

    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic curve" (1982): the
    share of all pairs of a positive and a negative sample in which the positive one scores higher, equal scores counted
    half; here from the mean ranks of equal scores. The measure of SIIM-ISIC Melanoma in seed 003.

    Args:
        positive: Whether a sample has the class, bool `[N]`.
        scores: Of the class, `[N]`, finite.

    Raises:
        OptionError: There are no samples, the lengths differ, a score is not finite, or all samples are alike.
    """
    has, values = _checked(positive, scores)
    num_positive = int(has.sum())
    num_negative = len(has) - num_positive
    if not num_positive or not num_negative:
        raise _all_alike("ROC AUC", "all" if num_positive else "no")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean_ranks = ends - (counts - 1) / 2
    above = float(mean_ranks[place][has].sum()) - num_positive * (num_positive + 1) / 2
    return above / num_positive / num_negative


def macro_roc_auc(given: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Mean of `roc_auc` of each class against the rest.

    Args:
        given: Whether a sample has a class, bool `[N, C]`.
        scores: Of each sample and class, `[N, C]`, finite.

    Raises:
        OptionError: As in `roc_auc`, for any of the classes; the shapes differ.
    """
    has, values = np.asarray(given, np.bool_), np.asarray(scores, np.float64)
    if has.ndim != 2 or has.shape != values.shape or has.size == 0:
        raise OptionError(f"expected one score for each sample and class, found {has.shape} given and {values.shape}")
    for number, count in enumerate(has.sum(0).tolist()):
        if count in (0, len(has)):
            raise _all_alike("ROC AUC", "all" if count else "no", f" class {number}")
    return float(np.mean([roc_auc(has[:, number], values[:, number]) for number in range(has.shape[1])]))


def average_precision(positive: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Mean precision over the positive samples, 0 to 1: sum of (recall gained) * precision over falling thresholds.

    Without interpolation, as scikit-learn's `average_precision_score`.

    Args:
        positive: Whether a sample has the class, bool `[N]`.
        scores: Of the class, `[N]`, finite.

    Raises:
        OptionError: There are no samples, the lengths differ, a score is not finite, or no sample has the class.
    """
    has, values = _checked(positive, scores)
    if not has.any():
        raise _all_alike("average precision", "no")
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    cuts = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))
    right = np.cumsum(has[order])[cuts]
    gained = np.diff(right, prepend=0) / has.sum()
    return float(np.sum(gained * right / (cuts + 1)))


def _checked(positive: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Bools, Float64s]:
    has, values = np.asarray(positive, np.bool_), np.asarray(scores, np.float64)
    if has.ndim != 1 or has.shape != values.shape or has.size == 0:
        raise OptionError(f"expected one score a sample, found {values.size} scores of {has.size} samples")
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise OptionError(f"expected finite scores, found {values[wrong[0]]} of sample {wrong[0]}")
    return has, values


def _all_alike(name: str, which: str, of: str = " the class") -> OptionError:
    return OptionError(
        f"{name} compares samples of a class with the others, found {which} samples that have{of}: take a set that has "
        "both"
    )
