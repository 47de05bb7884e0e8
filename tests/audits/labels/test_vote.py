"""The kernel model, the learnt vote and its calibration, on data where the answer follows by hand or by formula."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from shardtools.audits.labels.scores import evidence
from shardtools.audits.labels.scores.calibration import calibrate
from shardtools.audits.labels.scores.checking import check_dataset, needed_bytes
from shardtools.audits.labels.scores.evidence import best_strength
from shardtools.audits.labels.scores.kernel import LANDMARKS, RIDGES, fit_kernel
from shardtools.audits.labels.scores.linear import one_hot
from shardtools.audits.labels.scores.options import AuditOptions
from shardtools.audits.labels.scores.planting import KINDS, Planted, plant
from shardtools.audits.labels.scores.voting import (
    Said,
    average_precision,
    blend_votes,
    learn_vote,
    lesson,
    plain_opinions,
)
from shardtools.errors import OptionError


def rings(num_samples: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four arcs of a circle of which opposite ones are one class: no linear model tells them apart."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 2 * np.pi, num_samples)
    labels = (angles // (np.pi / 2)).astype(np.int64) % 2
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return features, labels, np.arange(num_samples) % 4


def test_the_kernel_model_bends_and_its_probabilities_are_ones() -> None:
    features, labels, folds = rings()
    targets = one_hot(labels, 2)
    log_probs = fit_kernel(features, targets, folds).out_of_fold(features, targets, folds)
    assert np.exp(log_probs).sum(axis=1) == pytest.approx(np.ones(400), abs=1e-5)
    assert (log_probs.argmax(axis=1) == labels).mean() > 0.95


def test_the_kernel_model_never_judges_with_the_label_it_judges() -> None:
    features, labels, folds = rings()
    kernel = fit_kernel(features, one_hot(labels, 2), folds)
    before = kernel.out_of_fold(features, one_hot(labels, 2), folds)
    changed = np.where(folds == 2, 1 - labels, labels)
    after = kernel.out_of_fold(features, one_hot(changed, 2), folds)
    np.testing.assert_allclose(after[folds == 2], before[folds == 2], atol=1e-4)
    assert np.abs(after[folds != 2] - before[folds != 2]).max() > 0.1


def spread() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions of four dimensions, whose class says whether the first two coordinates have the same sign."""
    features = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    return features, (features[:, 0] * features[:, 1] > 0).astype(np.int64), np.arange(60) % 4


def regress(expanded: np.ndarray, targets: np.ndarray, folds: np.ndarray, ridge: float) -> np.ndarray:
    """Ridge regression out of fold by the textbook's formula, in float64."""
    found = np.empty(targets.shape)
    for fold in range(folds.max() + 1):
        seen = expanded[folds != fold]
        system = seen.T @ seen + ridge * len(seen) * np.eye(seen.shape[1])
        found[folds == fold] = expanded[folds == fold] @ np.linalg.solve(system, seen.T @ targets[folds != fold])
    return found


@pytest.mark.parametrize(("points", "most"), [(rings(60), 3e-2), (spread(), 1e-4)], ids=["rings", "spread"])
def test_the_kernel_model_is_ridge_regression_on_the_landmarks(
    points: tuple[np.ndarray, np.ndarray, np.ndarray], most: float
) -> None:
    features, labels, folds = points
    targets = one_hot(labels, 2)
    kernel = fit_kernel(features, targets, folds)
    assert len(kernel.landmarks) == 30 <= LANDMARKS
    assert np.linalg.norm(kernel.landmarks, axis=1) == pytest.approx(np.ones(30), abs=1e-6)
    directions = features / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    similarities = np.exp(2 * (directions @ kernel.landmarks.T.astype(np.float64) - 1))
    expanded = similarities @ kernel.root
    # The penalty is not kept: it is what the factored system has beyond the sum of outer products.
    lower, seen = np.triu(kernel.factors[1][0]), expanded[folds != 1]
    penalty = np.diag(lower.T @ lower - seen.T @ seen).mean() / len(seen)
    ridge = min(RIDGES, key=lambda value: abs(value - penalty))
    assert penalty == pytest.approx(ridge, rel=1e-2)
    expected = kernel.sharpness * regress(expanded, targets, folds, ridge)
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    # The library works in float32: eight roundings make a similarity, one comes with each term of the sums over
    # landmarks and samples, each its own way on each processor. How far they carry depends on the landmarks (on a ring
    # they are so much alike that the system nearly has no one solution): random errors of that size say how far. A
    # softmax at most doubles what moves its logits.
    rounding = np.finfo(np.float32).eps / 2 * np.sqrt((8 + 30 + 60) * similarities**2 @ kernel.root**2)
    rng = np.random.default_rng(1)
    draws = [regress(expanded + rng.normal(size=rounding.shape) * rounding, targets, folds, ridge) for _ in range(20)]
    bound = 2 * kernel.sharpness * np.abs(np.array(draws) - regress(expanded, targets, folds, ridge)).max()
    assert bound < most
    np.testing.assert_allclose(kernel.out_of_fold(features, targets, folds), expected, rtol=0, atol=bound)


