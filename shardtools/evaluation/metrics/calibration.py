"""Whether a network is as sure as it is right.

Owns two forms of each measure that ImageNet-A's code has (hendrycks/natural-adv-examples, calibration_tools.py, which
seed 001's repository took over): as published, for figures that are compared with published ones, and corrected. The
published form bins 100 samples a bin by rising confidence, widens the last bin to the end, and then leaves that bin,
the most confident answers, out of the sum while it still divides by all samples. Its sort leaves ties in any order. The
corrected form counts every bin and gives samples of one confidence their common accuracy, so that no order matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError

BIN_SIZE = 100
NUM_ECE_BINS = 15

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All measures of one network on one set, both forms side by side; 0 to 1.

    Attributes:
        rms_calibration_error: Corrected.
        rms_calibration_error_as_published: `None` for fewer than `BIN_SIZE` samples, where that code has no bin.
        mad_calibration_error: Corrected.
        mad_calibration_error_as_published: As above.
        soft_f1: Has no bins and no order, so one form.
        aurra: Corrected.
        aurra_as_published: Differs by the order of ties alone.
        expected_calibration_error: Over 15 bins of equal width.
    """

    rms_calibration_error: float
    rms_calibration_error_as_published: float | None
    mad_calibration_error: float
    mad_calibration_error_as_published: float | None
    soft_f1: float
    aurra: float
    aurra_as_published: float
    expected_calibration_error: float


def measure_calibration(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> Calibration:
    """All measures.

    Args:
        confidence: Probability of the answer, `[N]`, 0 to 1.
        correct: Whether it was right, bool `[N]`.

    Raises:
        OptionError: There are no samples, the lengths differ, or a confidence is not 0 to 1.
    """
    sure, right = _checked(confidence, correct)
    has_bins = len(sure) >= BIN_SIZE
    return Calibration(
        rms_calibration_error=rms_calibration_error(sure, right),
        rms_calibration_error_as_published=rms_calibration_error(sure, right, as_published=True) if has_bins else None,
        mad_calibration_error=mad_calibration_error(sure, right),
        mad_calibration_error_as_published=mad_calibration_error(sure, right, as_published=True) if has_bins else None,
        soft_f1=soft_f1(sure, right),
        aurra=aurra(sure, right),
        aurra_as_published=aurra(sure, right, as_published=True),
        expected_calibration_error=expected_calibration_error(sure, right),
    )


def rms_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, as_published: bool = False) -> float:
    """Root of the mean squared gap of confidence and accuracy (Hendrycks et al. 2019, "Natural adversarial examples").

    Args:
        confidence: Probability of the answer, `[N]`, 0 to 1.
        correct: Whether it was right, bool `[N]`.
        as_published: As the authors' code computes it; see the module.

    Raises:
        OptionError: As in `measure_calibration`, or fewer than `BIN_SIZE` samples for the published form.
    """
    weights, gaps = _gaps(confidence, correct, as_published=as_published)
    return float(np.sqrt(np.sum(weights * gaps**2)))


def mad_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, as_published: bool = False) -> float:
    """Mean absolute gap of confidence and accuracy, over the bins of `rms_calibration_error`; see there."""
    weights, gaps = _gaps(confidence, correct, as_published=as_published)
    return float(np.sum(weights * gaps))


def soft_f1(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """F1 of doubt as a detector of wrong answers: 2 sum((1 - c) w) / sum(1 - c + w), w: 1 where wrong.

    From the same code. 0 where nothing is wrong, and where nothing is doubted.

    Raises:
        OptionError: As in `measure_calibration`.
    """
    sure, right = _checked(confidence, correct)
    doubt, wrong = 1 - sure, 1 - right
    total = np.sum(doubt + wrong)
    return float(2 * np.sum(doubt * wrong) / total) if total > 0 else 0.0


def aurra(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, as_published: bool = False) -> float:
    """Area under the response rate accuracy curve: the mean over k of the accuracy of the k most confident answers.

    Hendrycks et al. 2019, "Natural adversarial examples", section 4.

    Args:
        confidence: Probability of the answer, `[N]`, 0 to 1.
        correct: Whether it was right, bool `[N]`.
        as_published: Ties in the order that NumPy's sort leaves them in, instead of their common accuracy.

    Raises:
        OptionError: As in `measure_calibration`.
    """
    sure, right = _checked(confidence, correct)
    order = np.argsort(sure)[::-1]
    ordered = right[order] if as_published else _shared_by_ties(sure, right)[order]
    return float(np.mean(np.cumsum(ordered) / np.arange(1, len(ordered) + 1)))


def expected_calibration_error(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, *, num_bins: int = NUM_ECE_BINS
) -> float:
    """Mean absolute gap over bins of equal width (Naeini et al. 2015; Guo et al. 2017, section 2).

    Args:
        confidence: Probability of the answer, `[N]`, 0 to 1.
        correct: Whether it was right, bool `[N]`.
        num_bins: (0, 1/n], (1/n, 2/n], ...; a confidence of 0 is in the first.

    Raises:
        OptionError: As in `measure_calibration`.
    """
    sure, right = _checked(confidence, correct)
    place = np.searchsorted(np.linspace(0, 1, num_bins + 1)[1:-1], sure)
    gaps = np.bincount(place, sure - right, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(sure))


def _gaps(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, as_published: bool) -> tuple[Floats, Floats]:
    """Weight of each bin that counts, and how far its mean confidence is from its accuracy."""
    sure, right = _checked(confidence, correct)
    num_bins = len(sure) // BIN_SIZE
    if as_published and num_bins == 0:
        raise OptionError(
            f"the published calibration error needs {BIN_SIZE} samples at least, found {len(sure)}: take the corrected "
            "form"
        )
    order = np.argsort(sure)
    ordered = (right if as_published else _shared_by_ties(sure, right))[order]
    starts = np.arange(max(num_bins, 1)) * BIN_SIZE
    sizes = np.diff(np.append(starts, len(sure)))
    gaps = np.abs(np.add.reduceat(sure[order], starts) - np.add.reduceat(ordered, starts)) / sizes
    # The bin of the most confident answers is dropped, and what divides stays the number of all samples.
    counted = slice(None, -1) if as_published else slice(None)
    return sizes[counted] / len(sure), gaps[counted]


def _shared_by_ties(sure: Floats, right: Floats) -> Floats:
    """Each sample's accuracy as the mean over all samples of its confidence."""
    _, place, counts = np.unique(sure, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(place, right) / counts)[place])


def _checked(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[Floats, Floats]:
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if sure.ndim != 1 or sure.shape != right.shape or sure.size == 0:
        raise OptionError(
            f"calibration needs one confidence and one answer a sample, found {sure.size} and {right.size}"
        )
    outside = np.flatnonzero(~((sure >= 0) & (sure <= 1)))
    if outside.size:
        raise OptionError(
            f"confidence {sure[outside[0]]} of sample {outside[0]} is not 0 to 1: are the logits finite, and is it a "
            "probability?"
        )
    return sure, right
