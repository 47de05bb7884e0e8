"""The neighbours of every row, kept beside the features.

    index/graph-flat-cosine-20.rows.npy        int32 or int64 [N, k]
                                .distances.npy float32 [N, k]
                                .json          of which features; after both

Owns the files. Several audits ask for the same graph, which takes minutes to compute and a moment to map; the price is
12 bytes a neighbour on the disk at most. A graph with more neighbours than are asked for is cut.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from shardtools.documents import read_json
from shardtools.errors import NotFoundError, OptionError
from shardtools.features.neighbors.exact import Report, knn_graph
from shardtools.features.neighbors.neighbors import Neighbors
from shardtools.features.neighbors.options import KINDS
from shardtools.features.neighbors.vector_index import VectorIndex, open_index
from shardtools.features.store import FeatureStore

_ROWS_PER_BLOCK = 1024


def neighbor_graph(
    store: FeatureStore,
    k: int,
    *,
    metric: str = "cosine",
    kind: str = "flat",
    report: Report | None = None,
    keep: bool = True,
) -> Neighbors:
    """The k nearest other rows of each row: read where they were computed before, else computed and kept.

    Args:
        store: The features.
        k: 1 to N - 1.
        metric: "cosine" or "l2".
        kind: "flat" is exact; another of `KINDS` asks that index, which must be there.
        report: Called with the blocks that are done and that of all.
        keep: Whether the graph is written.

    Raises:
        OptionError: A value is out of range, or the index has another metric.
        DatasetError: There is no such index, or a feature is not finite.
    """
    if kind not in KINDS:
        raise OptionError(f"kind is one of {', '.join(KINDS)}, found {kind!r}")
    if not 1 <= k < len(store):
        raise OptionError(f"k is 1 to {len(store) - 1} of {len(store)} rows, found {k}")
    found = _kept(store, k, metric, kind)
    # Kept for these features, this long or longer: nothing to do, and no index is opened for it.
    if found is not None:
        return found
    if kind == "flat":
        graph = knn_graph(store, k, metric=metric, report=report)
    else:
        index = open_index(store, kind)
        if index.info.metric != metric:
            raise OptionError(
                f"metric {metric!r} was asked for, the index {kind} has {index.info.metric!r}: build it anew"
            )
        graph = _by_index(index, k, report)
    if keep:
        _write(store, graph, k, metric, kind)
    return graph


def _by_index(index: VectorIndex, k: int, report: Report | None) -> Neighbors:
    store, parts = index.store, []
    starts = range(0, len(store), _ROWS_PER_BLOCK)
    for done, start in enumerate(starts, 1):
        block = store.read(start, start + _ROWS_PER_BLOCK)
        parts.append(index.search(block, k, exclude=np.arange(start, start + len(block))))
        if report is not None:
            report(done, len(starts))
    return Neighbors(
        rows=np.concatenate([part.rows for part in parts]), distances=np.concatenate([p.distances for p in parts])
    )


def _stem(kind: str, metric: str, k: int) -> str:
    return f"index/graph-{kind}-{metric}-{k}"


def _write(store: FeatureStore, graph: Neighbors, k: int, metric: str, kind: str) -> None:
    stem, small = _stem(kind, metric, k), len(store) < 2**31
    # The facts make a graph whole: gone before its numbers change, back after.
    store.storage.delete(f"{stem}.json")
    for name, values in (
        ("rows", graph.rows.astype(np.int32) if small else graph.rows),
        ("distances", graph.distances),
    ):
        with store.storage.writer(f"{stem}.{name}.npy") as stream:
            np.save(stream, values, allow_pickle=False)
    facts = {"features_sha256": store.info.fingerprint, "k": k, "metric": metric, "kind": kind}
    store.storage.write(f"{stem}.json", (json.dumps(facts, indent=1) + "\n").encode())


def _kept(store: FeatureStore, k: int, metric: str, kind: str) -> Neighbors | None:
    """A graph of these very features with at least k neighbours."""
    prefix = _stem(kind, metric, 0).removesuffix("0")
    for stored in store.storage.list("index/"):
        digits = stored.path.removeprefix(prefix).removesuffix(".json")
        if not (
            stored.path.startswith(prefix) and stored.path.endswith(".json") and digits.isdigit() and int(digits) >= k
        ):
            continue
        found = _read(store, stored.path.removesuffix(".json"))
        if found is not None:
            return Neighbors(rows=found.rows[:, :k], distances=found.distances[:, :k])
    return None


def _read(store: FeatureStore, stem: str) -> Neighbors | None:
    """The graph of some files, if they are whole and of these features; else it is computed anew."""
    try:
        facts: dict[str, Any] = read_json(store.storage.read(f"{stem}.json"))
        if facts.get("features_sha256") != store.info.fingerprint:
            return None
        rows, distances = (
            np.load(io.BytesIO(store.storage.read(f"{stem}.{name}.npy")), allow_pickle=False)
            for name in ("rows", "distances")
        )
    except (NotFoundError, ValueError, EOFError, AttributeError):
        return None
    if rows.shape != (len(store), facts.get("k")) or rows.shape != distances.shape:
        return None
    return Neighbors(rows=rows.astype(np.int64), distances=distances)