def planting(rng: np.random.Generator, num_samples: int, count: int) -> Planted:
    rows = np.sort(rng.choice(num_samples, count, replace=False))
    kinds = np.full(count, KINDS.index("estimated"))
    return Planted(rate=count / num_samples, labels=np.zeros(num_samples, np.int64), rows=rows, kinds=kinds)


def drawn_evidence(rng: np.random.Generator, wrong: np.ndarray) -> np.ndarray:
    """Column 0 sees wrong labels well, column 1 a little, column 2 not at all."""
    means = np.stack([3.0 * wrong, 1.0 * wrong, np.zeros(len(wrong))], axis=1)
    return (means + rng.normal(size=means.shape)).astype(np.float32)


def learnt(rate: float) -> tuple[np.ndarray, np.ndarray, list[Planted], list[np.ndarray], np.ndarray]:
    """Votes on 4,000 samples with wrong labels, all of whose evidence follows one law."""
    rng = np.random.default_rng(5)
    wrong = rng.random(4000) < rate
    plantings = [planting(rng, 4000, 400) for _ in range(2)]
    tables = []
    for planted in plantings:
        now = wrong.copy()
        now[planted.rows] = True
        tables.append(drawn_evidence(rng, now))
    believed = np.where(wrong, 0.8, 0.02)
    vote = learn_vote(
        drawn_evidence(rng, wrong), np.arange(4000) % 4, plantings, tables, believed=believed, anchor=1
    )  # fmt: skip
    assert (vote.weights[:, 0] > vote.weights[:, 1]).all()
    assert (vote.weights[:, 1] > vote.weights[:, 2]).all()
    assert (vote.weights >= 0).all()
    return vote.votes, wrong, plantings, vote.planted_votes, believed


def test_the_vote_weighs_evidence_by_what_planting_teaches() -> None:
    votes, wrong, *_ = learnt(0.2)
    # Far better than the anchor alone, whatever weight that started from.
    assert average_precision_score(wrong, votes) > 0.93


def test_without_evidence_the_vote_stays_at_its_anchor() -> None:
    rng = np.random.default_rng(6)
    tables = [rng.normal(size=(500, 3)).astype(np.float32)]
    same = np.repeat(tables[0][:, 1:2], 3, axis=1)
    found = learn_vote(
        same, np.arange(500) % 2, [planting(rng, 500, 50)], [same], believed=np.zeros(500), anchor=1
    )  # fmt: skip
    # Three equal columns share what is learnt; only the anchor keeps more.
    assert (found.weights[:, 1] >= found.weights[:, 0]).all()
    assert (found.weights[:, 1] >= found.weights[:, 2]).all()


def test_average_precision_is_the_usual_one_with_weights_and_equal_scores() -> None:
    rng = np.random.default_rng(2)
    scores, positive = np.round(rng.random(300), 1), rng.random(300) < 0.2
    masses = np.where(positive, 1, rng.random(300))
    expected = average_precision_score(positive, scores, sample_weight=masses)
    assert average_precision(scores, positive, masses) == pytest.approx(expected)


def test_the_plain_opinion_replaces_what_was_learnt_as_far_as_it_is_told() -> None:
    rng = np.random.default_rng(8)
    wrong = rng.random(2000) < 0.1
    tables = [(drawn_evidence(rng, wrong), drawn_evidence(rng, wrong))]
    planted = planting(rng, 2000, 200)
    now = wrong.copy()
    now[planted.rows] = True
    tables.append((drawn_evidence(rng, now), drawn_evidence(rng, now)))
    believed = np.where(wrong, 0.8, 0.02)
    vote = learn_vote(tables[0][0], np.arange(2000) % 4, [planted], [tables[1][0]], believed=believed, anchor=1)
    good, poor = (
        plain_opinions(
            [Said(doubts=doubts, margins=margins[:, [kept]], near=margins[:, kept]) for doubts, margins in tables],
            models=[kept],
            kernels=[kept],
            by_features=True,
        )
        for kept in (0, 2)
    )
    # Column 2 sees nothing, so all that was learnt is a gain; column 0 and its margins see more than the vote does.
    assert lesson(vote, poor, [planted], believed) > 0.5 > 0 > lesson(vote, good, [planted], believed)
    none = blend_votes(vote, vote, good, columns=[0], share=0)
    assert np.corrcoef(none.votes, vote.votes)[0, 1] == pytest.approx(1)
    whole = blend_votes(vote, vote, good, columns=[0], share=1)
    assert np.corrcoef(whole.votes, good[0])[0, 1] == pytest.approx(1)
    assert np.corrcoef(whole.planted_votes[0], good[1])[0, 1] == pytest.approx(1)
    assert whole.weights[:, 0].min() > 0 and whole.weights[:, 1:].max() == 0
    np.testing.assert_allclose(none.weights, vote.weights, rtol=1e-6)


