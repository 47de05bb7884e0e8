"""Nearest classes of a dataset, from its features to an overlay and two tables.

Owns the order: features of both sides, means, votes, distances, then the overlay `nearest_class` and, beside the
features, `nearest/classes.parquet`, `.json` and `confusion.parquet`. Classes of two datasets are the same where their
names are. The price: means of all classes are in memory in double precision, 16 MB for 1,000 classes of 2,048
dimensions.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.arrays import Float32s, Int64s
from shardtools.audits.nearest.means import ClassMeans, check_sizes, class_means, mean_scores
from shardtools.audits.nearest.options import NearestOptions, NearestResult
from shardtools.audits.nearest.spread import own_class_distances
from shardtools.audits.nearest.tables import CLASS_SCHEMA, class_rows, confusion_table, sample_table
from shardtools.audits.nearest.votes import Votes, count_votes
from shardtools.errors import OptionError, PlanMismatchError
from shardtools.features import FeatureStore, check_same_encoder, only_features, open_features
from shardtools.features.neighbors import neighbor_graph, search_exact
from shardtools.overlays import OverlayWriter
from shardtools.words import counted

MADE_BY = "shardtools nearest"

Report = Callable[[str], None]
"""Takes a line about what is being done."""

_QUERIES_PER_BLOCK = 2048
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """A dataset with its features and classes.

    Attributes:
        store: The features.
        labels: Class index of each row, -1 for none.
        names: Class index -> name.
        means: Of its classes.
    """

    store: FeatureStore
    labels: Int64s
    names: dict[int, str]
    means: ClassMeans

    @property
    def class_names(self) -> list[str]:
        """Names of `means.classes`."""
        return [self.names[label] for label in self.means.classes.tolist()]


def nearest_classes(options: NearestOptions, *, report: Report | None = None) -> NearestResult:
    """Finds the nearest classes of every sample and every class, and writes them down.

    Args:
        options: Whose, among which.
        report: Called with each step.

    Raises:
        OptionError: A class has one sample, the reference lacks classes, or there are no features.
        DatasetError: Features are damaged, not finite, or of another version of their dataset.
        PlanMismatchError: The two datasets' features are of different encoders.
        AlreadyExistsError: The overlay is there, and `replace` is not given.
    """
    say = report or (lambda line: None)
    store = open_features(options.dataset, only_features(options.dataset, options.features))
    other = _open_reference(options, store)
    # First, so that an overlay that is there, or a place that cannot be written, does not cost the work.
    with OverlayWriter(
        options.dataset,
        options.overlay,
        made_by=MADE_BY,
        settings=_settings(options, store, other),
        replace=options.replace,
        out=options.out,
    ) as writer:
        mine, reference, samples = _judge(options, store, other, say)
        writer.add(samples)
        info = writer.commit()
    # The overlay is committed, and the tables are made of its rows. A kill from here on leaves them out: --replace
    # makes all anew.
    rows = class_rows(
        samples,
        mine.labels,
        mine.names,
        mine.means,
        reference.means,
        reference.class_names,
        options.top,
        has_reference=other is not None,
    )
    paths = _write_tables(store, rows, confusion_table(samples, mine.labels, mine.names), options)
    place = options.out or f"{options.dataset.rstrip('/')}/overlays/{info.name}"
    return NearestResult(
        dataset=options.dataset,
        reference=options.reference,
        overlay=place,
        classes_file=store.storage.object_url(paths[0]),
        confusion_file=store.storage.object_url(paths[1]),
        num_samples=info.num_rows,
        num_own=sum(bool(value) for value in samples["is_own"].to_pylist()),
        missed=_missed(rows),
    )


def _judge(
    options: NearestOptions, store: FeatureStore, other: FeatureStore | None, say: Report
) -> tuple[_Side, _Side, pa.Table]:
    """Both sides, the same where there is no reference, and a row for each sample."""
    say(f"means of the classes of {counted(len(store), 'sample')}")
    mine = _side(store)
    reference = mine if other is None else _side(other)
    if not options.allow_small:
        # A reference's classes may have one sample each: nothing is left out of their means.
        check_sizes(mine.means, mine.names, options.dataset)
    own = _own_places(mine, reference, options)
    scores = mean_scores(store, own, reference.means, leave_one_out=other is None)
    say(f"{options.k} nearest neighbours of each")
    votes = _votes(mine, reference, own, options.k)
    say("distances within classes")
    distances = own_class_distances(store, mine.labels)
    reference_distances = None if other is None else _class_distances(reference)
    samples = sample_table(
        store.keys, scores, votes, reference.means, reference.class_names, own, distances, reference_distances
    )
    return mine, reference, samples


def _open_reference(options: NearestOptions, store: FeatureStore) -> FeatureStore | None:
    if options.reference is None:
        return None
    name = options.reference_features or store.info.plan.name
    found = open_features(options.reference, name)
    check_same_encoder(found.info.encoder, store.info.encoder, where=found.storage.url, whose=store.storage.url)
    if found.storage.url == store.storage.url:
        raise PlanMismatchError(f"the reference is the dataset itself, {options.dataset}: leave reference out")
    return found


def _side(store: FeatureStore) -> _Side:
    labels, names = store.labels, store.class_names
    return _Side(store=store, labels=labels, names=names, means=class_means(store, labels))


def _own_places(mine: _Side, reference: _Side, options: NearestOptions) -> Int64s:
    """Place of each sample's class among those of the reference, -1 for none.

    Raises:
        OptionError: The reference lacks classes, and that is not allowed.
    """
    if reference is mine:
        return mine.means.place_of(mine.labels)
    places = {name: place for place, name in enumerate(reference.class_names)}
    found = np.array([places.get(name, -1) for name in mine.class_names])
    missing = [name for name in mine.class_names if name not in places]
    if missing and (not options.allow_missing or len(missing) == len(found)):
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        advice = (
            "are their classes named alike?"
            if len(missing) == len(found)
            else "allow_missing (--allow-missing) leaves their own distances empty"
        )
        raise OptionError(
            f"{options.reference} has no sample of {len(missing)} of {counted(len(found), 'class', 'classes')} "
            f"of {options.dataset} "
            f"({shown}): {advice}"
        )
    place = mine.means.place_of(mine.labels)
    return np.where(place < 0, -1, found[np.maximum(place, 0)]).astype(np.int64)


def _votes(mine: _Side, reference: _Side, own: Int64s, k: int) -> Votes:
    own_labels = np.where(own < 0, -1, reference.means.classes[np.maximum(own, 0)])
    if reference is mine:
        k = min(k, len(mine.store) - 1)
        rows = neighbor_graph(mine.store, k).rows if k else np.full((len(own), 1), -1)
        return count_votes(rows, mine.labels, own_labels)
    parts = [
        search_exact(reference.store, block, min(k, len(reference.store))).rows
        for _, block in mine.store.blocks(_QUERIES_PER_BLOCK)
    ]
    return count_votes(np.concatenate(parts), reference.labels, own_labels)


def _class_distances(side: _Side) -> Float32s:
    """Mean distance within each class, [C]; NaN where it has one sample."""
    distances = own_class_distances(side.store, side.labels)
    places = side.means.place_of(side.labels)
    sums = np.bincount(places[places >= 0], distances[places >= 0], len(side.means.classes))
    return (sums / side.means.counts).astype(np.float32)


def _settings(options: NearestOptions, store: FeatureStore, other: FeatureStore | None) -> dict[str, Any]:
    return {
        "features": store.info.plan.name,
        "features_sha256": store.info.fingerprint,
        "encoder_sha256": store.info.encoder.fingerprint,
        "reference": options.reference,
        "reference_sha256": None if other is None else other.info.fingerprint,
        "k": options.k,
    }


def _write_tables(
    store: FeatureStore, rows: list[dict[str, Any]], confusion: pa.Table, options: NearestOptions
) -> tuple[str, str]:
    folder = "nearest" if options.overlay == "nearest_class" else f"nearest-{options.overlay}"
    for path, table in (("classes", pa.Table.from_pylist(rows, CLASS_SCHEMA)), ("confusion", confusion)):
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        store.storage.write(f"{folder}/{path}.parquet", sink.getvalue())
    content = {"dataset": options.dataset, "reference": options.reference, "classes": rows}
    store.storage.write(f"{folder}/classes.json", (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return f"{folder}/classes.parquet", f"{folder}/confusion.parquet"


def _missed(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    missed = [row for row in rows if row["is_missed"]]
    missed.sort(key=lambda row: row["nearest_distance"] - row["own_distance"])
    return tuple(
        {name: row[name] for name in ("class_index", "wnid", "nearest_wnid", "share_own", "own_distance")}
        for row in missed
    )
