"""Shares of right answers, of all samples and by group.

Owns what counts as right: the rank of the given label among a network's outputs, or a mapped answer equal to the label.
A sample without a label is no wrong answer; it has to be left out before, so that nothing is left out in silence here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError
from shardtools.evaluation.metrics.intervals import Share

IN9_CLASSES = 9
"""Of ImageNet-9: dog, bird, wheeled vehicle, reptile, carnivore, insect, musical instrument, primate, fish."""


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


def worst_groups_accuracy(correct: npt.ArrayLike, groups: npt.ArrayLike, *, num_worst: int = 100) -> float:
    """Mean accuracy of the groups with the lowest: ImageNet-X's "worst 100 classes" (Idrissi et al. 2022).

    Each group weighs the same, whatever its size.

    Args:
        correct: Bool `[N]`.
        groups: As in `accuracy_by_group`.
        num_worst: How many of them; where there are fewer, all.

    Raises:
        OptionError: There are no samples, or not as many groups as answers.
    """
    found = sorted(share.value for share in accuracy_by_group(correct, groups).values())
    if not found or num_worst < 1:
        raise OptionError(f"the worst {num_worst} of {len(found)} groups: expected at least one of one")
    return float(np.mean(found[:num_worst]))


def imagenet9_correct(
    predicted: npt.ArrayLike, labels: npt.ArrayLike, output_to_in9: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Whether answers out of 1,000 classes are right on ImageNet-9 (Xiao et al. 2020, "Noise or Signal", section 2).

    The likeliest of all outputs counts, and one outside of the nine is wrong: they are not taken away beforehand.

    Args:
        predicted: Likeliest output, int `[N]`.
        labels: 0 to 8, int `[N]`.
        output_to_in9: Class of each output, 0 to 8, -1 outside of the nine, int `[C]`.

    Returns:
        Bool `[N]`.

    Raises:
        OptionError: A number is outside of what it counts, or the lengths differ.
    """
    outputs, given = np.asarray(predicted), np.asarray(labels)
    mapping = np.asarray(output_to_in9)
    if outputs.shape != given.shape:
        raise OptionError(f"{outputs.size} answers and {given.size} labels: expected as many")
    for numbers, low, high, what in (
        (mapping, -1, IN9_CLASSES - 1, "the map's classes"),
        (given, 0, IN9_CLASSES - 1, "labels of ImageNet-9"),
        (outputs, 0, mapping.size - 1, "outputs in the map"),
    ):
        if numbers.size and not (low <= numbers.min() and numbers.max() <= high):
            raise OptionError(f"{what} are {low} to {high}, found {numbers.min()} to {numbers.max()}")
    return np.asarray(mapping[outputs] == given)


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
