"""The learning rate of each step."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.training.recipe import Recipe
from shardtools.training.recipes import load_recipe
from shardtools.training.schedule import LearningRate


def test_warm_up_is_a_line_and_the_rest_half_a_cosine() -> None:
    rate = LearningRate(peak=0.8, warmup_steps=4, total_steps=12, min_lr=0.2)
    assert [rate(step) for step in range(5)] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    # Step 8 is half of the way down: the mean of peak and end. Step 6 is a quarter: cos(45 degrees).
    assert rate(8) == pytest.approx(0.5)
    assert rate(6) == pytest.approx(0.5 + 0.3 * math.sqrt(0.5))
    assert rate(10) == pytest.approx(0.5 - 0.3 * math.sqrt(0.5))
    assert rate(11) == pytest.approx(0.5 + 0.3 * math.cos(math.pi * 7 / 8))
    assert rate(12) == pytest.approx(0.2)
    assert rate(1000) == pytest.approx(0.2)


def test_without_warm_up_the_first_step_gets_the_peak() -> None:
    assert LearningRate(peak=0.1, warmup_steps=0, total_steps=1)(0) == 0.1


def test_the_thesis_recipe() -> None:
    rate = LearningRate.of(Recipe(name="t-rex", batch_size=512, min_lr=1e-6), steps_per_epoch=5004)
    assert (rate.warmup_steps, rate.total_steps) == (50_040, 500_400)
    assert rate(50_040) == rate.peak == pytest.approx(0.2)
    assert rate(25_020) == pytest.approx(0.1)
    assert rate(500_400) == pytest.approx(1e-6)


def test_steps_down_by_hand() -> None:
    rate = LearningRate(peak=0.8, warmup_steps=2, total_steps=12, min_lr=0.01, fall_steps=4, fall_factor=0.25)
    # The falls are at steps 4, 8 and 12 of the run, the warm-up's counted.
    expected = [0.0, 0.4, 0.8, 0.8, 0.2, 0.2, 0.2, 0.2, 0.05, 0.05, 0.05, 0.05, 0.0125]
    assert [rate(step) for step in range(13)] == pytest.approx(expected)
    assert rate(16) == 0.01
    # A warm-up over a fall ends below the peak.
    late = LearningRate(peak=0.8, warmup_steps=5, total_steps=12, fall_steps=4, fall_factor=0.25)
    assert (late(4), late(5)) == (pytest.approx(0.64), pytest.approx(0.2))


def test_the_recipe_of_torchvision_is_its_scheduler() -> None:
    recipe = load_recipe("pytorch")
    rate = LearningRate.of(recipe, steps_per_epoch=5004)
    starts = [rate(epoch * 5004) for epoch in (0, 29, 30, 59, 60, 89)]
    assert starts == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert (rate(30 * 5004 - 1), rate(90 * 5004 - 1)) == (pytest.approx(0.1), pytest.approx(0.001))
    # A short run falls at a third and at two thirds too.
    short = LearningRate.of(load_recipe("pytorch", ["epochs=3"]), steps_per_epoch=10)
    assert [short(step) for step in (9, 10, 19, 20, 29)] == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.001])
    few = LearningRate.of(load_recipe("pytorch", ["epochs=1"]), steps_per_epoch=1)
    assert (few.fall_steps, few(0)) == (1, 0.1)


def test_falls_at_given_epochs() -> None:
    """Seed 003: a tenth at epochs 15, 20 and 25 of 30."""
    recipe = Recipe(name="own", epochs=30, warmup_epochs=0, schedule="step", step_at=(15, 20, 25))
    rate = LearningRate.of(recipe, steps_per_epoch=7)
    by_epoch = [rate.peak * 0.1 ** sum(epoch >= at for at in (15, 20, 25)) for epoch in range(30)]
    assert [rate(step) for step in range(210)] == pytest.approx([one for one in by_epoch for _ in range(7)])
    # Where all is over in two steps, two falls are at one step.
    few = LearningRate.of(Recipe(name="own", epochs=2, warmup_epochs=0, schedule="step", step_at=(0.6, 1, 1.4)), 1)
    assert (few.falls, few(0), few(1)) == ((1, 1, 1), few.peak, pytest.approx(few.peak / 1000))


def test_a_rate_may_stay_for_an_epoch() -> None:
    values: dict[str, Any] = {"name": "own", "epochs": 4, "warmup_epochs": 1}
    by_step = LearningRate.of(Recipe(**values), steps_per_epoch=5)
    by_epoch = LearningRate.of(Recipe(**values, rate_by="epoch"), steps_per_epoch=5)
    assert [by_epoch(step) for step in range(21)] == [by_step(step - step % 5) for step in range(21)]
    assert len({by_epoch(step) for step in range(20)}) == 4


def test_fractions_of_an_epoch_warm_up_and_leave_a_step() -> None:
    recipe = Recipe(name="short", epochs=2, warmup_epochs=0.5)
    assert LearningRate.of(recipe, steps_per_epoch=10).warmup_steps == 5
    nearly_all = Recipe(name="short", epochs=1, warmup_epochs=0.999)
    assert LearningRate.of(nearly_all, steps_per_epoch=10).warmup_steps == 9


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.data())
def test_rises_then_falls_and_stays_in_its_bounds(total: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(0, total - 1))
    rate = LearningRate(peak=1.0, warmup_steps=warmup, total_steps=total, min_lr=0.01)
    rates = [rate(step) for step in range(total + 1)]
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert max(rates) == rates[warmup] == 1.0
    assert rates[total] == pytest.approx(0.01)

    length = data.draw(st.integers(warmup + 1, 600))
    rate = LearningRate(peak=1.0, warmup_steps=warmup, total_steps=total, min_lr=0.01, fall_steps=length)
    rates = [rate(step) for step in range(total + 1)]
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True) and 0.01 <= rates[-1] <= rates[warmup] == 1.0
    assert len({round(one, 9) for one in rates[warmup:]}) == min(total // length, 2) + 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"peak": 1.0, "warmup_steps": 0, "total_steps": 0}, "at least 1 step, found 0"),
        ({"peak": 1.0, "warmup_steps": 5, "total_steps": 5}, "warmup_steps is 0 to 4"),
        ({"peak": 1.0, "warmup_steps": -1, "total_steps": 5}, "found -1"),
        ({"peak": 0.1, "warmup_steps": 0, "total_steps": 5, "min_lr": 0.2}, "min_lr is 0 to the peak"),
        ({"peak": 1.0, "warmup_steps": 0, "total_steps": 5, "fall_steps": 0}, "fall_steps is at least 1, found 0"),
        ({"peak": 1.0, "warmup_steps": 0, "total_steps": 5, "fall_factor": 0.0}, "fall_factor is above 0 and at most"),
        ({"peak": 1.0, "warmup_steps": 0, "total_steps": 5, "falls": (0, 3)}, "falls are steps of at least 1"),
        ({"peak": 1.0, "warmup_steps": 0, "total_steps": 5, "falls": (3, 2)}, r"in their order, found \(3, 2\)"),
        ({"peak": 1.0, "warmup_steps": 0, "total_steps": 5, "held_steps": 0}, "held_steps is at least 1, found 0"),
    ],
)
def test_what_makes_no_schedule(values: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        LearningRate(**values)


def test_there_is_no_step_before_the_first() -> None:
    with pytest.raises(OptionError, match="found -1"):
        LearningRate(peak=1.0, warmup_steps=0, total_steps=5)(-1)
