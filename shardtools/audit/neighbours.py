"""Nearest neighbours of every sample among all the others, their votes, and what SimiFeat makes of them.

Owns the exact search (FAISS, blocks of rows, no N x N) and scores that need no training. A sample is never its own
neighbour. SimiFeat is implemented from the paper: Zhu, Dong, Liu, "Detecting corrupted labels without training a model
to predict", ICML 2022, sections 3.2 (voting) and 3.3 (ranking). The price of exactness: time grows with N squared; at
100,000 samples that is a minute a hundred dimensions on two cores.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt
from scipy import sparse

from shardtools.arrays import Float32s, Int64s

_QUERIES = 4096
_SMOOTHING = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """The k nearest others of each sample, nearest first.

    Attributes:
        rows: Their rows, [N, k].
        cosines: Cosine of the angle to each, -1 to 1, falling, [N, k].
    """

    rows: Int64s
    cosines: Float32s

    def weights(self) -> Float32s:
        """Weights that fall with distance, 1 for the nearest; the scale is half the mean fall over all k, [N, k]."""
        falls = self.cosines - self.cosines[:, :1]
        scale = max(float(-falls[:, -1].mean()) / 2, 1e-6)
        return np.asarray(np.exp(falls / np.float32(scale)), np.float32)

    def votes(self, targets: Float32s, *, num_neighbours: int, by_distance: bool = False) -> Float32s:
        """Share of the votes for each class; rows sum to 1 where targets do, [N, C]."""
        rows = self.rows[:, :num_neighbours]
        num_samples, count = rows.shape
        weights = self.weights()[:, :num_neighbours] if by_distance else np.ones(rows.shape, np.float32)
        weights = weights / weights.sum(axis=1, keepdims=True)
        starts = np.arange(num_samples + 1) * count
        graph = sparse.csr_array((weights.ravel(), rows.ravel(), starts), shape=(num_samples, num_samples))
        return np.asarray(graph @ targets, np.float32)

    def log_probabilities(self, targets: Float32s, *, num_neighbours: int, by_distance: bool = False) -> Float32s:
        """Logarithms of votes, with half a vote more that is spread as the classes are, [N, C]."""
        votes = self.votes(targets, num_neighbours=num_neighbours, by_distance=by_distance)
        effective = float(num_neighbours)
        if by_distance:
            weights = self.weights()[:, :num_neighbours]
            effective = float((weights.sum(axis=1) ** 2 / (weights * weights).sum(axis=1)).mean())
        share = _SMOOTHING / effective
        votes += share * targets.mean(axis=0) / targets.mean(axis=0).sum()
        return np.asarray(np.log(np.maximum(votes / (1 + share), 1e-12)), np.float32)


def find_neighbours(features: Float32s, num_neighbours: int) -> Neighbours:
    """The nearest others by cosine.

    Args:
        features: [N, P], N greater than the neighbours asked for.
        num_neighbours: k.
    """
    unit = np.ascontiguousarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    rows = np.empty((len(unit), num_neighbours), np.int64)
    cosines = np.empty((len(unit), num_neighbours), np.float32)
    for start in range(0, len(unit), _QUERIES):
        stop = min(start + _QUERIES, len(unit))
        near, found = index.search(unit[start:stop], num_neighbours + 1)
        own = found == np.arange(start, stop)[:, None]
        # Among many copies the sample itself may be missing: then the farthest is left out instead.
        own[~own.any(axis=1), -1] = True
        rows[start:stop] = found[~own].reshape(stop - start, num_neighbours)
        cosines[start:stop] = near[~own].reshape(stop - start, num_neighbours)
    return Neighbours(rows=rows, cosines=cosines)


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
