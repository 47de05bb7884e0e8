"""Predictions of a fitted classifier in the form of `shardtools predict`, for named questions, figures and audits.

Owns what stands for the network: the encoder's facts with the classifier's classes, under a digest of both. The price:
an overlay a classifier; only those that were asked for are written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import from_int64
from shardtools.dataset import open_dataset
from shardtools.errors import AlreadyExistsError
from shardtools.evaluation.model_facts import ModelFacts
from shardtools.evaluation.predictions import (
    ALL_LOGITS_BYTES,
    MADE_BY_PROBE,
    PredictionPlan,
    prediction_table,
    shortened,
)
from shardtools.evaluation.probes.logistic import Linear
from shardtools.evaluation.probes.reading import ROWS_PER_BLOCK, Images
from shardtools.features import EncoderFacts
from shardtools.manifest import digest
from shardtools.overlays import OverlayInfo, find_overlay, open_overlay_at, write_overlay
from shardtools.storage import open_storage

CONFIDENT = 0.99
"""Probability above which the thesis (section 3.5.3) takes an image for one of a class that it is not labeled as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePredictionPlan(PredictionPlan):
    """Rows of a classifier on features; an overlay says that a probe made it."""

    made_by: ClassVar[str] = MADE_BY_PROBE


def overlay_name(run: str, stem: str) -> str:
    """Name of the overlay of a cell's classifier: of the first seed of all images the run's alone."""
    plain = run.replace("-", "_")
    return shortened(f"predictions_{plain}" + (f"_{stem.replace('-', '_')}" if stem else ""))


def classifier_facts(
    encoder: EncoderFacts, classes: tuple[str, ...] | None, num_outputs: int, weights_sha256: str, solver: str
) -> ModelFacts:
    """Encoder and classifier as one network."""
    both = hashlib.sha256(f"{encoder.fingerprint} {weights_sha256}".encode()).hexdigest()
    return ModelFacts(
        name=f"{encoder.name} {solver} probe",
        weights_sha256=both,
        num_outputs=num_outputs,
        classes=classes,
        crop=encoder.crop,
        image_size=encoder.image_size,
        resize=encoder.resize,
        interpolation=encoder.interpolation,
        mean=encoder.mean,
        std=encoder.std,
        precision=encoder.precision,
    )


def write_predictions(
    dataset_url: str,
    name: str,
    images: Images,
    classifier: Linear,
    facts: ModelFacts,
    *,
    split: str | None,
    labels_by: str,
    out: str | None = None,
    replace: bool = False,
) -> str:
    """Writes an overlay of predictions of some images, unless the very same is there; returns its address.

    Args:
        dataset_url: Of the images.
        name: Of the overlay.
        images: With labels as outputs of the classifier, `NO_LABEL` for none.
        classifier: What judges.
        facts: Of encoder and classifier together.
        split: Of the images; `None` where a view chose them.
        labels_by: "wnid" or "index".
        out: A folder for the overlay itself.
        replace: Whether another overlay of that name is written anew.

    Raises:
        AlreadyExistsError: There is another overlay of that name, of another program or of other images.
        DatasetError: A logit is not finite.
    """
    dataset = open_dataset(dataset_url)
    keeps_all = len(images) * facts.num_outputs * 2 <= ALL_LOGITS_BYTES
    plan = ProbePredictionPlan(
        name=name,
        model=facts,
        dataset_sha256=digest(dataset.content),
        dataset_num_rows=dataset.commit.num_rows,
        split=split,
        num_images=len(images),
        labels_by=labels_by,
        labels=(),
        batch_size=ROWS_PER_BLOCK,
        batches_per_part=1,
        keeps_all=keeps_all,
    )
    found, address = _there(dataset_url, name, out), _address(dataset_url, name, out)
    if found is not None and _is_same(found, plan):
        return address
    if found is not None and found.made_by != MADE_BY_PROBE and not replace:
        raise AlreadyExistsError(f"{address} was made by {found.made_by}: give another name (--name)")
    write_overlay(
        dataset_url,
        name,
        _tables(images, classifier, facts, keep_all=keeps_all),
        made_by=MADE_BY_PROBE,
        settings=plan.settings(),
        replace=found is not None,
        out=out,
    )
    return address


def num_confident(address: str, above: float = CONFIDENT) -> int:
    """Rows of an overlay that are taken for another class than their own, with a probability above a bound."""
    count = 0
    for batch in open_overlay_at(address).batches(["rank", "probabilities"]):
        best = pc.list_element(batch.column("probabilities"), 0)
        is_other = pc.fill_null(pc.not_equal(batch.column("rank"), 1), True)
        count += int(pc.sum(pc.and_(pc.greater(best, above), is_other)).as_py() or 0)
    return count


def _tables(images: Images, classifier: Linear, facts: ModelFacts, *, keep_all: bool) -> Iterator[pa.Table]:
    for start in range(0, len(images), ROWS_PER_BLOCK):
        rows = np.arange(start, min(start + ROWS_PER_BLOCK, len(images)))
        yield prediction_table(
            images.keys.take(from_int64(rows)).to_pylist(),
            images.labels[rows],
            classifier.logits(images.take(rows)),
            keep_all=keep_all,
            output_names=facts.classes,
        )


def _is_same(found: OverlayInfo, plan: PredictionPlan) -> bool:
    return (
        found.made_by == MADE_BY_PROBE
        and found.settings == plan.settings()
        and found.dataset_sha256 == plan.dataset_sha256
    )


def _there(dataset_url: str, name: str, out: str | None) -> OverlayInfo | None:
    if out is None:
        found = find_overlay(open_dataset(dataset_url), name)
        return None if found is None else found.info
    return open_overlay_at(out).info if open_storage(out).exists("overlay.json") else None


def _address(dataset_url: str, name: str, out: str | None) -> str:
    return out if out is not None else f"{dataset_url.rstrip('/')}/overlays/{name}"
