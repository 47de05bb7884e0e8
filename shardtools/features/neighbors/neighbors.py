"""Neighbours of rows, and the running best of them while blocks of scores come in.

Owns the selection. Only scores above a row's k-th best so far are looked at, so that after the first block a score
costs one comparison; the price is that what ties with the k-th best keeps its place by the order of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NO_ROW = -1

_FIRST_COLUMNS = 512
_ROWS_PER_MERGE = 512


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbors:
    """The nearest rows of each query, nearest first; equal distances in the order of rows.

    Attributes:
        rows: Row numbers in the table that was searched, int64 [M, k]; -1 where it has fewer than k.
        distances: float32 [M, k]: 1 - cosine, 0 to 2, or the l2 distance; infinite where there is no row.
    """

    rows: Int64s
    distances: Floats


class Best:
    """The k highest scores of each row so far."""

    def __init__(self, num_rows: int, k: int) -> None:
        """Begins with none.

        Args:
            num_rows: N.
            k: At least 1.
        """
        self._k = k
        self._scores = np.full((num_rows, k), -np.inf, np.float32)
        self._rows = np.full((num_rows, k), NO_ROW, np.int64 if num_rows > 2**31 - 1 else np.int32)
        self._least = np.full(num_rows, -np.inf, np.float32)
        """The k-th best score of each row: what a new one must be above."""

    def begin(self, first: int, scores: Floats, first_column: int) -> None:
        """Takes the first scores of some rows; arguments as `update`."""
        # Some columns are sorted out in full, for a bound; the rest need only beat it, as all later scores do.
        columns = min(max(_FIRST_COLUMNS, self._k), scores.shape[1])
        part = scores[:, :columns]
        if columns > self._k:
            kept = np.argpartition(part, columns - self._k, axis=1)[:, columns - self._k :]
        else:
            kept = np.broadcast_to(np.arange(columns), part.shape)
        rows = slice(first, first + len(scores))
        self._scores[rows, : kept.shape[1]] = np.take_along_axis(part, kept, axis=1)
        self._rows[rows, : kept.shape[1]] = kept + first_column
        self._rows[rows][self._scores[rows] == -np.inf] = NO_ROW
        self._least[rows] = self._scores[rows].min(axis=1)
        if columns < scores.shape[1]:
            self.update(first, scores[:, columns:], first_column + columns)

    def update(self, first: int, scores: Floats, first_column: int) -> None:
        """Takes scores of rows `first`.. (down) with rows `first_column`.. (across), [n, m]."""
        least = self._least[first : first + len(scores)]
        targets, sources = _above(scores > least[:, None])
        self._merge(targets + first, sources + first_column, scores[targets, sources])

    def update_transposed(self, first: int, scores: Floats, first_column: int) -> None:
        """Takes the same scores for the rows across."""
        least = self._least[first_column : first_column + scores.shape[1]]
        sources, targets = _above(scores > least)
        # They are found row by row of the block; the targets are its columns, and merging wants one target after the
        # other.
        order = np.argsort(targets, kind="stable")
        sources, targets = sources[order], targets[order]
        self._merge(targets + first_column, sources + first, scores[sources, targets])

    def finish(self, metric: str) -> Neighbors:
        """All rows with distances, nearest first."""
        rows, scores = self._rows.astype(np.int64), self._scores
        order = np.lexsort((rows, -scores))
        rows, scores = np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
        return Neighbors(rows=rows, distances=to_distances(scores, metric))

    def _merge(self, targets: Int64s, sources: Int64s, values: Floats) -> None:
        """Takes scores one by one; `targets` never falls."""
        if not len(targets):
            return
        starts = np.flatnonzero(np.concatenate(([True], targets[1:] != targets[:-1])))
        counts = np.diff(np.concatenate((starts, [len(targets)])))
        # A bounded number of targets at a time: the table of a merge is as wide as the target with the most new scores.
        for begin in range(0, len(starts), _ROWS_PER_MERGE):
            part = slice(begin, begin + _ROWS_PER_MERGE)
            first = int(starts[begin])
            last = first + int(counts[part].sum())
            self._merge_rows(targets[starts[part]], counts[part], sources[first:last], values[first:last])

    def _merge_rows(self, rows: Int64s, counts: Int64s, sources: Int64s, values: Floats) -> None:
        k, width = self._k, int(counts.max())
        scores = np.full((len(rows), k + width), -np.inf, np.float32)
        found = np.full((len(rows), k + width), NO_ROW, self._rows.dtype)
        scores[:, :k], found[:, :k] = self._scores[rows], self._rows[rows]
        line = np.repeat(np.arange(len(rows)), counts)
        place = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts) + k
        scores[line, place], found[line, place] = values, sources
        kept = np.argpartition(scores, width, axis=1)[:, width:]
        self._scores[rows] = best = np.take_along_axis(scores, kept, axis=1)
        self._rows[rows] = np.take_along_axis(found, kept, axis=1)
        self._least[rows] = best.min(axis=1)


def to_distances(scores: Floats, metric: str) -> Floats:
    """Distances of scores: cosines, or minus half the squared l2 distance."""
    distances = np.clip(1 - scores, 0, 2) if metric == "cosine" else np.sqrt(np.maximum(-2 * scores, 0))
    found: Floats = np.where(scores == -np.inf, np.float32(np.inf), distances).astype(np.float32)
    return found


def prepared(block: npt.NDArray[Any], metric: str, side: str = "base") -> Floats:
    """Rows whose scalar products are scores.

    Args:
        block: [n, D].
        metric: "cosine": rows of length 1 (a row of zeros stays). "l2": two more dimensions, so that the product of a
            query x and a base row y is x.y - |x|^2 / 2 - |y|^2 / 2, minus half their squared distance.
        side: "base" or "query".

    Returns:
        float32 [n, D], or [n, D + 2].
    """
    rows = block.astype(np.float32)
    squares = np.einsum("ij,ij->i", rows, rows)
    if metric == "cosine":
        rows /= np.sqrt(np.where(squares > 0, squares, 1))[:, None]
        return rows
    halves, ones = -squares / 2, np.ones_like(squares)
    more = (ones, halves) if side == "base" else (halves, ones)
    return np.concatenate((rows, np.stack(more, axis=1)), axis=1)


def _above(mask: Bools) -> tuple[Int64s, Int64s]:
    """Row and column of what is true, row by row."""
    # Flat: NumPy looks at eight values at a time there, and nearly none is true.
    found = np.flatnonzero(mask)
    rows, columns = np.divmod(found, mask.shape[1])
    return rows, columns
