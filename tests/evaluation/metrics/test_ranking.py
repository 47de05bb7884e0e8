"""Areas under curves: by hand, as scikit-learn has them, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import average_precision, macro_roc_auc, roc_auc

SAMPLES = st.lists(
    st.tuples(st.booleans(), st.one_of(st.sampled_from([0.0, 0.25, 1.0]), st.floats(-1e3, 1e3))),
    min_size=2,
    max_size=50,
)


def test_by_hand_with_equal_scores() -> None:
    has, scores = [True, False, True, False], [0.9, 0.5, 0.5, 0.1]
    # Of four pairs three are right and one is equal.
    assert roc_auc(has, scores) == 3.5 / 4
    # Thresholds .9 (recall 1/2, precision 1), .5 (1, 2/3).
    assert average_precision(has, scores) == pytest.approx(0.5 + 0.5 * 2 / 3, abs=1e-15)


@settings(max_examples=80, deadline=None)
@given(SAMPLES)
def test_as_scikit_learn_has_them(samples: list[tuple[bool, float]]) -> None:
    has, scores = [one for one, _ in samples], [score for _, score in samples]
    if any(has):
        expected = peer.average_precision_score(has, scores)
        assert average_precision(has, scores) == pytest.approx(expected, abs=1e-12)
    if any(has) and not all(has):
        assert roc_auc(has, scores) == pytest.approx(peer.roc_auc_score(has, scores), abs=1e-12)
        assert roc_auc(has, scores) + roc_auc(np.logical_not(has), scores) == pytest.approx(1, abs=1e-12)


def test_many_samples_and_several_classes() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(20_000) % 3
    scores = random.random((20_000, 3)).astype(np.float32).round(2) + 0.1 * np.eye(3)[labels]
    expected = [peer.roc_auc_score(labels == number, scores[:, number]) for number in range(3)]
    assert macro_roc_auc(np.eye(3)[labels], scores) == pytest.approx(np.mean(expected), abs=1e-12)
    assert roc_auc(labels == 1, scores[:, 1]) == pytest.approx(expected[1], abs=1e-12)


@pytest.mark.parametrize(
    ("has", "scores", "said"),
    [
        ([], [], "one score a sample, found 0 scores of 0 samples"),
        ([True], [0.5, 0.5], "found 2 scores of 1 samples"),
        ([True, False], [0.5, np.nan], "expected finite scores, found nan of sample 1"),
        ([False, False], [0.5, 0.4], "found no samples that have the class: take a set that has both"),
    ],
)
def test_what_has_no_area(has: list[bool], scores: list[float], said: str) -> None:
    for measure in (roc_auc, average_precision):
        with pytest.raises(OptionError, match=said):
            measure(has, scores)


def test_what_no_mean_is_made_of() -> None:
    with pytest.raises(OptionError, match="found all samples that have the class"):
        roc_auc([True, True], [0.5, 0.4])
    with pytest.raises(OptionError, match="found no samples that have class 1"):
        macro_roc_auc([[True, False], [False, False]], [[0.5, 0.4], [0.5, 0.4]])
    with pytest.raises(OptionError, match="one score for each sample and class"):
        macro_roc_auc([True], [0.5])