def test_the_plain_opinion_has_four_parts_and_models_count_as_they_agree_with_labels() -> None:
    rng = np.random.default_rng(9)
    doubts, near = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=50).astype(np.float32)
    # The second model contradicts 20 labels, the first one 10: its weight is a quarter.
    margins = -np.abs(rng.normal(size=(50, 2)).astype(np.float32))
    margins[:10, 0] *= -1
    margins[:20, 1] *= -1
    said = Said(doubts=doubts, margins=margins, near=near)
    other = Said(doubts=2 * doubts, margins=margins, near=near)
    own, planted = plain_opinions([said, other], models=[1, 3], kernels=[3], by_features=True)
    parts = [0.8 * doubts[:, 1] + 0.2 * doubts[:, 3], margins @ np.array([0.8, 0.2]), doubts[:, 3], near]
    units = [part / part.std() for part in parts]
    assert own == pytest.approx(np.mean(units, axis=0), abs=1e-5)
    # A planting is in the units of the given labels: twice the log odds is more, not the same.
    assert planted - own == pytest.approx((units[0] + units[2]) / 4, abs=1e-5)
    (alone,) = plain_opinions([said], models=[1, 3], kernels=[3], by_features=False)
    assert alone == pytest.approx(units[0], abs=1e-5)


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_calibration_finds_the_rate_of_noise_that_looks_like_the_planted(rate: float) -> None:
    votes, wrong, plantings, planted_votes, _ = learnt(rate)
    # The mixtures' opinion is right on the mean and knows nothing of the single sample.
    doubts = np.full(4000, wrong.mean())
    found = calibrate(votes, plantings, planted_votes, mixture_doubts=doubts, confidence=0.95, seed=0)
    assert found.noise_rate.low <= wrong.mean() <= found.noise_rate.high
    assert found.noise_rate.estimate == pytest.approx(wrong.mean(), abs=0.02)
    order = np.argsort(-votes)
    # Planted noise's own opinion, without the mixtures'.
    own = np.minimum(1, found.scale.estimate * found.ratios)
    count = int(wrong.sum())
    assert own[order[:count]].mean() == pytest.approx(wrong[order[:count]].mean(), abs=0.08)
    assert (np.diff(found.probabilities[order]) <= 1e-9).all()


def test_planted_labels_differ_and_most_follow_the_estimate() -> None:
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 4, 2000)
    posterior = np.full((2000, 4), 0.05, np.float32)
    posterior[np.arange(2000), labels] = 0.85
    transition = np.roll(np.eye(4), 1, axis=1) * 0.2 + np.eye(4) * 0.8
    planted = plant(labels, posterior, transition, rate=0.2, seed=(1, 2))
    assert len(planted.rows) == 400
    assert (planted.labels[planted.rows] != labels[planted.rows]).all()
    untouched = np.setdiff1d(np.arange(2000), planted.rows)
    np.testing.assert_array_equal(planted.labels[untouched], labels[untouched])
    estimated = planted.rows[planted.kinds == KINDS.index("estimated")]
    assert len(estimated) > 240
    np.testing.assert_array_equal(planted.labels[estimated], (labels[estimated] + 1) % 4)


def test_one_fold_finds_the_penalty_that_all_folds_find(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    labels = np.arange(400) % 4
    features = (np.eye(4, 30)[labels] + rng.normal(size=(400, 30))).astype(np.float32)
    targets, folds = one_hot(labels, 4), np.arange(400) // 4 % 5
    strength, (log_probs, _) = best_strength(features, targets, folds)
    monkeypatch.setattr(evidence, "_ALL_FOLDS", 100)
    again, (quick, _) = best_strength(features, targets, folds)
    assert again == strength
    # The other start ends at nearly the same minimum.
    np.testing.assert_allclose(quick, log_probs, atol=0.05)


def test_an_audit_that_cannot_fit_is_refused_before_it_starts() -> None:
    # A class for every two samples: probabilities of all classes would be 280 GB.
    labels = np.arange(100_000) // 2
    with pytest.raises(
        OptionError, match=r"100000 samples and 50000 classes needs about \d+ GiB, found \d+ GiB: audit"
    ):
        check_dataset([np.zeros((100_000, 2), np.float16)], labels, None, AuditOptions())
    one, two = (needed_bytes(1_281_167, 1000, dimensions, 50) for dimensions in ([256], [256, 256]))
    assert 60 * 2**30 < one < 100 * 2**30 < two
