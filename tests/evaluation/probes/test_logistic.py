"""Logistic regression against scikit-learn's, and what it refuses."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from shardtools.errors import OptionError
from shardtools.evaluation.probes import Linear, fit

NUM_CLASSES = 6


def data(num_rows: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes with a decaying spectrum, as features have; of one world for every seed."""
    centers = np.random.default_rng(7).normal(size=(NUM_CLASSES, dim))
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % NUM_CLASSES
    found = (0.5 * centers[labels] + rng.normal(size=(num_rows, dim))) * np.exp(-np.arange(dim) / 20) + 3
    return found.astype(np.float32), labels


@pytest.mark.parametrize(("num_rows", "dim"), [(40, 100), (300, 60)])
@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_scikit_learns(num_rows: int, dim: int, C: float, weighted: bool) -> None:
    features, labels = data(num_rows, dim, 0)
    weights = np.random.default_rng(1).uniform(0.1, 2, num_rows) if weighted else None
    found = fit(features, labels, NUM_CLASSES, C, weights=weights)
    exact = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-9).fit(
        features.astype(np.float64), labels, weights
    )
    test, test_labels = data(2000, dim, 2)
    accuracy = np.mean(found.predict(test) == test_labels)
    assert 0.3 < accuracy < 0.99
    assert abs(accuracy - exact.score(test, test_labels)) <= 0.001
    logits, expected = found.logits(test), exact.decision_function(test)
    centered = logits - logits.mean(axis=1, keepdims=True) - expected + expected.mean(axis=1, keepdims=True)
    assert np.abs(centered).max() < 0.02


def test_accuracies_are_scikit_learns_over_all_of_C() -> None:
    """Within a tenth of a point of the minimum, which Newton's method finds; scikit-learn's L-BFGS is up to 4 away."""
    features, labels = data(300, 60, 0)
    test, test_labels = data(5000, 60, 2)
    apart = []
    for C in np.geomspace(1e-5, 1e6, 20):
        exact = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-8, max_iter=100)
        expected = exact.fit(features.astype(np.float64), labels).score(test, test_labels)
        apart.append(abs(np.mean(fit(features, labels, NUM_CLASSES, C).predict(test) == test_labels) - expected))
    assert max(apart) <= 0.001


def test_a_warm_start_and_a_weight_of_two_change_nothing() -> None:
    features, labels = data(300, 60, 0)
    cold = fit(features, labels, NUM_CLASSES)
    warm = fit(features, labels, NUM_CLASSES, start=fit(features, labels, NUM_CLASSES, 0.01))
    twice = fit(np.concatenate([features, features]), np.concatenate([labels, labels]), NUM_CLASSES, 0.5)
    few = fit(features[:40], labels[:40], NUM_CLASSES, start=cold)
    assert np.abs(cold.logits(features) - warm.logits(features)).max() < 0.02
    assert np.abs(cold.logits(features) - twice.logits(features)).max() < 0.02
    assert np.abs(few.logits(features) - fit(features[:40], labels[:40], NUM_CLASSES).logits(features)).max() < 0.02


def test_a_class_without_a_sample_is_never_answered() -> None:
    features, labels = data(60, 10, 0)
    found = fit(features[labels > 0], labels[labels > 0], NUM_CLASSES)
    assert 0 not in found.predict(features)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"C": 0.0}, "C is positive"),
        ({"labels": np.full(12, 9)}, "a label from 0 to 5"),
        ({"labels": np.zeros(11, np.int64)}, "found 11 labels"),
        ({"num_classes": 1, "labels": np.zeros(12, np.int64)}, "two classes"),
        ({"weights": [-1.0] * 12}, "weights of samples"),
        ({"weights": [1.0]}, "weights of samples"),
        ({"features": np.full((12, 3), np.nan, np.float32)}, "features are finite"),
        (
            {"start": Linear(weights=np.zeros((6, 9), np.float32), intercept=np.zeros(6, np.float32))},
            "start has weights",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, match: str) -> None:
    given = {"features": np.ones((12, 3), np.float32), "labels": np.arange(12) % 6, "num_classes": 6, **changes}
    with pytest.raises(OptionError, match=match):
        fit(given.pop("features"), given.pop("labels"), given.pop("num_classes"), given.pop("C", 1.0), **given)
