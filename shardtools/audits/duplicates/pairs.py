"""Which rows are pairs, of what kind, at what distance.

Owns how the kinds come together: equal hashes and equal features are collapsed first, so that the search sees each
once; what it finds is spread over the rows again (`groups.Clusters`), and a pair that two kinds find is of the first
one. So every row that has a near copy in another place is in a pair with one there; the price is that images with equal
hashes or features are not paired all with all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Int64s, UInt8s
from shardtools.audits.duplicates.embedding import NO_NUMBER, FeatureTables, distinct_rows
from shardtools.audits.duplicates.groups import Clusters
from shardtools.audits.duplicates.hamming import PositionPairs, hamming_join, hamming_pairs
from shardtools.audits.duplicates.options import KINDS, DuplicatesOptions
from shardtools.audits.duplicates.samples import Samples
from shardtools.errors import DatasetError, OptionError
from shardtools.execution import Doing, Progress, ignore
from shardtools.words import counted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowPairs:
    """Pairs of rows of `Samples`, in the order of `left`, then `right`.

    Attributes:
        left: The smaller row, int64 [P].
        right: The larger row, int64 [P].
        kind: Number of the kind in `KINDS`, int64 [P].
        distance: Bits; 1 - cosine for features; 0 for equal bytes; float32 [P].
    """

    left: Int64s
    right: Int64s
    kind: Int64s
    distance: npt.NDArray[np.float32]

    num_by_design: int
    """Pairs of one rendered object that are left out, because a grid makes them."""

    def __len__(self) -> int:
        return len(self.left)


def find_pairs(
    samples: Samples,
    options: DuplicatesOptions,
    feature_tables: FeatureTables | None = None,
    *,
    progress: Progress = ignore,
) -> RowPairs:
    """The pairs of all kinds that are asked for; `progress` hears of each kind.

    Raises:
        OptionError: Features are asked for and not given, or do not fit together; or too many pairs.
        DatasetError: Features have a key that the dataset has not.
    """
    parts: list[tuple[int, PositionPairs]] = []
    for number, kind in enumerate(KINDS):
        if kind in options.kinds:
            progress(Doing(text=f"looking for {kind} copies among {counted(len(samples), 'image')}"))
            parts.append((number, _of_kind(kind, samples, options, feature_tables)))
    return _without_designed(_merged(parts, len(samples)), samples)


def _of_kind(
    kind: str, samples: Samples, options: DuplicatesOptions, feature_tables: FeatureTables | None
) -> PositionPairs:
    if kind == "exact":
        return _exact(samples)
    if kind == "embedding":
        return _embedding(samples, options, feature_tables)
    if samples.hashes is None or samples.mirrored is None:
        raise OptionError(f"{kind} duplicates need hashes: read the samples with them")
    rows = np.flatnonzero(samples.has_hash)
    # Equal hashes are one for the search; their rows come back in `_spread`, and among themselves by `own_pairs`.
    hashes, clusters = _clusters(samples.hashes, rows, samples.place)
    if kind == "perceptual":
        near = hamming_pairs(hashes, options.radius)
        low, high, _ = clusters.own_pairs()
        own = PositionPairs(left=low, right=high, distance=np.zeros(len(low), np.float32))
        return _spread(near, clusters, clusters, own)
    mirrored, mirror_clusters = _clusters(samples.mirrored, rows, samples.place)
    return _spread(hamming_join(mirrored, hashes, options.radius), mirror_clusters, clusters, None)


def _exact(samples: Samples) -> PositionPairs:
    rows = np.flatnonzero(samples.copy >= 0)
    low, high, _ = Clusters(rows, samples.copy[rows], samples.place[rows]).own_pairs()
    return PositionPairs(left=low, right=high, distance=np.zeros(len(low), np.float32))


def _embedding(samples: Samples, options: DuplicatesOptions, feature_tables: FeatureTables | None) -> PositionPairs:
    if feature_tables is None:
        raise OptionError("embedding duplicates need features: give them, or leave that kind out")
    _check_tables(samples, feature_tables)
    tables = [feature_tables.tables[url] for url in samples.datasets]
    rows = np.concatenate([_rows_of(samples, url, feature_tables.tables[url].keys) for url in samples.datasets])
    numbers = distinct_rows(tables)
    has_number = np.flatnonzero(numbers != NO_NUMBER)
    # One row for each different feature asks; whatever it finds counts for all that are equal to it.
    is_first = np.zeros(len(numbers), np.bool_)
    is_first[has_number[np.unique(numbers[has_number], return_index=True)[1]]] = True
    near = _numbered(feature_tables.search(tables, options.min_similarity, is_first), numbers)
    clusters = Clusters(rows[has_number], numbers[has_number], samples.place[rows[has_number]])
    low, high, _ = clusters.own_pairs()
    own = PositionPairs(left=low, right=high, distance=np.zeros(len(low), np.float32))
    return _spread(near, clusters, clusters, own)


def _check_tables(samples: Samples, feature_tables: FeatureTables) -> None:
    given = set(feature_tables.tables)
    if given != set(samples.datasets):
        lacking = sorted(set(samples.datasets) - given) or sorted(given - set(samples.datasets))
        raise OptionError(
            f"features are given for each of {', '.join(samples.datasets)}, found "
            f"{', '.join(sorted(given)) or 'none'} ({lacking[0]!r} differs): give those of all"
        )
    widths = {table.shape[1] for table in feature_tables.tables.values()}
    if len(widths) > 1:
        raise OptionError(f"features of all datasets are of one encoder, found widths {sorted(widths)}: extract anew")


def _rows_of(samples: Samples, url: str, keys: pa.Array) -> Int64s:
    """Rows of the samples that a dataset's features are of.

    Raises:
        DatasetError: A key is unknown, or features leave out a whole split, whose leaks nobody would see.
    """
    own = np.flatnonzero(samples.dataset == samples.datasets.index(url))
    known = samples.keys.take(pa.array(own)).combine_chunks().cast(pa.large_string())
    found = pc.index_in(keys.cast(pa.large_string()), value_set=known)
    if found.null_count:
        unknown = keys[int(pc.index(pc.is_null(found), True).as_py())].as_py()
        raise DatasetError(f"features of {url} have the key {unknown!r}, which it has no image of: extract anew")
    rows = own[np.asarray(found.to_numpy(zero_copy_only=False), np.int64)]
    # An image without a feature is counted; a split without any would look free of leaks.
    missing = np.setdiff1d(samples.place[own], samples.place[rows])
    if len(missing):
        left_out = own[samples.place[own] == missing[0]]
        split = samples.splits[int(left_out[0])].as_py()
        raise DatasetError(
            f"features of {url} have none of the {len(left_out)} images of its split {split!r}, so that no leak "
            "of them would be found: extract features of all splits (shardtools features without --split)"
        )
    return rows


def _numbered(near: PositionPairs, numbers: Int64s) -> PositionPairs:
    """Pairs of different features out of pairs of rows, each once, at the smallest distance."""
    left, right = numbers[near.left], numbers[near.right]
    low, high = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((near.distance, high, low))
    low, high, distance = low[order], high[order], near.distance[order]
    # A search may answer with a copy of what was asked, or with rows of zeros: neither is a pair here.
    kept = (low != high) & (low != NO_NUMBER)
    kept[1:] &= (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return PositionPairs(left=low[kept], right=high[kept], distance=distance[kept])


def _clusters(hashes: UInt8s, rows: Int64s, places: Int64s) -> tuple[UInt8s, Clusters]:
    """The different hashes of some rows, and which rows have each."""
    whole = np.ascontiguousarray(hashes[rows]).view(np.dtype((np.void, hashes.shape[1])))[:, 0]
    different, numbers = np.unique(whole, return_inverse=True)
    distinct = different.view(np.uint8).reshape(-1, hashes.shape[1])
    return distinct, Clusters(rows, numbers.astype(np.int64), places[rows])


def _spread(near: PositionPairs, lefts: Clusters, rights: Clusters, own: PositionPairs | None) -> PositionPairs:
    low, high, pair = lefts.pairs(near.left, near.right, rights)
    parts = [PositionPairs(left=low, right=high, distance=near.distance[pair])]
    if own is not None:
        parts.append(own)
    return PositionPairs(
        left=np.concatenate([part.left for part in parts]),
        right=np.concatenate([part.right for part in parts]),
        distance=np.concatenate([part.distance for part in parts]),
    )


def _merged(parts: list[tuple[int, PositionPairs]], num_rows: int) -> RowPairs:
    """Each pair of rows once: of the first kind that finds it, at its smallest distance."""
    left = np.concatenate([part.left for _, part in parts])
    right = np.concatenate([part.right for _, part in parts])
    distance = np.concatenate([part.distance for _, part in parts])
    kind = np.concatenate([np.full(len(part), number, np.int64) for number, part in parts])
    # By pair, then by kind in the order of `KINDS`, then by distance: the first of each pair is what is told of it.
    order = np.lexsort((distance, kind, right, left))
    code = (left * num_rows + right)[order]
    new = np.ones(len(code), np.bool_)
    new[1:] = code[1:] != code[:-1]
    kept = order[new]
    return RowPairs(left=left[kept], right=right[kept], kind=kind[kept], distance=distance[kept], num_by_design=0)


def _without_designed(pairs: RowPairs, samples: Samples) -> RowPairs:
    """Leaves out what a grid of rendered pictures makes: an object looks like itself a degree further.

    Within a split of a dataset. The same bytes of two views that differ are kept: nobody planned that.
    """
    objects, views = samples.rendered_object, samples.rendered_view
    is_object = (objects[pairs.left] >= 0) & (objects[pairs.left] == objects[pairs.right])
    is_view = is_object & (views[pairs.left] == views[pairs.right])
    designed = is_view | (is_object & (pairs.kind != list(KINDS).index("exact")))
    kept = ~designed
    return RowPairs(
        left=pairs.left[kept],
        right=pairs.right[kept],
        kind=pairs.kind[kept],
        distance=pairs.distance[kept],
        num_by_design=int(designed.sum()),
    )
