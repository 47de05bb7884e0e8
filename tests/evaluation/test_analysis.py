"""Feature analyses against matrices whose values follow by hand, and against the plain formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.evaluation.analysis import (
    coding_length,
    intra_class_distance,
    redundancy,
    singular_values,
    sparsity,
)
from shardtools.features.checking import ROWS_PER_BLOCK


def random_features(seed: int, num_samples: int, num_dimensions: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_samples, num_dimensions))


def test_sparsity_counts_what_is_near_zero_at_length_one() -> None:
    features = np.array([[3.0, 0.0, 4.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert sparsity(features) == 2 / 8
    # 1e-5 times its row's length is not below the threshold; a tenth of it is, and so are rows of zeros.
    assert sparsity(np.array([[1e6, 11.0], [1e6, 1.0], [0.0, 0.0]])) == 3 / 6
    assert sparsity(features, threshold=0.7) == 7 / 8
    assert sparsity(features.astype(np.float16)) == 2 / 8


def test_intra_class_distance_is_the_mean_over_pairs() -> None:
    # Class 7: right angles and opposite directions; class 3: one direction at two lengths.
    features = np.array([[1.0, 0.0], [0.0, 5.0], [2.0, 0.0], [-3.0, 0.0], [9.0, 0.0]])
    found = intra_class_distance(features, [7, 7, 3, 7, 3])

    assert found.classes.tolist() == [3, 7]
    assert found.per_class == pytest.approx([0.0, (math.sqrt(2) + math.sqrt(2) + 2) / 3])
    assert found.mean == pytest.approx((2 * math.sqrt(2) + 2) / 6)


def test_intra_class_distance_in_blocks_is_that_of_all_pairs_at_once() -> None:
    features = random_features(1, 2500, 3).astype(np.float32)
    labels = np.arange(2500) % 2 * 4
    found = intra_class_distance(features, labels)

    unit = features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    for number, label in enumerate((0, 4)):
        own = unit[labels == label]
        distances = np.linalg.norm(own[:, None] - own[None], axis=2)
        assert found.per_class[number] == pytest.approx(distances.sum() / (1250 * 1249), rel=1e-9)


def test_redundancy_of_known_correlations() -> None:
    first = np.array([1.0, -1.0, 1.0, -1.0])
    other = np.array([1.0, 1.0, -1.0, -1.0])
    assert redundancy(np.stack([first, other], 1)) == pytest.approx(0.5)
    assert redundancy(np.stack([first, -2 * first + 10], 1), normalize=False) == pytest.approx(1.0)
    assert redundancy(np.stack([first, other, 3 * first], 1)) == pytest.approx(5 / 9)
    # A dimension that never changes adds nothing, not even its own diagonal.
    assert redundancy(np.stack([first, np.full(4, 0.1)], 1), normalize=False) == pytest.approx(1 / 4)
    assert redundancy(np.full((3, 2), 0.1)) == 0


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(3, 40), st.integers(1, 6))
def test_redundancy_is_numpys_correlation(seed: int, num_samples: int, num_dimensions: int) -> None:
    features = random_features(seed, num_samples, num_dimensions) + 100
    expected = np.abs(np.corrcoef(features.T)).mean()
    assert redundancy(features, normalize=False) == pytest.approx(expected, rel=1e-9)


def test_coding_length_of_a_diagonal() -> None:
    # X^T X = diag(4, 9); d / (N eps^2) = 2 / (2 * 0.5) = 2: half the log of (1 + 8) (1 + 18).
    features = np.array([[2.0, 0.0], [0.0, 3.0]])
    assert coding_length(features, normalize=False) == pytest.approx(0.5 * math.log(9 * 19))
    assert coding_length(features, eps_squared=1.0, normalize=False) == pytest.approx(0.5 * math.log(5 * 10))
    assert coding_length(features.astype(np.float16), normalize=False) == pytest.approx(0.5 * math.log(9 * 19))
    # At length one X^T X is the identity.
    assert coding_length(features) == pytest.approx(0.5 * math.log(3 * 3))
    assert coding_length(np.zeros((3, 4))) == 0


def test_singular_values_of_a_known_matrix() -> None:
    # Rotated and stretched: singular values 4 and 3 whatever the rotation.
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    found = singular_values(np.diag([3.0, 4.0]) @ turn)

    assert found.values == pytest.approx([4, 3])
    assert found.shares == pytest.approx([4 / 7, 3 / 7])
    assert found.cumulative_variance == pytest.approx([16 / 25, 1])


def test_singular_values_beyond_the_samples_are_zero() -> None:
    features = random_features(2, 3, 6)
    plain, centered = singular_values(features), singular_values(features, center=True)

    assert plain.values == pytest.approx([*np.linalg.svd(features, compute_uv=False), 0, 0, 0])
    expected = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)[:2]
    assert centered.values == pytest.approx([*expected, 0, 0, 0, 0])
    assert centered.cumulative_variance[1:] == pytest.approx(1)


def test_more_rows_than_a_block_are_summed_up() -> None:
    features = random_features(3, 2 * ROWS_PER_BLOCK + 17, 4).astype(np.float16)
    exact = features.astype(np.float64)
    gram = exact.T @ exact

    assert coding_length(features, normalize=False) == pytest.approx(
        0.5 * np.linalg.slogdet(np.eye(4) + 4 / (len(exact) * 0.5) * gram)[1]
    )
    assert redundancy(features, normalize=False) == pytest.approx(np.abs(np.corrcoef(exact.T)).mean())
    assert singular_values(features).values == pytest.approx(np.linalg.svd(exact, compute_uv=False))
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    assert sparsity(features, 0.1) == np.mean(np.abs(unit) < 0.1)


@pytest.mark.parametrize(
    "measure",
    [sparsity, redundancy, coding_length, lambda features: intra_class_distance(features, np.arange(40) % 4).mean],
    ids=["sparsity", "redundancy", "coding_length", "intra_class_distance"],
)
def test_all_four_measures_are_of_features_at_length_one(measure: Callable[[Any], float]) -> None:
    """Section 5.5.5 of the thesis: "Before computing metrics, we l2-normalize features." Lengths change nothing."""
    features = np.maximum(random_features(4, 40, 6), 0) + 1e-7
    lengths = np.random.default_rng(5).uniform(0.01, 100, size=(40, 1))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert measure(features * lengths) == pytest.approx(measure(features), rel=1e-9)
    assert measure(unit) == pytest.approx(measure(features), rel=1e-9)


@pytest.mark.parametrize("analyze", [sparsity, redundancy, coding_length, singular_values])
@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.zeros(4), r"an array \[N, d\] with d of at least 1, found \(4,\)"),
        (np.zeros((3, 0)), r"found \(3, 0\)"),
        ([[1.0]], "found list"),
        (np.ones((2, 2), np.int64), "floating-point numbers, found int64"),
        (np.zeros((0, 2)), "at least . samples, found 0"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), "found nan at row 1, column 1"),
        (np.array([[1.0, np.inf], [3.0, 4.0]], np.float16), "found inf at row 0, column 1"),
    ],
)
def test_features_that_fit_not_are_refused(analyze: Callable[[Any], Any], features: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        analyze(features)
    assert "\n" not in str(caught.value)


def test_the_row_of_a_nan_in_a_later_block_is_named() -> None:
    features = np.ones((ROWS_PER_BLOCK + 5, 2), np.float32)
    features[ROWS_PER_BLOCK + 3, 1] = np.nan
    with pytest.raises(OptionError, match=f"found nan at row {ROWS_PER_BLOCK + 3}, column 1"):
        sparsity(features)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 0, 1, 2], r"found 1 in 2 of 3 classes \(1, 2\): leave them out"),
        ([0, 0, 0], r"one for each of 4 samples, found int64 \(3,\)"),
        ([0.5, 0.5, 0.5, 0.5], "whole numbers, .* found float64"),
    ],
)
def test_labels_that_fit_not_are_refused(labels: list[float], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        intra_class_distance(np.ones((4, 2)), labels)


def test_thresholds_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="threshold is above 0, found 0"):
        sparsity(np.ones((2, 2)), 0)
    with pytest.raises(OptionError, match="eps_squared is above 0, found nan"):
        coding_length(np.ones((2, 2)), math.nan)
    with pytest.raises(OptionError, match="expected features of at least 2 samples, found 1"):
        redundancy(np.ones((1, 2)))
    with pytest.raises(OptionError, match="where a feature is not 0"):
        singular_values(np.zeros((2, 2)))
