"""The training set's classifiers on other pictures of its classes: ImageNet-V2, Sketch, R and A (table 4.2).

Owns how a probe's classifier meets a set: by wnid, among the set's own classes where its authors prescribe that (R and
A, whose figures in the thesis are those of such a restriction: torchvision's ResNet-50 has 36.2 on R in table 5.2).
Images of classes that were not learnt from are left out and counted. The price: a set without wnids is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from shardtools.arrays import Int64s, filled
from shardtools.errors import DatasetError
from shardtools.evaluation.metrics import top_k_accuracy
from shardtools.evaluation.probes import Linear, ProbeResult, WeightFacts, read_weights, weights_path
from shardtools.evaluation.results import Result
from shardtools.evaluation.sets import TEST_SETS, TestSet, restrict
from shardtools.evaluation.transfer.measured import STUDY
from shardtools.features import FeatureStore
from shardtools.features.checking import normalized
from shardtools.sql import query
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes
from shardtools.words import counted

APPLIED = tuple(name for name, one in TEST_SETS.items() if one.kind == "classes" and one.dataset)
"""Sets of `shardtools eval ood` that classifiers of features can be judged on."""

_METRICS = {"top1_accuracy": 1, "top5_accuracy": 5}
_ROWS_PER_BLOCK = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Images:
    """Images of a set with a feature and a class that the classifiers know."""

    store: FeatureStore
    places: Int64s
    labels: Int64s
    num_left_out: int


def apply_classifiers(
    probed: ProbeResult, store: FeatureStore, url: str, name: str, *, model: str, training: str
) -> tuple[tuple[Result, ...], tuple[str, ...]]:
    """Judges the classifiers of a probe, one a seed.

    Args:
        probed: What `run_probe` gave of the training set.
        store: Features of the other set, by the same encoder.
        url: The other set.
        name: One of `APPLIED`.
        model: As results call it.
        training: Name of the training set.

    Returns:
        Rows of results, and notes.

    Raises:
        DatasetError: The set has no image of the classes that were learnt from.
        OptionError: A feature is not finite.
    """
    test_set, images = TEST_SETS[name], None
    rows = []
    for cell in probed.cells:
        classifier, facts = read_weights(open_storage(probed.url), weights_path(cell.key))
        images = images or _images(store, url, facts.classes)
        among = _among(test_set, facts.classes)
        ranks = _ranks(classifier, facts, among, images)
        for metric, k in _METRICS.items():
            share = top_k_accuracy(ranks, k)
            low, high = share.interval
            row = Result(
                study=STUDY,
                model=model,
                dataset=test_set.dataset,
                split=test_set.split,
                protocol=f"classifier of {training}; among {counted(len(among), 'class', 'classes')}",
                metric=metric,
                value=share.value,
                seed=cell.seed,
                low=low,
                high=high,
                source=probed.url,
            )
            rows.append(row)
    assert images is not None
    left_out = f"{counted(images.num_left_out, 'image')} of classes that were not learnt from left out"
    return tuple(rows), (left_out,) if images.num_left_out else ()


def _images(store: FeatureStore, url: str, classes: tuple[str, ...]) -> _Images:
    table = query("select key, wnid from samples where status = 'ok' and wnid is not null", [url])
    places = filled(pc.index_in(table["key"].combine_chunks(), value_set=store.keys), -1).astype(np.int64)
    number = {wnid: place for place, wnid in enumerate(classes)}
    labels = np.array([number.get(wnid, -1) for wnid in table["wnid"].to_pylist()], np.int64)
    kept = (places >= 0) & (labels >= 0)
    if not kept.any():
        raise DatasetError(
            f"{url} has no image with a feature of the {counted(len(classes), 'class', 'classes')} that were learnt "
            f"from ({', '.join(classes[:3])}, ...): write it with its wnids (--classes)"
        )
    return _Images(
        store=store, places=places[kept], labels=labels[kept], num_left_out=int(((labels < 0) & (places >= 0)).sum())
    )


def _among(test_set: TestSet, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Classes that answers are restricted to."""
    if not test_set.is_restricted or test_set.class_set is None:
        return classes
    prescribed = {one.wnid for one in load_classes(test_set.class_set)}
    return tuple(wnid for wnid in classes if wnid in prescribed)


def _ranks(classifier: Linear, facts: WeightFacts, among: tuple[str, ...], images: _Images) -> Int64s:
    """Rank of each image's class among those that are allowed, int64 [N] from 1."""
    found = np.empty(len(images.labels), np.int64)
    for start in range(0, len(found), _ROWS_PER_BLOCK):
        block = slice(start, start + _ROWS_PER_BLOCK)
        features = images.store.take(images.places[block]).astype(np.float32)
        if facts.l2:
            features = normalized(features.astype(np.float64)).astype(np.float32)
        found[block] = restrict(classifier.logits(features), facts.classes, among).rank(images.labels[block])
    return found
