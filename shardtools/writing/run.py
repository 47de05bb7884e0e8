"""A source becomes a dataset: listing, plan, lease, processes, commit.

Owns the order of these steps. Everything that can be wrong with names, keys and labels' folders is found while
listing, before the first shard; the price is that the first shard of a large source waits for the listing of all of
it.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from shardtools.dataset import Contents, acquire, read_contents
from shardtools.errors import RunError
from shardtools.execution import Executor, Planned, Progress, Work, ignore, run_in_processes
from shardtools.sources import Source, open_source
from shardtools.storage import open_storage, scratch_folder
from shardtools.words import counted
from shardtools.writing.job import check_apart
from shardtools.writing.options import WriteOptions
from shardtools.writing.targets import AppendTarget, NewTarget
from shardtools.writing.tasks import make_shard


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What a run did, and what the dataset holds.

    Attributes:
        url: The dataset.
        plan_id: Its fingerprint.
        source_kind: The source's `kind`.
        layout: Format of its shards.
        splits: Split -> rows.
        num_rows: Rows of the whole dataset: one for each file or sample of the source.
        num_images: Rows with an image.
        num_bytes: Total length of the images.
        num_shards: Shards with at least one image.
        statuses: Status -> rows; the rejected ones are all but "ok".
        contents: Classes, images without a label, reasons of rows without an image.
        notes: Lines on what was read in one of several ways, and which.
        num_written: Rows that this run wrote.
        seconds: Wall time of this run.
        num_processes: Processes that wrote them (0 where nothing was left to do).
    """

    url: str
    plan_id: str
    source_kind: str
    layout: str
    splits: dict[str, int]
    num_rows: int
    num_images: int
    num_bytes: int
    num_shards: int
    statuses: dict[str, int]
    contents: Contents
    notes: tuple[str, ...]
    num_written: int
    seconds: float
    num_processes: int


def write_dataset(
    options: WriteOptions, *, progress: Progress | None = None, run: Executor = run_in_processes
) -> WriteResult:
    """Writes the images of a source as a dataset, and only the shards that are not there yet.

    Args:
        options: What to read and where to write.
        progress: Called with each message of each process.
        run: Makes the shards: in processes of this machine.

    Raises:
        SourceError: The source cannot be read, or changed while it was.
        PlanMismatchError: The target holds another plan, or the source is not what it was.
        DatasetBusyError: Another run writes to the target.
        RunError: The run was stopped or killed; what is committed stays, and the same command resumes.
    """
    started = time.monotonic()
    show = progress or ignore
    storage = open_storage(options.out)
    with scratch_folder() as folder:
        source = open_source(options.source, folder)
        check_apart(source.storage, storage, files=_named_files(options, source))
        storage.check_writable()
        with acquire(storage, purpose="write") as lease:
            storage.clean_temporary()
            target = AppendTarget(storage, options) if options.append else NewTarget(storage, options)
            job = target.begin(source, uuid.uuid4().hex[:8])
            num_processes = min(options.max_processes(), len(job.tasks))
            rows = sum(source.splits.values())
            rows_to_make = sum(task.stop - task.start for task in job.tasks)
            num_tasks = len(job.tasks)
            show(Planned(rows=rows, rows_to_make=rows_to_make, num_tasks=num_tasks, num_processes=num_processes))
            made = run(Work(job=job, make_task=make_shard), num_processes, show, lambda: lease.lost)
            info = target.commit_if_whole(source)
    if info is None:
        raise RunError(
            f"stopped after {counted(made.rows, 'sample')}, {storage.url} is not finished: run the same command "
            "again, it resumes"
        )
    return WriteResult(
        url=storage.url,
        plan_id=info.plan_id,
        source_kind=source.kind,
        layout=info.layout,
        splits={split: totals.num_rows for split, totals in info.splits.items()},
        num_rows=info.num_rows,
        num_images=info.num_images,
        num_bytes=sum(totals.num_bytes for totals in info.splits.values()),
        num_shards=len(info.shards),
        statuses=info.statuses,
        contents=read_contents(storage, info),
        notes=source.notes,
        num_written=made.rows,
        seconds=time.monotonic() - started,
        num_processes=num_processes,
    )


def _named_files(options: WriteOptions, source: Source) -> str | None:
    """The files that were named as the source; `None` where it is all of a folder, or was opened by the caller."""
    if isinstance(options.source, Source) or source.kind == "dataset" or options.source.root is not None:
        return None
    given = options.source.source
    return None if open_storage(given).place == source.storage.place else given
