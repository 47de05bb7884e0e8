"""One score out of all evidence, learnt from planted noise on the same dataset.

Owns the vote: a logistic regression, planted against not planted, with weights of at least 0 so that more evidence
never makes a label look better. It is cross-fitted: the evidence of a fold's samples is weighed as the other folds
teach. What is not planted holds real wrong labels too; that scales the odds and leaves their order (Elkan and Noto,
"Learning classifiers from only positive and unlabeled data", KDD 2008, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from shardtools.audit.linear import Float32s, Int64s
from shardtools.audit.planting import Planted

Float64s = npt.NDArray[np.float64]

_PENALTY = 1e-3


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


def learn_vote(
    doubts: Float32s, folds: Int64s, plantings: Sequence[Planted], planted_doubts: Sequence[Float32s]
) -> Vote:
    """Learns how much each column of evidence counts.

    Args:
        doubts: Evidence against the given labels, [N, E].
        folds: Fold of each sample, [N].
        plantings: With known wrong labels.
        planted_doubts: Evidence in each planting, each [N, E].
    """
    scales = doubts.std(axis=0, dtype=np.float64) + 1e-9
    num_samples, num_folds = len(doubts), int(folds.max()) + 1
    flipped = []
    for planted in plantings:
        mask = np.zeros(num_samples, bool)
        mask[planted.rows] = True
        flipped.append(mask)
    weights = np.zeros((num_folds, doubts.shape[1]))
    votes = np.zeros(num_samples)
    planted_votes = [np.zeros(num_samples) for _ in plantings]
    for fold in range(num_folds):
        held = folds == fold
        parts = [table[~held] / scales for table in planted_doubts]
        offset = _fit(parts, [mask[~held] for mask in flipped], weights[fold])
        votes[held] = (doubts[held] / scales) @ weights[fold] + offset
        for own, table in zip(planted_votes, planted_doubts, strict=True):
            own[held] = (table[held] / scales) @ weights[fold] + offset
    return Vote(weights=weights, votes=votes, planted_votes=planted_votes)


def _fit(parts: list[Float64s], flipped: list[npt.NDArray[np.bool_]], weights: Float64s) -> float:
    """Fills in the weights and returns the offset; both sides of each planting count alike."""
    evidence = np.concatenate(parts)
    targets = np.concatenate(flipped).astype(np.float64)
    masses = np.concatenate([np.where(mask, 0.5 / max(mask.sum(), 1), 0.5 / (~mask).sum()) for mask in flipped])
    masses /= masses.sum()

    def loss_and_gradient(flat: Float64s) -> tuple[float, Float64s]:
        logits = evidence @ flat[:-1] + flat[-1]
        residuals = masses * (1 / (1 + np.exp(-np.clip(logits, -50, 50))) - targets)
        penalty = _PENALTY / 2 * float(flat[:-1] @ flat[:-1])
        loss = float(masses @ (np.logaddexp(0, logits) - targets * logits))
        gradient = np.append(evidence.T @ residuals + _PENALTY * flat[:-1], residuals.sum())
        return loss + penalty, gradient

    bounds: list[tuple[float | None, float | None]] = [(0.0, None)] * len(weights)
    found = optimize.minimize(
        loss_and_gradient,
        np.zeros(len(weights) + 1),
        jac=True,
        method="L-BFGS-B",
        bounds=[*bounds, (None, None)],
    )
    weights[:] = found.x[:-1]
    return float(found.x[-1])
