"""Reading batches from a real object store: ranges, bounded memory, and faults."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from shardtools.errors import StorageError
from shardtools.loader import EpochOrder, OrderOptions, SampleTable, read_split, resolve_sizes
from shardtools.loader.order.epoch import cut_pieces
from shardtools.loader.reading.ahead import MAX_SAMPLE_BYTES
from shardtools.loader.reading.ranges import BlockMap
from shardtools.loader.reading.reader import BatchReader
from shardtools.storage import open_storage
from tests.helpers.batch_readers import (
    delivered,
    digest,
    epoch_order,
    is_right,
    reader,
    rows_of,
    steps,
    table_of,
    upload,
    write,
)
from tests.helpers.s3_server import S3Server

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


def test_blocks_of_no_given_size_are_read_in_whole_pieces(
    s3_environment: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Photos of 100 kB with default options: more than memory for reading ahead holds of all."""
    table = large_photos(s3_environment)
    order_options = resolve_sizes(OrderOptions(shuffle="blocks"), table)
    order = EpochOrder(order_options, epoch=0, num_samples=len(table), shard_starts=table.shard_starts)
    assert len(order.block_starts) - 1 == 2
    asked = [order.rows(np.arange(start, min(start + 64, len(table)))) for start in range(0, len(table), 64)]
    with BatchReader(table) as opened:
        assert delivered(table, opened.batches(asked, blocks=BlockMap(order))) == rows_of(asked)
        counts = opened.counts
    num_pieces = len(cut_pieces(table.shard_starts, order_options.piece_size)) - 1
    # A piece is cut where it crosses a multiple of a request's length.
    assert num_pieces <= counts.num_requests <= 2 * num_pieces < len(table) / 30
    assert counts.num_request_bytes == table.num_bytes.sum()
    assert counts.num_split_blocks == 0
    assert not caplog.records

    one = OrderOptions(shuffle="blocks", block_size=16_384)
    order = EpochOrder(one, epoch=0, num_samples=len(table), shard_starts=table.shard_starts)
    asked = [order.rows(np.arange(start, min(start + 64, len(table)))) for start in range(0, len(table), 64)]
    with reader(table, read_ahead_bytes=128 * 1024 * 1024) as opened:
        for epoch in range(2):
            list(itertools.islice(opened.batches(asked, epoch=epoch, blocks=BlockMap(order)), 1))
        assert opened.counts.num_split_blocks == 2
    (record,) = caplog.records
    assert record.getMessage() == (
        f"a block of {len(table)} samples has more than the 100663296 bytes that read_ahead_bytes=134217728 leaves for "
        "one and is read in parts, with many more requests: take a smaller block_size (None chooses one) or more "
        "read_ahead_bytes"
    )


def large_photos(server: S3Server) -> SampleTable:
    """Three shards of 48 MB, of which each sample is a part."""
    url, num_bytes, per_shard = server.url("reading/large-photos"), 100_000, 480
    storage, content = open_storage(url), np.random.default_rng(0).bytes(48_000_000)
    places = []
    for shard in range(3):
        storage.write(f"{shard}.tar", content)
        places += [(f"{shard}.tar", number * num_bytes, num_bytes) for number in range(per_shard)]
    digests = [digest(content[start : start + num_bytes]) for start in range(0, len(content), num_bytes)]
    return table_of(url, [(*place, digests[index % per_shard], 0) for index, place in enumerate(places)])


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
