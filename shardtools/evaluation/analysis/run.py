"""The four measures of the features of datasets: read, restricted to a split, measured one dataset after the other.

Owns which samples count: all of a dataset's features (or a split's), and for the distances within classes those whose
class has two. The price: one dataset's features are in memory at a time, as they lie on the disk (4 KB a sample of
2,048 numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from shardtools.arrays import Int64s
from shardtools.errors import OptionError
from shardtools.evaluation.analysis.classes import intra_class_distance
from shardtools.evaluation.analysis.dimensions import coding_length, redundancy, sparsity
from shardtools.evaluation.analysis.options import AnalyzeOptions, FeatureAnalysis
from shardtools.features import FeatureStore, check_same_encoder, only_features, open_features
from shardtools.features.checking import Features


def analyze(options: AnalyzeOptions, *, report: Callable[[str], None] = lambda _line: None) -> list[FeatureAnalysis]:
    """Measures each dataset, in the order in which they are given.

    Args:
        options: Which.
        report: Called with a line before each dataset.

    Raises:
        DatasetError: A dataset has no such features, or they are damaged.
        OptionError: A split has no features.
        PlanMismatchError: The datasets' features are of different encoders, so their numbers compare encoders.
    """
    stores = [open_features(url, only_features(url, options.features)) for url in options.datasets]
    for store in stores[1:]:
        check_same_encoder(
            store.info.encoder, stores[0].info.encoder, where=store.storage.url, whose=f"that of {stores[0].dataset}"
        )
    found = []
    for store in stores:
        report(f"{store.dataset}: {len(store)} features of {store.shape[1]} numbers")
        found.append(_analyze_one(store, options.split))
    return found


def mean_analysis(found: Sequence[FeatureAnalysis]) -> FeatureAnalysis:
    """The mean over datasets, each counted alike, as the thesis averages the datasets of a group.

    A measure that one of them lacks has no mean.
    """
    return FeatureAnalysis(
        dataset="mean",
        features=found[0].features,
        encoder=found[0].encoder,
        num_samples=sum(one.num_samples for one in found),
        num_classes=sum(one.num_classes for one in found),
        sparsity=float(np.mean([one.sparsity for one in found])),
        intra_class_distance=_mean([one.intra_class_distance for one in found]),
        redundancy=_mean([one.redundancy for one in found]),
        coding_length=float(np.mean([one.coding_length for one in found])),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if len(there) == len(values) else None


def _analyze_one(store: FeatureStore, split: str | None) -> FeatureAnalysis:
    features, labels = store.array(), store.labels
    if split is not None:
        splits = store.samples("split")["split"].to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(splits == split)
        if not len(rows):
            have = ", ".join(sorted(set(splits.tolist())))
            raise OptionError(f"{store.dataset} has no features of split {split!r}, found {have}: give one of them")
        features, labels = features[rows], labels[rows]
    paired, num_classes = _of_classes_with_two(labels)
    return FeatureAnalysis(
        dataset=store.dataset,
        features=store.info.plan.name,
        encoder=store.info.encoder.name,
        num_samples=len(features),
        num_classes=num_classes,
        sparsity=sparsity(features),
        intra_class_distance=_distance(features, labels, paired),
        redundancy=redundancy(features) if len(features) > 1 else None,
        coding_length=coding_length(features),
    )


def _distance(features: Features, labels: Int64s, paired: Int64s) -> float | None:
    if not len(paired):
        return None
    everything = len(paired) == len(labels)
    found = intra_class_distance(features if everything else features[paired], labels[paired])
    return found.mean


def _of_classes_with_two(labels: Int64s) -> tuple[Int64s, int]:
    """Rows of classes that have two samples or more, and how many such classes there are; -1 is no class."""
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    fits = (counts >= 2) & (classes >= 0)
    return np.flatnonzero(fits[inverse]).astype(np.int64), int(fits.sum())
