"""One manifest part with the shards it speaks for: the unit of parallel work.

Owns which rows may be trusted. A part whose bytes differ from the digest in `dataset.json` is not used; its shards are
then held against that commit alone. The price: one flipped bit in a part hides what else may be wrong with its rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.dataset import PartEntry, check_belongs, check_rows
from shardtools.errors import DatasetError, NotFoundError, first_line
from shardtools.hashes import hash_texts
from shardtools.manifest import Part, ShardFile, decode_part, digest
from shardtools.storage import Storage
from shardtools.verify.image_check import PLACE_COLUMNS, ROW_COLUMNS, check_status, shown
from shardtools.verify.report import Problem
from shardtools.verify.shard_check import check_image_file, check_row, check_shard


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTask:
    """What is known of a part before it is read.

    Attributes:
        path: The part.
        entry: Its digest and rows by the commit; `None` without one.
        plan_ids: Plans that it may have been made for; empty where none can be read.
        listed: The shards that the commit lists for it.
        joined: Those of them that other parts speak for too; they are read as a whole only once, elsewhere.
        image_files: Whether every image is a file of its own.
        read_shards: Whether the shards are read, or only the part.
    """

    path: str
    entry: PartEntry | None
    plan_ids: frozenset[str]
    listed: tuple[ShardFile, ...]
    joined: frozenset[str]
    image_files: bool
    read_shards: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """What a part and its shards showed.

    Attributes:
        path: The part.
        table: Rows that totals and the commit are compared with: split, status, num_bytes; `None` where they are lost.
        plan_ids: Distinct plan ids of its rows.
        key_hashes: 64-bit hash of every key, uint64 [rows].
        shards: Shards that belong to it, by itself and by the commit.
        problems: What is wrong.
        num_shards: Shards that were read whole.
        num_images: Images that were read.
        num_bytes: Bytes of shards that were read.
    """

    path: str
    table: pa.Table | None
    plan_ids: tuple[str | None, ...]
    key_hashes: npt.NDArray[np.uint64]
    shards: tuple[ShardFile, ...]
    problems: tuple[Problem, ...]
    num_shards: int
    num_images: int
    num_bytes: int


def check_part(storage: Storage, task: PartTask, known: Mapping[str, str]) -> PartResult:
    """Checks a part, its rows and, where asked for, its shards.

    Args:
        storage: The dataset.
        task: The part.
        known: sha256 -> path of the dataset's shards.
    """
    part, problems = load_part(storage, task.path, task.entry, task.plan_ids)
    table = part.table if part else None
    listed = {shard.path: shard for shard in task.listed}
    if part is not None:
        problems += _compare_shards(part, task)
        # The part's word counts where both have one: it was written with its shard.
        listed |= {shard.path: shard for shard in part.shards}
    rows = table.select(ROW_COLUMNS).to_pylist() if table is not None else []
    url = storage.object_url(task.path)
    problems += [problem for row in rows if (problem := check_status(row, url=url, part=task.path))]
    # Shards by the part and by the commit: also one that has no rows is looked at, and rows of none stand out.
    placed: dict[str, list[dict[str, Any]]] = {path: [] for path in listed}
    apart: list[dict[str, Any]] = []
    for row in rows:
        if any(row[name] is None for name in PLACE_COLUMNS):
            continue
        if task.image_files or row["shard"] in task.joined:
            apart.append(row)
            continue
        if row["shard"] not in placed:
            problems.append(_stray_row(row, task.path, url))
            continue
        placed[row["shard"]].append(row)
    num_images = num_bytes = 0
    check_apart = check_image_file if task.image_files else check_row
    for row in apart if task.read_shards else ():
        row_bytes, row_problems = check_apart(storage, row, task.path)
        num_bytes += row_bytes
        problems += row_problems
        num_images += 1
    read = [shard for path, shard in listed.items() if path not in task.joined] if task.read_shards else []
    for shard in read:
        result = check_shard(
            storage, shard, placed[shard.path] if table is not None else None, part=task.path, known=known
        )
        problems += result.problems
        num_images += result.num_images
        num_bytes += result.num_bytes
    return PartResult(
        path=task.path,
        table=table.select(["split", "status", "num_bytes"]) if table is not None else None,
        plan_ids=tuple(table["plan_id"].unique().to_pylist()) if table is not None else (),
        key_hashes=hash_texts(row["key"] for row in rows),
        shards=tuple(listed.values()),
        problems=tuple(problems),
        num_shards=len(read),
        num_images=num_images,
        num_bytes=num_bytes,
    )


def load_part(
    storage: Storage, path: str, entry: PartEntry | None, plan_ids: Collection[str] = ()
) -> tuple[Part | None, list[Problem]]:
    """A part whose bytes are as the commit says, or `None` and why it is not used.

    Args:
        storage: The dataset.
        path: The part.
        entry: Its digest; `None`: anything that can be read is taken.
        plan_ids: Plans that it may have been made for; empty: any.
    """
    url = storage.object_url(path)
    remedy = "restore it, or for a generated dataset run shardtools verify --repair"
    try:
        content = storage.read(path)
    except NotFoundError:
        message = f"{url} is missing though the dataset lists it: {remedy}"
        return None, [Problem(kind="part-missing", message=message, path=path, part=path)]
    # Before it is decoded: an altered part may well decode, with rows that send every check to the wrong place.
    if entry is not None and digest(content) != entry.sha256:
        message = (
            f"{url}: expected sha256 {shown(entry.sha256)}, found {shown(digest(content))} ({len(content)} bytes), its "
            f"rows are not used: finish a gen-sd run with --retry-failed if one was stopped, else {remedy}"
        )
        return None, [Problem(kind="part-altered", message=message, path=path, part=path)]
    try:
        part = decode_part(content, where=url)
        check_belongs(part, path, where=url, plan_ids=plan_ids)
        # Where a row ends behind its shard the shard's own check says more.
        check_rows(part.table, {}, where=url)
    except (DatasetError, ValueError, pa.ArrowException) as error:
        message = f"{first_line(error)} ({url}): {remedy}"
        return None, [Problem(kind="part-altered", message=message, path=path, part=path)]
    if entry is not None and part.table.num_rows != entry.num_rows:
        message = f"{url} has {part.table.num_rows} rows, dataset.json says {entry.num_rows}: restore dataset.json"
        return part, [Problem(kind="part-content", message=message, path=path, part=path)]
    return part, []


def _compare_shards(part: Part, task: PartTask) -> Sequence[Problem]:
    if task.entry is None or sorted(part.shards, key=lambda one: one.path) == sorted(
        task.listed, key=lambda one: one.path
    ):
        return []
    names = [
        ", ".join(f"{one.path} {shown(one.sha256)}" for one in some) or "none" for some in (part.shards, task.listed)
    ]
    message = (
        f"{task.path} speaks for shards {names[0]}, dataset.json lists {names[1]} for it: restore dataset.json, or for "
        "a generated dataset run shardtools verify --repair"
    )
    return [Problem(kind="part-content", message=message, path=task.path, part=task.path)]


def _stray_row(row: Mapping[str, Any], path: str, url: str) -> Problem:
    return Problem(
        kind="part-content",
        message=f"row {row['key']!r} of {url} points to {row['shard']}, which the part does not speak for: the "
        "manifest was written wrongly, make the dataset again",
        path=path,
        part=path,
        key=row["key"],
    )
