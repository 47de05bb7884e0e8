"""An index beside its features: built a block at a time, measured, opened, searched.

Owns the files and the promise of recall: a search is as thorough as it takes to find the stated share of the exact
neighbours of some rows, and the share that was measured is written down. The price: building ends with an exact search
of those rows.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import DatasetError, NotFoundError, OptionError
from shardtools.execution import Doing, Progress, ignore
from shardtools.features.neighbors import faiss_library
from shardtools.features.neighbors.exact import recall, search_exact
from shardtools.features.neighbors.neighbors import NO_ROW, Floats, Int64s, Neighbors, prepared, to_distances
from shardtools.features.neighbors.options import (
    KINDS,
    IndexInfo,
    IndexOptions,
    data_path,
    index_path,
    lists_path,
)
from shardtools.features.store import FeatureStore
from shardtools.quoting import shell_word
from shardtools.words import counted

_ROWS_PER_BLOCK = 8192
_QUERIES_PER_BLOCK = 1024
_FIRST_EFFORT = 8


class VectorIndex:
    """Searches the features that it was built from.

    Attributes:
        store: The features.
        info: Kind, metric, effort and measured recall.
    """

    def __init__(self, store: FeatureStore, info: IndexInfo, index: Any) -> None:
        """Takes an index of FAISS; `None` for kind "flat"."""
        self.store, self.info, self._index = store, info, index

    def search(self, queries: npt.NDArray[Any], k: int, *, exclude: Int64s | None = None) -> Neighbors:
        """The nearest rows of some vectors.

        Args:
            queries: [M, D].
            k: At least 1.
            exclude: A row for each query that is not to be found, int64 [M]; -1 excludes none.

        Raises:
            OptionError: The shape or a value of the queries is wrong.
        """
        info = self.info
        if self._index is None:
            return search_exact(self.store, queries, k, metric=info.metric, exclude=exclude)
        if queries.ndim != 2 or queries.shape[1] != info.dim or not np.isfinite(queries).all():
            raise OptionError(f"queries are finite vectors [M, {info.dim}], found {queries.shape}")
        if k < 1:
            raise OptionError(f"k is at least 1, found {k}")
        parts = []
        for start in range(0, len(queries), _QUERIES_PER_BLOCK):
            part = slice(start, start + _QUERIES_PER_BLOCK)
            without = None if exclude is None else exclude[part]
            parts.append(self._search_block(_plain(queries[part], info.metric), k, without))
        return Neighbors(
            rows=np.concatenate([part.rows for part in parts]), distances=np.concatenate([p.distances for p in parts])
        )

    def _search_block(self, queries: Floats, k: int, exclude: Int64s | None) -> Neighbors:
        info = self.info
        # One more where one is to be left out. Codes are rough: of several times as many, the features themselves
        # choose.
        wanted = k + (exclude is not None)
        if info.kind == "ivf-pq":
            rough = faiss_library.search(self._index, queries, min(wanted * info.rerank, info.num_rows), info.metric)
            found = rerank(self.store, queries, rough.rows, wanted, info.metric)
        else:
            found = faiss_library.search(self._index, queries, min(wanted, info.num_rows), info.metric)
        return without_rows(found, exclude, k)

    def neighbors_of(self, key: str, k: int) -> Neighbors:
        """The nearest other rows of a sample.

        Raises:
            OptionError: There is no such key.
        """
        row = self.store.row_of(key)
        return self.search(self.store.take([row]), k, exclude=np.array([row]))

    def with_effort(self, effort: int) -> None:
        """Looks at this many lists, or candidates of a graph, from now on."""
        faiss_library.set_effort(self._index, self.info.kind, effort)


def rerank(store: FeatureStore, queries: Floats, rows: Int64s, k: int, metric: str) -> Neighbors:
    """The best of some candidates by their features themselves.

    Args:
        store: Where the candidates are.
        queries: As FAISS takes them, [M, D].
        rows: Candidates of each query, [M, R]; -1 for none.
        k: How many are kept.
        metric: "cosine" or "l2".
    """
    # Queries of a block share candidates: each row is read once.
    known, places = np.unique(np.maximum(rows, 0), return_inverse=True)
    scores = np.empty(rows.shape, np.float32)
    left = prepared(queries, metric, "query")
    base = prepared(store.take(known), metric)
    for number, (query, candidates) in enumerate(zip(left, places.reshape(rows.shape), strict=True)):
        scores[number] = base[candidates] @ query
    scores[rows == NO_ROW] = -np.inf
    order = np.lexsort((rows, -scores))[:, :k]
    return Neighbors(
        rows=np.take_along_axis(rows, order, axis=1),
        distances=to_distances(np.take_along_axis(scores, order, axis=1), metric),
    )


def without_rows(found: Neighbors, exclude: Int64s | None, k: int) -> Neighbors:
    """Neighbours without one row each, cut off or filled up to k."""
    rows, distances = found.rows, found.distances
    if exclude is not None:
        hit = (rows == exclude[:, None]) & (rows != NO_ROW)
        order = np.argsort(hit, axis=1, kind="stable")
        rows = np.take_along_axis(np.where(hit, NO_ROW, rows), order, axis=1)
        distances = np.take_along_axis(np.where(hit, np.float32(np.inf), distances), order, axis=1)
    missing = max(k - rows.shape[1], 0)
    return Neighbors(
        rows=np.pad(rows, ((0, 0), (0, missing)), constant_values=NO_ROW)[:, :k],
        distances=np.pad(distances, ((0, 0), (0, missing)), constant_values=np.inf)[:, :k],
    )


def build_index(store: FeatureStore, options: IndexOptions, *, progress: Progress = ignore) -> VectorIndex:
    """Builds an index, measures its recall and writes it beside the features.

    Args:
        store: The features.
        options: What to build; an index of the same kind is replaced.
        progress: Called with `Doing` at each step.

    Raises:
        OptionError: The rows do not fit into the memory that is allowed, or there is no GPU and one is insisted on.
        RunError: FAISS is missing, and the kind is not "flat".
        DatasetError: A feature is not finite.
    """
    kind = options.kind_for(len(store))
    options = replace(options, kind=kind)
    if kind == "ivf-pq" and len(store) < faiss_library.FEWEST_ROWS_OF_CODES:
        raise OptionError(
            f"an index of kind ivf-pq learns its codes from at least {faiss_library.FEWEST_ROWS_OF_CODES} rows, found "
            f"{len(store)}: take --kind flat, which is exact"
        )
    # First, so that a library or a GPU that is missing costs neither the work nor the index that is there.
    wants_gpus = kind != "flat" and faiss_library.wants_gpus(options.device)
    started = time.perf_counter()
    progress(Doing(text=f"filling an index of {counted(len(store), 'row')}"))
    index = None if kind == "flat" else _filled(store, options, kind)
    info = IndexInfo(
        kind=kind,
        metric=options.metric,
        features_sha256=store.info.fingerprint,
        num_rows=len(store),
        dim=store.shape[1],
        effort=1,
        rerank=options.rerank,
        recall=1.0,
        recall_k=options.recall_k,
        recall_queries=0,
        num_bytes=0,
        seconds=0.0,
        settings={name: value for name, value in asdict(options).items() if name not in ("kind", "metric", "device")},
    )
    built = VectorIndex(store, info, index)
    # The time is that of filling; measuring is not in it.
    changes: dict[str, Any] = {"seconds": round(time.perf_counter() - started, 3)}
    if index is not None:
        searched = faiss_library.to_gpus(index) if wants_gpus and _fits_gpu(info) else index
        progress(Doing(text="measuring the recall"))
        changes |= _measure(VectorIndex(store, info, searched), options)
        faiss_library.set_effort(index, info.kind, changes["effort"])
        faiss_library.write(index, str(_local(store, data_path(info.kind))))
        built._index = searched
    # The data are on the disk; the facts, by which readers find them, are written last.
    files = [stored for stored in store.storage.list("index/") if stored.path in _data_paths(info.kind)]
    changes["num_bytes"] = sum(stored.num_bytes for stored in files)
    built.info = IndexInfo(**{**{name: getattr(info, name) for name in info.__slots__}, **changes})
    store.storage.write(index_path(info.kind), built.info.to_json())
    return built


def _fits_gpu(info: IndexInfo) -> bool:
    return info.kind != "hnsw"


def _data_paths(kind: str) -> tuple[str, str]:
    return data_path(kind), lists_path(kind)


def _filled(store: FeatureStore, options: IndexOptions, kind: str) -> Any:
    """The index with all rows."""
    num_rows, dim = store.shape
    num_bytes = num_rows * faiss_library.code_bytes(options, dim)
    on_disk = num_bytes > options.memory_bytes
    if on_disk and options.kind == "hnsw":
        raise OptionError(
            f"an index of kind hnsw is in memory as a whole, {num_bytes / 1e9:.1f} GB of at most "
            f"{options.memory_bytes / 1e9:.1f}: take --kind ivf-pq, or allow more (--memory-gb)"
        )
    place = _local(store, data_path(kind))
    # The facts go first: an index whose data are being replaced does not exist. Deleting takes an empty folder along.
    store.storage.delete(index_path(kind))
    place.parent.mkdir(parents=True, exist_ok=True)
    index = faiss_library.empty_index(options, num_rows, dim)
    random = np.random.default_rng(options.seed)
    count = min(options.train_rows, num_rows)
    sample = np.sort(random.choice(num_rows, count, replace=False))
    index.train(_plain(_checked(store, sample), options.metric))
    # What fits is filled in memory, block by block, and written once it is whole.
    if not on_disk:
        for start, block in store.blocks(_ROWS_PER_BLOCK):
            store.check_finite(block, start)
            index.add(_plain(block, options.metric))
        return index
    return _filled_on_disk(store, options, kind, index, num_bytes)


def _filled_on_disk(store: FeatureStore, options: IndexOptions, kind: str, index: Any, num_bytes: int) -> Any:
    """As much as the memory holds goes into a file at a time; the files are merged list by list."""
    per_file = max(_ROWS_PER_BLOCK, len(store) * options.memory_bytes // num_bytes // _ROWS_PER_BLOCK * _ROWS_PER_BLOCK)
    with tempfile.TemporaryDirectory(dir=_local(store, data_path(kind)).parent) as folder:
        trained = os.path.join(folder, "trained")
        faiss_library.write(index, trained)
        files = []
        for first in range(0, len(store), per_file):
            # Each file begins as the same trained, empty index: a list then holds the same region in all files, and
            # merging joins lists of one number.
            part = faiss_library.read(trained)
            for start in range(first, min(first + per_file, len(store)), _ROWS_PER_BLOCK):
                block = store.read(start, min(start + _ROWS_PER_BLOCK, first + per_file))
                store.check_finite(block, start)
                ids = np.arange(start, start + len(block))
                part.add_with_ids(_plain(block, options.metric), ids)
            files.append(os.path.join(folder, f"{first}"))
            faiss_library.write(part, files[-1])
        faiss_library.merge_on_disk(index, files, str(_local(store, lists_path(kind))))
    return index


def _checked(store: FeatureStore, rows: Int64s) -> npt.NDArray[Any]:
    block = store.take(rows)
    wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if wrong.size:
        store.check_finite(block[wrong[:1]], int(rows[wrong[0]]))
    return block


def _plain(block: npt.NDArray[Any], metric: str) -> Floats:
    """Rows as FAISS takes them: float32, of length 1 for cosine."""
    return prepared(block, metric) if metric == "cosine" else np.ascontiguousarray(block, np.float32)


def _measure(index: VectorIndex, options: IndexOptions) -> dict[str, Any]:
    """Effort and recall: the effort is doubled until the recall is what was asked for, or all is looked at."""
    store, info = index.store, index.info
    count = min(options.recall_queries, len(store))
    rows = np.sort(np.random.default_rng(options.seed + 1).choice(len(store), count, replace=False))
    queries, k = store.take(rows), max(1, min(options.recall_k, len(store) - 1))
    exact = search_exact(store, queries, k, metric=info.metric, exclude=rows)
    most = len(store) if info.kind == "hnsw" else faiss_library.num_lists(options, len(store))
    effort = min(_FIRST_EFFORT if info.kind != "hnsw" else max(_FIRST_EFFORT, 2 * k), most)
    # Until the recall is met, or the whole index is looked at and nothing more can be done: then the recall that is
    # reached is what is written down.
    while True:
        index.with_effort(effort)
        found = recall(index.search(queries, k, exclude=rows), exact)
        if found >= options.recall or effort >= most:
            return {"effort": effort, "recall": round(found, 4), "recall_k": k, "recall_queries": count}
        effort = min(2 * effort, most)


def open_index(store: FeatureStore, kind: str | None = None, *, device: str = "auto") -> VectorIndex:
    """Opens an index of some features.

    Args:
        store: The features.
        kind: One of `KINDS`; `None` takes the first of those that are there, or "flat".
        device: As in `IndexOptions`.

    Raises:
        DatasetError: There is no such index, or it is of other features, or damaged.
        RunError: FAISS is missing, and the kind is not "flat".
    """
    if kind is None:
        kind = next((one for one in reversed(KINDS) if store.storage.exists(index_path(one))), "flat")
    where = store.storage.object_url(index_path(kind))
    try:
        info = IndexInfo.from_json(store.storage.read(index_path(kind)), where=where)
    except NotFoundError:
        if kind == "flat":
            return _flat(store)
        raise DatasetError(
            f"features at {store.storage.url} have no index of kind {kind!r}: `shardtools index build "
            f"{shell_word(store.dataset)} --kind {kind}` makes it"
        ) from None
    if info.features_sha256 != store.info.fingerprint:
        raise DatasetError(
            f"the index {where} is of other features ({info.features_sha256[:8]}..., found "
            f"{store.info.fingerprint[:8]}...): build it again"
        )
    if kind == "flat":
        return VectorIndex(store, info, None)
    try:
        index = faiss_library.read(str(_local(store, data_path(kind))))
    except OSError as error:
        raise DatasetError(f"the index {where} is damaged ({error}): build it again") from None
    if faiss_library.wants_gpus(device) and _fits_gpu(info):
        index = faiss_library.to_gpus(index)
    opened = VectorIndex(store, info, index)
    opened.with_effort(info.effort)
    return opened


def _flat(store: FeatureStore) -> VectorIndex:
    """An exact search needs no file."""
    info = IndexInfo(
        kind="flat",
        metric="cosine",
        features_sha256=store.info.fingerprint,
        num_rows=len(store),
        dim=store.shape[1],
        effort=1,
        rerank=1,
        recall=1.0,
        recall_k=1,
        recall_queries=0,
        num_bytes=0,
        seconds=0.0,
    )
    return VectorIndex(store, info, None)


def _local(store: FeatureStore, path: str) -> Path:
    found = store.storage.local_path(path)
    if found is None:
        raise OptionError(f"an index lies on a disk of this machine, found {store.storage.url}: copy the features")
    return found
