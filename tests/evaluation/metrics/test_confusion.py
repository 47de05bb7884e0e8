"""Agreement, F1 and accuracy of classes: by hand, as scikit-learn has them, and at their edges."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import (
    confusion_matrix,
    macro_f1,
    macro_f1_of_sets,
    mean_class_accuracy,
    quadratic_weighted_kappa,
    tuned_thresholds,
)

Pairs = list[tuple[int, int]]


@st.composite
def gradings(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    num_classes = draw(st.integers(2, 6))
    grade = st.integers(0, num_classes - 1)
    pairs = draw(st.lists(st.tuples(grade, grade), min_size=2, max_size=40))
    return [one for one, _ in pairs], [two for _, two in pairs], num_classes


def test_a_table_and_a_kappa_by_hand() -> None:
    labels, answers = [0, 0, 1, 2, 2], [0, 1, 1, 2, 0]
    assert confusion_matrix(labels, answers, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    # Observed: 1 * 1 + 1 * 4 = 5. Margins (2, 1, 2) and (2, 2, 1): (2*2*1 + 2*1*4 + 1*2*1 + 1*1*1 + 2*2*4 + 2*2*1) / 5.
    assert quadratic_weighted_kappa(labels, answers, 3) == pytest.approx(1 - 5 / (35 / 5), abs=1e-15)
    assert quadratic_weighted_kappa([0, 1, 2], [0, 1, 2], 3) == 1
    # A grade that nobody has keeps its place: 0 and 3 are three apart, not two.
    assert quadratic_weighted_kappa([0, 1, 3, 3], [0, 3, 3, 1], 4) != pytest.approx(
        peer.cohen_kappa_score([0, 1, 3, 3], [0, 3, 3, 1], weights="quadratic")
    )


def test_many_classes_need_no_table_of_pairs() -> None:
    # A table of a million classes by a million would not fit into any memory.
    labels, answers = [0, 999_999, 999_999], [0, 999_999, 7]

    assert mean_class_accuracy(labels, answers, 1_000_000) == pytest.approx(0.75)
    assert macro_f1(labels, answers, 1_000_000) == pytest.approx((1 + 2 / 3) / 1_000_000)


@settings(max_examples=60, deadline=None)
@given(gradings())
def test_as_scikit_learn_has_them(found: tuple[list[int], list[int], int]) -> None:
    labels, answers, num_classes = found
    every = list(range(num_classes))
    assert np.array_equal(
        confusion_matrix(labels, answers, num_classes), peer.confusion_matrix(labels, answers, labels=every)
    )
    assert macro_f1(labels, answers, num_classes) == pytest.approx(
        peer.f1_score(labels, answers, labels=every, average="macro", zero_division=0), abs=1e-12
    )
    recalls = peer.recall_score(labels, answers, labels=sorted(set(labels)), average="macro", zero_division=0)
    assert mean_class_accuracy(labels, answers, num_classes) == pytest.approx(recalls, abs=1e-12)
    if len({*labels, *answers}) > 1:
        assert quadratic_weighted_kappa(labels, answers, num_classes) == pytest.approx(
            peer.cohen_kappa_score(labels, answers, labels=every, weights="quadratic"), abs=1e-12
        )


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 12), st.integers(1, 4))
def test_sets_of_classes_and_their_thresholds(data: st.DataObject, num: int, num_classes: int) -> None:
    """No threshold at all makes a better F1 than the tuned ones; scores are few, so that many are equal."""
    row = st.lists(st.booleans(), min_size=num_classes, max_size=num_classes)
    has = np.array(data.draw(st.lists(row, min_size=num, max_size=num)))
    values = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9]), min_size=num_classes, max_size=num_classes)
    scores = np.array(data.draw(st.lists(values, min_size=num, max_size=num)))
    thresholds = tuned_thresholds(has, scores)
    found = macro_f1_of_sets(has, scores >= thresholds)
    assert found == pytest.approx(
        peer.f1_score(has.astype(int), (scores >= thresholds).astype(int), average="macro", zero_division=0)
        if num_classes > 1
        else peer.f1_score(has[:, 0], (scores >= thresholds)[:, 0], zero_division=0),
        abs=1e-12,
    )
    for column in range(num_classes):
        tried = [macro_f1_of_sets(has[:, [column]], scores[:, [column]] >= at) for at in (0.0, 0.05, 0.1, 0.5, 0.9, 1)]
        own = macro_f1_of_sets(has[:, [column]], scores[:, [column]] >= thresholds[column])
        assert own == max(tried)
        assert np.isinf(thresholds[column]) == (not has[:, column].any())


def test_thresholds_by_hand() -> None:
    has = [[True, False], [True, False], [False, False], [True, False]]
    # First: the two best are right (F1 4/5), all four as well (6/7). Second: nobody has it.
    assert tuned_thresholds(has, [[0.9, 0.1], [0.8, 0.2], [0.5, 0.3], [0.2, 0.4]]).tolist() == [0.2, np.inf]
    # The middle of what it parts, and the highest of equally good ones.
    assert tuned_thresholds([[True], [False]], [[0.75], [0.25]]).tolist() == [0.5]
    close = np.nextafter(0.5, 1)
    (found,) = tuned_thresholds([[True], [False]], [[close], [0.5]])
    assert 0.5 < found <= close


def test_classes_that_nobody_has() -> None:
    assert macro_f1([0, 0, 1], [0, 0, 1], 4) == 0.5
    assert mean_class_accuracy([0, 0, 1], [0, 1, 1], 4) == 0.75
    assert macro_f1_of_sets([[True, False]], [[True, False]]) == 0.5
    assert quadratic_weighted_kappa([0, 0, 3], [0, 0, 3], 5) == 1
    # One grade given and another answered is chance itself, and no error.
    assert quadratic_weighted_kappa([1, 1], [2, 2], 3) == 0


@pytest.mark.parametrize(
    ("labels", "answers", "said"),
    [
        ([], [], "one label and one answer a sample, found 0 and 0"),
        ([0, 1], [0], "found 2 and 1"),
        ([0, -1], [0, 0], "found label -1 of sample 1: leave out samples without a label"),
        ([0, 1], [0, 5], "expected classes 0 to 2, found answer 5 of sample 1"),
    ],
)
def test_what_is_no_table(labels: list[int], answers: list[int], said: str) -> None:
    for measure in (confusion_matrix, quadratic_weighted_kappa, macro_f1, mean_class_accuracy):
        with pytest.raises(OptionError, match=said):
            measure(labels, answers, 3)


def test_what_has_no_measure() -> None:
    with pytest.raises(OptionError, match="found grade 2 as every label and every answer: take samples of two grades"):
        quadratic_weighted_kappa([2, 2], [2, 2], 5)
    wrong: list[tuple[Any, Any]] = [([[True]], [[0.5, 0.5]]), ([True], [0.5]), (np.empty((0, 2)), np.empty((0, 2)))]
    for (has, scores), measure in product(wrong, (macro_f1_of_sets, tuned_thresholds)):
        with pytest.raises(OptionError, match="for each sample and class, found"):
            measure(has, scores)
    with pytest.raises(OptionError, match="tuned on finite scores"):
        tuned_thresholds([[True]], [[np.nan]])
