"""How far each sample is from the others of its class.

Owns the mean distance of one sample; over a class it is the intra-class distance of `shardtools.evaluation.analysis`
(Sariyildiz, "On the evaluation and generalization of visual representations", thesis 2023, section 4.4.2), which this
keeps sample by sample. The price: the features of one class are in memory at a time.
"""

from __future__ import annotations

import numpy as np

from shardtools.arrays import Float32s, Int64s
from shardtools.features import FeatureStore
from shardtools.features.neighbors import prepared
from shardtools.features.neighbors.exact import Table

_ROWS_PER_BLOCK = 1024


def own_class_distances(table: Table, labels: Int64s) -> Float32s:
    """Mean l2 distance of each sample to the other samples of its class, of features of length 1: 0 to 2.

    Args:
        table: Features [N, D].
        labels: Class indexes, [N]; below 0 for none.

    Returns:
        float32 [N]; NaN where there is no other sample.
    """
    found = np.full(len(labels), np.nan, np.float32)
    order = np.argsort(labels, kind="stable")
    classes, counts = np.unique(labels[order], return_counts=True)
    ends = np.cumsum(counts)
    for label, count, end in zip(classes.tolist(), counts.tolist(), ends.tolist(), strict=True):
        if label >= 0 and count > 1:
            rows = np.sort(order[end - count : end])
            block = table.take(rows) if isinstance(table, FeatureStore) else table[rows]
            found[rows] = _mean_distances(prepared(block, "cosine"))
    return found


def _mean_distances(unit: Float32s) -> Float32s:
    found = np.empty(len(unit), np.float32)
    for start in range(0, len(unit), _ROWS_PER_BLOCK):
        cosines = unit[start : start + _ROWS_PER_BLOCK] @ unit.T
        squares = np.maximum(2 - 2 * cosines, 0)
        # A sample and itself: rounding leaves some 1e-7.
        squares[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = 0
        found[start : start + len(cosines)] = np.sqrt(squares).sum(axis=1, dtype=np.float64) / (len(unit) - 1)
    return found
