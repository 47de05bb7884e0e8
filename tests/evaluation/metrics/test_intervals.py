"""Intervals: Wilson's against scipy, the bootstrap against what is known of a mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import Share, bootstrap_interval, wilson_interval


@given(of=st.integers(1, 5000), data=st.data(), level=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilsons_interval_is_scipys(of: int, data: st.DataObject, level: float) -> None:
    num = data.draw(st.integers(0, of))
    low, high = wilson_interval(num, of, level=level)
    wanted = binomtest(num, of).proportion_ci(confidence_level=level, method="wilson")
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert 0 <= low <= num / of <= high <= 1


def test_an_interval_by_hand() -> None:
    # 1 of 2, z = 1.96: center 1/2, half = 1.96 / (1 + 1.96^2/2) * sqrt(1/8 + 1.96^2/16).
    assert wilson_interval(1, 2) == pytest.approx((0.0945, 0.9055), abs=1e-4)
    assert wilson_interval(0, 10)[0] == 0 and wilson_interval(10, 10)[1] == 1


@given(num=st.integers(0, 50), of=st.integers(50, 100))
def test_more_samples_make_it_narrower(num: int, of: int) -> None:
    low, high = wilson_interval(num, of)
    low_of_more, high_of_more = wilson_interval(10 * num, 10 * of)
    assert high_of_more - low_of_more < high - low


def test_a_share_of_nothing_is_no_number() -> None:
    assert Share(0, 0).value != Share(0, 0).value
    assert Share(3, 4).value == 0.75 and Share(3, 4).interval == wilson_interval(3, 4)


@pytest.mark.parametrize(("num", "of", "level"), [(3, 2, 0.95), (-1, 2, 0.95), (0, 0, 0.95), (1, 2, 1.0)])
def test_no_interval(num: int, of: int, level: float) -> None:
    with pytest.raises(OptionError, match="interval"):
        wilson_interval(num, of, level=level)


def test_the_bootstrap_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(400, lambda rows: float(values[rows].mean()), seed=5)

    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert bootstrap_interval(400, lambda rows: float(values[rows].mean()), seed=5) == (low, high)
    assert bootstrap_interval(400, lambda rows: float(values[rows].mean()), seed=6) != (low, high)


def test_a_constant_has_no_width() -> None:
    assert bootstrap_interval(3, lambda rows: 0.25, num_draws=10) == (0.25, 0.25)


@pytest.mark.parametrize(("num_samples", "num_draws"), [(0, 100), (5, 9)])
def test_a_bootstrap_of_too_little(num_samples: int, num_draws: int) -> None:
    with pytest.raises(OptionError, match="a sample and 10 draws"):
        bootstrap_interval(num_samples, lambda rows: 0.0, num_draws=num_draws)
