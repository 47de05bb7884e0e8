"""The three decisions on logits by hand, and shape biases from published counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import DECISIONS, ShapeBias, decide_category, shape_bias
from shardtools.evaluation.published import cue_categories, cue_counts

# Category 0 has one output, category 1 three, and one output belongs to none.
CATEGORIES = np.array([0, 1, 1, 1, -1])


def test_the_decisions_differ_where_they_should() -> None:
    logits = np.log([[0.30, 0.20, 0.15, 0.05, 0.30]])
    assert {name: decide_category(logits, CATEGORIES, name).tolist() for name in DECISIONS} == {
        "max": [0],
        "mean": [0],
        "sum": [1],
    }
    # One strong class in a category of weak ones: the largest is not the largest mean.
    logits = np.log([[0.20, 0.25, 0.01, 0.01, 0.53]])
    assert [int(decide_category(logits, CATEGORIES, name)[0]) for name in ("max", "mean", "sum")] == [1, 0, 1]


@given(st.lists(st.lists(st.floats(-30, 30, width=16), min_size=5, max_size=5), min_size=1, max_size=8))
def test_a_constant_changes_no_decision(rows: list[list[float]]) -> None:
    logits = np.array(rows)
    for name in DECISIONS:
        decided = decide_category(logits, CATEGORIES, name)
        moved = decide_category(logits + 64, CATEGORIES, name)
        assert np.array_equal(decided, moved) and set(decided.tolist()) <= {0, 1}


def test_large_logits_do_not_overflow() -> None:
    assert decide_category(np.array([[1e4, 0, 0, 0, 0], [0, 1e4, 0, 0, 0]]), CATEGORIES, "sum").tolist() == [0, 1]


def test_counts_by_hand() -> None:
    found = shape_bias(decided=[0, 1, 2, 0, 3], shape=[0, 0, 0, 0, 3], texture=[1, 1, 1, 2, 3])
    assert found == ShapeBias(num_shape=2, num_texture=1, num_other=1, num_agreeing=1)
    assert (found.bias, found.accuracy) == (2 / 3, 3 / 4)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=30))
def test_every_picture_is_counted_once(pictures: list[tuple[int, int, int]]) -> None:
    decided, shape, texture = np.array(pictures).T
    found = shape_bias(decided, shape, texture)
    assert found.num_shape + found.num_texture + found.num_other + found.num_agreeing == len(pictures)
    turned = shape_bias(decided, texture, shape)
    assert (turned.num_shape, turned.num_texture) == (found.num_texture, found.num_shape)
    if found.bias is not None and turned.bias is not None and found.interval is not None:
        assert found.bias + turned.bias == pytest.approx(1)
        assert found.interval[0] <= found.bias <= found.interval[1]


def test_no_decision_for_either_is_no_bias() -> None:
    nothing = shape_bias([3], [0], [1])
    assert (nothing.bias, nothing.interval, nothing.accuracy) == (None, None, 0)
    assert shape_bias([0], [0], [0]).accuracy is None


@pytest.mark.parametrize(
    ("model", "bias"),
    [("resnet50", 0.2207), ("vgg16", 0.0921), ("human_10_observers", 0.9587), ("resnet50_SIN_60ep", 0.8061)],
)
def test_the_published_biases(model: str, bias: float) -> None:
    num_shape, num_texture, num = cue_counts()[model]
    counted = ShapeBias(num_shape=num_shape, num_texture=num_texture, num_other=num - num_shape - num_texture)
    assert counted.bias == pytest.approx(bias, abs=5e-5)


def test_resnet50_is_162_of_734() -> None:
    num_shape, num_texture, num = cue_counts()["resnet50"]
    assert (num_shape, num_shape + num_texture, num) == (162, 734, 1200)


def test_the_categories_are_16_of_207_classes() -> None:
    categories = cue_categories()
    wnids = [wnid for own in categories.values() for wnid in own]
    assert (len(categories), len(wnids), len(set(wnids))) == (16, 207, 207)
    assert {name: len(own) for name, own in categories.items() if len(own) > 20} == {"bird": 49, "dog": 109}


@pytest.mark.parametrize(
    ("logits", "categories", "decision", "message"),
    [
        ([[0.0, 1.0]], [0, 1], "median", "one of max, mean, sum"),
        ([[0.0, math.inf]], [0, 1], "max", "1 of 1 samples have a logit that is not finite, the first in row 0"),
        ([[0.0, 1.0]], [0, 1, 1], "max", "2 outputs and categories of 3"),
        ([[0.0, 1.0]], [0, 2], "max", "each from 0 on"),
        ([[0.0, 1.0]], [-1, -1], "max", "each from 0 on"),
        ([0.0, 1.0], [0, 1], "max", "samples by outputs"),
    ],
)
def test_what_cannot_be_decided(logits: list[object], categories: list[int], decision: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        decide_category(np.array(logits), categories, decision)


def test_pictures_that_do_not_fit() -> None:
    with pytest.raises(OptionError, match="2 decisions, 1 shapes, 1 textures"):
        shape_bias([0, 1], [0], [1])
