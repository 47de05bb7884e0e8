"""Near copies among the features of datasets: all with all while that is quick, by indexes above.

Owns the choice between the two, and opening features that may be compared. A pair of datasets costs one search, of the
smaller one's rows in the larger one. A row whose every neighbour is near enough is asked again for more of them, so a
pair is missed only where the index misses it, or among more than `MOST_NEIGHBORS` near rows. The price: an index that
is not there yet is built, and kept beside the features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shardtools.audits.duplicates.embedding import (
    FeatureRows,
    FeatureTables,
    PairList,
    check_similarity,
    embedding_pairs,
)
from shardtools.audits.duplicates.hamming import PositionPairs
from shardtools.audits.duplicates.near_options import EXACT_ROWS, NearOptions
from shardtools.errors import AccessError, OptionError
from shardtools.features import FeatureStore, check_same_encoder, only_features, open_features
from shardtools.features.neighbors import (
    KINDS,
    IndexOptions,
    Int64s,
    VectorIndex,
    build_index,
    faiss_library,
    index_path,
    open_index,
)

MOST_NEIGHBORS = 1024
"""Neighbours of a row that are asked for at most: FAISS on a GPU gives 2048."""

_FIRST_NEIGHBORS = 16
_ROWS_PER_BLOCK = 1024
_BUILT_KIND = "ivf-pq"
_FEWEST_INDEXED = 10_000
"""Rows that codes can be learned from; fewer are searched exactly even where an index is asked for."""

Bools = npt.NDArray[np.bool_]
Told = Callable[[str], None]
"""Takes a line on what is done next."""


def open_feature_tables(
    datasets: Sequence[str], options: NearOptions, report: Told = lambda line: None
) -> FeatureTables:
    """Opens the features of some datasets for `duplicates.find_duplicates`.

    Args:
        datasets: Folders or s3:// addresses.
        options: Which features, and how they are compared.
        report: Told before what takes long.

    Raises:
        OptionError: A dataset has no features, or several and none is named, or names are too many.
        DatasetError: There are none of that name, or they are of another version of their dataset.
        PlanMismatchError: They are not all of one encoder.
        RunError: An index is needed, and FAISS is missing.
    """
    names: Sequence[str | None] = options.features or (None,)
    if len(names) not in (1, len(datasets)):
        raise OptionError(
            f"features are named once, or once for each of {len(datasets)} datasets, found {len(names)} names: "
            "repeat --features in the order of the datasets"
        )
    names = names if len(names) == len(datasets) else [names[0]] * len(datasets)
    stores = [open_features(url, only_features(url, name)) for url, name in zip(datasets, names, strict=True)]
    for store in stores[1:]:
        check_same_encoder(
            store.info.encoder, stores[0].info.encoder, where=store.storage.url, whose=stores[0].storage.url
        )

    most = options.exact_rows if options.search == "auto" else min(options.exact_rows, _FEWEST_INDEXED)
    if options.search != "exact" and any(len(store) > most for store in stores):
        # Now, not when the search has come to the index. With "auto" so many copies may be among the rows that none
        # is needed in the end; that is known only when all were read.
        faiss_library.library()

    def search(tables: Sequence[FeatureRows], min_similarity: float, is_asked: Bools) -> PositionPairs:
        count = int(is_asked.sum())
        if options.search == "exact" or (options.search == "auto" and count <= options.exact_rows):
            report(f"comparing {count} features with each other")
            return embedding_pairs(tables, min_similarity, is_asked)
        return near_pairs(stores, min_similarity, is_asked, exact_rows=most, report=report)

    return FeatureTables(
        tables=dict(zip(datasets, stores, strict=True)), encoder=stores[0].info.encoder.fingerprint, search=search
    )


def near_pairs(
    stores: Sequence[FeatureStore],
    min_similarity: float,
    is_asked: Bools | None = None,
    *,
    exact_rows: int = EXACT_ROWS,
    report: Told = lambda line: None,
) -> PositionPairs:
    """Pairs of rows with a cosine of at least `min_similarity`, found by indexes.

    Args:
        stores: Features of one encoder; their rows are numbered one store after the other.
        min_similarity: Cosine, above -1 up to 1.
        is_asked: Rows whose neighbours are looked for, bool [N of all stores]; `None` looks for those of all. What is
            found may be any row.
        exact_rows: A store with more rows is searched by its index, which is built where there is none.
        report: Told before what takes long.

    Returns:
        Pairs with 1 - cosine as their distance, in the order of rows.

    Raises:
        OptionError: The bound is out of range, or too many pairs pass it.
        RunError: A store needs an index, and FAISS is missing.
        AccessError: An index is to be built where nothing can be written.
    """
    check_similarity(min_similarity)
    asked = np.ones(sum(map(len, stores)), np.bool_) if is_asked is None else is_asked
    starts = np.cumsum([0, *map(len, stores)]).tolist()
    # All indexes first: one that cannot be had ends the search before it has begun.
    indexes = [_index_of(store, exact_rows, report) for store in stores]
    found = PairList(min_similarity)
    # Each pair of stores once, itself included: the smaller asks the larger, whose index makes a question cheap.
    for one, other in ((i, j) for i in range(len(stores)) for j in range(i, len(stores))):
        few, many = sorted((one, other), key=lambda number: len(stores[number]))
        report(f"searching the features at {stores[many].storage.url} for those at {stores[few].storage.url}")
        rows = np.flatnonzero(asked[starts[few] : starts[few + 1]])
        for begin in range(0, len(rows), _ROWS_PER_BLOCK):
            block = rows[begin : begin + _ROWS_PER_BLOCK]
            _search_rows(found, indexes[many], stores[few], block, min_similarity, starts[few], starts[many])
    return found.joined()


def _search_rows(
    found: PairList,
    index: VectorIndex,
    store: FeatureStore,
    rows: Int64s,
    min_similarity: float,
    first: int,
    first_other: int,
) -> None:
    """Adds the pairs of some rows of a store; those with too many neighbours ask again for four times as many."""
    queries = store.take(rows)
    k, most = min(_FIRST_NEIGHBORS, len(index.store)), min(MOST_NEIGHBORS, len(index.store))
    is_self = index.store is store
    # Most rows have few near ones. Where even the farthest found is near there may be more: only those rows ask again,
    # with k four times as large, until the bound or `MOST_NEIGHBORS` cuts them off.
    while len(rows):
        near = index.search(queries, k, exclude=rows if is_self else None)
        is_near = (1 - near.distances >= min_similarity) & (near.rows >= 0)
        wants_more = is_near[:, -1] & (k < most)
        line, place = np.nonzero(is_near & ~wants_more[:, None])
        found.add(rows[line] + first, near.rows[line, place] + first_other, near.distances[line, place])
        rows, queries, k = rows[wants_more], queries[wants_more], min(4 * k, most)


def _index_of(store: FeatureStore, exact_rows: int, report: Told) -> VectorIndex:
    """The index of a store by cosines: the last of `KINDS` that is there, exact for few rows, else built."""
    if len(store) <= exact_rows:
        # Exact, whatever metric a flat index was built with.
        flat = open_index(store, "flat")
        return VectorIndex(store, replace(flat.info, metric="cosine"), None)
    faiss_library.library()
    for kind in reversed([kind for kind in KINDS if kind != "flat"]):
        if store.storage.exists(index_path(kind)):
            index = open_index(store, kind)
            if index.info.metric == "cosine":
                return index
    try:
        store.storage.check_writable()
    except AccessError as error:
        raise AccessError(
            f"{error}: {len(store)} features are searched by an index, which would be built there: copy the features, "
            "or compare all with all (--search exact)"
        ) from None
    report(f"building an index of {len(store)} features, kept in {store.storage.url}/index")
    return build_index(store, IndexOptions(kind=_BUILT_KIND))
