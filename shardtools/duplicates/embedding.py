"""Pairs of like features: exactly in blocks, or out of the neighbours that an index found.

Owns the threshold on the cosine. `embedding_pairs` compares all with all, N x N x d multiplications in blocks of
bounded memory: right up to some 100,000 rows. Above, an index's neighbours are the candidates (`neighbour_pairs`); the
price is the index's recall, and pairs beyond the k-th neighbour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.analysis.checking import check_features
from shardtools.duplicates.hamming import MAX_PAIRS, IndexPairs, Int64s
from shardtools.errors import OptionError

_ROWS_PER_BLOCK = 2048


def embedding_pairs(features: npt.NDArray[np.floating[Any]], min_similarity: float) -> IndexPairs:
    """All pairs of different rows with a cosine of at least `min_similarity`, each once, the smaller row left.

    Args:
        features: [N, d], finite, of any floating type; read in blocks, so a memory-mapped file will do.
        min_similarity: Cosine, above -1 up to 1. Products are float32: a cosine is good to about 1e-6.

    Returns:
        Pairs with 1 - cosine as their distance, at least 0. Rows of zeros are near nothing.

    Raises:
        OptionError: No table of finite features, a bound out of range, or more than `MAX_PAIRS` pairs.
    """
    check_features(features)
    _check_bound(min_similarity)
    found: list[IndexPairs] = []
    starts = range(0, len(features), _ROWS_PER_BLOCK)
    for start in starts:
        rows = _normalised(features[start : start + _ROWS_PER_BLOCK])
        for other in starts[start // _ROWS_PER_BLOCK :]:
            columns = rows if other == start else _normalised(features[other : other + _ROWS_PER_BLOCK])
            cosines = rows @ columns.T
            first, second = np.nonzero(cosines >= min_similarity)
            found.append(_kept(first + start, second + other, cosines[first, second]))
            if sum(map(len, found)) > MAX_PAIRS:
                raise OptionError(
                    f"more than {MAX_PAIRS} pairs have a cosine of at least {min_similarity}: give a larger one"
                )
    return _joined(found)


def neighbour_pairs(
    neighbours: npt.NDArray[np.integer], similarities: npt.NDArray[np.floating[Any]], min_similarity: float
) -> IndexPairs:
    """The pairs of a graph of nearest neighbours with a cosine of at least `min_similarity`.

    Args:
        neighbours: Rows of the k nearest of each row, [N, k]; -1 where there is none. The row itself is left out.
        similarities: Their cosines, [N, k].
        min_similarity: As `embedding_pairs` takes it.

    Raises:
        OptionError: The arrays do not fit together, or the bound is out of range.
    """
    _check_bound(min_similarity)
    if neighbours.ndim != 2 or neighbours.shape != similarities.shape:
        raise OptionError(f"neighbours and similarities are [N, k], found {neighbours.shape} and {similarities.shape}")
    if neighbours.size and int(neighbours.max()) >= len(neighbours):
        raise OptionError(f"neighbours are rows 0 to {len(neighbours) - 1}, found {neighbours.max()}")
    first, place = np.nonzero((neighbours >= 0) & (similarities >= min_similarity))
    second = neighbours[first, place].astype(np.int64)
    # A neighbour's own list may name the row too: each pair is kept once, as the smaller row saw it, else the larger.
    low, high = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((first != low, high, low))
    low, high, cosine = low[order], high[order], similarities[first, place][order]
    new = np.ones(len(low), np.bool_)
    new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return _joined([_kept(low[new], high[new], cosine[new])])


def _check_bound(min_similarity: float) -> None:
    if not -1 < min_similarity <= 1:
        raise OptionError(f"min_similarity is a cosine above -1 and up to 1, found {min_similarity}")


def _normalised(block: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    rows = block.astype(np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    # Not 0 / 0: a row of zeros has no direction, and its cosines must not pass a bound below 0 either.
    return np.asarray(rows / np.where(norms > 0, norms, np.nan), np.float32)


def _kept(left: Int64s, right: Int64s, cosines: npt.NDArray[np.floating[Any]]) -> IndexPairs:
    once = left < right
    distance = np.maximum(1 - cosines[once], 0).astype(np.float32)
    return IndexPairs(left=left[once], right=right[once], distance=distance)


def _joined(found: list[IndexPairs]) -> IndexPairs:
    left = np.concatenate([part.left for part in found])
    right = np.concatenate([part.right for part in found])
    order = np.lexsort((right, left))
    distance = np.concatenate([part.distance for part in found])
    return IndexPairs(left=left[order], right=right[order], distance=distance[order])
