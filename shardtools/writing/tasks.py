"""One task of a writing job: a range of the source's rows becomes a shard.

Owns what a shard's samples are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shardtools.dataset import ShardWriter
from shardtools.encoding import encode_sample
from shardtools.execution import Progress, TaskFacts, reporting
from shardtools.sample import Sample
from shardtools.writing.job import Job, Task


def make_shard(job: Job, task: Task, report: Progress) -> TaskFacts:
    """Writes one shard and its manifest part; the `MakeTask` of writing.

    Raises:
        ShardtoolsError: The source is damaged, or the storage fails for good.
    """
    with ShardWriter(
        job.storage,
        split=task.split,
        shard_index=task.shard_index,
        layout=job.layout,
        max_samples=task.stop - task.start,
        fields=job.fields,
        drop_members=job.drop_members,
        plan_id=job.plan_id,
    ) as writer:
        for sample in reporting(_samples(job, task), report):
            writer.add(sample)
        shard = writer.commit()
    return TaskFacts(
        rows=shard.num_rows,
        images=shard.num_images,
        num_bytes=shard.num_bytes,
        details={"split": task.split, "shard_index": task.shard_index},
    )


def _samples(job: Job, task: Task) -> Iterator[Sample]:
    """The task's samples as they are to be written."""
    for sample in job.source.samples(task.split, task.start, task.stop):
        if job.key_prefix:
            sample = replace(sample, key=f"{job.key_prefix}{sample.key}")
        job.labels.check(sample)
        yield encode_sample(sample, job.encoding) if job.encoding.changes else sample
