"""Datasets, steps and checks for the tests of reading batches."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shardtools.dataset import PlanFile, ShardWriter, commit_dataset, store_plan_file
from shardtools.dataset.opening import list_parts
from shardtools.loader import EpochOrder, OrderOptions, SampleTable, hash_keys
from shardtools.loader.reading.batch import RawBatch
from shardtools.loader.reading.options import ReadOptions
from shardtools.loader.reading.reader import BatchReader
from shardtools.loader.table.samples import TableWriter
from shardtools.sample import Sample
from shardtools.storage import Storage, open_storage
from tests.helpers.pictures import jpeg

NUM_CLASSES = 4


def write(url: str | Path, num_shards: int, samples_per_shard: int, *, first: int = 0) -> str:
    """A dataset of drawings in tars, four classes in turn."""
    storage = open_storage(url)
    facts: dict[str, Any] = {"kind": "real", "plan_id": "plan-1", "scale": 1}
    store_plan_file(storage, PlanFile(**facts, settings={}, notes={}, num_shards=num_shards, num_rows=1))
    for shard in range(num_shards):
        with ShardWriter(storage, split="train", shard_index=shard) as writer:
            for index in range(samples_per_shard):
                writer.add(sample(first + shard * samples_per_shard + index))
            writer.commit()
    commit_dataset(storage, part_paths=list_parts(storage), **facts)
    return str(url)


def sample(number: int) -> Sample:
    fields: dict[str, Any] = {"image_bytes": jpeg(number), "image_format": "jpg", "width": 48, "height": 36}
    return Sample(key=f"k{number:05d}", class_index=number % NUM_CLASSES, wnid=f"n{number % 4:08d}", **fields)


def table_of(url: str | Path, files: Sequence[tuple[str, int, int, bytes, int]]) -> SampleTable:
    """A table of any layout: path in the dataset, offset, length, sha256 and class of each sample."""
    paths = list(dict.fromkeys(path for path, *_ in files))
    writer = TableWriter(datasets=(str(url),), shards=tuple((0, path) for path in paths), image_formats=("jpg",))
    keys = pa.array([f"k{number:05d}" for number in range(len(files))])
    count = len(files)
    writer.append(
        {
            "key_hash": hash_keys(keys),
            "dataset": np.zeros(count, np.uint16),
            "shard": np.array([paths.index(path) for path, *_ in files], np.int32),
            "sample_index": np.arange(count, dtype=np.int32),
            "member_offset": np.array([offset for _, offset, _, _, _ in files], np.int64),
            "num_bytes": np.array([num_bytes for _, _, num_bytes, _, _ in files], np.int64),
            "class_index": np.array([label for *_, label in files], np.int32),
            "sha256": np.frombuffer(b"".join(digest for _, _, _, digest, _ in files), np.uint8).reshape(-1, 32),
            "width": np.full(count, 48, np.int32),
            "height": np.full(count, 36, np.int32),
            "image_format": np.zeros(count, np.uint8),
            "weight": np.ones(count, np.float32),
        },
        keys,
    )
    return writer.finish(has_weight=False)


def image_files(folder: Path, count: int) -> SampleTable:
    """Each sample a file of its own."""
    folder.mkdir()
    files = []
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(jpeg(number))
        files.append((f"{number:05d}.jpg", 0, len(jpeg(number)), digest(jpeg(number)), number % NUM_CLASSES))
    return table_of(folder, files)


def upload(folder: str, url: str) -> Storage:
    """Copies a dataset."""
    remote = open_storage(url)
    for stored in open_storage(folder).list():
        remote.write(stored.path, open_storage(folder).read(stored.path))
    return remote


def reader(table: SampleTable, **options: Any) -> BatchReader:
    return BatchReader(table, ReadOptions(**options))


def rows_of(asked: list[np.ndarray]) -> list[int]:
    return [int(row) for rows in asked for row in rows]


def steps(table: SampleTable, batch_size: int = 7, **options: Any) -> list[np.ndarray]:
    order = epoch_order(table, **options)
    return [
        order.rows(np.arange(start, min(start + batch_size, order.num_positions)))
        for start in range(0, order.num_positions, batch_size)
    ]


def epoch_order(table: SampleTable, epoch: int = 0, **options: Any) -> EpochOrder:
    return EpochOrder(OrderOptions(**options), epoch=epoch, num_samples=len(table), shard_starts=table.shard_starts)


def digest(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).digest()


def is_right(table: SampleTable, batch: RawBatch) -> bool:
    """Whether buffers, addresses and lengths all lead to the bytes of the batch's rows."""
    assert len(batch) == len(batch.buffers) == len(batch.addresses) == len(batch.lengths)
    for row, content, address, length in zip(
        batch.rows.tolist(), batch.buffers, batch.addresses.tolist(), batch.lengths.tolist(), strict=True
    ):
        assert digest(content) == table.sha256[row].tobytes()
        assert ctypes.string_at(address, length) == content
    return True


def delivered(table: SampleTable, batches: Iterable[RawBatch], *, check: bool = True) -> list[int]:
    """Rows in the order of their delivery."""
    rows: list[int] = []
    for batch in batches:
        assert not check or is_right(table, batch)
        rows += batch.rows.tolist()
    return rows
