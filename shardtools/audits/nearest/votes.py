"""What class the nearest neighbours of a sample have.

Owns the vote: each of the k neighbours counts one, and of classes with as many votes the one with the nearest neighbour
wins. The price of equal votes: k decides what is near, not the distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shardtools.arrays import Float32s, Int64s
from shardtools.features.neighbors import NO_ROW

_ROWS_PER_BLOCK = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Votes:
    """The outcome for each sample.

    Attributes:
        winner: Class with most votes, [N]; -1 where no neighbour has a class.
        share: Its share of the neighbours that have a class, 0 to 1, [N].
        own_share: That of the own class, [N].
    """

    winner: Int64s
    share: Float32s
    own_share: Float32s


def count_votes(rows: Int64s, labels: Int64s, own: Int64s) -> Votes:
    """Votes of neighbours.

    Args:
        rows: Neighbours of each sample, nearest first, [N, k]; -1 for none.
        labels: Class of each row that may be a neighbour, -1 for none.
        own: Class of each sample, [N].
    """
    parts = [
        _count(rows[start : start + _ROWS_PER_BLOCK], labels, own[start : start + _ROWS_PER_BLOCK])
        for start in range(0, len(rows), _ROWS_PER_BLOCK)
    ]
    winner, share, own_share = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Votes(winner=winner, share=share, own_share=own_share)


def _count(rows: Int64s, labels: Int64s, own: Int64s) -> tuple[Int64s, Float32s, Float32s]:
    found = np.where(rows == NO_ROW, -1, labels[np.maximum(rows, 0)])
    has_class = found >= 0
    # Votes of the class of each neighbour, at each neighbour: k is small.
    counts = ((found[:, :, None] == found[:, None, :]) & has_class[:, None, :]).sum(axis=2) * has_class
    first = counts.argmax(axis=1)
    lines = np.arange(len(rows))
    voters = np.maximum(has_class.sum(axis=1), 1)
    winner = np.where(has_class.any(axis=1), found[lines, first], -1)
    share = (counts[lines, first] / voters).astype(np.float32)
    own_share = (((found == own[:, None]) & has_class).sum(axis=1) / voters).astype(np.float32)
    return winner.astype(np.int64), share, own_share
