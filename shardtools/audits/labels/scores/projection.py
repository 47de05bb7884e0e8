"""Principal components of features, partly whitened.

Owns what every model of an audit sees. A component is divided by the fourth root of its variance: between raw features,
where few directions rule all distances, and whitened ones, where noise counts as much as they. The price of keeping
256: what differs only in rarer directions is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shardtools.arrays import Float32s, Int64s
from shardtools.features.checking import ROWS_PER_BLOCK, Features

_POWER = 0.25
_LEAST_SHARE = 1e-7
_LEAST_PROBABILITY = 1e-4
"""In ratios: what is less likely says no more, and would rule all distances."""


def log_ratios(probabilities: Sequence[Float32s]) -> Float32s:
    """Probabilities as features: logarithms less their mean, side by side for several models, [N, M * C]."""
    logs = [np.log(np.maximum(one, np.float32(_LEAST_PROBABILITY))) for one in probabilities]
    return np.asarray(np.concatenate([one - one.mean(axis=1, keepdims=True) for one in logs], axis=1), np.float32)


def project(features: Features, order: Int64s, num_dimensions: int) -> Float32s:
    """Rows in the order given, centred, as principal components of mean variance 1, [N, P] with P of at most D.

    Blocks of rows become float32 one at a time: beside the result, D x D numbers and one block are in memory.
    """
    blocks = [order[start : start + ROWS_PER_BLOCK] for start in range(0, len(order), ROWS_PER_BLOCK)]
    dimensions = features.shape[1]
    # Three walks over the blocks: the mean, then what varies around it (out of raw sums, digits would be lost), then
    # the projection.
    mean = np.zeros(dimensions)
    for rows in blocks:
        mean += features[rows].sum(axis=0, dtype=np.float64)
    mean /= len(order)
    covariance = np.zeros((dimensions, dimensions))
    for rows in blocks:
        centered = (features[rows] - mean).astype(np.float32)
        covariance += centered.T @ centered
    variances, directions = np.linalg.eigh(covariance / len(order))
    variances, directions = variances[::-1][:num_dimensions], directions[:, ::-1][:, :num_dimensions]
    kept = variances > max(variances[0], 0) * _LEAST_SHARE
    if not kept.any():
        # All samples are alike: one dimension of zeros.
        return np.zeros((len(order), 1), np.float32)
    variances, directions = variances[kept], directions[:, kept]
    # The sign of a direction is arbitrary; fixed, results are the same on every machine.
    directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    scales = variances**-_POWER / np.sqrt(np.mean(variances ** (1 - 2 * _POWER)))
    matrix = (directions * scales).astype(np.float32)
    projected = np.empty((len(order), matrix.shape[1]), np.float32)
    for index, rows in enumerate(blocks):
        start = index * ROWS_PER_BLOCK
        projected[start : start + len(rows)] = (features[rows] - mean).astype(np.float32) @ matrix
    return projected
