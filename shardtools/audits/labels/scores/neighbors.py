"""What the nearest neighbours of every sample vote for, and what SimiFeat makes of it.

Owns scores that need no training; the neighbours are those of `shardtools.features.neighbors.knn_graph`, by cosine,
where no sample is its own. SimiFeat is implemented from the paper: Zhu, Dong, Liu, "Detecting corrupted labels without
training a model to predict", ICML 2022, sections 3.2 (voting) and 3.3 (ranking). The price of exact neighbours: time
grows with N squared.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from shardtools.arrays import Float32s, Int64s
from shardtools.features.neighbors import Neighbors

_SMOOTHING = 0.5


def distance_weights(near: Neighbors) -> Float32s:
    """Weights that fall with distance, 1 for the nearest; the scale is half the mean fall over all k, [N, k]."""
    falls = near.distances[:, :1] - near.distances
    scale = max(float(-falls[:, -1].mean()) / 2, 1e-6)
    return np.asarray(np.exp(falls / np.float32(scale)), np.float32)


def class_votes(near: Neighbors, targets: Float32s, *, num_neighbors: int, by_distance: bool = False) -> Float32s:
    """Share of the votes for each class; rows sum to 1 where targets do, [N, C].

    Args:
        near: The k nearest others of each sample, [N, k].
        targets: Probabilities, [N, C].
        num_neighbors: The nearest that vote, 1 to k.
        by_distance: Whether nearer ones count more.
    """
    rows = near.rows[:, :num_neighbors]
    num_samples, count = rows.shape
    weights = distance_weights(near)[:, :num_neighbors] if by_distance else np.ones(rows.shape, np.float32)
    weights = weights / weights.sum(axis=1, keepdims=True)
    starts = np.arange(num_samples + 1) * count
    graph = sparse.csr_array((weights.ravel(), rows.ravel(), starts), shape=(num_samples, num_samples))
    return np.asarray(graph @ targets, np.float32)


def vote_log_probabilities(
    near: Neighbors, targets: Float32s, *, num_neighbors: int, by_distance: bool = False
) -> Float32s:
    """Logarithms of `class_votes`, with half a vote more that is spread as the classes are, [N, C]."""
    votes = class_votes(near, targets, num_neighbors=num_neighbors, by_distance=by_distance)
    effective = float(num_neighbors)
    if by_distance:
        weights = distance_weights(near)[:, :num_neighbors]
        effective = float((weights.sum(axis=1) ** 2 / (weights * weights).sum(axis=1)).mean())
    share = _SMOOTHING / effective
    votes += share * targets.mean(axis=0) / targets.mean(axis=0).sum()
    return np.asarray(np.log(np.maximum(votes / (1 + share), 1e-12)), np.float32)


def vote_margins(votes: Float32s, labels: Int64s) -> Float32s:
    """Votes of the strongest other class minus those of the given label, -1 to 1: above 0, SimiFeat-V calls it wrong.

    The vote of Zhu et al. (2022), equation 2, gives the class of most neighbours; the margin keeps how clear it was.
    """
    rows = np.arange(len(labels))
    own = votes[rows, labels].copy()
    others = votes.copy()
    others[rows, labels] = -1
    return np.asarray(others.max(axis=1) - own, np.float32)


def cosine_doubts(votes: Float32s, labels: Int64s) -> Float32s:
    """1 minus the cosine between a sample's votes and its label, 0 to 1 (Zhu et al. 2022, equation 3)."""
    lengths = np.linalg.norm(votes, axis=1)
    return np.asarray(1 - votes[np.arange(len(labels)), labels] / np.maximum(lengths, 1e-12), np.float32)


def rank_margins(doubts: Float32s, labels: Int64s, rates: npt.NDArray[np.float64]) -> Float32s:
    """Rank of each sample within its label minus the rank at which SimiFeat-R cuts, -1 to 1: above 0 it calls it wrong.

    Args:
        doubts: Of `cosine_doubts`, [N].
        labels: Given labels, [N].
        rates: P(true is another | given) of each class, [C]: the share of each label that is cut.
    """
    margins = np.empty(len(labels), np.float32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        levels, inverse = np.unique(doubts[members], return_inverse=True)
        below = np.cumsum(np.bincount(inverse, minlength=len(levels)))
        margins[members] = (below[inverse] - 0.5) / len(members) - (1 - rates[label])
    return margins
