"""What a training noted of each sample, as evidence about its label.

Owns the area under the margin. The training saw the given labels, so noise cannot be planted in it: how much the area
counts is learnt from the other evidence's verdict, and counts half, since the two are not independent.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import optimize

from shardtools.arrays import Float64s

_SHARE = 0.5


def area_under_margin(margins: Float64s) -> Float64s:
    """Mean over epochs of the label's logit minus the largest other; NaN where a sample was never seen, [N].

    Pleiss et al., "Identifying mislabeled data using the area under the margin ranking", NeurIPS 2020, equation 2.

    Args:
        margins: [N, epochs]; NaN where a sample was not seen in an epoch.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice", category=RuntimeWarning)
        return np.asarray(np.nanmean(margins, axis=1))


def margin_log_odds(areas: Float64s, probabilities: Float64s) -> Float64s:
    """What is to be added to the log odds that a label is wrong, given its area; 0 where that is NaN, [N].

    The share of wrong labels as a falling function of the area, against the share in all, in logits, halved.

    Args:
        areas: Of `area_under_margin`, [N].
        probabilities: That each label is wrong by the other evidence, [N].
    """
    added = np.zeros(len(areas))
    seen = np.flatnonzero(~np.isnan(areas))
    if seen.size:
        order = seen[np.argsort(areas[seen], kind="stable")]
        shares = optimize.isotonic_regression(probabilities[order], increasing=False).x
        overall = float(probabilities[order].mean())
        added[order] = _SHARE * (_logit(shares) - _logit(np.array(overall)))
    return added


def _logit(probs: Float64s) -> Float64s:
    clipped = np.clip(probs, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped / (1 - clipped)))
