"""`verify`: everything a dataset promises, held against its bytes.

Owns the order of the checks. A task is a part with its shards, one shard in memory; results are taken in the order of
parts, and the price is that one slow shard holds back the report of the next.
"""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from shardtools.dataset import DatasetInfo
from shardtools.execution import (
    Batch,
    Executor,
    Planned,
    Progress,
    TaskDone,
    TaskFacts,
    Work,
    ignore,
    in_task_order,
    run_in_threads,
)
from shardtools.manifest import ShardFile
from shardtools.shards import IMAGEFOLDER
from shardtools.storage import Storage, open_storage, scratch_explained, scratch_file
from shardtools.verify.manifest_check import KeyHashes, Totals, check_compact, duplicate_keys
from shardtools.verify.options import VerifyOptions
from shardtools.verify.part_check import PartResult, PartTask, check_part
from shardtools.verify.report import PART_LOST, Problem, VerifyReport
from shardtools.verify.sampling import check_rows, draw_rows, part_entries
from shardtools.verify.shard_check import check_file
from shardtools.verify.state import State, orphans, part_of_shard, read_state, stray_shards


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """The parts to check; an `execution.Job`.

    Attributes:
        run_id: Of no log: checks leave nothing behind.
        storage: The dataset.
        tasks: The parts.
        known: sha256 -> path of the shards that the commit lists.
    """

    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    storage: Storage
    tasks: tuple[PartTask, ...]
    known: Mapping[str, str]

    @property
    def url(self) -> str:
        """The dataset."""
        return self.storage.url

    def close(self) -> None:
        """Nothing stays open."""


def _check(job: _Job, task: PartTask, _report: Progress) -> TaskFacts:
    result = check_part(job.storage, task, job.known)
    return TaskFacts(images=result.num_images, num_bytes=result.num_bytes, result=result)


def verify(
    url: str | os.PathLike[str],
    options: VerifyOptions | None = None,
    *,
    progress: Progress | None = None,
    run: Executor = run_in_threads,
) -> VerifyReport:
    """Checks the dataset at `url`; changes nothing.

    Args:
        url: A folder or s3:// address.
        options: How much to check; `None`: everything.
        progress: Called with `Planned`, and with `Batch` after each part with its shards or each image of a sample.
        run: Checks the parts: in threads of this process.

    Raises:
        DatasetError: There is no dataset.
        FormatVersionError: Written by another format version.
        StorageError: The place cannot be read.
    """
    return verify_parts(read_state(open_storage(url)), options or VerifyOptions(), progress=progress, run=run)


def verify_parts(
    state: State,
    options: VerifyOptions,
    *,
    only_shards_of: Collection[str] | None = None,
    progress: Progress | None = None,
    run: Executor = run_in_threads,
) -> VerifyReport:
    """Checks a dataset of which the first look is taken.

    Args:
        state: The first look.
        options: How much to check.
        only_shards_of: Parts whose shards are read; `None`: all. Every part itself is always read.
        progress: As in `verify`.
        run: Likewise.
    """
    walk = _Walk(state, options, only_shards_of, progress or ignore, run)
    with scratch_file() as scratch, scratch_explained(only_space=True), warnings.catch_warnings():
        # Odd images warn. Decoding changes the filters in every thread, and this puts back what was there before.
        warnings.simplefilter("ignore")
        return walk.run(KeyHashes(scratch))


