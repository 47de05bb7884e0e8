"""Calibration, the published form against a second reading of its description, and both on cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import (
    aurra,
    expected_calibration_error,
    mad_calibration_error,
    measure_calibration,
    rms_calibration_error,
    soft_f1,
)


def drawn(seed: int, num: int, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    confidence = generator.integers(0, 5, num) / 4 if ties else generator.random(num)
    return confidence, generator.random(num) < confidence


def in_words(confidence: np.ndarray, correct: np.ndarray) -> tuple[float, float, float]:
    """RMS, MAD and AURRA as ../facts say the seed's code has them, sample by sample."""
    rows = sorted(zip(confidence.tolist(), correct.tolist(), strict=True))
    bins = [rows[start : start + 100] for start in range(0, len(rows) // 100 * 100, 100)]
    bins[-1] += rows[len(rows) // 100 * 100 :]
    squares = absolutes = 0.0
    for one in bins[:-1]:
        gap = abs(sum(sure for sure, _ in one) / len(one) - sum(right for _, right in one) / len(one))
        squares += len(one) / len(rows) * gap**2
        absolutes += len(one) / len(rows) * gap
    rights, curve = 0, []
    for number, (_, right) in enumerate(reversed(rows), start=1):
        rights += right
        curve.append(rights / number)
    return math.sqrt(squares), absolutes, sum(curve) / len(curve)


@pytest.mark.parametrize("num", [100, 199, 200, 950, 1000])
def test_the_published_form_is_what_was_described(num: int) -> None:
    confidence, correct = drawn(num, num)
    rms, mad, area = in_words(confidence, correct)
    assert rms_calibration_error(confidence, correct, as_published=True) == pytest.approx(rms, abs=1e-12)
    assert mad_calibration_error(confidence, correct, as_published=True) == pytest.approx(mad, abs=1e-12)
    assert aurra(confidence, correct, as_published=True) == pytest.approx(area, abs=1e-12)


def test_the_published_form_leaves_the_most_confident_out() -> None:
    # 100 doubtful answers as right as they are sure, 150 sure ones that are all wrong: nothing is seen of them.
    confidence = np.r_[np.full(100, 0.5), np.full(150, 0.9)]
    correct = np.r_[np.arange(100) % 2 == 0, np.zeros(150, bool)]
    assert rms_calibration_error(confidence, correct, as_published=True) == 0
    assert rms_calibration_error(confidence, correct) == pytest.approx(math.sqrt(0.6 * 0.9**2))
    assert mad_calibration_error(confidence, correct) == pytest.approx(0.6 * 0.9)


def test_the_published_form_divides_by_all() -> None:
    # Three bins of 100, each off by 0.2; the last is not in the sum.
    confidence, correct = np.repeat([0.2, 0.4, 0.6], 100), np.zeros(300, bool)
    correct[:40], correct[100:160], correct[200:280] = True, True, True
    assert mad_calibration_error(confidence, correct, as_published=True) == pytest.approx(0.2 * 2 / 3)
    assert mad_calibration_error(confidence, correct) == pytest.approx(0.2)


def test_other_measures_by_hand() -> None:
    confidence, correct = [0.9, 0.8, 0.6, 0.1], [True, False, True, False]
    # 1, 1/2, 2/3, 1/2 over four.
    assert aurra(confidence, correct) == pytest.approx((1 + 1 / 2 + 2 / 3 + 1 / 2) / 4)
    # Doubt .1 .2 .4 .9; of the wrong ones .2 + .9; all doubt 1.6 and two wrong.
    assert soft_f1(confidence, correct) == pytest.approx(2 * 1.1 / 3.6)
    # Bins of fifteenths: each answer is alone.
    assert expected_calibration_error(confidence, correct) == pytest.approx((0.1 + 0.8 + 0.4 + 0.1) / 4)
    assert expected_calibration_error(confidence, correct, num_bins=1) == pytest.approx(abs(2.4 - 2) / 4)


def test_the_ends_of_the_bins() -> None:
    # 0 is in the first bin, 1/3 too, 2/3 in the second, 1 in the last.
    assert expected_calibration_error([0, 1 / 3, 2 / 3, 1], [True, False, True, True], num_bins=3) == pytest.approx(
        ((abs(1 / 3 - 1)) + (1 / 3) + 0) / 4
    )


def test_ties_share_their_accuracy() -> None:
    assert aurra([0.5, 0.5], [True, False]) == aurra([0.5, 0.5], [False, True]) == 0.5


@given(st.integers(0, 2**32), st.integers(1, 450))
def test_no_order_of_samples_matters(seed: int, num: int) -> None:
    confidence, correct = drawn(seed, num, ties=True)
    order = np.random.default_rng(seed).permutation(num)
    for measure in (rms_calibration_error, mad_calibration_error, soft_f1, aurra, expected_calibration_error):
        assert measure(confidence[order], correct[order]) == pytest.approx(measure(confidence, correct), abs=1e-12)


@given(st.integers(0, 2**32), st.integers(100, 450), st.booleans())
def test_all_are_shares(seed: int, num: int, ties: bool) -> None:
    confidence, correct = drawn(seed, num, ties=ties)
    found = measure_calibration(confidence, correct)
    for name in found.__slots__:
        assert 0 <= getattr(found, name) <= 1
    assert found.mad_calibration_error <= found.rms_calibration_error + 1e-12
    # What the published form leaves out can only add.
    assert found.mad_calibration_error_as_published is not None
    if not ties:
        assert found.mad_calibration_error_as_published <= found.mad_calibration_error + 1e-12
        assert found.aurra_as_published == pytest.approx(found.aurra, abs=1e-12)


def test_right_and_sure_of_it() -> None:
    found = measure_calibration(np.ones(150), np.ones(150, bool))
    assert (found.rms_calibration_error, found.aurra, found.soft_f1, found.expected_calibration_error) == (0, 1, 0, 0)


def test_a_set_too_small_for_a_published_bin() -> None:
    assert measure_calibration([0.5] * 99, [True] * 99).rms_calibration_error_as_published is None
    with pytest.raises(OptionError, match="needs 100 samples at least, found 99"):
        rms_calibration_error([0.5] * 99, [True] * 99, as_published=True)


@pytest.mark.parametrize(
    ("confidence", "message"),
    [([0.5, math.nan], "nan of sample 1"), ([1.5, 0.5], "1.5 of sample 0"), ([0.5], "found 1 and 2")],
)
def test_what_is_no_confidence(confidence: list[float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        measure_calibration(confidence, [True, False])
