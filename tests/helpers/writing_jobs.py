"""A whole writing job in the test's own process."""

from __future__ import annotations

import tempfile
from pathlib import Path

from shardtools.dataset import DatasetInfo
from shardtools.execution import Work, ignore
from shardtools.sources import open_source
from shardtools.storage import open_storage
from shardtools.writing import WriteOptions
from shardtools.writing.targets import AppendTarget, NewTarget
from shardtools.writing.tasks import make_shard
from tests.helpers.engines import run_here


def write_in_process(options: WriteOptions, num_processes: int = 1) -> DatasetInfo:
    """Does what `write_dataset` does, its ranks one after the other: no interpreter is started."""
    storage = open_storage(options.out)
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(options.source, Path(folder))
        target = AppendTarget(storage, options) if options.append else NewTarget(storage, options)
        job = target.begin(source, "here")
        run_here(Work(job=job, make_task=make_shard), num_processes, ignore, lambda: False)
        info = target.commit_if_whole(source)
    assert info is not None
    return info
