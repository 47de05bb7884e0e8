"""What a dataset's own files say it holds: the commit, the plan, and the listing of its folder.

Owns the first look, which decides what is checked. Nothing is trusted here: a damaged commit or plan becomes a problem
and the folder's listing stands in for it. The price: one listing of the whole folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shardtools.dataset import (
    DATASET_FILE,
    DatasetInfo,
    PlanFile,
    commit_path,
    num_rows_planned,
    read_plan_file,
)
from shardtools.dataset.plan_file import PLAN_FILE, fingerprint
from shardtools.errors import DatasetError, FormatVersionError, NotFoundError
from shardtools.manifest import ShardFile, digest
from shardtools.quoting import shell_word
from shardtools.shards import joined_path, parse_part_path
from shardtools.storage import Storage
from shardtools.verify.report import Problem

_SHARD_PATTERN = re.compile(
    r"shards/(?:[a-z][a-z0-9]*/)?(?P<stem>[a-z][a-z0-9]*-\d{6,})(?:-attempt\d+)?\.(?:tar|beton|mds|bin)"
)
_DALI_INDEX_SUFFIX = ".idx"
_PART_PATTERN = re.compile(r"manifest/(?P<split>[a-z][a-z0-9]*)-(?P<index>\d{6,})\.parquet")
_FOLDERS = ("manifest/", "shards/", "compact/")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The files of a dataset before any is checked.

    Attributes:
        storage: Where it is.
        info: Its commit; `None` where there is no readable one.
        plan: Its plan; `None` where there is no readable one.
        part_paths: Parts to check, in the order of shards: those of the commit, or all that are there.
        sizes: Path -> length in bytes of every file in the folders of parts, shards and merged manifests.
        problems: What is wrong with `dataset.json` and `plan.json`.
    """

    storage: Storage
    info: DatasetInfo | None
    plan: PlanFile | None
    part_paths: tuple[str, ...]
    sizes: dict[str, int]
    problems: tuple[Problem, ...]

    @property
    def kind(self) -> str:
        """What its images are: "generated" or "real"."""
        return self.info.kind if self.info else self.plan.kind if self.plan else "real"

    @property
    def finished(self) -> bool:
        """Whether a commit lists everything that the plan asks for."""
        if self.info is None:
            return False
        try:
            planned = num_rows_planned(self.storage, self.plan)
        except DatasetError:
            return False
        return planned is None or self.info.num_rows >= planned

    def listed_shards(self) -> dict[str, list[ShardFile]]:
        """Part -> the shards that the commit lists for it; empty without a commit."""
        found: dict[str, list[ShardFile]] = {}
        joined = self.joined_shards()
        for shard in self.info.shards if self.info else ():
            if shard.path not in joined:
                found.setdefault(part_of_shard(shard.path) or "", []).append(shard)
        for path, shard in joined.items():
            for part in self.part_paths:
                if joined_path(parse_part_path(part)[0]) == path:
                    found.setdefault(part, []).append(shard)
        return found

    def joined_shards(self) -> dict[str, ShardFile]:
        """Path -> file that all parts of a split speak for."""
        if self.info is None:
            return {}
        paths = {joined_path(split) for split in self.info.splits}
        return {shard.path: shard for shard in self.info.shards if shard.path in paths}

    def plan_ids(self) -> frozenset[str]:
        """Plans that parts without a commit may be of; empty for any."""
        # A commit has the digest of each part. Versions of another dataset take over parts as they are.
        if self.info is not None or self.plan is None or self.plan.kind == "derived":
            return frozenset()
        return frozenset({self.plan.plan_id})

    def other_files(self) -> set[str]:
        """Files that no part speaks for and that belong here: indexes, and what earlier commits list."""
        found = {entry.path for entry in self.info.index_files} if self.info else set()
        for stored in self.storage.list("commits/"):
            # A damaged one is a problem (`_damaged_commits`), and no reason to look at nothing else.
            try:
                earlier = DatasetInfo.from_json(self.storage.read(stored.path), where=stored.path)
            except DatasetError:
                continue
            found.update(entry.path for entry in earlier.compact)
            found.update(file.path for file in earlier.index_files)
        return found


