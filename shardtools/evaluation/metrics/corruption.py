"""Errors on corrupted images, by corruption and severity (Hendrycks and Dietterich 2019, section 4.2).

Owns ImageNet-C's sums. Figures called mCE are not all the same: some are divided by AlexNet's errors and some are plain
means, which differ by a third; so both have their own function here, and nothing is called mCE that is not divided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError
from shardtools.evaluation.published import ALEXNET_CLEAN_ERROR, CORRUPTIONS, alexnet_errors

NUM_SEVERITIES = 5

Errors = Mapping[str, npt.ArrayLike]
"""Corruption -> error at severities 1 to 5, 0 to 1."""


def corruption_errors(errors: Errors, reference: Errors | None = None) -> dict[str, float]:
    """Each corruption's error over the reference's: CE_c = sum_s E_{s,c} / sum_s E^ref_{s,c}.

    Args:
        errors: Of the network.
        reference: Of the network to divide by; `None` for AlexNet's, published over 50,000 images.

    Returns:
        Corruption -> 1.0 where both err alike, in the order of `errors`.

    Raises:
        OptionError: A corruption is missing in the reference, or is not five finite errors of 0 to 1.
    """
    wanted = _checked(errors)
    against = _checked(alexnet_errors() if reference is None else reference)
    missing = [name for name in wanted if name not in against]
    if missing:
        raise OptionError(
            f"the reference network has no errors for {', '.join(missing)}: it has {', '.join(against)}; leave them "
            "out, or give the reference's"
        )
    return {name: float(found.sum() / _positive(against[name].sum(), name)) for name, found in wanted.items()}


def mean_corruption_error(errors: Errors, reference: Errors | None = None) -> float:
    """The mean of `corruption_errors` over the 15 corruptions of ImageNet-C: mCE, 0.767 for ResNet-50.

    Args:
        errors: Of all 15; others are left aside, as the benchmark does with its four validation corruptions.
        reference: As in `corruption_errors`.

    Raises:
        OptionError: One of the 15 is missing, or damaged as in `corruption_errors`.
    """
    return float(np.mean(list(corruption_errors(_the_15(errors), reference).values())))


def relative_mean_corruption_error(
    errors: Errors,
    clean_error: float,
    reference: Errors | None = None,
    reference_clean_error: float = ALEXNET_CLEAN_ERROR,
) -> float:
    """How much more a network errs with corruption than without, over the same of the reference: relative mCE.

    The mean over the 15 of sum_s (E_{s,c} - E_clean) / sum_s (E^ref_{s,c} - E^ref_clean).

    Args:
        errors: As in `mean_corruption_error`.
        clean_error: Of the network without corruption, 0 to 1.
        reference: As in `corruption_errors`.
        reference_clean_error: Of the reference without corruption.

    Raises:
        OptionError: As in `mean_corruption_error`, or the reference does not err more with a corruption.
    """
    wanted = _checked(_the_15(errors))
    against = _checked(alexnet_errors() if reference is None else reference)
    corruption_errors(errors=wanted, reference=against)
    rises = [
        np.sum(found - clean_error) / _positive(np.sum(against[name] - reference_clean_error), name)
        for name, found in wanted.items()
    ]
    return float(np.mean(rises))


def mean_error(errors: Errors) -> float:
    """The plain mean of all given errors, each corruption weighing the same; not divided by anything.

    Raises:
        OptionError: As in `corruption_errors`.
    """
    return float(np.mean([found.mean() for found in _checked(errors).values()]))


def errors_by_corruption(
    correct: npt.ArrayLike, corruption: npt.ArrayLike, severity: npt.ArrayLike
) -> dict[str, npt.NDArray[np.float64]]:
    """Answers on corrupted images as errors by corruption and severity.

    Args:
        correct: Bool `[N]`.
        corruption: Name, `[N]`.
        severity: 1 to 5, int `[N]`.

    Returns:
        Corruption -> error at severities 1 to 5, float64 `[5]`, sorted by name.

    Raises:
        OptionError: They are not as many, a severity is outside, or a corruption lacks one.
    """
    right, names, levels = np.asarray(correct, bool), np.asarray(corruption), np.asarray(severity)
    if not right.shape == names.shape == levels.shape or right.size == 0:
        raise OptionError(
            f"{right.size} answers, {names.size} corruptions and {levels.size} severities: expected as many of each"
        )
    if levels.min() < 1 or levels.max() > NUM_SEVERITIES:
        raise OptionError(f"severities are 1 to {NUM_SEVERITIES}, found {levels.min()} to {levels.max()}")
    kinds, place = np.unique(names, return_inverse=True)
    cell = place * NUM_SEVERITIES + levels.astype(np.int64) - 1
    of = np.bincount(cell, minlength=kinds.size * NUM_SEVERITIES).reshape(-1, NUM_SEVERITIES)
    if not of.all():
        kind, level = np.argwhere(of == 0)[0]
        raise OptionError(f"{kinds[kind]} has no sample of severity {level + 1}: predict all five")
    wrong = np.bincount(cell, ~right, minlength=of.size).reshape(of.shape)
    return dict(zip(kinds.tolist(), wrong / of, strict=True))


def _the_15(errors: Errors) -> dict[str, npt.ArrayLike]:
    missing = [name for name in CORRUPTIONS if name not in errors]
    if missing:
        raise OptionError(
            f"mCE is the mean of 15 corruptions, {len(missing)} are missing ({', '.join(missing)}): corrupt them too, "
            "or take the plain mean of those that are there"
        )
    return {name: errors[name] for name in CORRUPTIONS}


def _checked(errors: Errors) -> dict[str, npt.NDArray[np.float64]]:
    """The same as float64 `[5]`."""
    found = {name: np.asarray(values, np.float64) for name, values in errors.items()}
    if not found:
        raise OptionError("there are no corruptions: give the errors of at least one")
    for name, values in found.items():
        if values.shape != (NUM_SEVERITIES,) or not np.all((values >= 0) & (values <= 1)):
            raise OptionError(f"{name} has errors {values.tolist()}: expected five of 0 to 1, of severities 1 to 5")
    return found


def _positive(number: Any, name: str) -> Any:
    if number <= 0:
        raise OptionError(f"the reference network does not err (more) with {name}: nothing can be divided by that")
    return number
