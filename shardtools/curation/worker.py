"""Makes the parts of a job, in one process of many: `python -m shardtools.curation.worker` with the job on its input.

Owns the loop over parts. A part that is taken over is published after its shards, as one that is made anew is, so that
a run killed at any point leaves nothing half-done. Messages are JSON lines on the standard output; the price is that
nothing else may print there.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from shardtools.curation.changes import read_batch
from shardtools.curation.job import Job, Task
from shardtools.curation.rewriting import changed_samples
from shardtools.dataset import Dataset, EventLog, ShardWriter
from shardtools.errors import AlreadyExistsError, DatasetBusyError, ShardtoolsError
from shardtools.manifest import Part, digest
from shardtools.processes import die_with_parent, stop_on_sigterm
from shardtools.shards import IMAGEFOLDER
from shardtools.shards.names import parse_part_path
from shardtools.storage import REQUESTS_IN_FLIGHT, Storage, open_storage, read_ahead
from shardtools.storage.copying import copy_object

Report = Callable[[dict[str, Any]], None]
"""Takes one progress message: {"event": "ready" | "batch" | "shard" | "end" | "error", ...}."""

_REPORT_SECONDS = 0.25


def run_rank(job: Job, rank: int, num_processes: int, report: Report, stop: threading.Event) -> None:
    """Makes every `num_processes`-th part of the job from `rank` on; returns early, after a whole part, on `stop`.

    Raises:
        ShardtoolsError: The parent is damaged, or the storage fails for good.
    """
    storage = open_storage(job.url)
    log = EventLog(storage, f"{job.run_id}-rank{rank:04d}")
    tasks = job.tasks[rank::num_processes]
    log.add("start", num_processes=num_processes, num_tasks=len(tasks), pid=os.getpid())
    report({"event": "ready"})
    started = time.monotonic()
    num_rows = 0
    reason = "failed"
    try:
        for task in tasks:
            if stop.is_set():
                break
            make = _rewrite if task.rewrites else _take_over
            facts = {"rows": task.num_rows, "rewritten": task.rewrites, **make(job, task, storage, report)}
            num_rows += task.num_rows
            log.add("shard", **facts, images_per_second=round(num_rows / max(time.monotonic() - started, 1e-9), 2))
            report({"event": "shard", **facts})
        reason = "stopped" if stop.is_set() else "done"
    finally:
        if job.source is not None:
            job.source.close()
        log.add("end", reason=reason)
        log.flush()
    report({"event": "end", "reason": reason})


def _rewrite(job: Job, task: Task, storage: Storage, report: Report) -> dict[str, Any]:
    """Makes a part and its shard anew, with the changes."""
    if job.source is None or job.changes is None:
        raise ValueError(f"the job has no source to make {task.path} anew from")
    split, shard_index = parse_part_path(task.path)
    table = _read(job, task).table
    changes = read_batch(job.changes, task.batch).to_pylist() if task.batch is not None else []
    with ShardWriter(
        storage,
        split=split,
        shard_index=shard_index,
        layout=job.layout,
        max_samples=task.num_rows,
        fields=job.fields,
    ) as writer:
        count, reported_at = 0, time.monotonic()
        for sample in changed_samples(job.source, split, task.start, table, changes):
            writer.add(sample)
            count += 1
            if time.monotonic() - reported_at > _REPORT_SECONDS:
                report({"event": "batch", "images": count})
                count, reported_at = 0, time.monotonic()
        shard = writer.commit()
    report({"event": "batch", "images": count})
    return {"split": split, "shard_index": shard_index, "images": shard.num_images, "bytes": shard.num_bytes}


def _take_over(job: Job, task: Task, storage: Storage, report: Report) -> dict[str, Any]:
    """Copies the shards of a part byte for byte, then the part."""
    origin = job.origins[task.origin]
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
    report({"event": "batch", "images": task.num_rows})
    split, shard_index = parse_part_path(task.path)
    images = [row for row in rows if row["shard"] is not None]
    num_bytes = sum(row["num_bytes"] for row in images)
    return {"split": split, "shard_index": shard_index, "images": len(images), "bytes": num_bytes}


def _read(job: Job, task: Task) -> Part:
    origin = job.origins[task.origin]
    return Dataset(storage=origin, info=None, part_paths=(task.path,)).read_part(task.path)


def _main() -> int:
    job: Job
    job, rank, num_processes = pickle.load(sys.stdin.buffer)
    die_with_parent(job.launcher_pid)
    stop = stop_on_sigterm()

    def report(message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    try:
        run_rank(job, rank, num_processes, report, stop)
    except ShardtoolsError as error:
        report({"event": "error", "kind": type(error).__name__, "message": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
