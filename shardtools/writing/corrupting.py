"""Corrupted copies of a dataset, written as a dataset."""

from __future__ import annotations

import os
from dataclasses import replace

from shardtools.corruption import CorruptOptions, open_corrupted
from shardtools.execution import Progress
from shardtools.sources import SourceOptions, open_source
from shardtools.storage import scratch_folder
from shardtools.writing.options import WriteOptions
from shardtools.writing.run import WriteResult, write_dataset


def write_corrupted(
    source: SourceOptions,
    out: str | os.PathLike[str],
    options: CorruptOptions,
    *,
    samples_per_shard: int,
    num_processes: int | None = None,
    progress: Progress | None = None,
) -> WriteResult:
    """Writes the copies, and only the shards that are not there yet.

    The rows have `source` "corrupted", `corruption` and `severity`; the picture's key is `source_path`, its digest
    `source_sha256`.

    Args:
        source: A dataset, or anything that can be written as one.
        out: The dataset: a folder or s3://bucket/prefix.
        options: Which copies.
        samples_per_shard: See `WriteOptions`.
        num_processes: See `WriteOptions`.
        progress: Called with each message of each process.

    Raises:
        SourceError: The source cannot be read, or a picture is smaller than what is cut out.
        PlanMismatchError: The dataset there was made otherwise; the message names the option.
        RunError: The run was stopped or killed, and the same call resumes; or the native core was not built.
    """
    wanted = WriteOptions(
        source=source, out=os.fspath(out), samples_per_shard=samples_per_shard, num_processes=num_processes
    )
    with scratch_folder() as folder:
        copies = open_corrupted(open_source(source, folder), options)
        return write_dataset(replace(wanted, source=copies), progress=progress)
