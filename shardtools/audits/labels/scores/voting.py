"""One score out of all evidence, learnt from planted noise on the same dataset.

Owns the vote: a logistic regression, planted against not planted, with weights of at least 0 so that more evidence
never makes a label look better. It is cross-fitted: the evidence of a fold's samples is weighed as the other folds
teach. What is not planted holds real wrong labels too. For the best of all functions that would not change the order
(Elkan and Noto, "Learning classifiers from only positive and unlabeled data", KDD 2008, section 2), for a linear one
it does: samples count as not wrong only as far as the mixtures believe it. The weights are drawn towards the second
mixture alone, so that few planted labels, or planted ones unlike the real, do little worse than it does. Where noise
follows the sample, not its class, models' plain mean takes the place of what was learnt. The price: wrong labels that
the mixtures overlook count as right ones in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from shardtools.arrays import Float32s, Float64s, Int64s
from shardtools.audits.labels.scores.planting import Planted

_PENALTY = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vote:
    """The learnt vote.

    Attributes:
        weights: Of each column of evidence in units of its standard deviation, a row a fold, [F, E].
        votes: Of the given labels, larger is more suspect, [N].
        planted_votes: The same of each planting, each [N].
    """

    weights: Float64s
    votes: Float64s
    planted_votes: list[Float64s]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """What models say of one set of labels; more is more suspect.

    Attributes:
        doubts: Evidence, [N, E].
        margins: Of each model, above 0 where it names another class, [N, M].
        near: Of the votes of the nearest neighbours, [N].
    """

    doubts: Float32s
    margins: Float32s
    near: Float32s


def plain_opinions(
    tables: Sequence[Said], *, models: Sequence[int], kernels: Sequence[int], by_features: bool
) -> list[Float64s]:
    """What models say without anything learnt: the mean of four opinions, each in units of its spread.

    They are the mean log odds and the mean margin of all models, the kernel model's log odds, and the votes of the
    nearest neighbours. Log odds tell doubtful labels apart, margins put those first that another class
    contradicts for certain; a kernel and few neighbours see what is wrong beside a border that smooth models bend
    towards it. A model that contradicts more of the given labels than the best one knows less and counts less.

    Args:
        tables: Of the given labels, then of each planting.
        models: Columns of evidence that are the models' log odds, in the order of the margins, [M].
        kernels: Those of them that are kernel models'.
        by_features: Whether there are features. Of probabilities alone kernel and neighbours know no more than these
            do, and the log odds are the whole opinion.

    Returns:
        Of each table, in units of the first, [N].
    """
    against = np.maximum((tables[0].margins > 0).mean(axis=0), 1 / len(tables[0].margins))
    weights = (against.min() / against) ** 2
    weights = (weights / weights.sum()).astype(np.float32)
    parts = [
        np.stack(
            [
                said.doubts[:, list(models)] @ weights,
                said.margins @ weights,
                said.doubts[:, list(kernels)].mean(axis=1),
                said.near,
            ]
        ).astype(np.float64)
        for said in tables
    ]
    spreads = parts[0].std(axis=1, keepdims=True) + 1e-9
    counted = slice(None) if by_features else slice(1)
    return [(part / spreads)[counted].mean(axis=0) for part in parts]


def blend_votes(vote: Vote, wider: Vote, opinions: Sequence[Float64s], *, columns: Sequence[int], share: float) -> Vote:
    """Two votes and the models' plain opinion, which counts the more, the more noise follows the sample.

    Noise on hard pictures teaches little even where it is planted, for the models have learnt part of the real one.
    Their plain opinion is about as good there as the best of them, whichever that is.

    Args:
        vote: Learnt from noise that follows the class.
        wider: Learnt from noise on hard pictures too; it knows the plantings of `vote`, in the same order, and more.
        opinions: Of `plain_opinions`, of the given labels and of each planting of `vote`.
        columns: That they are made of.
        share: Of the opinion, 0 to 1.
    """
    # Each part in units of its own spread; the whole in that of the first, whose votes are log odds.
    unit = float(vote.votes.std()) + 1e-9
    of_opinion = share * unit / (float(opinions[0].std()) + 1e-9)
    of_vote = (1 - share) / 2
    of_wider = of_vote * unit / (float(wider.votes.std()) + 1e-9)
    votes, *planted_votes = (
        of_opinion * opinion + of_vote * own + of_wider * other
        for opinion, own, other in zip(
            opinions, (vote.votes, *vote.planted_votes), (wider.votes, *wider.planted_votes), strict=False
        )
    )
    flat = np.zeros(vote.weights.shape[1])
    flat[list(columns)] = share * unit / len(columns)
    weights = flat + of_vote * vote.weights + of_wider * wider.weights
    return Vote(weights=weights, votes=votes, planted_votes=planted_votes)


def lesson(vote: Vote, opinions: Sequence[Float64s], plantings: Sequence[Planted], believed: Float64s) -> float:
    """Average precision on planted labels that is gained by what was learnt, over the models' plain opinion.

    Args:
        vote: That was learnt.
        opinions: Of `plain_opinions`, of the given labels and of each planting.
        plantings: With known wrong labels.
        believed: Probability that each given label is wrong before there is a vote, [N].
    """
    gains = []
    for planted, own, opinion in zip(plantings, vote.planted_votes, opinions[1:], strict=True):
        flipped = np.zeros(len(believed), bool)
        flipped[planted.rows] = True
        # What is probably wrong already is no false alarm.
        masses = np.where(flipped, 1, 1 - believed)
        gains.append(average_precision(own, flipped, masses) - average_precision(opinion, flipped, masses))
    return float(np.mean(gains))


def average_precision(scores: Float64s, positive: npt.NDArray[np.bool_], masses: Float64s) -> float:
    """Mean precision over the positive samples, each at its own place, largest score first; equal scores share theirs.

    Args:
        scores: [N].
        positive: What is to be found, at least one, [N].
        masses: How much each sample counts, at least 0, [N].
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum((masses * positive)[order])
    all_of_them = np.cumsum(masses[order])
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = np.diff(hits[ends], prepend=0.0)
    return float((found * hits[ends] / np.maximum(all_of_them[ends], 1e-12)).sum() / hits[-1])


