"""The tables that come of nearest classes: a row a sample, a row a class, a row a pair of classes.

Owns their columns. Everything is taken from arrays that are at hand; nothing here reads features. Names of classes
stand beside their numbers, since two datasets may number their classes differently; the price is text in every row,
which Parquet stores once a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.arrays import Float32s, Int64s
from shardtools.audits.nearest.means import ClassMeans, MeanScores
from shardtools.audits.nearest.votes import Votes

SAMPLE_COLUMNS = {
    "key": "of the sample",
    "nearest": "class index (of the reference) whose mean is nearest",
    "nearest_wnid": "its name",
    "is_own": "whether that is the sample's own class; null without a label",
    "similarity": "cosine to that mean, -1 to 1",
    "own_similarity": "cosine to the mean of the own class, without the sample; null where there is none",
    "own_rank": "1 where the own class is the nearest; null where there is none",
    "other_wnid": "nearest class but the own one; null where there is no other",
    "other_similarity": "cosine to its mean",
    "margin": "own_similarity - other_similarity: below 0 another class is nearer",
    "knn_class": "class index with most of the k nearest neighbours; null where none has a class",
    "knn_wnid": "its name",
    "knn_share": "its share of them, 0 to 1",
    "knn_own_share": "share of the own class",
    "own_class_distance": "mean l2 distance to the other samples of the class, features of length 1",
    "reference_class_distance": "mean of that over the class in the reference; null without one",
}
"""Column of the overlay -> what it holds."""


def sample_table(
    keys: pa.Array,
    scores: MeanScores,
    votes: Votes,
    means: ClassMeans,
    names: Sequence[str],
    own: Int64s,
    distances: Float32s,
    reference_distances: Float32s | None,
) -> pa.Table:
    """One row a sample; see `SAMPLE_COLUMNS`.

    Args:
        keys: Of the samples, [N].
        scores: Against the means.
        votes: Of the neighbours; classes are class indexes.
        means: Of the classes [C] that are compared with.
        names: Of those classes, [C].
        own: Place of each sample's class among them, -1 for none, [N].
        distances: `own_class_distances`, [N].
        reference_distances: Of the classes, [C]; `None` without a reference.
    """
    # In the arrays, what is not known is NaN, place -1 or rank 0; in the table it is null, whichever it was.
    has_own = (own >= 0) & (scores.own_rank > 0)
    margin = scores.own_similarity - scores.other_similarity
    has_other = np.isfinite(scores.other_similarity)
    of_class = np.full(len(own), np.nan) if reference_distances is None else reference_distances[np.maximum(own, 0)]
    winner = means.place_of(votes.winner)
    return pa.table(
        {
            "key": keys.cast(pa.string()),
            "nearest": _integers(means.classes[scores.nearest]),
            "nearest_wnid": _names(names, scores.nearest),
            "is_own": _masked(scores.nearest == own, own < 0, pa.bool_()),
            "similarity": _floats(scores.nearest_similarity),
            "own_similarity": _floats(scores.own_similarity),
            "own_rank": _integers(scores.own_rank, ~has_own),
            "other_wnid": _names(names, np.where(has_other, scores.other, -1)),
            "other_similarity": _floats(scores.other_similarity),
            "margin": _floats(margin),
            "knn_class": _integers(votes.winner, votes.winner < 0),
            "knn_wnid": _names(names, np.where(votes.winner < 0, -1, winner)),
            "knn_share": _floats(votes.share),
            "knn_own_share": _floats(np.where(own < 0, np.nan, votes.own_share)),
            "own_class_distance": _floats(distances),
            "reference_class_distance": _floats(np.where(own < 0, np.nan, of_class)),
        }
    )


def class_rows(
    samples: pa.Table,
    labels: Int64s,
    class_names: dict[int, str],
    own_means: ClassMeans,
    means: ClassMeans,
    names: Sequence[str],
    top: int,
    *,
    has_reference: bool,
) -> list[dict[str, Any]]:
    """One row a class of the dataset, in the order of class indexes.

    Args:
        samples: Of `sample_table`.
        labels: Of the samples, [N].
        class_names: Class index -> name, of the dataset.
        own_means: Of the dataset's classes.
        means: Of the classes that are compared with; the same ones without a reference.
        names: Of those, [C].
        top: Nearest classes to list.
        has_reference: Whether `means` are of another dataset.
    """
    # Means are compared with means: C x C, small where samples are not.
    distances = 1 - own_means.means @ means.means.T
    place_of_name = {name: place for place, name in enumerate(names)}
    # Out of Arrow once, not once a class: the loop below picks rows by number.
    is_own = np.asarray(samples["is_own"].fill_null(False).to_pylist(), bool)
    columns = {
        name: np.asarray(samples[name].fill_null(np.nan).to_pylist(), float)
        for name in ("margin", "own_class_distance", "reference_class_distance")
    }
    nearest = np.asarray(samples["nearest_wnid"].to_pylist())
    rows = []
    for number, label in enumerate(own_means.classes.tolist()):
        name = class_names.get(label, str(label))
        # Classes meet by name. Without a reference the class finds itself and is left out of its own neighbours; with
        # one it finds its counterpart, whose distance is then judged against the nearest other's.
        place = place_of_name.get(name, -1)
        here = np.flatnonzero(labels == label)
        order = [one for one in np.argsort(distances[number], kind="stable").tolist() if one != place]
        own_distance = float(distances[number, place]) if has_reference and place >= 0 else None
        # Samples that are nearer to another class than to theirs: which one that is for most of them.
        wrong, counts = np.unique(nearest[here][~is_own[here]], return_counts=True)
        spread, reference_spread = _mean(columns["own_class_distance"][here]), None
        if has_reference:
            reference_spread = _mean(columns["reference_class_distance"][here])
        rows.append(
            {
                "class_index": label,
                "wnid": name,
                "num_samples": len(here),
                "num_reference": int(means.counts[place]) if has_reference and place >= 0 else None,
                "share_own": float(is_own[here].mean()) if place >= 0 else None,
                "mean_margin": _mean(columns["margin"][here]),
                "own_distance": own_distance,
                "nearest_wnid": names[order[0]] if order else None,
                "nearest_distance": float(distances[number, order[0]]) if order else None,
                "is_missed": None
                if own_distance is None or not order
                else bool(distances[number, order[0]] < own_distance),
                "confused_with": str(wrong[counts.argmax()]) if len(wrong) else None,
                "num_confused": int(counts.max()) if len(wrong) else 0,
                "spread": spread,
                "reference_spread": reference_spread,
                "spread_ratio": spread / reference_spread if spread is not None and reference_spread else None,
                "neighbors": [{"wnid": names[one], "distance": float(distances[number, one])} for one in order[:top]],
            }
        )
    return rows


CLASS_SCHEMA = pa.schema(
    [
        ("class_index", pa.int32()),
        ("wnid", pa.string()),
        ("num_samples", pa.int64()),
        ("num_reference", pa.int64()),
        ("share_own", pa.float64()),
        ("mean_margin", pa.float64()),
        ("own_distance", pa.float64()),
        ("nearest_wnid", pa.string()),
        ("nearest_distance", pa.float64()),
        ("is_missed", pa.bool_()),
        ("confused_with", pa.string()),
        ("num_confused", pa.int64()),
        ("spread", pa.float64()),
        ("reference_spread", pa.float64()),
        ("spread_ratio", pa.float64()),
        ("neighbors", pa.list_(pa.struct([("wnid", pa.string()), ("distance", pa.float64())]))),
    ]
)
"""Columns of the table with a row a class; distances of means are 1 - cosine, spreads as `own_class_distance`."""


def confusion_table(samples: pa.Table, labels: Int64s, class_names: dict[int, str]) -> pa.Table:
    """Given class, nearest class, how often, and the share of the given class; samples without a label are left out."""
    given = [class_names.get(label) for label in labels.tolist()]
    pairs = pa.table({"wnid": pa.array(given, pa.string()), "nearest_wnid": samples["nearest_wnid"]})
    # A sample without a label has no class to be confused from.
    pairs = pairs.filter(pairs["wnid"].is_valid())
    counts = (
        pairs.group_by(["wnid", "nearest_wnid"])
        .aggregate([([], "count_all")])
        .rename_columns(["wnid", "nearest_wnid", "num_samples"])
    )
    totals = {
        row["wnid"]: row["count_all"] for row in pairs.group_by("wnid").aggregate([([], "count_all")]).to_pylist()
    }
    shares = [row["num_samples"] / totals[row["wnid"]] for row in counts.to_pylist()]
    return counts.append_column("share", pa.array(shares, pa.float64())).sort_by(
        [("wnid", "ascending"), ("num_samples", "descending"), ("nearest_wnid", "ascending")]
    )


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _floats(values: npt.NDArray[Any]) -> pa.Array:
    return pa.array(values.astype(np.float32), pa.float32(), from_pandas=True)


def _integers(values: Int64s, missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    return _masked(values, np.zeros(len(values), bool) if missing is None else missing, pa.int32())


def _masked(values: npt.NDArray[Any], missing: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    return pa.array(values, mask=missing).cast(kind)


def _names(names: Sequence[str], places: Int64s) -> pa.Array:
    """Names by place, null for -1."""
    indices = pa.array(np.maximum(places, 0), mask=places < 0)
    return pa.array(list(names), pa.string()).take(indices)
