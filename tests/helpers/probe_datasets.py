"""Datasets of several splits with features, for probes: which picture lies where, and of which class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shardtools.dataset import PlanFile, ShardWriter, commit_dataset, store_plan_file
from shardtools.loader import read_all
from shardtools.sample import Sample
from shardtools.shards import part_path
from shardtools.storage import open_storage
from tests.helpers.feature_datasets import clusters, with_features
from tests.helpers.pictures import jpeg


class Picture(NamedTuple):
    """Split, class and picture of an image; equal pictures are exact copies."""

    split: str
    label: int
    picture: int


def make_splits(folder: Path, pictures: Iterable[Picture], *, names: str = "class") -> str:
    """A dataset of these pictures, keys by split and number in it; class 3 is named "class3"."""
    pictures = list(pictures)
    storage = open_storage(folder)
    facts = {"kind": "real", "plan_id": "plan-1", "scale": 1}
    splits = list(dict.fromkeys(one.split for one in pictures))
    num_rows = len(pictures)
    store_plan_file(storage, PlanFile(**facts, settings={}, notes={}, num_shards=len(splits), num_rows=num_rows))
    for split in splits:
        with ShardWriter(storage, split=split, shard_index=0) as writer:
            for number, one in enumerate(one for one in pictures if one.split == split):
                writer.add(
                    Sample(
                        key=f"{split}_{number:04d}",
                        image_bytes=jpeg(one.picture),
                        image_format="jpg",
                        width=48,
                        height=36,
                        mode="RGB",
                        wnid=f"{names}{one.label}",
                        class_index=one.label,
                        label_source="folder",
                        source="real",
                        status="ok",
                        provenance={},
                    )
                )
            writer.commit()
    commit_dataset(storage, **facts, part_paths=[part_path(split, 0) for split in splits])
    return str(folder)


def balanced_pictures(num_train: int, num_test: int, num_classes: int) -> list[Picture]:
    """A class after the other in "train" and "val", every picture another one."""
    splits = ["train"] * num_train + ["val"] * num_test
    return [Picture(split, number % num_classes, number) for number, split in enumerate(splits)]


def make_probed(
    folder: Path, pictures: Iterable[Picture], *, noise: float = 0.5, names: str = "class", seed: int = 0
) -> str:
    """Such a dataset with features around a centre a class, under the name "own"."""
    url = make_splits(folder, pictures, names=names)
    table = read_all([url])
    labels = np.asarray(table.class_index)
    num_classes = int(labels.max()) + 1
    centers = clusters(num_classes, 8, num_classes, noise=0)
    rng = np.random.default_rng(seed)
    with_features(url, (centers[labels] + noise * rng.normal(size=(len(labels), 8))).astype(np.float32))
    return url
