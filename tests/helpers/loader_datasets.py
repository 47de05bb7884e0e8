"""Datasets of small photographs for the loader's tests, as fixtures too, and what a loader delivers as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.encoding import EncodingOptions
from shardtools.loader import Batch, CropOptions, Loader, LoaderOptions
from shardtools.sources import SourceOptions
from shardtools.writing import WriteOptions
from tests.helpers.jpeg_files import photo, save
from tests.helpers.writing_jobs import write_in_process

NUM_PHOTOS = 50
NUM_CLASSES = 4

LAYOUTS: dict[str, dict[str, Any]] = {
    "tar": {},
    "beton": {"samples_per_shard": 11},
    "beton, one file": {"layout": "beton", "one_file": True},
    "mds": {},
    "litdata": {"samples_per_shard": 19},
    "imagefolder": {},
}
"""Name -> options, where they are not the name itself and the same shards."""


def photos(folder: Path, count: int = NUM_PHOTOS, *, first: int = 0) -> Path:
    """Photographs of all shapes in class folders."""
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        width, height = rng.integers(24, 90, 2).tolist()
        content = save(photo(width, height, number), quality=90, subsampling=number % 3, progressive=number % 5 == 0)
        put(folder, number, content)
    return folder


def put(folder: Path, number: int, content: bytes, suffix: str = "jpg") -> None:
    """An image file of a class folder."""
    place = folder / f"class{number % NUM_CLASSES}" / f"photo{number:04d}.{suffix}"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


def write(source: Path, out: Path | str, layout: str = "tar", *, write_mode: str = "keep", **options: Any) -> str:
    """A dataset of a folder of images; gives its address."""
    write_in_process(
        WriteOptions(
            source=SourceOptions(source=str(source), check="header"),
            out=str(out),
            encoding=EncodingOptions(write_mode=write_mode),
            **{"samples_per_shard": 14, "layout": layout, **options},
        )
    )
    return str(out)


def options(*datasets: str, **changes: Any) -> LoaderOptions:
    """Small crops in small batches."""
    return LoaderOptions(datasets=datasets, **{"crop": CropOptions(size=24), "batch_size": 4, **changes})


@dataclass(frozen=True, kw_only=True, eq=False)
class Delivered:
    """All batches of some epochs, one after the other."""

    keys: list[str]
    labels: list[int]
    images: np.ndarray


def deliver(batches: Iterable[Batch]) -> Delivered:
    """Takes all batches, which have one image a sample."""
    taken = list(batches)
    images = [batch.images for batch in taken]
    return Delivered(
        keys=[key for batch in taken for key in batch.keys],
        labels=[label for batch in taken for label in batch.labels.tolist()],
        images=np.concatenate(images),  # type: ignore[arg-type]
    )


def epoch(wanted: LoaderOptions, number: int = 0) -> Delivered:
    """One whole epoch."""
    with Loader(wanted) as loader:
        return deliver(loader.epoch(number))


def same(found: Delivered, expected: Delivered) -> bool:
    return found.keys == expected.keys and np.array_equal(found.images, expected.images)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos") / "train")


@pytest.fixture(scope="module")
def tar(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(source, tmp_path_factory.mktemp("tar") / "dataset")


@pytest.fixture(scope="module")
def whole(tar: str) -> Delivered:
    """The first epoch, as everything else must deliver it."""
    return epoch(options(tar))
