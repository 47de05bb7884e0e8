"""Confident learning from out-of-fold probabilities.

Owns thresholds, the confident joint, and pruning by noise rate: Northcutt, Jiang, Chuang, "Confident learning:
estimating uncertainty in dataset labels", JAIR 70 (2021), sections 3.1 and 3.2, from the paper. Scores are continuous
beside the method's yes or no, so that what it prunes can be sorted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float32s, Float64s, Int64s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConfidentJoint:
    """Who is confidently counted as what.

    Attributes:
        thresholds: Mean probability of a class over the samples given it, [C].
        joint: Estimated P(given, true), rows of given labels, [C, C].
        noise_rate: Share of samples off the diagonal, 0 to 1.
    """

    thresholds: Float64s
    joint: Float64s
    noise_rate: float


def confident_joint(probs: Float32s, labels: Int64s) -> ConfidentJoint:
    """Counts samples as the likeliest class among those above their threshold (equations 1 and 2), calibrated (3).

    Args:
        probs: Out-of-fold probabilities, [N, C].
        labels: Given labels, [N]; every class occurs.
    """
    num_classes = probs.shape[1]
    sizes = np.bincount(labels, minlength=num_classes)
    thresholds = np.array([probs[labels == label, label].mean(dtype=np.float64) for label in range(num_classes)])
    # A mean of numbers that may be all alike: a sample that lies on it must not miss it by rounding.
    above = probs >= (thresholds - 1e-6).astype(np.float32)
    counted = np.flatnonzero(above.any(axis=1))
    likeliest = np.where(above[counted], probs[counted], -1).argmax(axis=1)
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (labels[counted], likeliest), 1)
    # A class of which no sample is confident keeps its own label.
    empty = counts.sum(axis=1) == 0
    counts[empty, empty] = 1
    joint = counts / counts.sum(axis=1, keepdims=True) * (sizes / sizes.sum())[:, None]
    return ConfidentJoint(thresholds=thresholds, joint=joint, noise_rate=float(1 - np.trace(joint)))


def prune_by_noise_rate(probs: Float32s, labels: Int64s, found: ConfidentJoint) -> npt.NDArray[np.bool_]:
    """For each pair (given i, true j) the n * joint[i, j] samples of i with the largest p_j - p_i (section 3.2)."""
    pruned = np.zeros(len(labels), bool)
    for given in range(probs.shape[1]):
        members = np.flatnonzero(labels == given)
        margins = probs[members] - probs[members, given][:, None]
        for true in np.flatnonzero(np.arange(probs.shape[1]) != given):
            count = round(float(found.joint[given, true]) * len(labels))
            if count:
                pruned[members[np.argsort(-margins[:, true], kind="stable")[:count]]] = True
    return pruned


def confident_scores(probs: Float32s, labels: Int64s, found: ConfidentJoint) -> Float32s:
    """How far a sample is on the other side: its doubt, plus 1 where it is pruned, 0 to 2."""
    pruned = prune_by_noise_rate(probs, labels, found)
    return np.asarray(pruned + (1 - probs[np.arange(len(labels)), labels]), np.float32)
