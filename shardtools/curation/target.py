"""The new dataset: its plan, what is left to make of it, and its commit.

Owns what apply and undo have in common. The plan names the parent and the changes by their digests, so that the same
command resumes and another one is refused, wherever the files lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardtools.curation.job import Job, Task, is_joined
from shardtools.dataset import DatasetInfo, PlanFile, commit_dataset, current_commit, list_parts, store_plan_file
from shardtools.dataset.plan_file import fingerprint
from shardtools.shards import parse_part_path
from shardtools.storage import Storage
from shardtools.writing import check_apart, join_splits, remove_joined

KIND = "derived"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationResult:
    """What a run did, and what the new dataset holds.

    Attributes:
        url: The new dataset.
        plan_id: Its fingerprint.
        parent: sha256 of the `dataset.json` that it was made from.
        splits: Split -> rows.
        num_rows: Rows of the whole dataset, as many as the parent's.
        num_images: Rows with an image.
        num_bytes: Total length of the images.
        num_shards: Shards with at least one image.
        num_taken_over: Manifest parts whose shards have the parent's bytes.
        num_made_anew: Manifest parts whose shards were written anew.
        statuses: Status -> rows.
        changes: Action -> changes; "without image" and "as before" count edits that changed nothing.
        overlays_left: Overlays of the parent that the new dataset does not have.
        num_written: Rows that this run wrote.
        seconds: Wall time of this run.
        num_processes: Processes that wrote them (0 where nothing was left to do).
    """

    url: str
    plan_id: str
    parent: str
    splits: dict[str, int]
    num_rows: int
    num_images: int
    num_bytes: int
    num_shards: int
    num_taken_over: int
    num_made_anew: int
    statuses: dict[str, int]
    changes: dict[str, int]
    overlays_left: tuple[str, ...]
    num_written: int
    seconds: float
    num_processes: int


class Target:
    """A dataset that is made of the parts of others."""

    def __init__(
        self, storage: Storage, origins: Sequence[Storage], parent: DatasetInfo, settings: Mapping[str, Any]
    ) -> None:
        """Takes the settings that, with layout and parts, decide on the result."""
        self._storage, self._origins, self._parent = storage, tuple(origins), parent
        self._settings = settings
        self._tasks: tuple[Task, ...] = ()

    def check(self) -> None:
        """Refuses a place that is one of the origins, lies in one, or holds another dataset.

        Raises:
            OptionError: It does.
            PlanMismatchError: It holds another plan.
        """
        for origin in self._origins:
            check_apart(origin, self._storage)
        self._storage.check_writable()

    def begin(self, tasks: Sequence[Task], job: Job, notes: Mapping[str, Any]) -> Job:
        """Stores or compares the plan; returns the job of what is left to do.

        Raises:
            PlanMismatchError: The target holds another plan.
        """
        info = self._parent
        settings = {**self._settings, "layout": info.layout, "fields": list(info.fields)}
        plan = PlanFile(
            kind=KIND,
            plan_id=fingerprint(settings),
            settings=settings,
            notes=dict(notes),
            scale=1,
            num_shards=len(tasks),
            num_rows=sum(task.num_rows for task in tasks),
        )
        store_plan_file(self._storage, plan)
        self._plan, self._tasks = plan, tuple(tasks)
        done = set(list_parts(self._storage))
        left = tuple(task for task in tasks if task.path not in done)
        return replace(job, tasks=left)

    def commit_if_whole(self, parent_sha256: str) -> DatasetInfo | None:
        """Commits the dataset if every part is there."""
        there = list_parts(self._storage)
        wanted = sorted((task.path for task in self._tasks), key=parse_part_path)
        if set(there) > set(wanted):
            # Something was appended since: the commit is there, and is that one's.
            return current_commit(self._storage)[0]
        if there != wanted:
            return None
        joined = self._rewritten_joined()
        if joined:
            join_splits(self._storage, joined)
        info = commit_dataset(
            self._storage,
            kind=KIND,
            plan_id=self._plan.plan_id,
            scale=1,
            part_paths=wanted,
            parent=parent_sha256,
            layout=self._parent.layout,
            fields=self._parent.fields,
        )
        remove_joined(self._storage, joined)
        return info

    def _rewritten_joined(self) -> list[str]:
        """Parts that were made anew of splits that are one file, and are to be again."""
        return [
            task.path
            for task in self._tasks
            if task.rewrites and is_joined(self._parent, parse_part_path(task.path)[0])
        ]
