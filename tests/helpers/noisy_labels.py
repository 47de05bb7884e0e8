"""Real photographs whose labels are partly wrong on purpose, with features out of their pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from shardtools.features import FeatureStore
from shardtools.sources import SourceOptions
from shardtools.writing import WriteOptions
from tests.helpers.feature_datasets import with_features
from tests.helpers.pictures import fashion_labels, fashion_pixels, idx_images, idx_labels, write_files
from tests.helpers.writing_jobs import write_in_process

NUM_IMAGES = 600
# Trousers, bags and ankle boots beside shirts: classes that a linear model of small pictures tells apart.
_STEP = 11


def planted_flips(labels: np.ndarray) -> dict[int, int]:
    """Row -> wrong label: every 11th row, to a class that goes round."""
    return {row: int(labels[row] + 1 + row // _STEP % 9) % 10 for row in range(3, len(labels), _STEP)}


def make_flipped(folder: Path, count: int = NUM_IMAGES, **options: object) -> tuple[str, dict[str, int]]:
    """A dataset in three shards, and key -> the true label of those that are wrong."""
    labels = np.frombuffer(fashion_labels(count), np.uint8)
    flips = planted_flips(labels)
    given = labels.copy()
    given[list(flips)] = list(flips.values())
    files = {
        "train-images-idx3-ubyte": idx_images(fashion_pixels(count)),
        "train-labels-idx1-ubyte": idx_labels(given.tobytes()),
    }
    source = SourceOptions(source=str(write_files(folder / "idx", files)), classes="fashion")
    out = str(folder / "fashion")
    write_in_process(WriteOptions(source=source, out=out, samples_per_shard=count // 3, **options))
    return out, {f"train_{row:05d}": int(labels[row]) for row in flips}


def pixel_features(count: int = NUM_IMAGES, side: int = 14) -> np.ndarray:
    """Grey values of small copies of the pictures, [count, side * side] float32 of mean 0."""
    small = [Image.fromarray(picture).resize((side, side), Image.Resampling.BOX) for picture in fashion_pixels(count)]
    pixels = np.stack([np.asarray(picture, np.float32).ravel() for picture in small]) / 255
    return pixels - pixels.mean(axis=0)


def with_pixels(url: str, count: int = NUM_IMAGES, *, side: int = 14, name: str = "pixels") -> FeatureStore:
    return with_features(url, pixel_features(count, side), name=name)
