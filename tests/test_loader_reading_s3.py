"""Reading batches from a real object store: ranges, bounded memory, faults, and what the disk cache saves."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.errors import DatasetError, StorageError
from shardtools.loader import SampleTable, read_split
from shardtools.loader.disk_cache import FOLDER_NAME
from shardtools.loader.reading import BatchReader
from shardtools.loader.reading_ahead import MAX_SAMPLE_BYTES
from shardtools.loader.reading_options import ReadOptions
from shardtools.loader.reading_ranges import BlockMap
from shardtools.storage import Storage, open_storage
from tests.reading_batches import delivered, digest, epoch_order, is_right, steps, table_of, write
from tests.s3_server import S3Server

LIMIT = 16 * 1024 * 1024
SAMPLES_PER_SHARD = 30


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("s3") / "local", 5, SAMPLES_PER_SHARD)


@pytest.fixture
def url(s3_environment: S3Server, local: str) -> str:
    """For tests that change nothing: uploaded once."""
    found = s3_environment.url("reading/shared")
    if not open_storage(found).exists("dataset.json"):
        upload(local, found)
    return found


def own_copy(s3_environment: S3Server, local: str, name: str) -> str:
    found = s3_environment.url(f"reading/{name.replace('[', '-').replace(']', '')}")
    upload(local, found)
    return found


@pytest.fixture
def table(url: str) -> SampleTable:
    return read_split([url], "train")


def upload(folder: str, url: str) -> Storage:
    remote = open_storage(url)
    for stored in open_storage(folder).list():
        remote.write(stored.path, open_storage(folder).read(stored.path))
    return remote


def reader(table: SampleTable, **options: Any) -> BatchReader:
    return BatchReader(table, ReadOptions(**options))


def rows_of(asked: list[np.ndarray]) -> list[int]:
    return [int(row) for rows in asked for row in rows]


@pytest.mark.parametrize("verify", ["none", "sha256"])
@pytest.mark.parametrize("shuffle", ["global", "blocks", "none"])
def test_every_row_gets_its_bytes(table: SampleTable, shuffle: str, verify: str) -> None:
    asked = steps(table, 16, shuffle=shuffle, block_size=40)
    with reader(table, verify=verify) as opened:
        assert delivered(table, opened.batches(iter(asked))) == rows_of(asked)
        assert opened.counts.num_bytes == table.num_bytes.sum()


def test_blocks_are_read_from_front_to_back(table: SampleTable) -> None:
    options = {"shuffle": "blocks", "block_size": 40}
    asked, order = steps(table, 16, **options), epoch_order(table, **options)
    with reader(table) as opened:
        assert delivered(table, opened.batches(asked, blocks=BlockMap(order))) == rows_of(asked)
        counts = opened.counts
    assert counts.num_requests == 5
    assert counts.num_request_bytes < sum(stored.num_bytes for stored in open_storage(table.datasets[0]).list("shards"))
    with reader(table, coalesce_gap_bytes=0) as opened:
        list(opened.batches(asked))
        assert opened.counts.num_requests > 100


def test_the_last_step_may_begin_again(table: SampleTable) -> None:
    order = epoch_order(table, shuffle="blocks", block_size=40)
    asked = [order.rows(np.arange(start, start + 64) % 150) for start in range(0, 150, 64)]
    with reader(table) as opened:
        assert delivered(table, opened.batches(asked, blocks=BlockMap(order))) == rows_of(asked)


def test_a_share_of_each_block(table: SampleTable) -> None:
    """What one of three ranks reads."""
    order = epoch_order(table, shuffle="blocks", block_size=60)
    asked = [order.rows(np.arange(start + 8, start + 16)) for start in range(0, 144, 24)]
    with reader(table) as opened:
        assert delivered(table, opened.batches(asked, blocks=BlockMap(order))) == rows_of(asked)


@pytest.mark.parametrize("blocks", [True, False])
def test_memory_is_bounded(table: SampleTable, blocks: bool) -> None:
    limit = 24_000  # about a tenth of the dataset, and less than a block
    order = epoch_order(table, shuffle="blocks", block_size=60)
    asked = steps(table, 4, shuffle="blocks", block_size=60)
    longest = max(int(table.num_bytes[rows].sum()) for rows in asked)
    with reader(table, read_ahead_bytes=limit) as opened:
        found = delivered(table, opened.batches(asked, blocks=BlockMap(order) if blocks else None))
        assert 0 < opened.counts.peak_bytes <= limit + 2 * longest
    assert found == rows_of(asked)


def test_what_the_caller_keeps_counts(table: SampleTable) -> None:
    asked = steps(table, 10, shuffle="none")
    with reader(table, read_ahead_bytes=30_000) as opened:
        batches = list(opened.batches(asked))
        # Everything is kept, so nothing but the next batch may be read.
        assert opened.counts.peak_bytes < table.num_bytes.sum() * 2
        assert delivered(table, batches) == list(range(150))


def test_a_view_reads_what_it_needs(table: SampleTable) -> None:
    view = table.take(np.arange(0, 150, 10))
    with reader(view, coalesce_gap_bytes=1000) as opened:
        assert delivered(view, opened.batches(steps(view, 4, shuffle="none"))) == list(range(15))
        assert opened.counts.num_request_bytes == view.num_bytes.sum()


def test_local_and_remote_datasets_together(local: str, url: str) -> None:
    table = read_split([local, url], "train")
    asked = steps(table, 16, shuffle="global")
    with reader(table, verify="sha256") as opened:
        assert delivered(table, opened.batches(asked)) == rows_of(asked)


class TestFaults:
    def test_a_server_that_dies_and_comes_back_loses_and_doubles_nothing(
        self, table: SampleTable, s3_environment: S3Server
    ) -> None:
        asked = steps(table, 5, shuffle="global")
        found: list[int] = []
        reached, killed = threading.Event(), threading.Event()

        def read() -> None:
            with reader(table, read_ahead_bytes=20_000, verify="sha256", coalesce_gap_bytes=0) as opened:
                for number, batch in enumerate(opened.batches(asked)):
                    if number == 8:
                        reached.set()
                        killed.wait()
                    assert is_right(table, batch)
                    found.extend(batch.rows.tolist())
                assert opened.counts.num_replaced == 0

        # The server ends with the thread that starts it: that must not be this one.
        thread = threading.Thread(target=read)
        thread.start()
        assert reached.wait(60)
        s3_environment.kill()
        killed.set()
        time.sleep(0.5)
        assert len(found) < len(table)
        s3_environment.restart()
        thread.join()
        assert found == rows_of(asked)

    def test_a_server_that_stays_away_is_given_up(self, table: SampleTable, s3_environment: S3Server) -> None:
        asked = steps(table, 5, shuffle="global")
        try:
            with reader(table, read_ahead_bytes=10_000, retry_seconds=0.5) as opened:
                batches = opened.batches(asked)
                next(batches)
                s3_environment.kill()
                start = time.monotonic()
                with pytest.raises(StorageError, match=r"does not answer \(tried for \d s\)") as caught:
                    list(batches)
            assert time.monotonic() - start < 5
            assert "\n" not in str(caught.value)
        finally:
            s3_environment.restart()

    def test_closing_ends_the_waiting(self, table: SampleTable, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        opened = reader(table)
        failures: list[BaseException] = []

        def read() -> None:
            try:
                list(opened.batches(steps(table, 5, shuffle="global")))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        time.sleep(0.3)
        start = time.monotonic()
        opened.close()
        thread.join()
        assert time.monotonic() - start < 5
        assert [type(error) for error in failures] == [StorageError]

    @pytest.mark.parametrize(
        ("offset", "num_bytes"),
        [(-1, 10), (0, 0), (2**63 - 1, 10), (10, 2**63 - 1), (10**9, 1), (0, 10**8), (0, MAX_SAMPLE_BYTES + 1)],
    )
    @pytest.mark.parametrize("cached", [False, True])
    def test_tables_that_lie_about_places(
        self, url: str, table: SampleTable, tmp_path: Path, offset: int, num_bytes: int, cached: bool
    ) -> None:
        path = table.shards[0][1]
        places = [
            (path, int(table.member_offset[row]), int(table.num_bytes[row]), table.sha256[row].tobytes(), 0)
            for row in range(6)
        ]
        places[2] = (path, offset, num_bytes, bytes(32), 0)
        lying = table_of(url, places)
        cache = {"cache_folder": str(tmp_path), "cache_bytes": LIMIT} if cached else {}
        with reader(lying, **cache) as opened:
            (batch,) = opened.batches([np.arange(6)])
        assert is_right(lying, batch)
        assert [report.row for report in batch.replacements] == [2]


class TestChanged:
    @pytest.fixture
    def url(self, s3_environment: S3Server, local: str, request: pytest.FixtureRequest) -> str:
        return own_copy(s3_environment, local, request.node.name)

    def test_objects_that_lack_their_end_or_are_gone(self, url: str, table: SampleTable) -> None:
        storage = open_storage(url)
        cut, gone = table.shards[1][1], table.shards[3][1]
        storage.write(cut, storage.read(cut)[: int(table.member_offset[50])])
        storage.delete(gone)
        with reader(table, max_bad_share=1.0) as opened:
            batches = list(opened.batches(steps(table, 50, shuffle="none")))
        assert len(delivered(table, batches)) == 150
        reasons = {report.row: report.reason for batch in batches for report in batch.replacements}
        lost = {*range(50, 60), *range(90, 120)}
        assert {row for row in reasons if row < 150 and row in lost} == lost
        assert "expected its bytes within the shard, found" in reasons[50]
        assert "there is no such object" in reasons[90]
        assert not lost & set(delivered(table, batches))

    def test_altered_bytes(self, url: str, table: SampleTable) -> None:
        storage = open_storage(url)
        path = table.shards[2][1]
        content = bytearray(storage.read(path))
        content[int(table.member_offset[70]) + 50] ^= 4
        storage.write(path, bytes(content))
        found = []
        for batch_size in (7, 50):
            with reader(table, verify="sha256") as opened:
                batches = list(opened.batches(steps(table, batch_size, shuffle="none")))
                assert opened.counts.num_replaced == 1
            found.append(delivered(table, batches))
        assert found[0] == found[1]
        assert found[0][:70] + found[0][71:] == [*range(70), *range(71, 150)]

    def test_an_object_that_changes_under_the_reader(self, url: str, table: SampleTable) -> None:
        with reader(table) as opened:
            list(opened.batches([np.arange(3)]))
            open_storage(url).write(table.shards[0][1], b"something else" * 10_000)
            with pytest.raises(StorageError, match="it changed while it was read"):
                list(opened.batches([np.arange(3)]))


class TestCache:
    @pytest.fixture
    def url(self, s3_environment: S3Server, local: str, request: pytest.FixtureRequest) -> str:
        return own_copy(s3_environment, local, request.node.name)

    @pytest.fixture
    def cache(self, tmp_path: Path) -> Iterator[dict[str, Any]]:
        yield {"cache_folder": str(tmp_path / "cache"), "cache_bytes": LIMIT}
        shutil.rmtree(tmp_path / "cache")

    @pytest.mark.parametrize("shuffle", ["global", "none"])
    def test_the_second_epoch_asks_the_store_nothing(
        self, table: SampleTable, cache: dict[str, Any], shuffle: str
    ) -> None:
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
        self, table: SampleTable, url: str, cache: dict[str, Any], tmp_path: Path
    ) -> None:
        with reader(table, **cache) as opened:
            list(opened.batches([np.arange(150)]))
        upload(write(tmp_path / "next", 5, SAMPLES_PER_SHARD, first=500), url)
        following = read_split([url], "train")
        with reader(following, **cache) as opened:
            assert delivered(following, opened.batches([np.arange(150)])) == list(range(150))
            assert opened.counts.num_replaced == 0

    def test_damage_in_the_cache_is_read_again(self, table: SampleTable, cache: dict[str, Any]) -> None:
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
        self, table: SampleTable, url: str, cache: dict[str, Any]
    ) -> None:
        storage = open_storage(url)
        info = json.loads(storage.read("dataset.json"))
        info["shards"] = info["shards"][1:]
        storage.write("dataset.json", json.dumps(info).encode())
        with pytest.raises(DatasetError, match=r"has no shard .* with a sha256 any more"):
            reader(table, **cache)

    def test_objects_that_are_not_those_of_the_commit_are_not_kept(
        self, table: SampleTable, url: str, cache: dict[str, Any]
    ) -> None:
        storage = open_storage(url)
        path = table.shards[1][1]
        for content in (storage.read(path)[: int(table.member_offset[50])], storage.read(path) + bytes(10_000)):
            storage.write(path, content)
            with reader(table, max_bad_share=1.0, **cache) as opened:
                found = delivered(table, opened.batches([np.arange(150)]))
            assert found[:50] == list(range(50))
        assert len(list((Path(cache["cache_folder"]) / FOLDER_NAME).glob("*/*.piece"))) == len(table.shards) - 1

    def test_samples_across_pieces(self, s3_environment: S3Server, cache: dict[str, Any]) -> None:
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

    def test_without_room_reading_goes_on(self, table: SampleTable, cache: dict[str, Any]) -> None:
        with reader(table, **cache) as opened:
            shutil.rmtree(Path(cache["cache_folder"]) / FOLDER_NAME)
            asked = steps(table, 16, shuffle="global")
            assert delivered(table, opened.batches(asked)) == rows_of(asked)
