"""The engine that everybody has: processes of this machine, tasks dealt out in turn.

Owns how a work reaches its processes. Each is a fresh interpreter (`python -m shardtools.execution.worker`), which dies
with this one. The price: who does which task is settled at the start, so a slow task holds up those dealt to the same
process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from shardtools.execution.children import Child, run_children
from shardtools.execution.messages import Message, Progress
from shardtools.execution.work import Tally, Work


def run_in_processes(work: Work[Any, Any], num_processes: int, show: Progress, lost: Callable[[], bool]) -> Tally:
    """Does the tasks in processes of this machine; an `Executor`.

    Raises:
        ShardtoolsError: The first error of a task.
        RunError: A process was killed.
        DatasetBusyError: The place was taken over by another run.
    """
    tally = Tally()

    def hear(message: Message) -> None:
        tally.hear(message)
        show(message)

    children = [
        Child(
            arguments=("-m", "shardtools.execution.worker"),
            job=(work, rank, num_processes, os.getpid()),
            environment={"OMP_NUM_THREADS": "1"},
        )
        for rank in range(num_processes)
    ]
    tally.stopped |= run_children(children, hear, where=work.job.url, lost=lost)
    return tally