def read_state(storage: Storage) -> State:
    """Reads the commit, the plan and the listing.

    Raises:
        DatasetError: There is no dataset.
        FormatVersionError: Written by another format version: nothing can be said about it.
    """
    sizes = {stored.path: stored.num_bytes for folder in _FOLDERS for stored in storage.list(folder)}
    problems: list[Problem] = []
    plan = _read_plan(storage, problems)
    info = _read_info(storage, problems)
    if info is None:
        paths = sorted((path for path in sizes if _PART_PATTERN.fullmatch(path)), key=_part_order)
        if not paths and plan is None and not problems:
            raise DatasetError(
                f"{storage.url} is no dataset: it has neither {DATASET_FILE}, plan.json nor manifest parts: check the "
                "path"
            )
    else:
        paths = [entry.path for entry in info.parts]
    state = State(storage=storage, info=info, plan=plan, part_paths=tuple(paths), sizes=sizes, problems=tuple(problems))
    problems.extend(_compare(state))
    problems.extend(_damaged_commits(state))
    return State(storage=storage, info=info, plan=plan, part_paths=tuple(paths), sizes=sizes, problems=tuple(problems))


def part_of_shard(path: str) -> str | None:
    """The part that speaks for "shards/train-000012-attempt2.tar"; `None` where the path is no shard's."""
    match = _SHARD_PATTERN.fullmatch(path)
    return f"manifest/{match['stem']}.parquet" if match else None


def stray_shards(state: State) -> Iterator[Problem]:
    """Shards that the commit lists without a part that could speak for them."""
    for part, shards in state.listed_shards().items():
        if part not in state.part_paths:
            yield Problem(
                kind="commit",
                message=f"{state.storage.object_url(DATASET_FILE)} lists {shards[0].path} without the part "
                f"{part or 'of its name'}: restore it, or run the job that made the dataset again",
                path=DATASET_FILE,
            )


def orphans(state: State, referenced: set[str]) -> Iterator[Problem]:
    """Files in the dataset's folders that nothing refers to.

    Args:
        state: The dataset.
        referenced: Paths of parts, shards and merged manifests that a commit or a part lists.
    """
    for path in state.sizes:
        if path in referenced or f"{path.removesuffix(_DALI_INDEX_SUFFIX)}.tar" in referenced:
            continue
        where = state.storage.object_url(path)
        if part_of_shard(path) or _PART_PATTERN.fullmatch(path) or path.startswith("compact/"):
            what = "dataset.json does not list" if state.info else "no manifest part lists"
            yield Problem(
                kind="orphan",
                message=f"expected only listed files, found {where}, which {what}: it is from a run or an extension "
                f"that has not finished: see shardtools status {shell_word(state.storage.url)}, and let that "
                "run finish",
                path=path,
            )
        else:
            yield Problem(
                kind="orphan",
                message=f"expected only shards and manifests, found {where}, which shardtools did not write: move it "
                "away",
                path=path,
            )


def _part_order(path: str) -> tuple[str, int]:
    match = _PART_PATTERN.fullmatch(path)
    return (match["split"], int(match["index"])) if match else (path, 0)


def _read_plan(storage: Storage, problems: list[Problem]) -> PlanFile | None:
    try:
        plan = read_plan_file(storage)
    except FormatVersionError:
        raise
    except DatasetError as error:
        problems.append(Problem(kind="plan", message=str(error), path=PLAN_FILE))
        return None
    if plan is not None and fingerprint(plan.settings) != plan.plan_id:
        problems.append(
            Problem(
                kind="plan",
                message=f"{storage.object_url(PLAN_FILE)} has plan_id {plan.plan_id}, its settings give "
                f"{fingerprint(plan.settings)}: it was altered: restore it",
                path=PLAN_FILE,
            )
        )
    return plan


