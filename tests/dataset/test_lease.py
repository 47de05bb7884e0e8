"""The lease: one run at a time, on folders and on object stores, whatever is killed, frozen or started together."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shardtools.dataset import lease as lease_module
from shardtools.dataset.lease import Lease, acquire
from shardtools.errors import DatasetBusyError
from shardtools.storage import Storage, open_storage

HOLD = """
import sys, time
from shardtools.dataset.lease import acquire
from shardtools.storage import open_storage
with acquire(open_storage(sys.argv[1]), purpose="held by a test", heartbeat_seconds=0.1):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty place of each kind."""
    if request.param == "local":
        return open_storage(tmp_path / "dataset")
    return open_storage(request.getfixturevalue("s3_environment").url(f"lease/{tmp_path.name}-{os.getpid()}"))


def test_a_released_lease_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    for _ in range(2):
        with acquire(storage, purpose="test") as lease:
            assert [stored.path for stored in storage.list()] == ["lease/000001.json"]
            assert not lease.lost
        assert storage.list() == []
    assert [path for path in tmp_path.rglob("*") if path.name != "dataset"] == []


def test_a_lease_is_released_when_the_run_fails(storage: Storage) -> None:
    with pytest.raises(ValueError, match="the run's"), acquire(storage, purpose="test"):
        raise ValueError("the run's")
    assert storage.list() == []


def test_busy_while_the_holder_lives(storage: Storage) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, storage.url], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "held\n"
        start = time.monotonic()
        with pytest.raises(DatasetBusyError) as error_info:
            acquire(storage, purpose="test")
        assert time.monotonic() - start < 2
        process.stdin.close()
        assert process.wait() == 0

    message = str(error_info.value)
    assert f"{storage.url} is being written by another run (held by a test on " in message
    assert f"pid {process.pid}, since 20" in message and "wait for it, stop it, or choose another" in message
    assert storage.list() == []


def test_a_killed_holder_is_taken_over_at_once(storage: Storage) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, storage.url], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()

    start = time.monotonic()
    with acquire(storage, purpose="test", takeover_seconds=60):
        assert time.monotonic() - start < 2
        assert [stored.path for stored in storage.list()] == ["lease/000002.json"]
    assert storage.list() == []


def test_one_of_eight_runs_wins(storage: Storage) -> None:
    start = threading.Barrier(8)
    won: list[Lease] = []
    lost: list[DatasetBusyError] = []

    def run() -> None:
        start.wait()
        try:
            won.append(acquire(storage, purpose="test"))
        except DatasetBusyError as error:
            lost.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(won), len(lost)) == (1, 7)
    won[0].release()
    assert storage.list() == []


def _pretend_elsewhere(storage: Storage, generation: int = 1) -> None:
    """Rewrite the lease as a run on another machine would have written it."""
    path = f"lease/{generation:06d}.json"
    storage.write(path, json.dumps({**json.loads(storage.read(path)), "machine": "elsewhere", "pid": 1}).encode())


def _abandoned(storage: Storage) -> Lease:
    """Return a lease whose heart does not beat during a test."""
    return acquire(storage, purpose="test", heartbeat_seconds=3600)


def test_a_silent_holder_elsewhere_is_taken_over_and_notices(storage: Storage) -> None:
    first = acquire(storage, purpose="first", heartbeat_seconds=0.3)
    holder = dataclasses.replace(first._holder, machine="elsewhere", heartbeat_seconds=0.01)
    # As if the machine of the first run had been frozen between two heartbeats.
    first._stopped.set()
    first._thread.join()
    storage.write("lease/000001.json", holder.to_json())

    second = acquire(storage, purpose="second", takeover_seconds=0.3)
    assert [stored.path for stored in storage.list()] == ["lease/000002.json"]

    # It wakes.
    first._stopped.clear()
    woken = Lease(storage, 1, holder)
    _wait_until(lambda: woken.lost)
    woken.release()
    assert not second.lost
    assert [stored.path for stored in storage.list()] == ["lease/000002.json"]
    second.release()
    assert storage.list() == []


def test_a_lease_taken_over_and_given_back_by_others_is_lost(storage: Storage) -> None:
    frozen = _abandoned(storage)
    storage.delete("lease/000001.json")
    with acquire(storage, purpose="others"):
        pass
    woken = Lease(storage, 1, dataclasses.replace(frozen._holder, heartbeat_seconds=0.01))
    _wait_until(lambda: woken.lost)
    woken.release()
    frozen.release()
    assert storage.list() == []


def test_a_beating_holder_elsewhere_is_left_alone(storage: Storage) -> None:
    holder = acquire(storage, purpose="first", heartbeat_seconds=3600)
    beating = Lease(storage, 1, dataclasses.replace(holder._holder, machine="elsewhere", heartbeat_seconds=0.05))
    _wait_until(lambda: beating._holder.heartbeat > 0)

    with pytest.raises(DatasetBusyError, match=r"written by another run \(first on "):
        acquire(storage, purpose="second", takeover_seconds=60)

    assert not beating.lost
    beating.release()
    holder.release()
    assert storage.list() == []


def test_a_holder_elsewhere_that_gives_back_meanwhile_is_no_obstacle(storage: Storage) -> None:
    first = _abandoned(storage)
    _pretend_elsewhere(storage)
    timer = threading.Timer(0.3, first.release)
    timer.start()
    with acquire(storage, purpose="second", takeover_seconds=4) as lease:
        assert not lease.lost
    timer.join()
    assert storage.list() == []


def test_a_late_run_that_writes_a_cleared_generation_gives_way(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The late run looked when nothing was there; since then, generation 1 was held, taken over and cleared away.
    first = _abandoned(storage)
    first._storage.write("lease/000002.json", first._holder.to_json())
    storage.delete("lease/000001.json")
    answers = iter([0, 2])
    monkeypatch.setattr(lease_module, "_highest_generation", lambda _: next(answers))

    with pytest.raises(DatasetBusyError):
        acquire(storage, purpose="late")

    assert [stored.path for stored in storage.list()] == ["lease/000002.json"]
    first.release()


def test_an_unreadable_lease_is_named(storage: Storage) -> None:
    storage.write("lease/000001.json", b'{"purpose": "a future release"}')
    with pytest.raises(DatasetBusyError, match=r"lease/000001\.json is no lease that this release can read: delete it"):
        acquire(storage, purpose="test")


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


FOREIGN = {
    "purpose": "gen-sd",
    "hostname": "elsewhere",
    "machine": "another",
    "pid": 5,
    "start_ticks": 7,
    "since": "2026-01-01",
    "token": "t",
    "heartbeat": 0,
    "heartbeat_seconds": 5.0,
}


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        "[]",
        json.dumps({**FOREIGN, "heartbeat_seconds": 1e9}),
        json.dumps({**FOREIGN, "heartbeat_seconds": 1e999}),
        json.dumps({**FOREIGN, "heartbeat_seconds": -1}),
        json.dumps({**FOREIGN, "pid": -1}),
        json.dumps({**FOREIGN, "pid": 10**30}),
        json.dumps({**FOREIGN, "heartbeat": True}),
        json.dumps({**FOREIGN, "purpose": "x" * 10_000}),
        json.dumps({**FOREIGN, "hostname": "\ud800"}),
    ],
)
def test_a_lease_that_no_run_leaves_is_refused_at_once(tmp_path: Path, content: str) -> None:
    storage = open_storage(tmp_path)
    storage.write("lease/000001.json", content.encode())
    started = time.monotonic()
    with pytest.raises(DatasetBusyError, match="no lease that this release can read") as caught:
        acquire(storage, purpose="test")
    assert time.monotonic() - started < 1
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_what_a_lease_says_is_shown_in_one_printable_line(tmp_path: Path) -> None:
    hostile = {**FOREIGN, "purpose": "p\x1b[31m\nq", "machine": lease_module.this_process().machine, "pid": os.getpid()}
    hostile["start_ticks"] = lease_module.this_process().start_ticks
    storage = open_storage(tmp_path)
    storage.write("lease/000001.json", json.dumps(hostile).encode())
    with pytest.raises(DatasetBusyError, match=r"\(p\\x1b\[31m q on elsewhere, pid \d+, since") as caught:
        acquire(storage, purpose="test")
    assert str(caught.value).isprintable()


def test_other_files_beside_a_lease_are_no_leases(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    for name in (
        "9.json",
        "-00005.json",
        "1_0000000.json",
        "\u0661\u0661\u0661\u0661\u0661\u0661.json",
        f"{'9' * 200}.json",
    ):
        storage.write(f"lease/{name}", b"x")
    with acquire(storage, purpose="test") as lease:
        assert storage.exists("lease/000001.json") and not lease.lost


def test_without_a_thread_for_its_heartbeat_no_lease_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    storage = open_storage(tmp_path)
    with pytest.raises(RuntimeError, match="new thread"):
        acquire(storage, purpose="test")
    assert storage.list("lease/") == []
