"""Parquet files with images as people have them, written and read for the tests of the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardtools.errors import ShardtoolsError
from shardtools.sample import Sample
from shardtools.sources import SourceOptions
from shardtools.sources.parquet.source import ParquetSource, open_parquet
from shardtools.storage import Storage, open_storage
from shardtools.taxonomy import load_classes
from tests.helpers.pictures import jpeg

WNIDS = ("n01440764", "n01443537", "n01484850")
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def opened(root: Path | str | Storage, **options: Any) -> ParquetSource:
    storage = root if isinstance(root, Storage) else open_storage(str(root))
    paths = [stored.path for stored in storage.list() if stored.path.endswith(".parquet")]
    classes = load_classes(options["classes"]) if "classes" in options else None
    return open_parquet(storage, paths, SourceOptions(source=storage.url, **options), classes, Path("unused"))


def read(root: Path | str | Storage, **options: Any) -> dict[str, list[Sample]]:
    source = opened(root, **options)
    try:
        samples = {split: list(source.samples(split, 0, count)) for split, count in source.splits.items()}
        assert {split: list(source.keys(split)) for split in samples} == {
            split: [sample.key for sample in found] for split, found in samples.items()
        }
        return samples
    finally:
        source.close()


def refused(root: Path, **options: Any) -> str:
    with pytest.raises(ShardtoolsError) as caught:
        read(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path: Path, columns: dict[str, Any], *, names: list[str] | None = None, **options: Any) -> Path:
    """A table of columns (lists or Arrow arrays), with Hugging Face's class names in its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)
    return path


def images(numbers: range, *, paths: list[str | None] | None = None) -> pa.Array:
    """A column as Hugging Face's `Image` feature stores it."""
    named = paths or [f"{WNIDS[number % 3]}_{number}.JPEG" for number in numbers]
    return pa.array([{"bytes": jpeg(number), "path": path} for number, path in zip(numbers, named, strict=True)], IMAGE)


def hugging_face(root: Path) -> Path:
    """Two files of training rows and one of validation rows, as on the hub."""
    for number, numbers in enumerate((range(7), range(7, 12))):
        write(
            root / f"data/train-{number:05d}-of-00002.parquet",
            {"image": images(numbers), "label": [one % 3 for one in numbers]},
            names=list(WNIDS),
            row_group_size=3,
        )
    write(
        root / "data/validation-00000-of-00001.parquet",
        {"image": images(range(20, 22)), "label": [0, 2]},
        names=list(WNIDS),
    )
    return root