def learn_vote(
    doubts: Float32s,
    folds: Int64s,
    plantings: Sequence[Planted],
    planted_doubts: Sequence[Float32s],
    *,
    believed: Float64s,
    anchor: int,
) -> Vote:
    """Learns how much each column of evidence counts.

    Args:
        doubts: Evidence against the given labels, [N, E].
        folds: Fold of each sample, [N].
        plantings: With known wrong labels.
        planted_doubts: Evidence in each planting, each [N, E].
        believed: Probability that each given label is wrong before there is a vote, [N].
        anchor: Column towards whose weight of 1, and 0 of all others, the weights are drawn.
    """
    scales = doubts.std(axis=0, dtype=np.float64) + 1e-9
    num_samples, num_folds = len(doubts), int(folds.max()) + 1
    flipped = []
    for planted in plantings:
        mask = np.zeros(num_samples, bool)
        mask[planted.rows] = True
        flipped.append(mask)
    # Without any lesson the vote is the anchor's alone: that is what the penalty draws towards.
    prior = np.zeros(doubts.shape[1])
    prior[anchor] = 1
    weights = np.zeros((num_folds, doubts.shape[1]))
    votes = np.zeros(num_samples)
    planted_votes = [np.zeros(num_samples) for _ in plantings]
    for fold in range(num_folds):
        # Weights are taught by the other folds, so that no planted label tells how it is judged itself.
        held = folds == fold
        parts = [table[~held] / scales for table in planted_doubts]
        masses = np.concatenate([_masses(mask[~held], 1 - believed[~held]) for mask in flipped])
        targets = np.concatenate([mask[~held] for mask in flipped]).astype(np.float64)
        weights[fold], offset = _fit(np.concatenate(parts), targets, masses / masses.sum(), prior)
        votes[held] = (doubts[held] / scales) @ weights[fold] + offset
        for own, table in zip(planted_votes, planted_doubts, strict=True):
            own[held] = (table[held] / scales) @ weights[fold] + offset
    return Vote(weights=weights, votes=votes, planted_votes=planted_votes)


def _masses(flipped: npt.NDArray[np.bool_], clean: Float64s) -> Float64s:
    """Both sides of a planting count alike, and of those not planted each as far as it is believed, [N]."""
    unplanted = np.where(flipped, 0, np.maximum(clean, 1e-6))
    return np.asarray(np.where(flipped, 0.5 / max(flipped.sum(), 1), 0.5 * unplanted / unplanted.sum()))


def _fit(evidence: Float64s, targets: Float64s, masses: Float64s, prior: Float64s) -> tuple[Float64s, float]:
    """Weights [E] and the offset."""

    def loss_and_gradient(flat: Float64s) -> tuple[float, Float64s]:
        logits = evidence @ flat[:-1] + flat[-1]
        residuals = masses * (1 / (1 + np.exp(-np.clip(logits, -50, 50))) - targets)
        away = flat[:-1] - prior
        loss = float(masses @ (np.logaddexp(0, logits) - targets * logits))
        gradient = np.append(evidence.T @ residuals + _PENALTY * away, residuals.sum())
        return loss + _PENALTY / 2 * float(away @ away), gradient

    bounds: list[tuple[float | None, float | None]] = [(0.0, None)] * len(prior)
    found = optimize.minimize(
        loss_and_gradient,
        np.append(prior, 0),
        jac=True,
        method="L-BFGS-B",
        bounds=[*bounds, (None, None)],
    )
    return found.x[:-1], float(found.x[-1])
