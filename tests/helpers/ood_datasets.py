"""Predictions that a test chooses, written as `shardtools predict` would: no network, no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from shardtools.dataset import open_dataset
from shardtools.evaluation import ModelFacts
from shardtools.evaluation.predictions import MADE_BY, PredictionPlan, prediction_table
from shardtools.loader import read_all
from shardtools.manifest import digest
from shardtools.overlays import write_overlay


def model_facts(classes: Sequence[str], **changes: Any) -> ModelFacts:
    facts = {"name": "lite0", "weights_sha256": "0" * 64, "num_outputs": len(classes), "classes": tuple(classes)}
    return ModelFacts(**(facts | changes))


def with_predictions(
    url: str, model: ModelFacts, logits: Any, *, name: str, wnids: Sequence[str | None], keep_all: bool = True
) -> None:
    """Writes predictions of all images of a dataset, in the order of their keys.

    Args:
        url: The dataset.
        model: What they are of.
        logits: [N, C].
        name: Of the overlay.
        wnids: Of the images' classes.
        keep_all: Whether all logits are kept.
    """
    dataset = open_dataset(url)
    keys = sorted(read_all([url]).keys.to_pylist())
    labels = np.array([model.output_of.get(wnid or "", -1) for wnid in wnids], np.int32)
    plan = PredictionPlan(
        name=name,
        model=model,
        dataset_sha256=digest(dataset.content),
        dataset_num_rows=dataset.commit.num_rows,
        split=None,
        num_images=len(keys),
        labels_by="wnid",
        labels=(),
        keeps_all=keep_all,
        batch_size=8,
        batches_per_part=1,
    )
    write_overlay(
        url,
        name,
        [prediction_table(keys, labels, np.asarray(logits, np.float32), keep_all=keep_all, output_names=model.classes)],
        made_by=MADE_BY,
        settings=plan.settings(),
        unique=plan.unique,
    )


def as_is(model: ModelFacts, **changes: Any) -> ModelFacts:
    """The same model, which takes files of its own size as they are."""
    return dataclasses.replace(model, crop="resize", resize=model.image_size, **changes)
