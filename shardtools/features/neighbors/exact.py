"""Exact neighbours by blocked matrix products, over features that stay on the disk.

Owns the walk over pairs of blocks. A whole dataset against itself needs each pair of blocks once, since a score is the
same both ways: half the products of a search row by row. While one product is computed the scores of the last one are
looked through. The price: k * N results in memory, 8 bytes each, beside a few blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError
from shardtools.features.neighbors.neighbors import NO_ROW, Best, Floats, Int64s, Neighbors, prepared
from shardtools.features.neighbors.options import METRICS
from shardtools.features.store import FeatureStore

Table = FeatureStore | npt.NDArray[Any]
"""Features [N, D] on the disk or in memory."""

Report = Callable[[int, int], None]
"""Takes the number of products that are done and that of all of them."""

ROWS_PER_BLOCK = 2048
"""Rows of a block: at 2048 dimensions a block takes 16 MiB, the scores of a pair as much."""


def knn_graph(
    table: Table,
    k: int,
    *,
    metric: str = "cosine",
    rows_per_block: int = ROWS_PER_BLOCK,
    report: Report | None = None,
) -> Neighbors:
    """The k nearest other rows of each row, exact up to the rounding of float32.

    Args:
        table: [N, D], N at least 2.
        k: 1 to N - 1.
        metric: One of `METRICS`.
        rows_per_block: Rows that are float32 at a time.
        report: Called after each product.

    Raises:
        OptionError: `k` or `metric` is out of range.
        DatasetError: A feature is not finite.
    """
    num_rows = len(table)
    _check(k, metric, num_rows - 1, num_rows)
    best = Best(num_rows, k)
    # Upper triangle, row of blocks by row of blocks: the block on the left is loaded once a row, and the first row of
    # all gives every sample its first neighbours, so that later scores have a bound to beat.
    starts = range(0, num_rows, rows_per_block)
    pairs = [(one, other) for number, one in enumerate(starts) for other in starts[number:]]
    for done, (one, other, scores) in enumerate(_products(table, pairs, rows_per_block, metric), 1):
        if one == other:
            np.fill_diagonal(scores, -np.inf)
        if one == 0 and other == 0:
            best.begin(0, scores, 0)
        else:
            best.update(one, scores, other)
        if one != other and one == 0:
            # The first scores of the rows across.
            best.begin(other, np.ascontiguousarray(scores.T), 0)
        elif one != other:
            best.update_transposed(one, scores, other)
        if report is not None:
            report(done, len(pairs))
    return best.finish(metric)


def _products(
    table: Table, pairs: list[tuple[int, int]], rows_per_block: int, metric: str
) -> Iterator[tuple[int, int, Floats]]:
    """First rows of two blocks and their scores, pair by pair; the next one is computed meanwhile."""
    held: dict[int, Floats] = {}

    def multiply(one: int, other: int) -> Floats:
        # One thread does all products, so only it touches `held`; the block of the row before is let go.
        if one not in held:
            held.clear()
            held[one] = load(table, one, one + rows_per_block, metric)
        left = held[one]
        if one == other:
            right = left if metric == "cosine" else load(table, one, one + rows_per_block, metric, "query")
        else:
            right = load(table, other, other + rows_per_block, metric, "query")
        product: Floats = left @ right.T
        return product

    with ThreadPoolExecutor(1, "shardtools-knn") as thread:
        # One product ahead, no more: its scores are as large as a block.
        waiting: Future[Floats] = thread.submit(multiply, *pairs[0])
        for number, (one, other) in enumerate(pairs):
            scores = waiting.result()
            if number + 1 < len(pairs):
                waiting = thread.submit(multiply, *pairs[number + 1])
            yield one, other, scores


def search_exact(
    table: Table,
    queries: npt.NDArray[Any],
    k: int,
    *,
    metric: str = "cosine",
    rows_per_block: int = ROWS_PER_BLOCK,
    exclude: Int64s | None = None,
) -> Neighbors:
    """The k nearest rows of some vectors, exact up to the rounding of float32.

    Args:
        table: [N, D].
        queries: [M, D]; they and M * `rows_per_block` scores are in memory.
        k: At least 1; beyond N there are no rows.
        metric: One of `METRICS`.
        rows_per_block: Rows that are float32 at a time.
        exclude: A row for each query that is not to be found (itself, say), int64 [M]; -1 excludes none.

    Raises:
        OptionError: `k`, `metric` or the shape of the queries is wrong.
        DatasetError: A feature is not finite.
    """
    _check(k, metric, None, len(table))
    if queries.ndim != 2 or queries.shape[1] != table.shape[1] or not np.isfinite(queries).all():
        raise OptionError(f"queries are finite vectors [M, {table.shape[1]}], found {queries.shape}")
    best = Best(len(queries), k)
    left = prepared(queries, metric, "query")
    for start in range(0, len(table), rows_per_block):
        scores: Floats = left @ load(table, start, start + rows_per_block, metric).T
        if exclude is not None:
            hit = np.flatnonzero((exclude >= start) & (exclude < start + scores.shape[1]))
            scores[hit, exclude[hit] - start] = -np.inf
        if start == 0:
            best.begin(0, scores, 0)
        else:
            best.update(0, scores, start)
    return best.finish(metric)


def load(table: Table, start: int, stop: int, metric: str, side: str = "base") -> Floats:
    """Rows of a table as `prepared` makes them.

    Raises:
        DatasetError: One of them is not finite.
        OptionError: Likewise, of an array.
    """
    if isinstance(table, FeatureStore):
        block = table.read(start, stop)
        table.check_finite(block, start)
    else:
        block = table[start:stop]
        if not np.isfinite(block).all():
            row = start + int(np.argwhere(~np.isfinite(block))[0][0])
            raise OptionError(f"features are finite, found one at row {row} that is not: extract them anew")
    return prepared(block, metric, side)


def recall(found: Neighbors, exact: Neighbors) -> float:
    """Share of the exact neighbours that were found, 0 to 1; a row at the distance of the last one counts too."""
    # Among rows that are equally far, which is "the" k-th is chance; any of them is a hit.
    last = np.where(np.isfinite(exact.distances), exact.distances, -np.inf).max(axis=1, keepdims=True)
    same = (found.rows[:, :, None] == exact.rows[:, None, :]).any(axis=2)
    hits = (same | (found.distances <= last * (1 + 1e-6))) & (found.rows != NO_ROW)
    wanted = int((exact.rows != NO_ROW).sum())
    return min(float(hits.sum()) / max(wanted, 1), 1.0)


def _check(k: int, metric: str, most: int | None, num_rows: int) -> None:
    if metric not in METRICS:
        raise OptionError(f"metric is one of {', '.join(METRICS)}, found {metric!r}")
    if k < 1 or (most is not None and k > most):
        limit = "at least 1" if most is None else f"1 to {most} of {num_rows} rows"
        raise OptionError(f"k is {limit}, found {k}")
