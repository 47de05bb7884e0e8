"""An engine for tests: the ranks of a work one after the other in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from shardtools.execution import Message, Progress, Tally, Work, work_off


def run_here(work: Work[Any, Any], num_processes: int, show: Progress, _lost: Callable[[], bool]) -> Tally:
    """An `Executor` that starts no interpreter."""
    tally = Tally()

    def hear(message: Message) -> None:
        tally.hear(message)
        show(message)

    for rank in range(num_processes):
        work_off(work, rank, num_processes, hear, threading.Event())
    return tally
