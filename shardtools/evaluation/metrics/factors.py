"""Errors where a factor of variation is on, against the error of all (Idrissi et al. 2022, "ImageNet-X", section 3).

Owns the ratio. It says how many times as often a network errs on, say, unusual poses; the price is that it is not
defined where a network never errs, which is a `None` here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError
from shardtools.evaluation.metrics.intervals import Share


def factor_shares(correct: npt.ArrayLike, factors: Mapping[str, npt.ArrayLike]) -> dict[str, Share]:
    """Right answers where each factor is on; an image counts for each of its factors.

    Args:
        correct: Bool `[N]`.
        factors: Factor -> whether it is on, bool `[N]`.

    Raises:
        OptionError: A factor has another number of samples.
    """
    right = np.asarray(correct, bool)
    found = {}
    for name, values in factors.items():
        is_on = np.asarray(values, bool)
        if is_on.shape != right.shape:
            raise OptionError(f"factor {name} is known of {is_on.size} samples, answers of {right.size}: join them")
        found[name] = Share(int(np.count_nonzero(right & is_on)), int(np.count_nonzero(is_on)))
    return found


def error_ratio(factor_accuracy: float, accuracy: float) -> float | None:
    """Error where a factor is on over the error of all: (1 - acc_f) / (1 - acc).

    Args:
        factor_accuracy: 0 to 1; NaN where no sample has the factor.
        accuracy: Of all annotated samples.

    Returns:
        1 where the factor makes no difference; `None` where it is on nowhere or where nothing is wrong.
    """
    if factor_accuracy != factor_accuracy or accuracy >= 1:
        return None
    return (1 - factor_accuracy) / (1 - accuracy)


def error_ratios(correct: npt.ArrayLike, factors: Mapping[str, npt.ArrayLike]) -> dict[str, float | None]:
    """`error_ratio` of each factor against all samples given.

    ImageNet-X counts the annotated images without the prototypes of their classes, 46,110 of 50,000; whoever compares
    with its figures gives those.

    Args:
        correct: Bool `[N]`.
        factors: Factor -> whether it is on, bool `[N]`.

    Raises:
        OptionError: There are no samples, or a factor has another number of them.
    """
    right = np.asarray(correct, bool)
    if right.size == 0:
        raise OptionError("error ratios need answers: there are none")
    accuracy = float(right.mean())
    return {name: error_ratio(share.value, accuracy) for name, share in factor_shares(right, factors).items()}


def worst_factor(correct: npt.ArrayLike, factors: Mapping[str, npt.ArrayLike]) -> tuple[str, float]:
    """The factor with the lowest accuracy, and the accuracy; of several the first.

    Raises:
        OptionError: No factor is on anywhere.
    """
    shares = {name: share.value for name, share in factor_shares(correct, factors).items() if share.of}
    if not shares:
        raise OptionError("no factor is on in any sample: expected at least one")
    name = min(shares, key=shares.__getitem__)
    return name, shares[name]
