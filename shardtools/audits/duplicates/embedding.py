"""Pairs of like features: all with all in blocks, and what else finds pairs must hand over.

Owns the threshold on the cosine, and equal features, which are numbered first so that ten thousand black pictures are
compared once. `embedding_pairs` compares all with all, N x N x D multiplications in blocks of bounded memory: right up
to some 100,000 rows; above, an index finds candidates (`shardtools.audits.duplicates.near_pairs`). The price of the
numbers: the features are read once more, and 16 bytes a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.arrays import Bools, Float32s, Int64s
from shardtools.audits.duplicates.hamming import MAX_PAIRS, PositionPairs
from shardtools.errors import OptionError
from shardtools.features.checking import check_features

NO_NUMBER = -1
"""Number of a row of zeros, which has no direction and is near nothing."""

_ROWS_PER_BLOCK = 2048
_DIGEST_BYTES = 16


class FeatureRows(Protocol):
    """Features that are read in blocks: `features.FeatureStore` on the disk, `FeatureArray` in memory."""

    @property
    def keys(self) -> pa.Array:
        """Keys of the rows, Arrow strings [N]."""

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows `start` to `stop`, cut off at N, of any floating type."""

    def check_finite(self, block: npt.NDArray[Any], start: int) -> None:
        """Refuses a block of rows (the first is row `start`) with a value that is not finite."""


class FeatureArray:
    """Features in memory."""

    def __init__(self, keys: Sequence[str], features: npt.NDArray[np.floating[Any]]) -> None:
        """Takes them.

        Args:
            keys: Of the rows, N of them.
            features: [N, D], finite.

        Raises:
            OptionError: They do not fit together, or a value is not finite.
        """
        check_features(features)
        if len(keys) != len(features):
            raise OptionError(f"features are given with a key for each row, found {len(keys)} and {len(features)}")
        self.keys, self._features = pa.array(keys, pa.large_string()), features

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return len(self._features), self._features.shape[1]

    def __len__(self) -> int:
        return len(self._features)

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """A view of some rows."""
        return self._features[start:stop]

    def check_finite(self, block: npt.NDArray[Any], start: int) -> None:
        """Does nothing: all were checked."""


Search = Callable[[Sequence[FeatureRows], float, Bools], PositionPairs]
"""Finds pairs as `embedding_pairs` does; pairs of rows that are left out may be among them."""


def embedding_pairs(
    tables: Sequence[FeatureRows], min_similarity: float, is_asked: Bools | None = None
) -> PositionPairs:
    """All pairs of different rows with a cosine of at least `min_similarity`, each once, the smaller row left.

    Args:
        tables: Features of one width; their rows are numbered one table after the other.
        min_similarity: Cosine, above -1 up to 1. Products are float32: a cosine is good to about 1e-6.
        is_asked: Rows that are compared, bool [N of all tables]; `None` compares all.

    Returns:
        Pairs with 1 - cosine as their distance, at least 0. Rows of zeros are near nothing.

    Raises:
        OptionError: A bound out of range, or more than `MAX_PAIRS` pairs.
        DatasetError: A feature on the disk is not finite.
    """
    check_similarity(min_similarity)
    found = PairList(min_similarity)
    spans = list(_spans(tables))
    # Upper triangle of blocks, with the diagonal: each pair of blocks once, the left one in memory for its whole row.
    for number, one in enumerate(spans):
        left, left_rows = _asked_rows(one, is_asked)
        if not len(left_rows):
            continue
        for other in spans[number:]:
            right, right_rows = (left, left_rows) if other is one else _asked_rows(other, is_asked)
            cosines = left @ right.T
            first, second = np.nonzero(cosines >= min_similarity)
            found.add(left_rows[first], right_rows[second], 1 - cosines[first, second], once=other is one)
    return found.joined()


