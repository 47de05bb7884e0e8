"""The loop over tasks and the engine of threads. The engine of processes: writing/test_processes.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import DatasetBusyError, OptionError
from shardtools.execution import (
    Batch,
    Ended,
    Message,
    Notice,
    Progress,
    Ready,
    Tally,
    TaskDone,
    TaskFacts,
    Work,
    ignore,
    in_task_order,
    read_events,
    reporting,
    run_in_threads,
    work_off,
)
from shardtools.storage import open_storage


@dataclass(frozen=True)
class Squares:
    """A job whose tasks are numbers; notes how often it was closed."""

    url: str
    tasks: Sequence[int]
    run_id: str = "run"
    closed: list[bool] = field(default_factory=list)

    def close(self) -> None:
        self.closed.append(True)


def square(_job: Squares, task: int, report: Progress) -> TaskFacts:
    report(Batch(rows=task))
    return TaskFacts(rows=task, images=1, num_bytes=2 * task, details={"task": task}, result=task * task)


def never() -> bool:
    return False


@given(order=st.permutations(range(8)))
def test_results_in_the_order_of_tasks(order: list[int]) -> None:
    taken, shown = list[int](), list[Message]()
    hear = in_task_order(lambda done: taken.append(done.task), shown.append)
    for task in order:
        hear(Notice(text=str(task)))
        hear(TaskDone(task=task, facts=TaskFacts()))
    assert taken == sorted(order)
    assert shown == [Notice(text=str(task)) for task in order]


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_ranks_share_the_tasks_and_log_them(tmp_path: Path, world_size: int) -> None:
    tally, job = Tally(), Squares(str(tmp_path), (3, 1, 4, 1))
    for rank in range(world_size):
        work_off(Work(job=job, make_task=square), rank, world_size, tally.hear, threading.Event())
    assert tally == Tally(tasks=4, rows=9, images=4, num_bytes=18)
    assert len(job.closed) == world_size
    events = list(read_events(open_storage(tmp_path)))
    assert sorted(event["task"] for event in events if event["event"] == "shard") == [1, 1, 3, 4]
    assert [event["reason"] for event in events if event["event"] == "end"] == ["done"] * world_size
    assert [event["bytes"] for event in events if event.get("task") == 4] == [8]


def test_a_stop_ends_after_the_task_in_hand(tmp_path: Path) -> None:
    stop, heard = threading.Event(), list[Message]()

    def hear(message: Message) -> None:
        heard.append(message)
        if isinstance(message, Batch) and message.rows == 1:
            stop.set()

    work_off(Work(job=Squares(str(tmp_path), (3, 1, 4)), make_task=square), 0, 1, hear, stop)
    assert [message.task for message in heard if isinstance(message, TaskDone)] == [0, 1]
    assert isinstance(heard[0], Ready) and isinstance(heard[-1], Ended) and heard[-1].reason == "stopped"
    assert [event["reason"] for event in read_events(open_storage(tmp_path)) if event["event"] == "end"] == ["stopped"]


def test_a_stop_after_the_last_task_is_none(tmp_path: Path) -> None:
    stop, tally = threading.Event(), Tally()

    def hear(message: Message) -> None:
        tally.hear(message)
        stop.set()

    work_off(Work(job=Squares(str(tmp_path), (1,)), make_task=square, keeps_log=False), 0, 1, hear, threading.Event())
    assert not tally.stopped
    assert not list(tmp_path.iterdir()), "a job that only reads leaves no log"


def test_a_task_that_fails_is_in_the_log(tmp_path: Path) -> None:
    def fail(_job: Squares, task: int, report: Progress) -> TaskFacts:
        raise OptionError(f"task {task}")

    job = Squares(str(tmp_path), (5,))
    with pytest.raises(OptionError, match="task 5"):
        work_off(Work(job=job, make_task=fail), 0, 1, ignore, threading.Event())
    assert [event["reason"] for event in read_events(open_storage(tmp_path)) if event["event"] == "end"] == ["failed"]
    assert job.closed


@pytest.mark.parametrize("num_threads", [1, 3])
def test_threads_do_every_task_once(num_threads: int) -> None:
    heard, caller = list[Message](), threading.get_ident()

    def hear(message: Message) -> None:
        assert threading.get_ident() == caller
        heard.append(message)

    job = Squares("", range(50))
    tally = run_in_threads(Work(job=job, make_task=square, keeps_log=False), num_threads, hear, never)
    assert tally == Tally(tasks=50, rows=sum(range(50)), images=50, num_bytes=2 * sum(range(50)))
    results = {message.task: message.facts.result for message in heard if isinstance(message, TaskDone)}
    assert results == {task: task * task for task in range(50)}
    assert job.closed == [True]


def test_a_slow_task_holds_the_window() -> None:
    """Results that wait for an earlier one are held in memory, so there are few of them."""
    may_end, begun = threading.Event(), list[int]()

    def slow(_job: Squares, task: int, _report: Progress) -> TaskFacts:
        begun.append(task)
        if task == 0:
            assert may_end.wait(20)
        return TaskFacts()

    def hear(message: Message) -> None:
        if isinstance(message, TaskDone) and message.task == 7:
            # The window is full: what is begun after it would be beyond task 8.
            time.sleep(0.05)
            assert max(begun) <= 7
            may_end.set()

    tally = run_in_threads(Work(job=Squares("", range(30)), make_task=slow, keeps_log=False), 2, hear, never)
    assert tally.tasks == 30


@pytest.mark.parametrize("how", ["error", "interrupt", "lost"])
def test_a_run_that_ends_early_ends_its_tasks(how: str) -> None:
    num_reports, running = [0], threading.Semaphore(0)

    def endless(_job: Squares, task: int, report: Progress) -> TaskFacts:
        if task == 1:
            assert running.acquire(timeout=20)
            if how == "error":
                raise OptionError("no disk")
            return TaskFacts()
        while True:
            report(Batch(rows=1))
            num_reports[0] += 1
            running.release()
            time.sleep(0.001)

    def hear(message: Message) -> None:
        if how == "interrupt":
            raise KeyboardInterrupt

    kind = {"error": OptionError, "interrupt": KeyboardInterrupt, "lost": DatasetBusyError}[how]
    with pytest.raises(kind):
        run_in_threads(
            Work(job=Squares("", range(2)), make_task=endless, keeps_log=False), 2, hear, lambda: how == "lost"
        )
    before = num_reports[0]
    time.sleep(0.02)
    assert num_reports[0] == before, "no task goes on"


def test_items_are_counted_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    moments: Iterator[float] = iter(range(100))
    monkeypatch.setattr("shardtools.execution.work.time.monotonic", lambda: next(moments) * 0.1)
    heard: list[Message] = []
    assert list(reporting(iter(range(7)), heard.append)) == list(range(7))
    assert sum(message.rows for message in heard if isinstance(message, Batch)) == 7
    assert 1 < len(heard) < 7
