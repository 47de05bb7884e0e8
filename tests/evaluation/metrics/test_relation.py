"""Relations of figures over networks: what they hold, their intervals, and sets left out."""

from __future__ import annotations

import numpy as np
import pytest

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import RELATIONS, compare_left_out, pearson, relate, slope, spearman

DRAWS = 200


def networks(num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies on ImageNet from 57 to 83 %, as seed 003's, and a figure that follows them with noise."""
    generator = np.random.default_rng(seed)
    x = np.linspace(0.57, 0.83, num)
    return x, 0.6 + 0.3 * x + generator.normal(0, 0.02, num)


def test_all_networks_and_those_above_a_bound() -> None:
    x, y = networks(19)
    every, best = relate(x, y, num_draws=DRAWS), relate(x, y, above=0.7, num_draws=DRAWS)

    assert every.num_networks == 19 and best.num_networks == int((x > 0.7).sum()) == 9
    assert list(every.figures) == list(RELATIONS)
    for name, function in RELATIONS.items():
        assert every.figures[name].value == function(x, y)
        assert best.figures[name].value == function(x[x > 0.7], y[x > 0.7])


def test_intervals_hold_the_value_and_shrink_with_networks() -> None:
    few, many = (relate(*networks(num, seed=3), num_draws=DRAWS) for num in (10, 90))
    for relation in (few, many):
        for one in relation.figures.values():
            assert one.interval is not None and one.interval[0] <= one.value <= one.interval[1]
    widths = [relation.figures["slope"].interval for relation in (few, many)]
    assert widths[0] is not None and widths[1] is not None
    assert np.ptp(widths[1]) < 0.6 * np.ptp(widths[0])
    # One seed, one interval.
    assert relate(*networks(10, seed=3), num_draws=DRAWS) == few
    assert relate(*networks(10, seed=3), num_draws=DRAWS, seed=1) != few


def test_the_interval_of_a_slope_is_that_of_its_standard_error() -> None:
    x, y = networks(300, seed=5)
    found = relate(x, y, num_draws=400).figures["slope"]
    error = np.std(y - np.polyval(np.polyfit(x, y, 1), x)) / np.std(x) / np.sqrt(300)
    assert found.interval == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=0.4 * error)


def test_few_networks_have_no_interval_and_two_must_differ() -> None:
    x, y = networks(4)
    assert {one.interval for one in relate(x, y).figures.values()} == {None}
    with pytest.raises(OptionError, match="two numbers at least"):
        relate(x, y, above=0.8)
    with pytest.raises(OptionError, match="not all equal"):
        relate(x, np.full(4, 0.5))


def test_draws_without_a_line_are_left_out() -> None:
    """Six networks, five of them alike in y: every third draw takes these alone."""
    x, y = np.linspace(0.6, 0.8, 6), np.array([0.5] * 5 + [0.9])
    found = relate(x, y, num_draws=DRAWS).figures["pearson"]
    assert found.interval is not None and -1 <= found.interval[0] <= found.value <= found.interval[1] <= 1


def test_other_sets_foretell_a_set_that_imagenet_does_not() -> None:
    """Two sets share an order that has nothing to do with ImageNet's, the third follows ImageNet."""
    generator = np.random.default_rng(2)
    reference, hidden = np.linspace(0.57, 0.83, 19), generator.permutation(19) / 19
    sets = {
        "cassava": hidden + generator.normal(0, 0.01, 19),
        "aptos": hidden + generator.normal(0, 0.01, 19),
        "photos": reference,
    }
    found = compare_left_out(reference, sets, num_draws=DRAWS)

    assert list(found) == list(sets)
    for name in ("cassava", "aptos"):
        one = found[name]
        others = np.mean([values for other, values in sets.items() if other != name], axis=0)
        assert one.with_others == spearman(sets[name], others)
        assert one.with_reference == spearman(sets[name], reference)
        assert one.difference.value == one.with_others - one.with_reference > 0.3
        assert one.difference.interval is not None and one.difference.interval[0] > 0
    assert found["photos"].with_reference == pytest.approx(1)
    assert found["photos"].difference.value < 0


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"one": [0.1, 0.2, 0.3]}, "found one alone"),
        ({}, "found none alone"),
        ({"one": [0.1, 0.2, 0.3], "two": [0.1, 0.2]}, "two has figures of 2 networks, the reference of 3"),
        ({"one": [0.1, 0.1, 0.1], "two": [0.1, 0.2, 0.3]}, "not all equal"),
    ],
)
def test_sets_that_cannot_be_compared(sets: dict[str, list[float]], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        compare_left_out([0.6, 0.7, 0.8], sets)


def test_relations_are_plain_functions() -> None:
    assert RELATIONS["pearson"] is pearson and RELATIONS["slope"] is slope
