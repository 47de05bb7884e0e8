"""From an indexed source to a job: its plan, its shards, and which of them are still to be made.

Owns the arithmetic of shards. A shard is a range of positions of one split, so nobody needs to know what the others
did.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from shardtools.dataset import PlanFile, store_plan_file
from shardtools.dataset.opening import list_parts
from shardtools.dataset.plan_file import fingerprint
from shardtools.errors import OptionError
from shardtools.shards.names import parse_part_path
from shardtools.sources import Source
from shardtools.storage import Storage


@dataclass(frozen=True, slots=True)
class Task:
    """One shard: rows `start` to `stop` (exclusive) of a split."""

    split: str
    shard_index: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every process of a run is told.

    Attributes:
        run_id: Names the run in the event log.
        url: The dataset.
        source: The indexed source.
        tasks: Shards to make; process r takes every num_processes-th from r on.
        launcher_pid: The process to die with.
    """

    run_id: str
    url: str
    source: Source
    tasks: tuple[Task, ...]
    launcher_pid: int


def plan_tasks(source: Source, samples_per_shard: int) -> list[Task]:
    """All shards of a source, split by split."""
    return [
        Task(split, shard_index, start, min(start + samples_per_shard, count))
        for split, count in source.splits.items()
        for shard_index, start in enumerate(range(0, count, samples_per_shard))
    ]


def plan_file(source: Source, samples_per_shard: int) -> PlanFile:
    """The content of `plan.json`: the source's names, lengths and options, but not where it lies."""
    settings = {**source.settings, "splits": dict(source.splits), "samples_per_shard": samples_per_shard}
    return PlanFile(
        kind="real",
        plan_id=fingerprint(settings),
        settings=settings,
        notes={},
        scale=1,
        num_shards=len(plan_tasks(source, samples_per_shard)),
        num_rows=sum(source.splits.values()),
    )


def begin(source: Source, storage: Storage, samples_per_shard: int, run_id: str) -> Job:
    """Writes or compares `plan.json` and lists what is left to do; the caller holds the lease.

    Raises:
        PlanMismatchError: The target holds another plan, or the source is not what it was.
    """
    store_plan_file(storage, plan_file(source, samples_per_shard))
    done = {parse_part_path(path) for path in list_parts(storage)}
    missing = [task for task in plan_tasks(source, samples_per_shard) if (task.split, task.shard_index) not in done]
    return Job(run_id=run_id, url=storage.url, source=source, tasks=tuple(missing), launcher_pid=os.getpid())


def check_apart(source: Storage, target: Storage) -> None:
    """Refuses a dataset below its own source, whose shards would become samples of the next run.

    Raises:
        OptionError: It is.
    """
    inner, outer = _place(target), _place(source)
    if inner == outer or inner.startswith(f"{outer.rstrip('/')}/"):
        raise OptionError(f"the dataset {target.url} lies inside of its source {source.url}: choose a folder outside")


def _place(storage: Storage) -> str:
    probe = storage.local_path("probe")
    return storage.url.rstrip("/") if probe is None else os.path.realpath(probe.parent)
