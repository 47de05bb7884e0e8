"""A dataset and a view become a new dataset: edits, changes, plan, lease, processes, commit, overlays.

Owns the order of these steps. The parent is only read. Everything that can be wrong with the view is found before the
first shard; the price is one pass over the manifest, also where a run is resumed.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shardtools.curation.changes import Changes, find_changes
from shardtools.curation.job import Job, Task, tasks_of_changes, tasks_of_undo
from shardtools.curation.labels import read_classes
from shardtools.curation.options import ApplyOptions, UndoOptions, max_processes
from shardtools.curation.overlays import MADE_BY, carry, find_carried, left_behind, write_changes, write_weights
from shardtools.curation.parts import make_part
from shardtools.curation.target import CurationResult, Target
from shardtools.curation.view import read_edits
from shardtools.dataset import Dataset, DatasetInfo, acquire, commit_path, open_dataset, read_plan_file
from shardtools.errors import DatasetError, NotFoundError, RunError
from shardtools.execution import Executor, Planned, Progress, Work, ignore, run_in_processes
from shardtools.manifest import digest
from shardtools.sources import SourceOptions, open_source
from shardtools.storage import Storage, open_storage

_APPLY, _UNDO = "apply", "undo"
_VIEW_CHARACTERS = 4000


def apply_view(
    options: ApplyOptions, *, progress: Progress | None = None, run: Executor = run_in_processes
) -> CurationResult:
    """Writes a new version of a dataset, and only the shards of it that are not there yet.

    Args:
        options: The dataset, the view, and where to write.
        progress: Called with each message of each process.
        run: Makes the job's parts: in processes of this machine.

    Raises:
        QueryError: The view cannot run, or asks for what cannot be.
        SourceError: The file of edits is none; an image that stays is damaged.
        DatasetError: The dataset is not finished, or lacks an overlay to carry.
        PlanMismatchError: The target holds another plan.
        DatasetBusyError: Another run writes to the target.
        RunError: The run was stopped or killed; what is committed stays, and the same command resumes.
    """
    started = time.monotonic()
    show = progress or ignore
    storage, dataset = open_storage(options.out), open_dataset(options.dataset)
    info, parent = dataset.commit, digest(dataset.content)
    with tempfile.TemporaryDirectory(prefix="shardtools-") as name:
        folder = Path(name)
        carried = find_carried(dataset, options.carry)
        edits, view = read_edits(options, dataset)
        changes = find_changes(dataset, edits, read_classes(options.dataset, options.classes), folder)
        settings = {"curation": _APPLY, "parent": parent, "changes": changes.digest}
        target = Target(storage, [dataset.storage], info, settings)
        target.check()
        source = open_source(SourceOptions(source=options.dataset, kind="dataset"), folder)
        tasks = tasks_of_changes(info, changes.parts)
        with acquire(storage, purpose=_APPLY) as lease:
            storage.clean_temporary()
            job = _job(storage, [dataset.storage], info, link=options.link)
            job = replace(job, source=source, changes=changes.file)
            job = target.begin(tasks, job, {"view": view[:_VIEW_CHARACTERS]})
            num_processes = min(max_processes(options.num_processes), len(job.tasks))
            num_written = _run(run, job, tasks, num_processes, show, lambda: lease.lost)
            made = _whole(target.commit_if_whole(parent), storage, num_written)
            if len(made.parts) == len(tasks):
                # With more parts samples were appended since, and the overlays are there already.
                _write_overlays(options, dataset, changes, view)
                carry(carried, options.out)
    return _result(
        storage,
        made,
        parent=parent,
        num_taken_over=sum(not task.rewrites for task in tasks),
        num_made_anew=sum(task.rewrites for task in tasks),
        changes=changes.counts,
        overlays_left=left_behind(dataset, storage),
        num_written=num_written,
        seconds=time.monotonic() - started,
        num_processes=num_processes,
    )


def undo(options: UndoOptions, *, progress: Progress | None = None, run: Executor = run_in_processes) -> CurationResult:
    """Writes the dataset that a dataset was made from by `apply_view`, with what was appended to it since.

    All of it is taken over, from the parent or from the appended shards, byte for byte.

    Raises:
        DatasetError: One of the two is not finished, or the one was not made from the other.
        PlanMismatchError, DatasetBusyError, RunError: As `apply_view`.
    """
    started = time.monotonic()
    show = progress or ignore
    storage, dataset = open_storage(options.out), open_dataset(options.dataset)
    info = dataset.commit
    parent = _open_parent(dataset, options.parent)
    origins = [parent.storage, dataset.storage]
    sha256 = digest(dataset.content)
    target = Target(storage, origins, parent.commit, {"curation": _UNDO, "parent": sha256})
    target.check()
    tasks = tasks_of_undo(info, parent.commit)
    with acquire(storage, purpose=_UNDO) as lease:
        storage.clean_temporary()
        job = target.begin(tasks, _job(storage, origins, info, link=options.link), {})
        num_processes = min(max_processes(options.num_processes), len(job.tasks))
        num_written = _run(run, job, tasks, num_processes, show, lambda: lease.lost)
        made = _whole(target.commit_if_whole(sha256), storage, num_written)
        if len(made.parts) == len(tasks):
            write_weights(options.out, parent, [])
    return _result(
        storage,
        made,
        parent=sha256,
        num_taken_over=len(tasks),
        num_made_anew=0,
        changes={},
        overlays_left=left_behind(parent, storage),
        num_written=num_written,
        seconds=time.monotonic() - started,
        num_processes=num_processes,
    )


def _open_parent(dataset: Dataset, url: str) -> Dataset:
    """The dataset at `url`, as it was when the other one was made from it.

    Raises:
        DatasetError: The other one was not made from it.
    """
    plan = read_plan_file(dataset.storage)
    if plan is None or plan.settings.get("curation") != _APPLY:
        raise DatasetError(f"{dataset.storage.url} was not made by {MADE_BY}: there is nothing to undo")
    wanted = str(plan.settings["parent"])
    parent = open_dataset(url)
    if digest(parent.content) == wanted:
        return parent
    try:
        content = parent.storage.read(commit_path(wanted))
    except NotFoundError:
        content = b""
    if digest(content) != wanted:
        raise DatasetError(
            f"{dataset.storage.url} was made from commit {wanted[:8]} of a dataset, {url} is at "
            f"{digest(parent.content)[:8]} and never was: give the dataset that it was made from"
        )
    return open_dataset(f"{parent.storage.url}@{wanted[:16]}")


def _job(storage: Storage, origins: list[Storage], info: DatasetInfo, *, link: bool) -> Job:
    return Job(
        run_id=uuid.uuid4().hex[:8],
        storage=storage,
        origins=tuple(origins),
        tasks=(),
        layout=info.layout,
        fields=info.fields,
        link=link,
    )


def _run(
    run: Executor, job: Job, tasks: Sequence[Task], num_processes: int, show: Progress, lost: Callable[[], bool]
) -> int:
    """Makes the parts that are left of all; returns the number of rows that it committed."""
    rows, rows_to_make = (sum(task.num_rows for task in some) for some in (tasks, job.tasks))
    show(Planned(rows=rows, rows_to_make=rows_to_make, num_tasks=len(job.tasks), num_processes=num_processes))
    return run(Work(job=job, make_task=make_part), num_processes, show, lost).rows


def _whole(info: DatasetInfo | None, storage: Storage, num_written: int) -> DatasetInfo:
    if info is None:
        raise RunError(
            f"stopped after {num_written} samples, {storage.url} is not finished: run the same command again, "
            "it resumes"
        )
    return info


def _write_overlays(options: ApplyOptions, dataset: Dataset, changes: Changes, view: str) -> None:
    settings = {
        "parent": digest(dataset.content),
        "view": view[:_VIEW_CHARACTERS],
        "keep": options.keep,
        "drop": options.drop,
        "classes": options.classes,
        "counts": changes.counts,
    }
    write_changes(options.out, changes.batches(), settings)
    write_weights(options.out, dataset, changes.batches())


def _result(storage: Storage, info: DatasetInfo, **facts: Any) -> CurationResult:
    return CurationResult(
        url=storage.url,
        plan_id=info.plan_id,
        splits={split: totals.num_rows for split, totals in info.splits.items()},
        num_rows=info.num_rows,
        num_images=info.num_images,
        num_bytes=sum(totals.num_bytes for totals in info.splits.values()),
        num_shards=len(info.shards),
        statuses=info.statuses,
        **facts,
    )
