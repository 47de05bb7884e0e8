"""Small datasets with features that a test chooses: classes, vectors, and what made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shardtools.dataset import PlanFile, ShardWriter, commit_dataset, store_plan_file
from shardtools.features import EncoderFacts, FeatureStore, open_features, write_features
from shardtools.loader import read_all
from shardtools.sample import Sample
from shardtools.shards import part_path
from shardtools.storage import open_storage
from tests.helpers.pictures import jpeg


def encoder(dim: int, **changes: Any) -> EncoderFacts:
    return EncoderFacts(**{"name": "test", "weights_sha256": "0" * 64, "feature_dim": dim, **changes})


def make_labeled(
    folder: Path, labels: Sequence[int | None], *, names: Sequence[str] = (), prompts: Sequence[str] = ()
) -> str:
    """A dataset of one drawing a label, in one shard; `names` are those of the classes."""
    storage = open_storage(folder)
    facts: dict[str, Any] = {"kind": "generated" if prompts else "real", "plan_id": "plan-1", "scale": 1}
    store_plan_file(storage, PlanFile(**facts, settings={}, notes={}, num_shards=1, num_rows=len(labels)))
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        for number, label in enumerate(labels):
            provenance: dict[str, Any] = {}
            if prompts:
                text = prompts[number]
                provenance = {"plan_id": "plan-1", "prompt": text, "prompt_template": "c", "scene": text}
            writer.add(
                Sample(
                    key=f"s{number:04d}",
                    image_bytes=jpeg(number),
                    image_format="jpg",
                    width=48,
                    height=36,
                    mode="RGB",
                    wnid=None if label is None else names[label] if names else f"class{label}",
                    class_index=label,
                    label_source="folder",
                    source="generated" if prompts else "real",
                    status="ok",
                    provenance=provenance,
                )
            )
        writer.commit()
    commit_dataset(storage, **facts, part_paths=[part_path("train", 0)])
    return str(folder)


def with_features(url: str, features: np.ndarray, *, name: str = "own", **changes: Any) -> FeatureStore:
    """Writes features of all images of a dataset."""
    keys = read_all([url]).keys.to_pylist()
    write_features(url, name, features, keys, encoder=encoder(features.shape[1], **changes))
    return open_features(url, name)


def clusters(num_rows: int, dim: int, num_classes: int, *, noise: float = 0.3, seed: int = 0) -> np.ndarray:
    """Features around a centre a class, float32 [num_rows, dim]; row n is of class n % num_classes."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(num_classes, dim))
    found: np.ndarray = centers[np.arange(num_rows) % num_classes] + noise * rng.normal(size=(num_rows, dim))
    return found.astype(np.float32)