class _Walk:
    """One pass over a dataset."""

    def __init__(
        self, state: State, options: VerifyOptions, only: Collection[str] | None, show: Progress, run: Executor
    ) -> None:
        self._state = state
        self._options = options
        self._only = only
        self._show, self._execute = show, run
        self._problems: list[Problem] = list(state.problems)
        self._referenced: set[str] = set(state.part_paths)
        self._totals = Totals()
        self._intact = True
        self._num_parts = self._num_shards = self._num_rows = self._num_images = self._num_bytes = 0

    def run(self, keys: KeyHashes) -> VerifyReport:
        state, info = self._state, self._state.info
        self._check_parts(keys)
        if info is not None:
            self._referenced.update(entry.path for entry in info.compact)
            self._referenced.update(state.other_files())
            self._check_whole_files(info)
            self._problems += stray_shards(state)
            # Sums over some of the parts would differ from the commit's without a fault of its own.
            if self._intact:
                self._problems += self._totals.compare(info, state.storage.url)
        is_sample = self._options.sample is not None
        self._problems += check_compact(state, compare_rows=self._intact and not is_sample)
        self._problems += duplicate_keys(state, keys.repeated())
        self._problems += orphans(state, self._referenced)
        if self._options.sample is not None:
            self._check_sample(self._options.sample)
        return VerifyReport(
            url=state.storage.url,
            kind=state.kind,
            finished=state.finished,
            num_parts=self._num_parts,
            num_shards=self._num_shards,
            num_rows=self._num_images if is_sample else self._num_rows,
            num_images=self._num_images,
            num_bytes=self._num_bytes,
            sample=self._options.sample,
            seed=self._options.seed,
            problems=tuple(self._problems),
        )

    def _tasks(self) -> list[PartTask]:
        info, listed, joined = self._state.info, self._state.listed_shards(), self._state.joined_shards()
        entries = {entry.path: entry for entry in info.parts} if info else {}
        plan_ids = self._state.plan_ids()
        return [
            PartTask(
                path=path,
                entry=entries.get(path),
                plan_ids=plan_ids,
                listed=tuple(listed.get(path, ())),
                joined=frozenset(joined),
                image_files=self._image_files(),
                read_shards=self._options.sample is None and (self._only is None or path in self._only),
            )
            for path in self._state.part_paths
        ]

    def _image_files(self) -> bool:
        """Whether every image is a file: by the commit, or where there is none by the plan."""
        state = self._state
        if state.info is not None:
            return state.info.layout == IMAGEFOLDER
        return state.plan is not None and state.plan.settings.get("layout") == IMAGEFOLDER

    def _check_whole_files(self, info: DatasetInfo) -> None:
        """Files that no single part speaks for."""
        storage = self._state.storage
        files = [*self._state.joined_shards().values(), *info.index_files]
        if self._options.sample is None and self._only is None:
            self._problems += (found for file in files if (found := check_file(storage, file, part=None)))
            self._num_bytes += sum(file.num_bytes for file in info.index_files)
        self._num_shards += len(self._state.joined_shards())

    def _check_parts(self, keys: KeyHashes) -> None:
        known = {shard.sha256: shard.path for shard in self._state.info.shards} if self._state.info else {}
        job = _Job(storage=self._state.storage, tasks=tuple(self._tasks()), known=known)
        num_workers = self._options.num_workers or len(os.sched_getaffinity(0))
        counts = self._options.sample is None
        if counts:
            self._show(Planned(rows_to_make=len(job.tasks), num_tasks=len(job.tasks), num_processes=num_workers))

        def take(done: TaskDone) -> None:
            self._take(job.tasks[done.task], done.facts.result, keys)
            if counts:
                self._show(Batch(rows=1))

        work = Work(job=job, make_task=_check, keeps_log=False)
        self._execute(work, num_workers, in_task_order(take, ignore), lambda: False)

    def _take(self, task: PartTask, result: PartResult, keys: KeyHashes) -> None:
        self._problems += result.problems
        if not task.read_shards:
            self._problems += (problem for shard in result.shards if (problem := self._check_listed(shard, task.path)))
        if result.table is None:
            self._intact = False
            # Its shards are no orphans: a commit or their names say whose they are.
            self._referenced.update(path for path in self._state.sizes if part_of_shard(path) == task.path)
        else:
            self._num_rows += result.table.num_rows
        self._num_parts += 1
        self._num_shards += result.num_shards
        self._num_images += result.num_images
        self._num_bytes += result.num_bytes
        self._referenced.update(shard.path for shard in result.shards)
        self._totals.add(result)
        keys.add(result.key_hashes)

    def _check_listed(self, shard: ShardFile, part: str) -> Problem | None:
        """A shard that is not read is still looked up in the listing."""
        size = self._state.sizes.get(shard.path)
        if size == shard.num_bytes:
            return None
        found = "no file" if size is None else f"{size} bytes"
        return Problem(
            kind="shard-missing" if size is None else "shard-altered",
            message=f"{self._state.storage.object_url(shard.path)}: expected {shard.num_bytes} bytes, found {found}: "
            "restore it, or for a generated dataset run shardtools verify --repair",
            path=shard.path,
            part=part,
        )

    def _check_sample(self, count: int) -> None:
        lost = {problem.path for problem in self._problems if problem.kind in PART_LOST}
        entries = [entry for entry in part_entries(self._state) if entry.path not in lost]
        drawn = draw_rows(self._state.storage, entries, count, self._options.seed)
        total = sum(len(numbers) for _, _, numbers in drawn)
        self._show(Planned(rows_to_make=total, num_tasks=total, num_processes=1))
        for num_bytes, problems in check_rows(self._state.storage, drawn):
            self._num_images += 1
            self._num_bytes += num_bytes
            self._problems += problems
            self._show(Batch(rows=1))
