"""What a run writes to: a dataset of its own, or one that is there and grows.

Owns the difference between the two: which plan is stored, which shards are left to make, and the commit. Both leave
`dataset.json` as it is until every shard is there.
"""

from __future__ import annotations

from functools import partial
from itertools import islice

import numpy as np

from shardtools.dataset import (
    Append,
    Dataset,
    DatasetInfo,
    acquire,
    begin_append,
    commit_dataset,
    current_commit,
    discard_append,
    list_parts,
    store_plan_file,
)
from shardtools.errors import DatasetError, NotFoundError, OptionError, SourceError
from shardtools.hashes import hash_texts
from shardtools.manifest import digest
from shardtools.rendering import RENDERED
from shardtools.shards import joined_path, parse_part_path, part_path
from shardtools.sources import Source
from shardtools.storage import Storage, open_storage
from shardtools.writing.job import Job, make_job, plan_file, plan_tasks
from shardtools.writing.joining import join_splits, remove_joined
from shardtools.writing.labels import KnownLabels, read_labels
from shardtools.writing.options import WriteOptions

_KEYS_A_PASS = 100_000


class NewTarget:
    """A dataset that this command begins or goes on with."""

    def __init__(self, storage: Storage, options: WriteOptions) -> None:
        self._storage = storage
        self._options = options

    def begin(self, source: Source, run_id: str) -> Job:
        """Stores or compares the plan; returns what is left to do.

        Raises:
            PlanMismatchError: The target holds another plan, or the source is not what it was.
        """
        self._plan = plan_file(source, self._options)
        store_plan_file(self._storage, self._plan)
        tasks = plan_tasks(source, self._options.samples_per_shard, {})
        return make_job(
            source,
            self._storage,
            self._options,
            run_id,
            plan_id=self._plan.plan_id,
            tasks=tasks,
            labels=KnownLabels(),
        )

    def commit_if_whole(self, source: Source) -> DatasetInfo | None:
        """Commits the dataset if every part is there; call it after `begin`."""
        plan = self._plan
        paths = list_parts(self._storage)
        tasks = plan_tasks(source, self._options.samples_per_shard, {})
        wanted = {part_path(task.split, task.shard_index) for task in tasks}
        others = [path for path in paths if path not in wanted]
        if others:
            # Other sources were added since: the commit is theirs, and this source is in it already.
            try:
                return current_commit(self._storage)[0]
            except NotFoundError:
                raise DatasetError(
                    f"{self._storage.object_url(others[0])} is not among the {len(wanted)} shards of this dataset's "
                    "plan: move it away and run the same command again"
                ) from None
        if len(paths) < len(wanted):
            return None
        if self._options.one_file:
            join_splits(self._storage, paths)
        info = commit_dataset(
            self._storage,
            kind=plan.kind,
            plan_id=plan.plan_id,
            scale=1,
            part_paths=paths,
            parent=source.parent,
            layout=self._options.layout,
            fields=self._options.fields,
        )
        if self._options.one_file:
            remove_joined(self._storage, paths)
        return info


class AppendTarget:
    """A finished dataset that gets further shards."""

    def __init__(self, storage: Storage, options: WriteOptions) -> None:
        self._storage = storage
        self._options = options
        try:
            self._info, self._content = current_commit(storage)
        except NotFoundError:
            raise DatasetError(
                f"{storage.url} is no finished dataset to append to: make it first, without --append"
            ) from None
        self._append: Append | None = None
        self._check()

    def _check(self) -> None:
        info = self._info
        if info.kind == "generated":
            raise OptionError(
                f"{self._storage.url} holds generated images: it grows by gen-sd --scale; write the others apart"
            )
        if info.kind == RENDERED:
            raise OptionError(
                f"{self._storage.url} holds rendered images, of one plan: render or write the others apart; sql and "
                "train take several datasets"
            )
        if any(shard.path == joined_path(split) for shard in info.shards for split in info.splits):
            raise OptionError(
                f"{self._storage.url} has one file a split (--one-file), which does not grow: append to the dataset it "
                "was made from, then convert that"
            )
        if (info.layout, info.fields) != (self._options.layout, self._options.fields):
            raise OptionError(
                f"{self._storage.url} has layout {info.layout} with fields {', '.join(info.fields) or 'none'}, found "
                f"--to {self._options.layout} with {', '.join(self._options.fields) or 'none'}: give its own"
            )

    def begin(self, source: Source, run_id: str) -> Job:
        """Checks keys, stores the append's plan, returns what is left to do.

        Raises:
            SourceError: A key is in the dataset already.
            PlanMismatchError: Another append is not finished.
        """
        self._append = begin_append(
            self._storage,
            self._info,
            self._content,
            plan_file(source, self._options),
            partial(self._check_keys, source),
        )
        make = partial(make_job, source, self._storage, self._options, run_id)
        if self._append is None:
            return make(plan_id=self._info.plan_id, tasks=(), labels=KnownLabels())
        tasks = plan_tasks(source, self._options.samples_per_shard, self._append.first_shards)
        labels = read_labels(self._dataset())
        return make(plan_id=self._append.plan.plan_id, tasks=tasks, labels=labels)

    def _dataset(self) -> Dataset:
        paths = tuple(entry.path for entry in self._info.parts)
        return Dataset(storage=self._storage, info=self._info, part_paths=paths)

    def _check_keys(self, source: Source) -> None:
        """Refuses keys that are there; 8 bytes a row of the dataset are held in memory."""
        there = np.concatenate([hash_texts(table["key"].to_pylist()) for table in self._dataset().tables()])
        for split, count in source.splits.items():
            keys = (f"{self._options.key_prefix}{key}" for key in source.keys(split))
            while some := list(islice(keys, _KEYS_A_PASS)):
                repeated = np.flatnonzero(np.isin(hash_texts(some), there))
                if len(repeated):
                    raise SourceError(
                        f"key {some[repeated[0]]!r} is in {self._storage.url} already (and {len(repeated) - 1} more of "
                        f"{count} in split {split}): give --key-prefix, or leave out what was added before"
                    )

    def commit_if_whole(self, source: Source) -> DatasetInfo | None:
        """Commits the grown dataset if every part of the append is there."""
        if self._append is None:
            return self._info
        there = set(list_parts(self._storage))
        tasks = plan_tasks(source, self._options.samples_per_shard, self._append.first_shards)
        wanted = [part_path(task.split, task.shard_index) for task in tasks]
        if not there.issuperset(wanted):
            return None
        return commit_dataset(
            self._storage,
            kind=self._info.kind,
            plan_id=self._info.plan_id,
            scale=1,
            part_paths=sorted([*(entry.path for entry in self._info.parts), *wanted], key=parse_part_path),
            parent=digest(self._content),
            layout=self._info.layout,
            fields=self._info.fields,
            compact_stem=self._append.name,
            part_plan_id=self._append.plan.plan_id,
            known={entry.path: entry.sha256 for entry in self._info.parts},
        )


def discard_unfinished_append(url: str) -> int:
    """Drops what an append that was not finished has written to a dataset; returns the number of its shards.

    Raises:
        NotFoundError: There is no finished dataset.
        DatasetBusyError: Another run writes to it.
    """
    storage = open_storage(url)
    with acquire(storage, purpose="discard an append"):
        info, _ = current_commit(storage)
        return discard_append(storage, info)
