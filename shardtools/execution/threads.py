"""The engine for tasks that read much and hold little: threads of this process.

Owns the window of tasks under way. Nothing is pickled, so results may be large, and what a task loads serves the next
one; the price is that a task in pure Python holds up the others, and that a native crash takes the launcher along.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from shardtools.errors import DatasetBusyError
from shardtools.execution.messages import Message, Progress, TaskDone, TaskFacts
from shardtools.execution.work import Tally, Work

_AHEAD = 4
"""Tasks under way or waiting for an earlier one, per thread."""


def run_in_threads(work: Work[Any, Any], num_threads: int, show: Progress, lost: Callable[[], bool]) -> Tally:
    """Does the tasks in threads of this process; an `Executor`.

    Messages are shown in the calling thread. What is raised there, by a signal too, ends each task at its next message.

    Raises:
        Exception: What a task raised.
        DatasetBusyError: The place was taken over by another run.
    """
    tally, tasks = Tally(), work.job.tasks
    heard: queue.SimpleQueue[Message | tuple[int, Future[TaskFacts]]] = queue.SimpleQueue()
    under_way: dict[int, Future[TaskFacts]] = {}
    begun = 0
    is_over = threading.Event()

    def report(message: Message) -> None:
        if is_over.is_set():
            raise _Over
        heard.put(message)

    with ThreadPoolExecutor(max(1, num_threads), thread_name_prefix="shardtools-task") as pool:
        try:
            while begun < len(tasks) or under_way:
                # One slow task keeps the window from moving on: whoever wants results in order holds no more than it.
                while begun < len(tasks) and begun - min(under_way, default=begun) < _AHEAD * num_threads:
                    future = pool.submit(work.make_task, work.job, tasks[begun], report)
                    under_way[begun] = future
                    future.add_done_callback(partial(_put_done, heard, begun))
                    begun += 1
                found = heard.get()
                if isinstance(found, tuple):
                    number, future = found
                    del under_way[number]
                    found = TaskDone(task=number, facts=future.result())
                    if lost():
                        raise DatasetBusyError(f"{work.job.url}: another run took it over: run the same command again")
                tally.hear(found)
                show(found)
        finally:
            is_over.set()
            for future in under_way.values():
                future.cancel()
            pool.shutdown()
            work.job.close()
    return tally


class _Over(Exception):
    """Ends a task whose run is over; nobody looks at it."""


def _put_done(
    heard: queue.SimpleQueue[Message | tuple[int, Future[TaskFacts]]], number: int, future: Future[TaskFacts]
) -> None:
    if not future.cancelled():
        heard.put((number, future))
