"""One task of a curation job: a part of the new dataset, made anew or taken over with its shards.

Owns how a part is made. A part that is taken over is published after its shards, as one that is made anew is, so that
a run killed at any point leaves nothing half-done.
"""

from __future__ import annotations

from functools import partial

from shardtools.curation.changes import read_batch
from shardtools.curation.job import Job, Task
from shardtools.curation.rewriting import changed_samples
from shardtools.dataset import Dataset, ShardWriter
from shardtools.errors import AlreadyExistsError, DatasetBusyError
from shardtools.execution import Batch, Progress, TaskFacts, reporting
from shardtools.manifest import Part, digest
from shardtools.shards import IMAGEFOLDER, parse_part_path
from shardtools.storage import REQUESTS_IN_FLIGHT, copy_object, read_ahead


def make_part(job: Job, task: Task, report: Progress) -> TaskFacts:
    """Makes one part; the `MakeTask` of curation.

    Raises:
        ShardtoolsError: The parent is damaged, or the storage fails for good.
    """
    make = _rewrite if task.rewrites else _take_over
    return make(job, task, report)


def _rewrite(job: Job, task: Task, report: Progress) -> TaskFacts:
    """Makes a part and its shard anew, with the changes."""
    if job.source is None or job.changes is None:
        raise ValueError(f"the job has no source to make {task.path} anew from")
    split, shard_index = parse_part_path(task.path)
    table = _read(job, task).table
    changes = read_batch(job.changes, task.batch).to_pylist() if task.batch is not None else []
    with ShardWriter(
        job.storage,
        split=split,
        shard_index=shard_index,
        layout=job.layout,
        max_samples=task.num_rows,
        fields=job.fields,
    ) as writer:
        for sample in reporting(changed_samples(job.source, split, task.start, table, changes), report):
            writer.add(sample)
        shard = writer.commit()
    return _facts(task, images=shard.num_images, num_bytes=shard.num_bytes)


def _take_over(job: Job, task: Task, report: Progress) -> TaskFacts:
    """Copies the shards of a part byte for byte, then the part."""
    origin, storage = job.origins[task.origin], job.storage
    part = _read(job, task)
    files = {shard.path: shard.num_bytes for shard in part.shards}
    rows = part.table.select(["shard", "num_bytes"]).to_pylist()
    if job.layout == IMAGEFOLDER:
        files = {row["shard"]: row["num_bytes"] for row in rows if row["shard"] is not None}
    copies = (
        partial(copy_object, origin, path, storage, num_bytes=num_bytes, link=job.link)
        for path, num_bytes in files.items()
        if path not in task.skipped_files
    )
    depth = 0 if origin.is_local and storage.is_local else REQUESTS_IN_FLIGHT
    for _ in read_ahead(copies, depth):
        pass
    content = origin.read(task.path)
    try:
        storage.write(task.path, content, if_absent=True)
    except AlreadyExistsError:
        if digest(storage.read(task.path)) != digest(content):
            raise DatasetBusyError(
                f"{storage.url}: another run committed {task.path} meanwhile: let one run finish, then verify the "
                "dataset"
            ) from None
    report(Batch(rows=task.num_rows))
    images = [row for row in rows if row["shard"] is not None]
    return _facts(task, images=len(images), num_bytes=sum(row["num_bytes"] for row in images))


def _facts(task: Task, *, images: int, num_bytes: int) -> TaskFacts:
    split, shard_index = parse_part_path(task.path)
    details = {"rewritten": task.rewrites, "split": split, "shard_index": shard_index}
    return TaskFacts(rows=task.num_rows, images=images, num_bytes=num_bytes, details=details)


def _read(job: Job, task: Task) -> Part:
    origin = job.origins[task.origin]
    return Dataset(storage=origin, info=None, part_paths=(task.path,)).read_part(task.path)