def distinct_rows(tables: Sequence[FeatureRows]) -> Int64s:
    """Numbers the different features of some tables, [N of all]: equal rows have one number, rows of zeros have none.

    Raises:
        DatasetError: A feature on the disk is not finite.
    """
    digests: list[bytes] = []
    has_direction: list[Bools] = []
    for table, start, stop, _ in _spans(tables):
        block = np.ascontiguousarray(table.read(start, stop))
        table.check_finite(block, start)
        has_direction.append((block != 0).max(axis=1))
        lines = block.view(np.uint8).reshape(len(block), -1)
        digests += [hashlib.blake2b(line.data, digest_size=_DIGEST_BYTES).digest() for line in lines]
    # Digests stand for features: equal ones get one number, in no order that matters; zeros keep none.
    rows = np.flatnonzero(np.concatenate(has_direction))
    numbers = np.full(len(digests), NO_NUMBER, np.int64)
    whole = np.frombuffer(b"".join(digests), np.dtype((np.void, _DIGEST_BYTES)))
    _, numbers[rows] = np.unique(whole[rows], return_inverse=True)
    return numbers


def check_similarity(min_similarity: float) -> None:
    """Refuses what is no bound on a cosine.

    Raises:
        OptionError: It is out of range.
    """
    if not -1 < min_similarity <= 1:
        raise OptionError(f"min_similarity is a cosine above -1 and up to 1, found {min_similarity}")


def unit_rows(block: npt.NDArray[Any]) -> Float32s:
    """Rows of length 1, float32; a row of zeros becomes NaN, whose cosines pass no bound, not even one below 0."""
    rows = block.astype(np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, np.nan), np.float32)


class PairList:
    """Pairs as they come in, up to `MAX_PAIRS` of them."""

    def __init__(self, min_similarity: float) -> None:
        """Begins with none; `min_similarity` is for the message."""
        self._min_similarity = min_similarity
        self._parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
        self._count = 0

    def add(self, left: Int64s, right: Int64s, distance: npt.NDArray[Any], *, once: bool = False) -> None:
        """Takes pairs of rows.

        Args:
            left: [P].
            right: [P].
            distance: 1 - cosine, [P].
            once: Whether each pair comes both ways, or a row with itself, and only left < right is kept.

        Raises:
            OptionError: They are too many.
        """
        if once:
            kept = left < right
            left, right, distance = left[kept], right[kept], distance[kept]
        self._count += len(left)
        if self._count > MAX_PAIRS:
            raise OptionError(
                f"more than {MAX_PAIRS} pairs have a cosine of at least {self._min_similarity}: give a larger one "
                "(--min-similarity)"
            )
        self._parts.append((left, right, np.maximum(distance, 0).astype(np.float32)))

    def joined(self) -> PositionPairs:
        """All pairs, the smaller row left, in the order of rows; a pair that came twice once, at its smallest."""
        one, other, distance = (np.concatenate([part[column] for part in self._parts]) for column in range(3))
        left, right = np.minimum(one, other), np.maximum(one, other)
        # Sorted by pair, then distance: the first of each pair is the one to keep.
        order = np.lexsort((distance, right, left))
        left, right, distance = left[order], right[order], distance[order]
        new = np.ones(len(left), np.bool_)
        new[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
        return PositionPairs(left=left[new], right=right[new], distance=distance[new])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureTables:
    """What pairs of the kind "embedding" are found with.

    Attributes:
        tables: Each dataset, as it is given in the options -> its features; all of one encoder.
        encoder: Fingerprint of that encoder, for the settings of overlays; "" where it has none.
        search: What finds the pairs.
    """

    tables: Mapping[str, FeatureRows]
    encoder: str = ""
    search: Search = embedding_pairs


def _spans(tables: Sequence[FeatureRows]) -> Iterator[tuple[FeatureRows, int, int, int]]:
    """Table, first row and end in it, and the number of that first row among the rows of all tables."""
    offset = 0
    for table in tables:
        for start in range(0, len(table), _ROWS_PER_BLOCK):
            yield table, start, min(start + _ROWS_PER_BLOCK, len(table)), offset + start
        offset += len(table)


def _asked_rows(span: tuple[FeatureRows, int, int, int], is_asked: Bools | None) -> tuple[Float32s, Int64s]:
    """Rows of length 1 that are asked for, and their numbers among the rows of all tables."""
    table, start, stop, first = span
    numbers = np.arange(first, first + stop - start)
    if is_asked is not None:
        numbers = numbers[is_asked[numbers]]
    if not len(numbers):
        return np.zeros((0, table.shape[1]), np.float32), numbers
    block = table.read(start, stop)
    table.check_finite(block, start)
    return unit_rows(block[numbers - first]), numbers
