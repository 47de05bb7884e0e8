"""Accuracies, gaps and slopes of counts, and their intervals over objects."""

import numpy as np
import pytest

from shardtools.evaluation.variation.gaps import Counts, Resampling, less, mean_of, slope_of, sum_of


def counts(right: list[list[float]], of: float = 10) -> Counts:
    found = np.array(right, float)
    return Counts(right=found, of=np.full_like(found, of))


ONES = np.ones((1, 4))


def test_answers_are_counted_by_object_and_column() -> None:
    found = Counts.none(2, 1)
    found.add(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([1.0, 0.0, 1.0, 0.0]))
    assert found.right.tolist() == [[1, 0], [0, 1]]
    assert found.of.tolist() == [[1, 1], [0, 2]]
    assert sum_of([found, found]).of.tolist() == [[2, 2], [0, 4]]
    assert found.only([True, False]).of.tolist() == [[1, 1], [0, 0]]
    assert np.isnan(found.only([False, True]).accuracy(0)(np.ones((1, 2)))).all()


def test_gaps_and_what_is_made_of_them() -> None:
    one = counts([[10, 5], [10, 5], [10, 10], [0, 0]])
    assert one.accuracy(0)(ONES) == pytest.approx([0.75])
    assert one.gap(1)(ONES) == pytest.approx([-0.25])
    other = counts([[10, 10]] * 4)
    assert less(other.gap(1), one.gap(1))(ONES) == pytest.approx([0.25])
    assert mean_of([other.gap(1), one.gap(1)])(ONES) == pytest.approx([-0.125])
    half = counts([[10, 8]] * 4)
    assert slope_of([0, 0.5, 1], [one.gap(1), half.gap(1), other.gap(1)])(ONES) == pytest.approx(
        [np.polyfit([0, 50, 100], [-25, -20, 0], 1)[0]]
    )


def test_the_interval_is_of_objects_and_covers_their_spread() -> None:
    rng = np.random.default_rng(0)
    right = rng.binomial(100, rng.choice([0.2, 0.9], 400))[:, None] * [1.0, 1.0]
    found = Resampling(np.zeros(400, np.int64), seed=0).estimate(counts(right.tolist(), of=100).accuracy(1))
    assert found is not None and found.low is not None and found.high is not None
    error = (right[:, 1] / 100).std(ddof=1) / np.sqrt(400)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    # Pictures, taken one by one, would give a far smaller one.
    assert error > 5 * np.sqrt(0.25 / 40000)
    assert found.deviation is None


def test_objects_that_are_never_judged_count_nothing_and_folds_deviate() -> None:
    found = Resampling(np.array([0, 1, 2, -1]), seed=0).estimate(counts([[10, 4], [10, 5], [10, 6], [10, 0]]).gap(1))
    assert found is not None
    assert found.value == pytest.approx(-0.5)
    assert found.deviation == pytest.approx(0.1)


def test_a_figure_of_no_object_is_none() -> None:
    resampling = Resampling(np.zeros(4, np.int64), seed=0)
    assert resampling.estimate(Counts.none(4, 1).gap(1)) is None
    # One object alone: draws without it have no figure.
    alone = resampling.estimate(counts([[10, 5]] * 4).only([True, False, False, False]).gap(1))
    assert alone is not None
    assert (alone.value, alone.low, alone.high) == (-0.5, -0.5, -0.5)
