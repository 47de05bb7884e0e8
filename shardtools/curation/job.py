"""The work of a run: which parts are taken over as they are, which are made anew, and what every process is told.

Owns the rule that part N of the new dataset comes from part N of the old one, under the same name. So a sample stays in
its shard and untouched shards keep name and bytes; the price is that shards become uneven where much is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shardtools.curation.changes import PartChanges
from shardtools.dataset import DatasetInfo
from shardtools.shards import joined_path, parse_part_path
from shardtools.sources import Source
from shardtools.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One manifest part with its shards.

    Attributes:
        path: The part, there and here.
        num_rows: Its rows.
        origin: Number of the dataset it comes from, in `Job.origins`.
        start: Position of its first row in its split of that dataset.
        rewrites: Whether it is made anew; else taken over byte for byte.
        batch: Number of its changes in the file of changes, if it has any.
        skipped_files: Shards that another task takes over.
    """

    path: str
    num_rows: int
    origin: int = 0
    start: int = 0
    rewrites: bool = False
    batch: int | None = None
    skipped_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every process of a run is told.

    Attributes:
        run_id: Names the run in the event log.
        storage: The new dataset.
        origins: Where parts come from.
        tasks: Parts to make.
        layout: Format of the shards.
        fields: Members that they hold beside image and label.
        link: Whether local files may become second names.
        source: The first origin as a source, where parts are made anew.
        changes: File of the changes.
    """

    run_id: str
    storage: Storage
    origins: tuple[Storage, ...]
    tasks: tuple[Task, ...]
    layout: str
    fields: tuple[str, ...]
    link: bool
    source: Source | None = None
    changes: Path | None = None

    @property
    def url(self) -> str:
        """The dataset."""
        return self.storage.url

    def close(self) -> None:
        """Closes the source's files."""
        if self.source is not None:
            self.source.close()


def is_joined(info: DatasetInfo, split: str) -> bool:
    """Whether the shards of a split were joined into one file."""
    return any(shard.path == joined_path(split) for shard in info.shards)


def tasks_of_changes(info: DatasetInfo, parts: Sequence[PartChanges]) -> list[Task]:
    """A task for each part; where a split is one file, a change in one part makes all of them anew."""
    rewritten = {parse_part_path(part.path)[0] for part in parts if part.rewrites}
    starts: dict[str, int] = {}
    tasks = []
    for part in parts:
        split = parse_part_path(part.path)[0]
        joined = is_joined(info, split)
        is_first = split not in starts
        start = starts.setdefault(split, 0)
        starts[split] += part.num_rows
        tasks.append(
            Task(
                path=part.path,
                num_rows=part.num_rows,
                start=start,
                rewrites=part.rewrites or (joined and split in rewritten),
                batch=part.batch if part.rewrites else None,
                skipped_files=() if is_first or not joined else (joined_path(split),),
            )
        )
    return tasks


def tasks_of_undo(info: DatasetInfo, parent: DatasetInfo) -> list[Task]:
    """The parts of the parent (origin 0), and those that the dataset got since (origin 1)."""
    rows = {entry.path: entry.num_rows for entry in parent.parts}
    added = {entry.path: entry.num_rows for entry in info.parts if entry.path not in rows}
    seen: set[str] = set()
    tasks = []
    for path in sorted([*rows, *added], key=parse_part_path):
        split = parse_part_path(path)[0]
        skipped = (joined_path(split),) if split in seen and is_joined(parent, split) else ()
        seen.add(split)
        tasks.append(
            Task(
                path=path,
                num_rows=rows[path] if path in rows else added[path],
                origin=0 if path in rows else 1,
                skipped_files=skipped,
            )
        )
    return tasks
