"""Correlations against scipy, and log odds by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import log_odds, pearson, slope, spearman


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
