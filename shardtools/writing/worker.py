"""Writes the shards of a job, in one process of many: `python -m shardtools.writing.worker` with the job on its input.

Owns the loop over shards. Messages to the launcher are JSON lines on the standard output; the price is that nothing
else may print there.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from shardtools.dataset import EventLog, ShardWriter
from shardtools.encoding import encode_sample
from shardtools.errors import ShardtoolsError
from shardtools.processes import die_with_parent, stop_on_sigterm
from shardtools.sample import Sample
from shardtools.storage import Storage, open_storage
from shardtools.writing.job import Job, Task

Report = Callable[[dict[str, Any]], None]
"""Takes one progress message: {"event": "ready" | "batch" | "shard" | "end" | "error", ...}."""

_REPORT_SECONDS = 0.25


def run_rank(job: Job, rank: int, num_processes: int, report: Report, stop: threading.Event) -> None:
    """Makes every `num_processes`-th shard of the job from `rank` on; returns early, after a whole shard, on `stop`.

    Raises:
        ShardtoolsError: The source is damaged, or the storage fails for good.
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
            facts = _make_shard(job, task, storage, report)
            num_rows += facts["rows"]
            speed = round(num_rows / max(time.monotonic() - started, 1e-9), 2)
            log.add("shard", **facts, images_per_second=speed)
            report({"event": "shard", **facts})
        reason = "stopped" if stop.is_set() else "done"
    finally:
        job.source.close()
        log.add("end", reason=reason)
        log.flush()
    report({"event": "end", "reason": reason})


def _make_shard(job: Job, task: Task, storage: Storage, report: Report) -> dict[str, Any]:
    with ShardWriter(
        storage,
        split=task.split,
        shard_index=task.shard_index,
        layout=job.layout,
        max_samples=task.stop - task.start,
        fields=job.fields,
        drop_members=job.drop_members,
    ) as writer:
        for sample in _counted(_samples(job, task), report):
            writer.add(sample)
        shard = writer.commit()
    return {
        "split": task.split,
        "shard_index": task.shard_index,
        "rows": shard.num_rows,
        "images": shard.num_images,
        "bytes": shard.num_bytes,
    }


def _samples(job: Job, task: Task) -> Iterator[Sample]:
    """The task's samples as they are to be written."""
    for sample in job.source.samples(task.split, task.start, task.stop):
        if job.key_prefix:
            sample = replace(sample, key=f"{job.key_prefix}{sample.key}")
        job.labels.check(sample)
        yield encode_sample(sample, job.encoding) if job.encoding.changes else sample


def _counted(samples: Iterator[Sample], report: Report) -> Iterator[Sample]:
    """The samples; how many went by is reported a few times a second."""
    count = 0
    reported_at = time.monotonic()
    for sample in samples:
        yield sample
        count += 1
        if time.monotonic() - reported_at > _REPORT_SECONDS:
            report({"event": "batch", "images": count})
            count, reported_at = 0, time.monotonic()
    if count:
        report({"event": "batch", "images": count})


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
