"""Appends: further sources added to a finished dataset, each with a plan of its own, and the commits before them.

Owns `appends/append000001.json` and `commits/DIGEST.json`. An append adds shards after the last one and never touches
those that are there, so the commit before it stays readable under its digest; the price is one small file each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shardtools.dataset.commit_file import DATASET_FILE, DatasetInfo
from shardtools.dataset.opening import commit_path, list_parts
from shardtools.dataset.plan_file import PlanFile, differences, read_plan_file
from shardtools.errors import AlreadyExistsError, DatasetError, PlanMismatchError
from shardtools.manifest import digest
from shardtools.shards import parse_part_path, part_path
from shardtools.storage import Storage

_FOLDER = "appends/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """One append.

    Attributes:
        name: "append000001".
        plan: What is added; `notes` hold the two below.
        base: sha256 of the `dataset.json` it was begun on.
        first_shards: Split -> index of its first shard.
    """

    name: str
    plan: PlanFile
    base: str
    first_shards: Mapping[str, int]


def read_appends(storage: Storage) -> list[Append]:
    """All appends in their order, the last one perhaps unfinished.

    Raises:
        DatasetError: One of the files is damaged.
    """
    found: list[Append] = []
    for stored in storage.list(_FOLDER):
        plan = read_plan_file(storage, stored.path)
        if plan is None:
            continue
        try:
            base, first_shards = str(plan.notes["base"]), dict(plan.notes["first_shards"])
        except (KeyError, TypeError, ValueError):
            raise DatasetError(f"{storage.object_url(stored.path)} is not the plan of an append: restore it") from None
        found.append(Append(name=_name(len(found)), plan=plan, base=base, first_shards=first_shards))
    return found


def num_rows_planned(storage: Storage, plan: PlanFile | None) -> int | None:
    """Rows of the plan and of all appends; `None` where only the source's end will tell."""
    if plan is None or plan.num_rows is None:
        return None
    return plan.num_rows + sum(append.plan.num_rows or 0 for append in read_appends(storage))


def num_shards_planned(storage: Storage, plan: PlanFile | None) -> int | None:
    """Shards of the plan and of all appends; `None` as above."""
    if plan is None or plan.num_shards is None:
        return None
    return plan.num_shards + sum(append.plan.num_shards or 0 for append in read_appends(storage))


def begin_append(
    storage: Storage, info: DatasetInfo, content: bytes, wanted: PlanFile, check: Callable[[], None]
) -> Append | None:
    """Stores the plan of an append, or finds the one that was begun; the caller holds the lease.

    Args:
        storage: The dataset.
        info: Its commit.
        content: The bytes of that commit.
        wanted: What is to be added.
        check: Called before a new append is stored; raises where it must not be.

    Returns:
        The append to go on with; `None` where the same one is finished already.

    Raises:
        PlanMismatchError: Another append is not finished.
    """
    appends = read_appends(storage)
    open_append = appends[-1] if appends and not _is_finished(appends[-1], info) else None
    if open_append is not None:
        # The same command again: it goes on.
        if open_append.plan.plan_id == wanted.plan_id:
            return open_append
        # Parts that the commit does not list are this append's: a new one would begin with the same numbers of shards.
        if len(list_parts(storage)) > len(info.parts):
            raise PlanMismatchError(
                f"{storage.url} has an append that is not finished: "
                f"{differences(open_append.plan.settings, wanted.settings)}: run its command again, or drop it with "
                "--discard-append"
            )
        # It was stopped before its first shard: nothing is lost.
        storage.delete(_path(appends.pop().name))
    if any(append.plan.plan_id == wanted.plan_id for append in appends):
        return None
    check()
    first_shards: dict[str, int] = {}
    for entry in info.parts:
        split, index = parse_part_path(entry.path)
        first_shards[split] = max(first_shards.get(split, 0), index + 1)
    notes: dict[str, Any] = {"base": digest(content), "first_shards": first_shards}
    append = Append(
        name=_name(len(appends)),
        plan=replace(wanted, notes=notes),
        base=notes["base"],
        first_shards=first_shards,
    )
    # The commit first, then the plan that names it: killed in between, a copy of the commit is left, which harms
    # nobody.
    keep_commit(storage, content)
    storage.write(_path(append.name), append.plan.to_json(), if_absent=True)
    return append


def _name(number: int) -> str:
    return f"append{number + 1:06d}"


def _path(name: str) -> str:
    return f"{_FOLDER}{name}.json"


def _is_finished(append: Append, info: DatasetInfo) -> bool:
    """A commit lists all parts of an append or none, so that one of them tells."""
    split = next(iter(append.plan.settings["splits"]))
    first = part_path(split, append.first_shards.get(split, 0))
    return any(entry.path == first for entry in info.parts)


def discard_append(storage: Storage, info: DatasetInfo) -> int:
    """Drops an append that is not finished, with its parts and shards; returns the number of its parts."""
    appends = read_appends(storage)
    if not appends or _is_finished(appends[-1], info):
        return 0
    kept = {entry.path for entry in info.parts}
    kept |= {file.path for file in (*info.shards, *info.index_files)}
    dropped = [stored.path for stored in storage.list("manifest/") if stored.path not in kept]
    shards = [stored.path for stored in storage.list("shards/") if stored.path not in kept]
    # Parts first: a shard without a part does not exist for any reader.
    for path in [*dropped, *shards, _path(appends[-1].name)]:
        storage.delete(path)
    return len(dropped)


def keep_commit(storage: Storage, content: bytes) -> None:
    """Keeps a commit readable under its digest before another takes its place."""
    try:
        storage.write(commit_path(digest(content)), content, if_absent=True)
    except AlreadyExistsError:
        return


def current_commit(storage: Storage) -> tuple[DatasetInfo, bytes]:
    """The dataset's commit and its bytes.

    Raises:
        NotFoundError: There is none.
        DatasetError: It is damaged.
    """
    content = storage.read(DATASET_FILE)
    return DatasetInfo.from_json(content, where=storage.object_url(DATASET_FILE)), content
