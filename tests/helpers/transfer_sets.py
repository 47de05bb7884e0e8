"""Datasets with the parts of a transfer set, and features of several models: as far apart as a test wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shardtools.dataset import PlanFile, ShardWriter, commit_dataset, store_plan_file
from shardtools.features import write_features
from shardtools.loader import read_all
from shardtools.sample import Sample
from shardtools.shards import part_path
from shardtools.storage import open_storage
from tests.helpers.feature_datasets import encoder
from tests.helpers.pictures import jpeg


def make_set(folder: Path, splits: Mapping[str, Sequence[int]], *, names: Sequence[str] = (), first: int = 0) -> str:
    """A dataset with these labels in these splits, a shard each; no two of its images are alike.

    Args:
        folder: Where to.
        splits: Split -> labels.
        names: Of the classes; "class0", ... without.
        first: Number of the first image: sets with other numbers have other images.
    """
    storage = open_storage(folder)
    num_rows = sum(map(len, splits.values()))
    plan = PlanFile(
        kind="real", plan_id="plan-1", scale=1, settings={}, notes={}, num_shards=len(splits), num_rows=num_rows
    )
    store_plan_file(storage, plan)
    number = first
    for split, labels in splits.items():
        with ShardWriter(storage, split=split, shard_index=0) as writer:
            for label in labels:
                writer.add(
                    Sample(
                        key=f"{split}{number:04d}",
                        image_bytes=jpeg(number),
                        image_format="jpg",
                        width=48,
                        height=36,
                        mode="RGB",
                        wnid=names[label] if names else f"class{label}",
                        class_index=label,
                        label_source="folder",
                        source="real",
                        status="ok",
                    )
                )
                number += 1
            writer.commit()
    commit_dataset(
        storage, kind="real", plan_id="plan-1", scale=1, part_paths=[part_path(split, 0) for split in splits]
    )
    return str(folder)


def add_model(
    url: str, name: str, *, noise: float, dim: int = 8, seed: int = 0, num_classes: int = 3, **changes: Any
) -> None:
    """Features around a centre a class: the more noise, the less a classifier can tell; centres are the seed's."""
    table = read_all([url])
    labels = np.asarray(table.class_index)
    centers = np.random.default_rng(seed).normal(size=(num_classes, dim))
    rng = np.random.default_rng([seed, len(labels)])
    features = (centers[labels] + noise * rng.normal(size=(len(labels), dim))).astype(np.float32)
    write_features(url, name, features, table.keys.to_pylist(), encoder=encoder(dim, name=name, **changes))
