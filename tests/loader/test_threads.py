"""A loader's threads and memory: bounded, ended with the loader however it is left, their errors told."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator

import numpy as np
import pytest

from shardtools.errors import OptionError, RunError, StorageError
from shardtools.loader import Loader
from shardtools.loader.reading.handoff import Ahead
from tests.helpers.loader_datasets import Delivered, deliver, options, source, tar, whole

__all__ = ["source", "tar", "whole"]


def no_threads_left() -> bool:
    gc.collect()
    ours = [
        thread for thread in threading.enumerate() if thread.name.startswith(("shardtools-loader", "shardtools-decode"))
    ]
    for thread in ours:
        thread.join(5)
    return not any(thread.is_alive() for thread in ours)


def all_threads_ended(before: set[threading.Thread]) -> bool:
    gc.collect()
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(5)
    return not any(thread.is_alive() for thread in left)


@pytest.mark.parametrize("taken", [1, 3])
def test_a_caller_may_leave_early(tar: str, whole: Delivered, taken: int) -> None:
    before = set(threading.enumerate())
    loader = Loader(options(tar, num_threads=2))
    batches = loader.epoch(0)
    first = deliver(itertools.islice(batches, taken))
    batches.close()  # type: ignore[attr-defined]
    assert no_threads_left()
    rest = deliver(loader.epoch(0))
    assert [*first.keys, *rest.keys] == whole.keys
    loader.close()
    assert all_threads_ended(before)


def test_an_epoch_that_was_given_up_says_so(tar: str, whole: Delivered) -> None:
    before = set(threading.enumerate())
    loader = Loader(options(tar))
    left = loader.epoch(0)
    next(left)
    state = loader.state()
    other = loader.epoch(1)
    next(other)
    with pytest.raises(StorageError, match="the loader was closed, or began another epoch"):
        next(left)
    assert next(other).epoch == 1
    loader.load_state(state)
    with pytest.raises(StorageError, match="before this one was over"):
        next(other)
    assert deliver(loader.epoch(0)).keys == whole.keys[4:]
    third = loader.epoch(2)
    next(third)
    loader.close()
    with pytest.raises(StorageError):
        next(third)
    # A closed loader begins anew.
    assert deliver(loader.epoch(0)).keys == whole.keys
    loader.close()
    assert all_threads_ended(before)


def test_a_loader_that_is_forgotten_leaves_no_thread(tar: str) -> None:
    before = set(threading.enumerate())
    for batch in Loader(options(tar, num_threads=2)).epoch(0):
        if batch.step == 2:
            break
    del batch
    assert all_threads_ended(before)


def test_errors_of_the_thread_reach_the_caller(tar: str) -> None:
    def fail(shape: tuple[int, ...]) -> np.ndarray:
        raise MemoryError("no more")

    with Loader(options(tar, allocator=fail)) as loader, pytest.raises(MemoryError, match="no more"):
        list(loader.epoch(0))
    wrongs = (
        lambda shape: np.empty(shape[1:], np.uint8),
        lambda shape: np.empty(shape, np.int8),
        lambda shape: np.frombuffer(bytes(np.prod(shape)), np.uint8).reshape(shape),
    )
    for wrong in wrongs:
        with Loader(options(tar, allocator=wrong)) as loader, pytest.raises(OptionError, match="the allocator gives"):
            list(loader.epoch(0))
    assert no_threads_left()


@pytest.mark.parametrize("prefetch", [1, 4])
def test_memory_is_bounded(tar: str, prefetch: int) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def allocate(shape: tuple[int, ...]) -> np.ndarray:
        nonlocal most
        array = np.empty(shape, np.uint8)
        alive.append(weakref.ref(array))
        most = max(most, sum(reference() is not None for reference in alive))
        return array

    with Loader(options(tar, allocator=allocate, prefetch=prefetch, batch_size=2)) as loader:
        for batch in loader.epoch(0):
            assert batch.images.base is not None
            if batch.step == 5:
                # The thread gets as far ahead as it may.
                for _ in range(500):
                    if len(alive) == 6 + prefetch + 1:
                        break
                    threading.Event().wait(0.01)
                assert len(alive) == 6 + prefetch + 1
            del batch
    assert prefetch + 1 <= most <= prefetch + 2


def test_a_script_that_ends_in_the_middle_ends(tar: str) -> None:
    script = f"""
from shardtools.loader import Loader
from shardtools.loader.reading.handoff import Ahead
from tests.helpers.loader_datasets import options
batches = Loader(options({tar!r}, num_threads=2)).epoch(0)
print(len(next(batches).keys))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


def test_what_the_machine_lacks_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Generator[int]:
        yield 1
        raise RuntimeError("can't start new thread")

    results = Ahead(fail, capacity=1, name="test")
    assert next(results) == 1
    with pytest.raises(RunError, match="no further process or thread"):
        next(results)

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RunError, match="no further process or thread"):
        Ahead(fail, capacity=1, name="test")
