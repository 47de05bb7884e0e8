"""A generation run: the lease, what is left to do, the ranks, the commit.

Owns what is generation's of a launch; the order is `execution.launch`'s.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

from shardtools.dataset import DatasetInfo, acquire, commit_dataset, list_parts
from shardtools.errors import RunError
from shardtools.execution import (
    Child,
    Held,
    Message,
    Planned,
    Progress,
    Ready,
    Tally,
    ignore,
    run_children,
    run_in_child,
)
from shardtools.generation.estimating import remember_speed
from shardtools.generation.options import GenerateOptions
from shardtools.generation.preparing import Job, Prepared, begin, prepare
from shardtools.storage import Storage, open_storage

GENERATOR = ("-m", "shardtools.pipelines.generate.job")
"""What follows the interpreter on the command line of the process that generates."""


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
    """

    url: str
    plan_id: str
    num_rows: int
    num_images: int
    num_made: int
    seconds: float
    num_processes: int


def generate(options: GenerateOptions, *, progress: Progress | None = None) -> GenerateResult:
    """Makes the images that `options` ask for, and only those that are not there yet.

    Args:
        options: What to make and where.
        progress: Called with each message of each process.

    Raises:
        PlanMismatchError: The target holds another plan.
        DatasetBusyError: Another run writes to the target.
        RunError: The run was stopped, or a process failed; what is committed stays, and the same command resumes.
    """
    return run_in_child(Generation(options, progress or ignore))


class Generation:
    """A run of `generate`, for ranks of any launcher; an `execution.Launch`.

    Attributes:
        prepared: The plan and what serves it.
    """

    def __init__(self, options: GenerateOptions, show: Progress, *, num_ranks: int | None = None) -> None:
        """Checks the options; writes nothing.

        Args:
            options: What to make and where.
            show: Called with each message.
            num_ranks: Ranks that are there already; `None` for as many as the options ask for.

        Raises:
            ShardtoolsError: An option, the template, a class or the model is wrong.
        """
        self._started = time.monotonic()
        self.prepared = prepare(options)
        self._retry_failed = options.retry_failed
        self._storage, self._show, self._num_ranks = open_storage(options.out), show, num_ranks
        self._num_tasks = self._num_processes = 0
        self._tally = GenerationTally()

    @property
    def where(self) -> str:
        """The dataset."""
        return self._storage.url

    def hold(self) -> contextlib.AbstractContextManager[Held]:
        """Takes the dataset's lease."""
        self._storage.check_writable()
        return acquire(self._storage, purpose="gen-sd")

    def begin(self) -> Job | None:
        """Stores or compares the plan; what is left to make."""
        job = begin(self.prepared, self._storage, retry_failed=self._retry_failed)
        self._num_tasks = len(job.tasks)
        self._num_processes = self._num_ranks or min(self.prepared.num_processes, self._num_tasks)
        rows = 0 if job.retry_failed else sum(stop - start for start, stop in map(job.plan.shard_range, job.tasks))
        self._show(
            Planned(
                rows=self.prepared.plan.num_rows,
                rows_to_make=rows,
                num_tasks=len(job.tasks),
                num_processes=self._num_processes,
            )
        )
        return job if job.tasks else None

    def child(self, job: Job) -> Child:
        """The process that imports torch and forks the ranks."""
        return generating_child(job, self._num_processes)

    def hear(self, message: Message) -> None:
        """Counts what a rank made."""
        self._tally.hear(message)
        self._show(message)

    def finish(self, *, stopped: bool) -> GenerateResult:
        """Commits the dataset if it is whole."""
        info = commit_if_whole(self.prepared, self._storage)
        made = self._tally
        if made.images and self._num_ranks is None:
            remember_speed(self.prepared, images=made.rows, num_bytes=made.num_bytes, seconds=made.seconds)
        if made.tasks < self._num_tasks or info is None:
            # A dataset whose failed images are made again is whole all along, so the tasks count too.
            how = "stopped" if stopped or made.stopped else "ended"
            raise RunError(
                f"{how} after {made.rows} images, {self.where} is not finished: run the same command again, it resumes"
            )
        return GenerateResult(
            url=self.where,
            plan_id=self.prepared.plan_file.plan_id,
            num_rows=info.num_rows,
            num_images=info.num_images,
            num_made=made.rows,
            seconds=time.monotonic() - self._started,
            num_processes=self._num_processes,
        )


def commit_if_whole(prepared: Prepared, storage: Storage) -> DatasetInfo | None:
    """Writes `dataset.json` when every shard that was ever asked for is there."""
    paths = list_parts(storage)
    if len(paths) < prepared.plan.num_shards:
        return None
    scale = len(paths) // prepared.plan.shards_per_clone
    whole = paths[: scale * prepared.plan.shards_per_clone]
    return commit_dataset(storage, kind="generated", plan_id=prepared.plan_file.plan_id, scale=scale, part_paths=whole)


@dataclass(slots=True)
class GenerationTally(Tally):
    """What the ranks made, and in which time.

    Attributes:
        ready_at: When the first model was loaded; `None` before.
    """

    ready_at: float | None = None

    def hear(self, message: Message) -> None:
        """Adds what a message tells."""
        if isinstance(message, Ready) and self.ready_at is None:
            self.ready_at = time.monotonic()
        Tally.hear(self, message)

    @property
    def seconds(self) -> float:
        """Since the first model was loaded."""
        return 0.0 if self.ready_at is None else time.monotonic() - self.ready_at


def generating_child(job: Job, num_processes: int) -> Child:
    """The process that makes a job's tasks in so many ranks."""
    threads = str(job.plan.options.generator.threads_per_process)
    return Child(
        arguments=GENERATOR,
        job=(job, num_processes, os.getpid()),
        environment={"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"},
    )


def run_ranks(job: Job, num_processes: int, show: Progress) -> GenerationTally:
    """Makes the job's tasks in `num_processes` ranks of this machine, without lease, plan or commit.

    Raises:
        ModelError: The pipeline cannot be loaded.
        RunError: A process failed or was killed.
    """
    tally = GenerationTally()

    def hear(message: Message) -> None:
        tally.hear(message)
        show(message)

    tally.stopped |= run_children([generating_child(job, num_processes)], hear, where=job.url)
    return tally
