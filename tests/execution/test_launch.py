"""The launch: the first rank begins, all work, the first one finishes, and a stop is a stop. Ranks are threads here."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from shardtools.errors import DatasetBusyError, OptionError, PlanError, RunError, ShardtoolsError
from shardtools.execution import (
    Batch,
    Child,
    Ended,
    Held,
    Message,
    Progress,
    TaskDone,
    TaskFacts,
    launched_rank,
    ranks_on_this_machine,
    run_as_rank,
)

NUM_TASKS = 7


class Exchange:
    """What the ranks give each other."""

    def __init__(self, world_size: int) -> None:
        self.values: list[Any] = [None] * world_size
        self.barrier = threading.Barrier(world_size, timeout=20)

    def all(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = value
        self.barrier.wait()
        found = list(self.values)
        self.barrier.wait()
        return found


@dataclass(frozen=True)
class ThreadRank:
    """A `World` of threads."""

    rank: int
    world_size: int
    exchange: Exchange

    def from_first(self, value: Any) -> Any:
        return self.exchange.all(self.rank, value)[0]

    def gather(self, value: Any) -> list[Any]:
        return self.exchange.all(self.rank, value)


@dataclass
class Place:
    lost: bool = False


@dataclass
class CountedJob:
    """A `Launch` of tasks that are counted; notes what was called."""

    calls: list[str] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)
    refuses: ShardtoolsError | None = None
    place: Place = field(default_factory=Place)
    num_tasks: int = NUM_TASKS
    where: str = "somewhere"

    @contextlib.contextmanager
    def hold(self) -> Iterator[Held]:
        self.calls.append("hold")
        yield self.place
        self.calls.append("let go")

    def begin(self) -> list[int] | None:
        self.calls.append("begin")
        if self.refuses is not None:
            raise self.refuses
        return list(range(self.num_tasks)) or None

    def child(self, job: list[int]) -> Child:
        raise AssertionError(f"ranks are there already, found {job}")

    def hear(self, message: Message) -> None:
        self.heard.append(message)

    def finish(self, *, stopped: bool) -> int:
        self.calls.append("finish")
        done = {message.task for message in self.heard if isinstance(message, TaskDone)}
        if len(done) < self.num_tasks:
            raise RunError(f"{'stopped' if stopped else 'ended'} after {len(done)} tasks")
        return len(done)


def launch(
    world_size: int,
    jobs: list[CountedJob],
    *,
    stop: Callable[[int, int], bool] = lambda rank, task: False,
    fails: ShardtoolsError | None = None,
) -> list[Any]:
    """Runs all ranks; what each returned or raised."""
    exchange, outcomes = Exchange(world_size), list[Any]([None] * world_size)

    def run(rank: int) -> None:
        stopped = threading.Event()

        def work(job: list[int], report: Progress) -> None:
            for task in job[rank::world_size]:
                if stopped.is_set():
                    break
                if fails is not None and rank == world_size - 1:
                    exchange.barrier.abort()
                    raise fails
                report(Batch(rows=1))
                report(TaskDone(task=task, facts=TaskFacts(rows=1)))
                if stop(rank, task):
                    stopped.set()
            report(Ended(reason="stopped" if stopped.is_set() else "done"))

        try:
            outcomes[rank] = run_as_rank(jobs[rank], ThreadRank(rank, world_size, exchange), work, stopped)
        except (ShardtoolsError, threading.BrokenBarrierError) as error:
            outcomes[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_first_rank_begins_and_finishes_and_all_have_its_result(world_size: int) -> None:
    jobs = [CountedJob() for _ in range(world_size)]
    assert launch(world_size, jobs) == [NUM_TASKS] * world_size
    assert jobs[0].calls == ["hold", "begin", "finish", "let go"]
    assert all(job.calls == [] and job.heard == [] for job in jobs[1:])
    assert sorted(one.task for one in jobs[0].heard if isinstance(one, TaskDone)) == list(range(NUM_TASKS))
    # Of the others only what counts is told, once all are done.
    assert sum(isinstance(one, Batch) for one in jobs[0].heard) == len(range(0, NUM_TASKS, world_size))
    assert sum(isinstance(one, Ended) for one in jobs[0].heard) == world_size


def test_what_the_first_rank_refuses_is_refused_by_all() -> None:
    jobs = [CountedJob(refuses=PlanError("another plan")), CountedJob()]
    outcomes = launch(2, jobs)
    assert [(type(one), str(one)) for one in outcomes] == [(PlanError, "another plan")] * 2
    assert jobs[0].calls == ["hold", "begin"], "the place is let go by the error"


@pytest.mark.parametrize("stopped_rank", [0, 1, 2])
def test_a_rank_that_is_stopped_stops_the_run_for_all(stopped_rank: int) -> None:
    jobs = [CountedJob() for _ in range(3)]
    outcomes = launch(3, jobs, stop=lambda rank, task: rank == stopped_rank and task < 3)
    assert [type(one) for one in outcomes] == [RunError] * 3
    assert {str(one).split(" after")[0] for one in outcomes} == {"stopped"}


def test_a_stop_after_the_last_task_is_none() -> None:
    outcomes = launch(2, [CountedJob(), CountedJob()], stop=lambda rank, task: task >= NUM_TASKS - 2)
    assert outcomes == [NUM_TASKS] * 2


def test_nothing_left_to_do() -> None:
    jobs = [CountedJob(num_tasks=0), CountedJob()]
    assert launch(2, jobs) == [0, 0]
    assert jobs[0].heard == []


def test_a_place_that_was_taken_over_is_not_finished() -> None:
    jobs = [CountedJob(place=Place(lost=True)), CountedJob()]
    outcomes = launch(2, jobs)
    assert [type(one) for one in outcomes] == [DatasetBusyError] * 2
    assert "finish" not in jobs[0].calls


def test_a_rank_that_fails_keeps_the_first_from_finishing() -> None:
    jobs = [CountedJob(), CountedJob()]
    outcomes = launch(2, jobs, fails=OptionError("no disk"))
    assert isinstance(outcomes[1], OptionError) and isinstance(outcomes[0], threading.BrokenBarrierError)
    assert "finish" not in jobs[0].calls


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 16),
        ({"LOCAL_WORLD_SIZE": "8"}, 8),
        ({"SLURM_STEP_TASKS_PER_NODE": "4(x4)"}, 4),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(x4)", "SLURM_NODEID": "3"}, 2),
        ({"SLURM_STEP_TASKS_PER_NODE": "6(x2),4", "SLURM_NODEID": "1"}, 6),
        ({"SLURM_STEP_TASKS_PER_NODE": "6(x2),4", "SLURM_NODEID": "2"}, 4),
        ({"SLURM_STEP_TASKS_PER_NODE": "1", "LOCAL_WORLD_SIZE": "8"}, 8),
    ],
)
def test_cores_are_shared_by_the_ranks_of_a_machine(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: int
) -> None:
    for name in ("LOCAL_WORLD_SIZE", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NODEID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks_on_this_machine(16) == expected


def test_a_launcher_that_counts_strangely_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "two")
    with pytest.raises(RunError, match="expected the number of processes on this machine, found 'two'"):
        ranks_on_this_machine(2)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"RANK": "3"}, 3),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8"}, 5),
        ({"SLURM_NTASKS": "8"}, None),
    ],
)
def test_who_started_this_process(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: int | None
) -> None:
    for name in ("RANK", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched_rank() == expected
