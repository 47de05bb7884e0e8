"""Correlations against scipy, and log odds by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import log_odds, normalized_slope, pearson, slope, spearman, spread_slope


@given(st.integers(0, 2**32), st.integers(3, 60), st.booleans())
def test_they_are_scipys(seed: int, num: int, ties: bool) -> None:
    x, noise = np.random.default_rng(seed).normal(size=(2, num))
    y = 2 * x + noise
    if ties:
        x, y = np.r_[x.round(), 9.0], np.r_[y.round(), -9.0]
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert slope(x, y) == pytest.approx(stats.linregress(x, y).slope, rel=1e-9)


@given(st.integers(0, 2**32), st.floats(0.1, 10), st.floats(-5, 5))
def test_a_line_changes_no_correlation(seed: int, factor: float, offset: float) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, 20))
    assert pearson(factor * x + offset, y) == pytest.approx(pearson(x, y), abs=1e-9)
    assert pearson(y, x) == pytest.approx(pearson(x, y))
    # Ranks follow any rising curve, here the logistic one.
    assert spearman(np.exp(x), y) == pytest.approx(spearman(x, y))
    assert slope(x, factor * x + offset) == pytest.approx(factor)


def test_log_odds_by_hand() -> None:
    assert log_odds([0.5, 0.75]) == pytest.approx([0, math.log(3)])


@given(st.floats(1e-6, 1 - 1e-6))
def test_right_and_wrong_turn_the_sign(accuracy: float) -> None:
    assert log_odds(accuracy) == pytest.approx(-log_odds(1 - accuracy), abs=1e-6)


@pytest.mark.parametrize("accuracy", [0.0, 1.0, 1.2, math.nan])
def test_infinite_log_odds(accuracy: float) -> None:
    with pytest.raises(OptionError, match="not 0, not 1"):
        log_odds([0.5, accuracy])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1.0], [2.0], "two numbers at least, found 1 and 1"),
        ([1.0, 2.0], [1.0], "found 2 and 1"),
        ([1.0, 1.0], [1.0, 2.0], "not all equal"),
        ([1.0, math.inf], [1.0, 2.0], "finite"),
    ],
)
def test_what_cannot_go_together(x: list[float], y: list[float], message: str) -> None:
    for correlate in (pearson, spearman, slope):
        with pytest.raises(OptionError, match=message):
            correlate(x, y)


@given(st.integers(0, 2**32), st.floats(0.1, 10), st.floats(-5, 5))
def test_both_readings_of_the_normalized_slope(seed: int, factor: float, offset: float) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, 19))
    # Of two shares the first is the plain slope; a metric of another range is brought to 0 to 1.
    assert normalized_slope(x, y) == slope(x, y)
    assert normalized_slope(x, y, x_range=(0, 100), y_range=(-1, 1)) == pytest.approx(50 * slope(x, y))
    # The second depends on no scale at all.
    scaled = [(values - values.min()) / np.ptp(values) for values in (x, y)]
    assert spread_slope(x, y) == pytest.approx(slope(*scaled)) == pytest.approx(spread_slope(factor * x + offset, y))


@given(st.integers(0, 2**32), st.floats(0.01, 3))
def test_what_seed_003_prints_is_no_spread_slope(seed: int, noise: float) -> None:
    """The docstring's bound: of 19 networks a spread slope is no smaller than 0.324 of the correlation."""
    x, other = np.random.default_rng(seed).normal(size=(2, 19))
    y = x + noise * other
    least = 2 / math.sqrt(2 * 19)
    assert least == pytest.approx(0.324, abs=1e-3) and 0.44 * least == pytest.approx(0.143, abs=1e-3)
    assert abs(spread_slope(x, y)) >= least * abs(pearson(x, y))
    standard = [(values - values.mean()) / values.std() for values in (x, y)]
    assert slope(*standard) == pytest.approx(pearson(x, y))


def test_a_range_that_is_empty() -> None:
    with pytest.raises(OptionError, match="from the least to the greatest"):
        normalized_slope([0.1, 0.2], [0.1, 0.3], y_range=(1, 1))
