"""A generation run on this machine: the lease, the processes, the commit.

Owns the order of these. The price of messages over a pipe: progress is seen only by the launcher; anyone else reads
`shardtools status`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shardtools.dataset import DatasetInfo, acquire, commit_dataset
from shardtools.dataset.opening import list_parts
from shardtools.errors import RunError
from shardtools.generation.estimating import remember_speed
from shardtools.generation.options import GenerateOptions
from shardtools.generation.preparing import Job, Prepared, begin, prepare
from shardtools.processes import Child, Progress, run_children
from shardtools.storage import Storage, open_storage


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateResult:
    """What a run did.

    Attributes:
        url: The dataset.
        plan_id: Its fingerprint.
        num_rows: Rows of the whole dataset.
        num_images: Rows with an image.
        num_made: Rows made by this run.
        seconds: Wall time of this run.
        num_processes: Processes that made them (0 where nothing was left to do).
        committed: Whether the dataset is whole and committed.
    """

    url: str
    plan_id: str
    num_rows: int
    num_images: int
    num_made: int
    seconds: float
    num_processes: int
    committed: bool


def generate(options: GenerateOptions, *, progress: Progress | None = None) -> GenerateResult:
    """Makes the images that `options` ask for, and only those that are not there yet.

    Args:
        options: What to make and where.
        progress: Called with each message of each process.

    Raises:
        PlanMismatchError: The target holds another plan.
        DatasetBusyError: Another run writes to the target.
        RunError: A process failed; what is committed stays, and the same command resumes.
    """
    started = time.monotonic()
    show = progress or (lambda message: None)
    prepared = prepare(options)
    storage = open_storage(options.out)
    storage.check_writable()
    with acquire(storage, purpose="gen-sd") as lease:
        job = begin(prepared, storage, retry_failed=options.retry_failed)
        num_processes = min(prepared.num_processes, len(job.tasks))
        show(
            {
                "event": "plan",
                "rows": prepared.plan.num_rows,
                "tasks": len(job.tasks),
                "num_processes": num_processes,
                "rows_to_make": _rows_to_make(job),
            }
        )
        made = run_processes(job, num_processes, show, lost=lambda: lease.lost) if job.tasks else Tally()
        info = commit_if_whole(prepared, storage)
    if made.images:
        remember_speed(prepared, images=made.images, num_bytes=made.num_bytes, seconds=made.seconds)
    if made.stopped:
        raise RunError(
            f"stopped after {made.images} images, {storage.url} is not finished: run the same command again, it resumes"
        )
    return GenerateResult(
        url=storage.url,
        plan_id=job.plan_id,
        num_rows=info.num_rows if info else 0,
        num_images=info.num_images if info else 0,
        num_made=made.images,
        seconds=time.monotonic() - started,
        num_processes=num_processes,
        committed=info is not None,
    )


def commit_if_whole(prepared: Prepared, storage: Storage) -> DatasetInfo | None:
    """Writes `dataset.json` when every shard that was ever asked for is there."""
    paths = list_parts(storage)
    if len(paths) < prepared.plan.num_shards:
        return None
    scale = len(paths) // prepared.plan.shards_per_clone
    whole = paths[: scale * prepared.plan.shards_per_clone]
    return commit_dataset(storage, kind="generated", plan_id=prepared.plan_file.plan_id, scale=scale, part_paths=whole)


def _rows_to_make(job: Job) -> int:
    if job.retry_failed:
        return 0
    return sum(stop - start for start, stop in map(job.plan.shard_range, job.tasks))


@dataclass(slots=True)
class Tally:
    """What the processes made.

    Attributes:
        images: Rows.
        num_bytes: Of their images.
        seconds: From the first loaded model on.
        stopped: Whether a signal ended the run early.
    """

    images: int = 0
    num_bytes: int = 0
    seconds: float = 0.0
    stopped: bool = False


def run_processes(job: Job, num_processes: int, show: Progress, *, lost: Callable[[], bool] = lambda: False) -> Tally:
    """Runs the job's tasks in `num_processes` processes of this machine and waits for them.

    One child imports torch and forks the ranks.

    Args:
        job: The job.
        num_processes: 1 or more.
        show: Called with each message.
        lost: Asked now and then whether the dataset was taken over by another run.

    Raises:
        ModelError: The pipeline cannot be loaded.
        RunError: A process failed or was killed.
        DatasetBusyError: The dataset was taken over.
    """
    tally = Tally()
    ready_at: float | None = None

    def handle(message: dict[str, Any]) -> None:
        nonlocal ready_at
        event = message["event"]
        if event == "ready" and ready_at is None:
            ready_at = time.monotonic()
        elif event == "shard":
            tally.images += message["rows"]
            tally.num_bytes += message["bytes"]
        elif event == "end" and message["reason"] == "stopped":
            tally.stopped = True
        show(message)

    threads = str(job.plan.options.generator.threads_per_process)
    child = Child(
        arguments=("-m", "shardtools.pipelines.generate", "--workers", str(num_processes), str(os.getpid())),
        job=job,
        environment={"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"},
    )
    tally.stopped |= run_children([child], handle, where=job.url, lost=lost)
    if ready_at is not None:
        tally.seconds = time.monotonic() - ready_at
    return tally