def _read_info(storage: Storage, problems: list[Problem]) -> DatasetInfo | None:
    try:
        content = storage.read(DATASET_FILE)
    except NotFoundError:
        return None
    where = storage.object_url(DATASET_FILE)
    try:
        return DatasetInfo.from_json(content, where=where)
    except FormatVersionError:
        raise
    except DatasetError as error:
        problems.append(Problem(kind="commit", message=str(error), path=DATASET_FILE))
        return None


def _compare(state: State) -> Iterator[Problem]:
    """The commit against the plan."""
    where, info, plan = state.storage.url, state.info, state.plan
    if info is None:
        yield from _unfinished(state)
        return
    if plan is None:
        if info.kind == "generated" and not any(problem.kind == "plan" for problem in state.problems):
            yield Problem(
                kind="plan",
                message=f"{state.storage.object_url(PLAN_FILE)} is missing: the images cannot be made again without "
                "it: restore it",
                path=PLAN_FILE,
            )
        return
    # Each finding ends this: the numbers of another plan, or of one that grows, say nothing more.
    if plan.plan_id != info.plan_id:
        yield Problem(
            kind="plan",
            message=f"{where}: dataset.json was made from plan {info.plan_id}, plan.json holds plan {plan.plan_id}: "
            "restore the plan.json that belongs to it",
            path=PLAN_FILE,
        )
        return
    if plan.scale > info.scale:
        yield Problem(
            kind="unfinished",
            message=f"{where} is being extended from {info.scale} to {plan.scale} clones and is committed up to "
            f"{info.scale}: run the same gen-sd command again, it resumes (shardtools status {shell_word(where)})",
            path=PLAN_FILE,
        )
        return
    try:
        planned = num_rows_planned(state.storage, plan)
    except DatasetError as error:
        yield Problem(kind="plan", message=str(error), path=PLAN_FILE)
        return
    if planned is None or info.num_rows == planned:
        return
    if info.num_rows < planned and plan.num_rows is not None and info.num_rows >= plan.num_rows:
        yield Problem(
            kind="unfinished",
            message=f"{where} has an append that is not finished, {info.num_rows} of {planned} rows are committed: run "
            "the same shardtools write --append again, it resumes",
            path=PLAN_FILE,
        )
        return
    yield Problem(
        kind="plan",
        message=f"{where}: its plans ask for {planned} rows, dataset.json has {info.num_rows}: run the job again",
        path=PLAN_FILE,
    )


def _damaged_commits(state: State) -> Iterator[Problem]:
    """Earlier commits that are damaged, or not those that their names say."""
    for stored in state.storage.list("commits/"):
        where = state.storage.object_url(stored.path)
        content = state.storage.read(stored.path)
        try:
            DatasetInfo.from_json(content, where=where)
        except DatasetError as error:
            yield Problem(kind="commit", message=str(error), path=stored.path)
            continue
        if stored.path != commit_path(digest(content)):
            yield Problem(
                kind="commit",
                message=f"{where} is the commit {digest(content)[:16]}, not that of its name: restore it, or move it "
                "away",
                path=stored.path,
            )


def _unfinished(state: State) -> Iterator[Problem]:
    """Why there is no commit; silent where an unreadable one was reported."""
    if any(problem.kind == "commit" for problem in state.problems):
        return
    where, planned = state.storage.url, state.plan.num_shards if state.plan else None
    if planned is not None and len(state.part_paths) >= planned:
        yield Problem(
            kind="commit",
            message=f"{state.storage.object_url(DATASET_FILE)} is missing though all {planned} manifest parts are "
            "there: run the job that makes the dataset again, or shardtools verify --repair: both write it",
            path=DATASET_FILE,
        )
        return
    of = f" of {planned}" if planned is not None else ""
    yield Problem(
        kind="unfinished",
        message=f"{where} is not finished: {len(state.part_paths)}{of} shards so far: run the job that makes it again, "
        f"it resumes (shardtools status {shell_word(where)})",
        path=DATASET_FILE,
    )
