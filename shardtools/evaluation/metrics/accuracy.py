"""Shares of right answers, of all samples and by group.

Owns what counts as right: the rank of the given label among a network's outputs.
A sample without a label is no wrong answer; it has to be left out before, so that nothing is left out in silence here.
"""

from __future__ import annotations

from typing import Any

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


def accuracy_by_group(correct: npt.ArrayLike, groups: npt.ArrayLike) -> dict[Any, Share]:
    """Right answers of each group.

    Args:
        correct: Bool `[N]`.
        groups: Of each sample: a class, a factor's value, a background, ... of any one type, `[N]`.

    Returns:
        Group -> share, sorted by group.

    Raises:
        OptionError: They are not as many.
    """
    right, own = _same_length(correct, groups)
    names, place = np.unique(own, return_inverse=True)
    of = np.bincount(place, minlength=len(names))
    num = np.bincount(place[right], minlength=len(names))
    return {name: Share(int(n), int(all_)) for name, n, all_ in zip(names.tolist(), num, of, strict=True)}


def worst_groups_accuracy(correct: npt.ArrayLike, groups: npt.ArrayLike, *, num_worst: int = 100) -> Share:
    """Right answers in the groups with the lowest accuracy: ImageNet-X's "worst 100 classes" (Idrissi et al. 2022).

    Its code takes all images of these groups together, so a large group weighs more; so does this.

    Args:
        correct: Bool `[N]`.
        groups: As in `accuracy_by_group`.
        num_worst: How many groups; where there are fewer, all. Of equal ones the first by name.

    Raises:
        OptionError: There are no samples, or not as many groups as answers.
    """
    found = sorted(accuracy_by_group(correct, groups).values(), key=lambda share: share.value)[:num_worst]
    if not found or num_worst < 1:
        raise OptionError(f"the worst {num_worst} of {len(found)} groups: expected at least one of one")
    return Share(sum(share.num for share in found), sum(share.of for share in found))


def background_gap(mixed_same: float, mixed_rand: float) -> float:
    """Accuracy with backgrounds of the right class less that with random ones (Xiao et al. 2020, section 4): BG-gap.

    Args:
        mixed_same: Accuracy on MIXED-SAME, 0 to 1.
        mixed_rand: Accuracy on MIXED-RAND.
    """
    return mixed_same - mixed_rand


def _same_length(correct: npt.ArrayLike, groups: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
    right, own = np.asarray(correct, bool), np.asarray(groups)
    if right.ndim != 1 or right.shape != own.shape:
        raise OptionError(f"{right.size} answers and {own.size} groups: expected one of each a sample")
    return right, own
