"""Each score of the audit against cases that follow by hand, and against the plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from shardtools.audits.labels.scores import area_under_margin, confident_joint, prune_by_noise_rate
from shardtools.audits.labels.scores.dynamics import margin_log_odds
from shardtools.audits.labels.scores.folds import canonical_order, stratified_folds
from shardtools.audits.labels.scores.linear import fit, log_probabilities, log_softmax, one_hot, out_of_fold
from shardtools.audits.labels.scores.mixing import fit_mixture
from shardtools.audits.labels.scores.neighbors import (
    class_votes,
    cosine_doubts,
    distance_weights,
    rank_margins,
    vote_margins,
)
from shardtools.audits.labels.scores.projection import project
from shardtools.audits.labels.scores.prototypes import prototype_cosines
from shardtools.features.neighbors import knn_graph


def blobs(seed: int, num_samples: int, num_classes: int, distance: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(num_samples) % num_classes
    centers = distance * np.eye(num_classes, 8)
    return (centers[labels] + rng.normal(size=(num_samples, 8))).astype(np.float32), labels


def test_the_linear_model_reaches_the_least_loss() -> None:
    features, labels = blobs(1, 60, 3, 1.5)
    targets = one_hot(labels, 3)
    found = fit(features, targets, strength=0.05, max_iterations=300)

    def loss(flat: np.ndarray) -> float:
        coefficients = flat.reshape(9, 3)
        logits = features @ coefficients[:-1] + coefficients[-1]
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -(targets * log_probs).sum() / 60 + 0.025 * (coefficients[:-1] ** 2).sum()

    least = optimize.minimize(loss, np.zeros(27), method="BFGS").fun
    assert loss(found.astype(np.float64).ravel()) == pytest.approx(least, abs=1e-5)


def test_a_target_of_mass_zero_teaches_nothing() -> None:
    features, labels = blobs(2, 60, 3, 1.5)
    targets = one_hot(labels, 3)
    targets[40:] = 0
    # The mean counts all samples, so two thirds of the mass bear two thirds of the penalty.
    without = fit(features[:40], targets[:40], strength=0.15, max_iterations=300)
    assert fit(features, targets, strength=0.1, max_iterations=300) == pytest.approx(without, abs=2e-3)


def test_no_sample_is_judged_by_a_model_that_saw_its_label() -> None:
    features, labels = blobs(3, 40, 2, 2.0)
    folds = np.arange(40) // 2 % 4
    changed = labels.copy()
    changed[5] = 1 - changed[5]
    before, _ = out_of_fold(features, one_hot(labels, 2), folds, strength=0.1)
    after, coefficients = out_of_fold(features, one_hot(changed, 2), folds, strength=0.1)

    same_fold = folds == folds[5]
    np.testing.assert_array_equal(after[same_fold], before[same_fold])
    assert not np.array_equal(after[~same_fold], before[~same_fold])
    np.testing.assert_array_equal(after[same_fold], log_probabilities(features[same_fold], coefficients[folds[5]]))


def test_confident_learning_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.5, 0.5]], np.float32)
    found = confident_joint(probs, labels)
    # Thresholds (0.9 + 0.8 + 0.8 + 0.1) / 4 and (0.7 + 0.5) / 2; sample 5 reaches neither and is not counted.
    assert found.thresholds == pytest.approx([0.65, 0.6])
    assert found.joint == pytest.approx(np.array([[3 / 4 * 4 / 6, 1 / 4 * 4 / 6], [0, 2 / 6]]))
    assert found.noise_rate == pytest.approx(1 / 6)
    assert np.flatnonzero(prune_by_noise_rate(probs, labels, found)).tolist() == [3]


def test_votes_and_simifeat_by_hand() -> None:
    angles = np.radians([0, 1, 2.5, 90, 91.5, 94])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.array([0, 0, 1, 1, 1, 1])
    near = knn_graph(features, 2)
    assert near.rows.tolist() == [[1, 2], [0, 2], [1, 0], [4, 5], [3, 5], [4, 3]]

    votes = class_votes(near, one_hot(labels, 2), num_neighbors=2)
    assert votes.tolist() == [[0.5, 0.5], [0.5, 0.5], [1, 0], [0, 1], [0, 1], [0, 1]]
    assert vote_margins(votes, labels).tolist() == [0, 0, 1, -1, -1, -1]
    doubts = cosine_doubts(votes, labels)
    assert doubts == pytest.approx([1 - np.sqrt(0.5), 1 - np.sqrt(0.5), 1, 0, 0, 0])
    # A quarter of class 1 is cut: only sample 2 stands above its class's rank of 0.75.
    margins = rank_margins(doubts, labels, np.array([0.0, 0.25]))
    assert np.flatnonzero(margins > 0).tolist() == [2]
    assert distance_weights(near)[:, 0].tolist() == [1] * 6
    assert (distance_weights(near)[:, 1] < 1).all()


def test_copies_do_not_make_a_sample_its_own_neighbor() -> None:
    features = np.ones((30, 4), np.float32)
    rows = knn_graph(features, 12).rows
    assert (rows != np.arange(30)[:, None]).all()
    assert all(len(set(own)) == 12 for own in rows.tolist())


def test_prototypes_leave_out_the_sample_and_what_is_far() -> None:
    features = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1], [0, 1]], np.float32)
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    cosines = prototype_cosines(features, labels, 2, trim=0.25)
    # Sample 3 is trimmed from its class, whose mean stays (1, 0).
    assert cosines == pytest.approx(np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1], [0, 1]]))


def test_area_under_the_margin_and_what_it_adds() -> None:
    margins = np.array([[1.0, 3.0], [np.nan, -2.0], [np.nan, np.nan], [-4.0, -2.0]])
    areas = area_under_margin(margins)
    assert areas == pytest.approx([2.0, -2.0, np.nan, -3.0], nan_ok=True)
    added = margin_log_odds(areas, np.array([0.1, 0.6, 0.5, 0.8]))
    # Shares 0.8, 0.6, 0.1 against 0.5 overall, in logits, halved; the sample that was never seen gets nothing.
    assert added == pytest.approx([np.log(0.1 / 0.9) / 2, np.log(1.5) / 2, 0, np.log(4) / 2])


def test_the_mixture_finds_the_transition_of_planted_noise() -> None:
    rng = np.random.default_rng(4)
    true = rng.integers(0, 3, 3000)
    labels = np.where((true == 0) & (rng.random(3000) < 0.3), 1, true)
    transition = np.array([[0.7, 0.3, 0], [0, 1, 0], [0, 0, 1]])
    # A model that is sure of the true class to a degree that varies, and blind to the noise.
    logits = rng.normal(scale=0.5, size=(3000, 3))
    logits[np.arange(3000), true] += rng.uniform(3, 8, 3000)
    model = log_softmax(logits.astype(np.float32))
    found = fit_mixture([model], labels)
    assert found.transition == pytest.approx(transition, abs=0.05)
    wrong = 1 - found.posterior([model], labels)[np.arange(3000), labels]
    assert wrong[labels != true].mean() > 0.9
    assert wrong[labels == true].mean() < 0.02


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=8, max_size=60), st.integers(0, 3), st.randoms(use_true_random=False))
def test_folds_are_stratified_and_know_no_order(labels: list[int], seed: int, shuffler: object) -> None:
    given_labels = np.array(labels)
    features = np.random.default_rng(len(labels)).normal(size=(len(labels), 3)).astype(np.float16)
    features[0] = features[-1]
    order, groups = canonical_order([features], given_labels, seed)
    folds = np.empty(len(labels), int)
    folds[order] = stratified_folds(given_labels[order], groups, 4)
    assert folds[0] == folds[-1]
    for label in range(4):
        sizes = np.bincount(folds[given_labels == label], minlength=4)
        # One more or less for the copies.
        assert sizes.max() - sizes.min() <= 2

    shuffled = np.arange(len(labels))
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]
    order, groups = canonical_order([features[shuffled]], given_labels[shuffled], seed)
    again = np.empty(len(labels), int)
    again[order] = stratified_folds(given_labels[shuffled][order], groups, 4)
    np.testing.assert_array_equal(again, folds[shuffled])


def test_projection_keeps_angles_of_equal_directions_and_refuses_no_constant() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(500, 6))
    projected = project(features.astype(np.float16), np.arange(500), 4)
    assert projected.shape == (500, 4)
    assert projected.dtype == np.float32
    assert projected.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-4)
    assert (projected**2).mean() == pytest.approx(1, rel=1e-3)
    assert project(np.ones((20, 5)), np.arange(20), 4).tolist() == [[0.0]] * 20
