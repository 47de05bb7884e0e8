"""A loader whose processes are killed, and one whose object store goes away."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shardtools.errors import StorageError
from shardtools.loader import Loader, OrderOptions
from shardtools.loader.reading.options import ReadOptions
from tests.helpers.loader_datasets import (
    NUM_PHOTOS,
    Delivered,
    deliver,
    epoch,
    options,
    source,
    tar,
    whole,
    write,
)
from tests.helpers.loader_rank import read_log, run
from tests.helpers.s3_server import S3Server

__all__ = ["source", "tar", "whole"]

WAIT_SECONDS = 60.0


# ---- killed processes ----


def run_until_killed(
    dataset: str, folder: Path, state: str | None, world_size: int, num_steps: int | None, changes: dict[str, Any]
) -> list[list[dict[str, Any]]]:
    """All ranks in processes of their own, killed when one has taken `num_steps` batches; gives all their logs."""
    # A server that imports once: an interpreter for each process would take most of the test's time.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.loader_rank"])
    folder.mkdir()
    logs = [folder / str(rank) for rank in range(world_size)]
    processes = []
    for rank, log in enumerate(logs):
        of_rank = {**changes, "rank": rank, "world_size": world_size}
        pause = 0.0 if num_steps is None else 0.01 * (rank + 1)
        processes.append(context.Process(target=run, args=(dataset, of_rank, state, log, pause)))
        processes[-1].start()
    if num_steps is not None:
        wait_for(lambda: max(len(read_log(log)) for log in logs) >= num_steps)
        for process in processes:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
    for process in processes:
        process.join(WAIT_SECONDS)
        assert process.exitcode in ((0,) if num_steps is None else (0, -signal.SIGKILL))
    return [read_log(log) for log in logs]


def wait_for(condition: Any) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize(("last", "shuffle"), [("pad", "global"), ("short", "blocks")])
def test_each_sample_comes_once_though_all_ranks_are_killed(tar: str, tmp_path: Path, last: str, shuffle: str) -> None:
    order = OrderOptions(shuffle=shuffle, block_size=20)
    whole = epoch(options(tar, last="short", order=order))
    expected = {
        key: hashlib.sha256(image.tobytes()).hexdigest() for key, image in zip(whole.keys, whole.images, strict=True)
    }
    state: str | None = None
    ledger: list[str] = []
    worlds = [(1, 3, 3), (3, 2, 2), (8, 1, 1), (2, None, 5)]
    for number, (world_size, num_steps, batch_size) in enumerate(worlds):
        changes = {"last": last, "order": order, "batch_size": batch_size, "num_threads": 1 + number % 2}
        logs = run_until_killed(tar, tmp_path / str(number), state, world_size, num_steps, changes)
        # A run goes on from the last step that all ranks took; what some took after it is forgotten with the model.
        num_common = min(len(log) for log in logs)
        assert num_common < NUM_PHOTOS // (world_size * batch_size) or num_steps is None
        for step in range(num_common):
            assert len({log[step]["state"] for log in logs}) == 1
            for log in logs:
                ledger += log[step]["keys"]
                assert [expected[key] for key in log[step]["keys"]] == log[step]["images"]
        state = logs[0][num_common - 1]["state"] if num_common else state

    assert Counter(ledger) == Counter(whole.keys)


# ---- an object store that goes away ----


@pytest.fixture(scope="module")
def stored(source: Path, s3_server: S3Server) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        return write(source, s3_server.url("loader-faults"))


SLOWLY = {"read": ReadOptions(read_ahead_bytes=20_000, num_requests=2), "prefetch": 1}
"""Nearly nothing is read ahead, so that a server that is gone is missed at once."""


def test_an_object_store_delivers_what_a_disk_does(stored: str, whole: Delivered, s3_environment: S3Server) -> None:
    for wanted in (options(stored), options(stored, **SLOWLY), options(stored, read=ReadOptions(verify="sha256"))):
        with Loader(wanted) as loader:
            found = deliver(loader.epoch(0))
            assert loader.read_counts().num_requests > 0
        assert found.keys == whole.keys
        assert (found.images == whole.images).all()


def test_a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    stored: str, whole: Delivered, s3_environment: S3Server
) -> None:
    with Loader(options(stored, **SLOWLY)) as loader:
        batches = loader.epoch(0)
        taken = list(itertools.islice(batches, 3))
        s3_environment.kill()
        with ThreadPoolExecutor(1) as thread:
            rest = thread.submit(list, batches)
            time.sleep(0.5)
            # The server dies with the thread that started it, so that is this one.
            assert not rest.done(), "the rest was read from memory"
            s3_environment.restart()
            found = deliver([*taken, *rest.result(WAIT_SECONDS)])
    assert found.keys == whole.keys
    assert (found.images == whole.images).all()


def test_a_server_that_stays_away_is_said_and_the_epoch_can_go_on(
    stored: str, whole: Delivered, s3_environment: S3Server
) -> None:
    impatient = options(stored, prefetch=1, read=ReadOptions(read_ahead_bytes=20_000, retry_seconds=0.3))
    with Loader(impatient) as loader:
        batches = loader.epoch(0)
        taken = list(itertools.islice(batches, 3))
        s3_environment.kill()
        with pytest.raises(StorageError) as caught:
            for batch in batches:
                taken.append(batch)
        assert "\n" not in str(caught.value)
        assert s3_environment.bucket in str(caught.value)
        assert loader.state().num_delivered == 4 * len(taken)
        s3_environment.restart()
        found = deliver([*taken, *loader.epoch(0)])
    assert found.keys == whole.keys
    assert (found.images == whole.images).all()


def test_leaving_does_not_wait_for_a_server_that_is_gone(
    stored: str, whole: Delivered, s3_environment: S3Server
) -> None:
    loader = Loader(options(stored, **SLOWLY))
    batches = loader.epoch(0)
    taken = list(itertools.islice(batches, 2))
    s3_environment.kill()
    start = time.monotonic()
    batches.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 10
    s3_environment.restart()
    found = deliver([*taken, *loader.epoch(0)])
    loader.close()
    assert found.keys == whole.keys
