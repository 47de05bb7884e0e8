"""The search as a whole: read, compare, group, write.

Owns the tables that come out. `duplicates` has a row for each image of a group, `duplicate_pairs` one for each pair,
in the dataset of the pair that was given first: both are seen by SQL. The price of overlays in every dataset: a search
over other datasets replaces what the one before it wrote.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardtools.arrays import Int64s
from shardtools.audits.duplicates.embedding import FeatureTables
from shardtools.audits.duplicates.groups import connected_groups, representatives
from shardtools.audits.duplicates.hamming import hamming_distances
from shardtools.audits.duplicates.options import (
    KINDS,
    MADE_BY,
    OVERLAY_NAME,
    PAIRS_OVERLAY_NAME,
    DuplicatesOptions,
)
from shardtools.audits.duplicates.pairs import RowPairs, find_pairs
from shardtools.audits.duplicates.samples import Samples, read_samples
from shardtools.dataset import open_dataset, refuse_dataset_file
from shardtools.errors import AccessError, AlreadyExistsError
from shardtools.execution import Doing, Progress, ignore
from shardtools.overlays import find_overlay, write_overlay
from shardtools.storage import open_storage
from shardtools.words import counted

PAIRS_SCHEMA = pa.schema(
    [
        ("dataset_a", pa.string()),
        ("key_a", pa.string()),
        ("split_a", pa.string()),
        ("dataset_b", pa.string()),
        ("key_b", pa.string()),
        ("split_b", pa.string()),
        ("kind", pa.string()),
        ("distance", pa.float32()),
        ("same_label", pa.bool_()),
    ]
)
"""Columns of the pairs; `same_label` is null where a class name is not known."""

_OVERLAY_NAMES = {
    "key_a": "key",
    "split_a": "split",
    "dataset_b": "other_dataset",
    "key_b": "other_key",
    "split_b": "other_split",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DuplicatesResult:
    """What was found.

    Attributes:
        pairs: Columns of `PAIRS_SCHEMA`, in the order of a, then b.
        groups: dataset, key, group, representative_dataset, representative_key, distance, num_members, num_splits.
        num_images: Images that were looked at.
        num_without_hash: Images without a hash good enough to compare; 0 where hashes were not asked for.
        num_without_feature: Likewise images without a feature.
        num_by_design: Pairs of one rendered object that are in no table, because a grid makes them.
    """

    pairs: pa.Table
    groups: pa.Table
    num_images: int
    num_without_hash: int
    num_without_feature: int
    num_by_design: int

    @property
    def leaks(self) -> pa.Table:
        """The pairs whose images are in different splits, of one dataset or of two."""
        return self.pairs.filter(pc.not_equal(self.pairs["split_a"], self.pairs["split_b"]))

    def counts(self) -> Counter[tuple[str, str, str, str, str]]:
        """Kind, dataset and split of a, dataset and split of b -> number of pairs."""
        columns = ("kind", "dataset_a", "split_a", "dataset_b", "split_b")
        counts = self.pairs.group_by(list(columns)).aggregate([([], "count_all")]).to_pylist()
        return Counter({tuple(row[name] for name in columns): row["count_all"] for row in counts})


def find_duplicates(
    options: DuplicatesOptions, feature_tables: FeatureTables | None = None, *, progress: Progress | None = None
) -> DuplicatesResult:
    """Finds the duplicates within and across datasets and splits, and writes what the options say.

    Args:
        options: Where to look, and for what.
        feature_tables: Features of all datasets; only the kind "embedding" needs them.
        progress: Called with `Doing` at each step.

    Raises:
        DatasetError: A dataset is not finished, or its hashes are missing, or features leave out a split.
        OptionError: A dataset is given twice, or features are missing or do not fit.
        AlreadyExistsError: Another program wrote an overlay of the same name, and `replace` is not given.
        AccessError: A dataset cannot be written.
    """
    show = progress or ignore
    # First: a wrong name must not cost the search.
    if options.pairs_file is not None:
        refuse_dataset_file(options.pairs_file)
    samples = read_samples(options)
    if options.write:
        _check_overlays(options)
    # What may be refused has been looked at; from here on it is the long search, and what it finds is written last.
    pairs = find_pairs(samples, options, feature_tables, progress=show)
    show(Doing(text=f"grouping {counted(len(pairs.left), 'pair')}"))
    result = DuplicatesResult(
        pairs=_pairs_table(samples, pairs),
        groups=_groups_table(samples, pairs),
        num_images=len(samples),
        num_without_hash=int((~samples.has_hash).sum()) if options.uses_hashes else 0,
        num_without_feature=_num_without_feature(samples, options, feature_tables),
        num_by_design=pairs.num_by_design,
    )
    show(Doing(text="writing what was found"))
    if options.pairs_file is not None:
        _write_pairs(result.pairs, options.pairs_file)
    if options.write:
        _write_overlays(options, result, "" if feature_tables is None else feature_tables.encoder)
    return result


def _num_without_feature(samples: Samples, options: DuplicatesOptions, feature_tables: FeatureTables | None) -> int:
    if feature_tables is None or "embedding" not in options.kinds:
        return 0
    return len(samples) - sum(len(table) for table in feature_tables.tables.values())


def _pairs_table(samples: Samples, pairs: RowPairs) -> pa.Table:
    addresses = pa.array(samples.datasets, pa.string())
    kinds = pa.array(list(KINDS), pa.string())
    columns: dict[str, Any] = {}
    for side, rows in (("a", pairs.left), ("b", pairs.right)):
        taken = pa.array(rows)
        columns[f"dataset_{side}"] = addresses.take(pa.array(samples.dataset[rows]))
        columns[f"key_{side}"] = samples.keys.take(taken)
        columns[f"split_{side}"] = samples.splits.take(taken)
    columns["kind"] = kinds.take(pa.array(pairs.kind))
    columns["distance"] = pa.array(pairs.distance, pa.float32())
    one, other = samples.label[pairs.left], samples.label[pairs.right]
    columns["same_label"] = pa.array(one == other, mask=(one < 0) | (other < 0))
    return pa.table({name: columns[name] for name in PAIRS_SCHEMA.names}, schema=PAIRS_SCHEMA)


def _groups_table(samples: Samples, pairs: RowPairs) -> pa.Table:
    groups = connected_groups(len(samples), pairs.left, pairs.right)
    chosen = representatives(groups, samples.preference)
    rows = np.flatnonzero(groups >= 0)
    own = groups[rows]
    kept = chosen[own]
    # A split of each dataset counts for itself: a copy in another dataset's test split is one more place.
    places = np.unique(np.stack([own, samples.place[rows]]), axis=1)[0]
    addresses = pa.array(samples.datasets, pa.string())
    distance, is_known = _distance_to(samples, rows, kept)
    return pa.table(
        {
            "dataset": addresses.take(pa.array(samples.dataset[rows])),
            "key": samples.keys.take(pa.array(rows)),
            "group": pa.array(own, pa.int64()),
            "representative_dataset": addresses.take(pa.array(samples.dataset[kept])),
            "representative_key": samples.keys.take(pa.array(kept)),
            "is_representative": pa.array(rows == kept),
            "distance": pa.array(distance.astype(np.float32), mask=~is_known),
            "num_members": pa.array(np.bincount(own, minlength=1)[own], pa.int64()),
            "num_places": pa.array(np.bincount(places, minlength=1)[own], pa.int64()),
        }
    )


def _distance_to(samples: Samples, rows: Int64s, kept: Int64s) -> tuple[Int64s, Any]:
    """Bits from each row to its representative, the nearer of it and its mirror image; and where they are known."""
    same = (rows == kept) | ((samples.copy[rows] >= 0) & (samples.copy[rows] == samples.copy[kept]))
    distance = np.zeros(len(rows), np.int64)
    if samples.hashes is None or samples.mirrored is None:
        return distance, same
    straight = hamming_distances(samples.hashes[rows], samples.hashes[kept])
    mirrored = hamming_distances(samples.mirrored[rows], samples.hashes[kept])
    distance = np.where(same, 0, np.minimum(straight, mirrored))
    return distance, same | (samples.has_hash[rows] & samples.has_hash[kept])


def _check_overlays(options: DuplicatesOptions) -> None:
    """Refuses to replace what another program wrote, and places that cannot be written, before the long search."""
    for url in options.datasets:
        dataset = open_dataset(url)
        try:
            dataset.storage.check_writable()
        except AccessError as error:
            raise AccessError(f"{error}; to write no overlays: --no-overlay, with --pairs FILE for the pairs") from None
        for name in (OVERLAY_NAME, PAIRS_OVERLAY_NAME):
            found = find_overlay(dataset, name)
            if found is not None and found.info.made_by != MADE_BY and not options.replace:
                raise AlreadyExistsError(
                    f"{found.url} was written by {found.info.made_by}: give replace (--replace) to put this result in "
                    "its place, or write no overlays (--no-overlay)"
                )


def _write_overlays(options: DuplicatesOptions, result: DuplicatesResult, encoder: str) -> None:
    settings: dict[str, Any] = {
        "datasets": list(options.datasets),
        "kinds": list(options.kinds),
        "radius": options.radius,
        "min_quality": options.min_quality,
        "min_similarity": options.min_similarity,
        "encoder": encoder,
    }
    for url in options.datasets:
        # How the rows write its own address, which says nothing once it is moved or given another way.
        settings["dataset"] = url
        groups = result.groups.filter(pc.equal(result.groups["dataset"], url)).drop_columns(["dataset"])
        write_overlay(url, OVERLAY_NAME, [groups], made_by=MADE_BY, settings=settings, replace=True)
        own = result.pairs.filter(pc.equal(result.pairs["dataset_a"], url)).drop_columns(["dataset_a"])
        own = own.rename_columns([_OVERLAY_NAMES.get(name, name) for name in own.column_names])
        unique = ("key", "other_dataset", "other_key")
        write_overlay(url, PAIRS_OVERLAY_NAME, [own], made_by=MADE_BY, settings=settings, unique=unique, replace=True)


def _write_pairs(pairs: pa.Table, address: str) -> None:
    folder, slash, name = address.rpartition("/")
    with open_storage(folder or slash or ".").writer(name) as stream:
        pq.write_table(pairs, stream, compression="zstd")
