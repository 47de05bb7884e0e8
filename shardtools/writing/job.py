"""From a listed source to a job: its plan, its shards, and which of them are still to be made.

Owns the arithmetic of shards. A shard is a range of positions of one split, so nobody needs to know what the others
did.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from shardtools.dataset import PlanFile, list_parts
from shardtools.dataset.plan_file import fingerprint
from shardtools.encoding import EncodingOptions
from shardtools.errors import OptionError
from shardtools.rendering import RENDERED
from shardtools.shards import parse_part_path
from shardtools.sources import Source, has_pattern
from shardtools.storage import Storage
from shardtools.writing.labels import KnownLabels
from shardtools.writing.options import WriteOptions


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
        storage: The dataset.
        source: The listed source.
        plan_id: The plan that they are made for.
        tasks: Shards to make.
        layout: Format of the shards.
        fields: Members written beside image and label.
        drop_members: Whether others may be left out.
        encoding: Whether images are encoded anew, and how.
        key_prefix: Put before every key.
        labels: Labels that the dataset has already.
    """

    run_id: str
    storage: Storage
    source: Source
    plan_id: str
    tasks: tuple[Task, ...]
    layout: str = "tar"
    fields: tuple[str, ...] = ()
    drop_members: bool = False
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    key_prefix: str = ""
    labels: KnownLabels = field(default_factory=KnownLabels)

    @property
    def url(self) -> str:
        """The dataset."""
        return self.storage.url

    def close(self) -> None:
        """Closes the source's files."""
        self.source.close()


def plan_tasks(source: Source, samples_per_shard: int, first_shards: Mapping[str, int]) -> list[Task]:
    """All shards of a source, split by split; `first_shards` holds each split's first index where that is not 0."""
    return [
        Task(split, first_shards.get(split, 0) + number, start, min(start + samples_per_shard, count))
        for split, count in source.splits.items()
        for number, start in enumerate(range(0, count, samples_per_shard))
    ]


def plan_file(source: Source, options: WriteOptions) -> PlanFile:
    """The content of `plan.json`: the source's names, lengths and options, but not where it lies."""
    settings = {
        **source.settings,
        "splits": dict(source.splits),
        "samples_per_shard": options.samples_per_shard,
        "layout": options.layout,
        "fields": list(options.fields),
        "drop_members": options.drop_members,
        "one_file": options.one_file,
        "key_prefix": options.key_prefix,
        **options.encoding.settings(),
    }
    return PlanFile(
        kind=_kind(source),
        plan_id=fingerprint(settings),
        settings=settings,
        notes={},
        scale=1,
        num_shards=len(plan_tasks(source, options.samples_per_shard, {})),
        num_rows=sum(source.splits.values()),
    )


def _kind(source: Source) -> str:
    """The dataset's kind: one of `dataset.commit_file.KINDS`."""
    if source.parent is not None:
        return "derived"
    return RENDERED if source.kind == RENDERED else "real"


def make_job(
    source: Source,
    storage: Storage,
    options: WriteOptions,
    run_id: str,
    *,
    plan_id: str,
    tasks: Sequence[Task],
    labels: KnownLabels,
) -> Job:
    """The job of making those of the shards that have no part yet."""
    done = {parse_part_path(path) for path in list_parts(storage)}
    return Job(
        run_id=run_id,
        storage=storage,
        source=source,
        plan_id=plan_id,
        tasks=tuple(task for task in tasks if (task.split, task.shard_index) not in done),
        layout=options.layout,
        fields=options.fields,
        drop_members=options.drop_members,
        encoding=options.encoding,
        key_prefix=options.key_prefix,
        labels=labels,
    )


def check_apart(source: Storage, target: Storage, *, files: str | None = None) -> None:
    """Refuses a dataset below its own source, whose shards would become samples of the next run.

    Args:
        source: The root of the source.
        target: The dataset.
        files: What was given, where that names files below the root and not the root itself: other files there are
            none of the source.

    Raises:
        OptionError: It is.
    """
    if files is not None and not _could_name(files, target):
        return
    inner, outer = _place(target), _place(source)
    if inner == outer or inner.startswith(f"{outer.rstrip('/')}/"):
        raise OptionError(f"the dataset {target.url} lies inside of its source {source.url}: choose a folder outside")


def _could_name(files: str, target: Storage) -> bool:
    """Whether a pattern could mean the shards of a dataset, too."""
    # Python's own match lets "*" cross folders, so it rather finds one too many.
    shards = (f"{target.url.rstrip('/')}/shards/train-000000.tar", f"{_place(target)}/shards/train-000000.tar")
    patterns = (files, os.path.abspath(files)) if target.is_local else (files,)
    return has_pattern(files) and any(fnmatchcase(shard, pattern) for shard in shards for pattern in patterns)


def _place(storage: Storage) -> str:
    probe = storage.local_path("probe")
    return storage.url.rstrip("/") if probe is None else os.path.realpath(probe.parent)
