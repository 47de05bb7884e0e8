"""Overlays of small datasets for the tests: their tables, and the files that writing leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shardtools.overlays import OverlayInfo, write_overlay
from tests.helpers.sql_datasets import fashion_images, make_dataset

NUM_SAMPLES = 12
PARTS = ("manifest/train-000000.parquet", "manifest/train-000001.parquet")


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return fashion_images(NUM_SAMPLES)


@pytest.fixture
def dataset(tmp_path: Path, images: list[bytes]) -> str:
    folder = tmp_path / "dataset"
    make_dataset(folder, images=images)
    return str(folder)


def keys(*numbers: int) -> list[str]:
    return [f"sample{number:04d}" for number in numbers]


def table(*numbers: int, **columns: Any) -> pa.Table:
    return pa.table({"key": keys(*numbers), **columns})


def write(dataset: str, *tables: pa.Table, name: str = "fixes", **options: Any) -> OverlayInfo:
    return write_overlay(dataset, name, tables, **{"made_by": "a test", "settings": {"rate": 0.5}, **options})


def files(dataset: str, name: str = "fixes") -> set[str]:
    return {path.name for path in Path(dataset, "overlays", name).glob("*")}
