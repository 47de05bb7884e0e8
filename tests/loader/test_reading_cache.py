"""Reading batches from a real object store through the disk cache: what it saves, and whose bytes it gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.errors import DatasetError
from shardtools.loader import SampleTable, read_split
from shardtools.loader.reading.disk_cache import FOLDER_NAME
from shardtools.storage import open_storage
from tests.helpers.batch_readers import (
    delivered,
    digest,
    is_right,
    reader,
    rows_of,
    steps,
    table_of,
    upload,
    write,
)
from tests.helpers.loader_datasets import photos
from tests.helpers.loader_datasets import write as write_photos
from tests.helpers.s3_server import S3Server

LIMIT = 16 * 1024 * 1024
SAMPLES_PER_SHARD = 30


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("s3") / "local", 5, SAMPLES_PER_SHARD)


@pytest.fixture
def url(s3_environment: S3Server, local: str, request: pytest.FixtureRequest) -> str:
    found = s3_environment.url(f"cached/{request.node.name.replace('[', '-').replace(']', '')}")
    upload(local, found)
    return found


@pytest.fixture
def table(url: str) -> SampleTable:
    return read_split([url], "train")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[dict[str, Any]]:
    yield {"cache_folder": str(tmp_path / "cache"), "cache_bytes": LIMIT}
    shutil.rmtree(tmp_path / "cache")


@pytest.mark.parametrize("shuffle", ["global", "none"])
def test_the_second_epoch_asks_the_store_nothing(table: SampleTable, cache: dict[str, Any], shuffle: str) -> None:
    asked = steps(table, 16, shuffle=shuffle)
    with reader(table, verify="sha256", **cache) as opened:
        assert delivered(table, opened.batches(asked)) == rows_of(asked)
        first = opened.counts
        assert delivered(table, opened.batches(asked, epoch=1)) == rows_of(asked)
        assert opened.counts.num_requests == first.num_requests == len(table.shards)
    with reader(table, **cache) as again:
        assert delivered(table, again.batches(asked)) == rows_of(asked)
        assert again.counts.num_requests == 0
        assert again.counts.num_cached_bytes >= table.num_bytes.sum()


def test_another_version_is_never_served_stale_bytes(
    table: SampleTable, url: str, cache: dict[str, Any], tmp_path: Path
) -> None:
    with reader(table, **cache) as opened:
        list(opened.batches([np.arange(150)]))
    upload(write(tmp_path / "next", 5, SAMPLES_PER_SHARD, first=500), url)
    following = read_split([url], "train")
    with reader(following, **cache) as opened:
        assert delivered(following, opened.batches([np.arange(150)])) == list(range(150))
        assert opened.counts.num_replaced == 0


def test_damage_in_the_cache_is_read_again(table: SampleTable, cache: dict[str, Any]) -> None:
    """Damage with a sum that fits, as a foreign writer could leave it."""
    with reader(table, **cache) as opened:
        list(opened.batches([np.arange(150)]))
    swapped = sorted((Path(cache["cache_folder"]) / FOLDER_NAME).glob("*/*.piece"))[:2]
    sizes = [path.stat().st_size for path in swapped]
    contents = [path.read_bytes() for path in swapped]
    if sizes[0] == sizes[1]:
        for path, content in zip(swapped, reversed(contents), strict=True):
            path.write_bytes(content)
    else:
        for path in swapped:
            path.write_bytes(bytes(path.stat().st_size))
    with reader(table, verify="sha256", **cache) as opened:
        assert delivered(table, opened.batches([np.arange(150)])) == list(range(150))
        assert opened.counts.num_replaced == 0
        assert opened.counts.num_requests > 0


def test_a_dataset_that_changed_is_not_mixed_with_its_table(
    table: SampleTable, url: str, cache: dict[str, Any]
) -> None:
    storage = open_storage(url)
    info = json.loads(storage.read("dataset.json"))
    info["shards"] = info["shards"][1:]
    storage.write("dataset.json", json.dumps(info).encode())
    with pytest.raises(DatasetError, match=r"has no shard .* with a sha256 any more"):
        reader(table, **cache)


def test_objects_that_are_not_those_of_the_commit_are_not_kept(
    table: SampleTable, url: str, cache: dict[str, Any]
) -> None:
    storage = open_storage(url)
    path = table.shards[1][1]
    for content in (storage.read(path)[: int(table.member_offset[50])], storage.read(path) + bytes(10_000)):
        storage.write(path, content)
        with reader(table, max_bad_share=1.0, **cache) as opened:
            found = delivered(table, opened.batches([np.arange(150)]))
        assert found[:50] == list(range(50))
    assert len(list((Path(cache["cache_folder"]) / FOLDER_NAME).glob("*/*.piece"))) == len(table.shards) - 1


def test_samples_across_pieces(s3_environment: S3Server, cache: dict[str, Any]) -> None:
    """Large samples, so that some lie in several pieces of 1 MiB."""
    url = s3_environment.url("reading/large")
    content = np.random.default_rng(0).integers(0, 256, 5_000_000, np.uint8).tobytes()
    storage = open_storage(url)
    upload(write(Path(cache["cache_folder"]) / "small", 1, 2), url)
    info = json.loads(storage.read("dataset.json"))
    path = info["shards"][0]["path"]
    storage.write(path, content)
    info["shards"][0]["num_bytes"] = len(content)
    storage.write("dataset.json", json.dumps(info).encode())
    places = [(start, min(start + length, len(content))) for start, length in ((0, 700_000), (700_000, 2_500_000))]
    places += [(3_200_000, 3_200_100), (1_048_570, 1_048_580), (4_100_000, 5_000_000)]
    table = table_of(url, [(path, a, b - a, digest(content[a:b]), 0) for a, b in places])
    for _ in range(2):
        with reader(table, verify="sha256", num_requests=4, **cache) as opened:
            for batch in opened.batches([np.arange(5), np.array([1, 4]), np.array([3])]):
                assert is_right(table, batch) and not batch.replaced.any()
    assert opened.counts.num_requests == 0


def test_without_room_reading_goes_on(table: SampleTable, cache: dict[str, Any]) -> None:
    with reader(table, **cache) as opened:
        shutil.rmtree(Path(cache["cache_folder"]) / FOLDER_NAME)
        asked = steps(table, 16, shuffle="global")
        assert delivered(table, opened.batches(asked)) == rows_of(asked)


@pytest.fixture
def files(s3_environment: S3Server, tmp_path: Path, request: pytest.FixtureRequest) -> SampleTable:
    """A dataset of which every image is an object of its own."""
    dataset = write_photos(photos(tmp_path / "photos" / "train", 24), tmp_path / "dataset", "imagefolder")
    url = s3_environment.url(f"cached/{request.node.name}")
    upload(dataset, url)
    return read_split([url], "train")


def test_image_files_are_kept_one_by_one(files: SampleTable, cache: dict[str, Any]) -> None:
    asked = steps(files, 5, shuffle="global")
    for num_requests in (len(files), 0):
        with reader(files, verify="sha256", **cache) as opened:
            assert delivered(files, opened.batches(asked)) == rows_of(asked)
            assert opened.counts.num_requests == num_requests
    assert opened.counts.num_cached_bytes == files.num_bytes.sum()
    # A view of the same dataset finds them too.
    view = files.take(np.arange(3, 20, 4))
    with reader(view, **cache) as opened:
        assert delivered(view, opened.batches([np.arange(len(view))])) == list(range(len(view)))
        assert opened.counts.num_requests == 0


def test_image_files_that_changed_are_not_kept(files: SampleTable, cache: dict[str, Any]) -> None:
    storage = open_storage(files.datasets[0])
    longer, gone = files.shards[2][1], files.shards[5][1]
    storage.write(longer, storage.read(longer) + b"more")
    storage.delete(gone)
    with reader(files, **cache) as opened:
        batches = list(opened.batches([np.arange(len(files))]))
    assert [report.row for batch in batches for report in batch.replacements] == [5]
    assert is_right(files, batches[0])
    assert len(list((Path(cache["cache_folder"]) / FOLDER_NAME).glob("*/*.piece"))) == len(files) - 2
