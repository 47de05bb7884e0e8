"""An order and folds of samples that depend on what they hold, not on where they stand.

Owns independence of the order of rows: an audit works in the order of digests of the features, and says its results in
the order it was given. Copies of one picture fall into one fold, so that none is judged by a model that learnt the
other. The price: one hash a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from shardtools.arrays import Int64s
from shardtools.features.checking import Features


def canonical_order(
    encoders: Sequence[Features], labels: Int64s, seed: int, copies: Int64s | None = None
) -> tuple[Int64s, Int64s]:
    """Rows by the digest of seed and features, then label; and in that order, the number of each group of copies.

    Args:
        encoders: Features of each, [N, D].
        labels: Given labels, [N].
        seed: Of the order.
        copies: A number for each picture, equal for its copies, [N]; `None` knows copies by equal features.

    Returns:
        Order [N] and group [N]: copies share a group and stand together.
    """
    prefix = seed.to_bytes(8, "little", signed=False)
    digests = np.empty(len(labels), "S16")
    for row in range(len(labels)):
        digest = hashlib.blake2b(prefix, digest_size=8)
        for features in encoders:
            digest.update(np.ascontiguousarray(features[row]).data)
        # As hexadecimal letters: NumPy drops zero bytes at the end of a string.
        digests[row] = digest.hexdigest().encode()
    if copies is not None:
        # The least digest of a group stands for all of it, so that its members stand together wherever they were.
        _, numbers = np.unique(copies, return_inverse=True)
        by_digest = np.lexsort((digests, numbers))
        firsts = np.concatenate([[True], np.diff(numbers[by_digest]) != 0])
        keys = digests[by_digest][firsts][numbers]
        # Two pictures may share features, say probabilities of 0 and 1 alone: they are no copies.
        order = np.lexsort((labels, digests, numbers, keys))
        ordered = numbers[order]
    else:
        order = np.lexsort((labels, digests))
        ordered = digests[order]
    groups = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
    return order.astype(np.int64), groups.astype(np.int64)


def stratified_folds(labels: Int64s, groups: Int64s, num_folds: int) -> Int64s:
    """Fold of each sample, 0 to num_folds - 1: the samples of each class in turn, copies together.

    A group of copies takes the fold of its first sample. Classes start at fold after fold, so that many small classes
    fill all folds alike.

    Args:
        labels: In canonical order, [N].
        groups: Of `canonical_order`, [N].
        num_folds: F.
    """
    # Groups are dealt, not samples: copies go where their first one goes.
    firsts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    folds_of_groups = np.empty(len(firsts), np.int64)
    start = 0
    for label in np.unique(labels[firsts]):
        members = np.flatnonzero(labels[firsts] == label)
        folds_of_groups[members] = (start + np.arange(len(members))) % num_folds
        start += len(members)
    return folds_of_groups[groups]
