"""A job cut into tasks, and the loop that works them off.

Owns the contract between rooms and engines. A room gives a job (where, which run, which tasks) and a function that does
one task: idempotent, and dependent on the job and the task alone, so that any process on any machine may do it, again
after a kill too. An engine decides who does which task and when, and knows nothing of what a task is; what is done is
read from what was written, never from the engine. The price: whatever tasks share is opened again in every process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from shardtools.execution.events import EventLog
from shardtools.execution.messages import (
    Batch,
    Ended,
    EndReason,
    Message,
    Progress,
    Ready,
    TaskDone,
    TaskFacts,
)
from shardtools.storage import open_storage

_REPORT_SECONDS = 0.25

ItemT = TypeVar("ItemT")


class Job(Protocol):
    """What every process of a run is told; it travels pickled."""

    @property
    def url(self) -> str:
        """The place that the job is about."""

    @property
    def run_id(self) -> str:
        """Name of this run in the event log."""

    @property
    def tasks(self) -> Sequence[Any]:
        """What is left to do, in order."""

    def close(self) -> None:
        """Closes what tasks opened in this process."""


JobT = TypeVar("JobT", bound=Job)
TaskT = TypeVar("TaskT")

MakeTask = Callable[[JobT, TaskT, Progress], TaskFacts]
"""Does a task; told where to report what goes by meanwhile. What it returns is durable by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[JobT, TaskT]):
    """A job and what does its tasks.

    Attributes:
        job: The job.
        make_task: Does one; a function of a module, since it travels by its name.
        keeps_log: Whether `events/` of the job's place tells of the run; a job that only reads has none.
    """

    job: JobT
    make_task: MakeTask[JobT, TaskT]
    keeps_log: bool = True


@dataclass(slots=True)
class Tally:
    """What the processes of a run made.

    Attributes:
        tasks: Tasks done.
        rows: Rows of these.
        images: Rows with an image.
        num_bytes: Of the images.
        stopped: Whether a process ended before its tasks did, because it was asked to.
    """

    tasks: int = 0
    rows: int = 0
    images: int = 0
    num_bytes: int = 0
    stopped: bool = False

    def hear(self, message: Message) -> None:
        """Adds what a message tells."""
        if isinstance(message, TaskDone):
            self.tasks += 1
            self.rows += message.facts.rows
            self.images += message.facts.images
            self.num_bytes += message.facts.num_bytes
        elif isinstance(message, Ended):
            self.stopped |= message.reason == "stopped"


Executor = Callable[[Work[Any, Any], int, Progress, Callable[[], bool]], Tally]
"""An engine: does a work's tasks in so many processes, shows their messages, and asks now and then whether the place
was taken over by another run. Tasks end in any order. It raises the first error of a task, when the others have ended
after the task in hand."""


def work_off(work: Work[Any, Any], rank: int, num_processes: int, report: Progress, stop: threading.Event) -> None:
    """Does every `num_processes`-th task from `rank` on; ends early, after a whole task, on `stop`.

    Raises:
        ShardtoolsError: What a task raised.
    """
    job = work.job
    numbers = range(rank, len(job.tasks), num_processes)
    log = EventLog(open_storage(job.url), f"{job.run_id}-rank{rank:04d}") if work.keeps_log else None
    if log is not None:
        log.add("start", num_processes=num_processes, num_tasks=len(numbers), pid=os.getpid())
    report(Ready())
    started = time.monotonic()
    rows = images = 0
    reason: EndReason = "failed"
    try:
        for number in numbers:
            if stop.is_set():
                reason = "stopped"
                break
            facts = work.make_task(job, job.tasks[number], report)
            rows, images = rows + facts.rows, images + facts.images
            if log is not None:
                speed = round(rows / max(time.monotonic() - started, 1e-9), 2)
                sizes = {"rows": facts.rows, "images": facts.images, "bytes": facts.num_bytes}
                log.add("shard", **facts.details, **sizes, images_per_second=speed)
            report(TaskDone(task=number, facts=facts))
        else:
            reason = "done"
    finally:
        # Also where a task failed: the log then says that this process is gone.
        job.close()
        if log is not None:
            log.add("end", reason=reason)
            log.flush()
    report(Ended(reason=reason, images=images, seconds=round(time.monotonic() - started, 3)))


def reporting(items: Iterator[ItemT], report: Progress) -> Iterator[ItemT]:
    """The items; how many went by is reported a few times a second."""
    count = 0
    reported_at = time.monotonic()
    for item in items:
        yield item
        count += 1
        if time.monotonic() - reported_at > _REPORT_SECONDS:
            report(Batch(rows=count))
            count, reported_at = 0, time.monotonic()
    if count:
        report(Batch(rows=count))


def in_task_order(take: Callable[[TaskDone], None], show: Progress) -> Progress:
    """Hands on what became of tasks in the order of tasks, whatever order they end in.

    Args:
        take: Called with each done task; one that is early waits in memory for those before it.
        show: Called with every other message at once.
    """
    waiting: dict[int, TaskDone] = {}
    next_task = 0

    def hear(message: Message) -> None:
        nonlocal next_task
        if not isinstance(message, TaskDone):
            show(message)
            return
        waiting[message.task] = message
        while next_task in waiting:
            take(waiting.pop(next_task))
            next_task += 1

    return hear
