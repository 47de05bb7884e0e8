"""Shares of right answers, of all samples and by group.

Owns what counts as right: the rank of the given label among a network's outputs.
A sample without a label is no wrong answer; it has to be left out before, so that nothing is left out in silence here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError
from shardtools.evaluation.metrics.intervals import Share


def top_k_accuracy(rank: npt.ArrayLike, k: int) -> Share:
    """Samples whose given label is among the `k` likeliest.

    Args:
        rank: Of the given label, int `[N]`, 1 for the likeliest.
        k: 1 or more.

    Raises:
        OptionError: There are no samples, or a rank below 1.
    """
    ranks = np.asarray(rank)
    if k < 1 or ranks.size == 0 or ranks.min() < 1:
        raise OptionError(
            f"top-{k} accuracy needs samples with ranks from 1 on, found "
            f"{'none' if ranks.size == 0 else f'a rank of {ranks.min()}'}: leave out samples without a label"
        )
    return Share(int(np.count_nonzero(ranks <= k)), ranks.size)


def background_gap(mixed_same: float, mixed_rand: float) -> float:
    """Accuracy with backgrounds of the right class less that with random ones (Xiao et al. 2020, section 4): BG-gap.

    Args:
        mixed_same: Accuracy on MIXED-SAME, 0 to 1.
        mixed_rand: Accuracy on MIXED-RAND.
    """
    return mixed_same - mixed_rand
