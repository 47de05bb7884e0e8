"""A command that torchrun, accelerate or Slurm may have started as one of many ranks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from shardtools.execution import Progress, ignore, launched_rank


def run_job(
    shown: AbstractContextManager[Progress],
    *,
    alone: Callable[[Progress], Any],
    as_rank: Callable[[Progress], Any],
) -> Any:
    """Does a job the way this process was started.

    Args:
        shown: Shows messages; entered where this process is the one that people see.
        alone: Starts the job's processes.
        as_rank: Does the share of a rank; imports torch.

    Returns:
        The result to print; `None` in ranks other than the first, which print nothing.
    """
    rank = launched_rank()
    if rank is None or rank == 0:
        with shown as progress:
            return alone(progress) if rank is None else as_rank(progress)
    as_rank(ignore)
    return None
