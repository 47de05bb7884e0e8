"""Makes one bad shard of a generated dataset again: its tars, its part, or both.

Owns the three ways. A bad tar whose part is intact is generated from the part's rows; a lost part whose tars are intact
is read back from them; where both are lost, the rows come from the plan. Tars are published before the part that
speaks for them, so a reader meets a bad shard at worst, as before. The price: what is intact beside a bad tar of its
shard is generated again where the part is lost too.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from PIL import Image

from shardtools.dataset import PartEntry, ShardWriter, replace_part
from shardtools.documents import read_json
from shardtools.errors import ShardError
from shardtools.generation.plan import Plan, PlanRow
from shardtools.manifest import GENERATED_COLUMNS, SCHEMA, Part, ShardFile, digest
from shardtools.sample import STATUS_OK, Sample
from shardtools.shards import TarSample, parse_part_path, read_members, read_samples
from shardtools.storage import Storage
from shardtools.verify.regenerator import Regenerator, batches
from shardtools.verify.rows import attempt_of, attempt_rows

_LABEL_EXTENSIONS = ("cls", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedShard:
    """A shard that was made again.

    Attributes:
        part: Its manifest part.
        files: What was written: tars, and the part where its bytes changed or it was lost.
        how: "generated from its rows", "read back from its tars" or "generated from the plan".
        identical: Whether every file is byte for byte what the dataset lists; `None` where the list is lost as well.
    """

    part: str
    files: tuple[str, ...]
    how: str
    identical: bool | None


def remake_tars(
    storage: Storage, path: str, part: Part, bad: Collection[str], regenerator: Regenerator, batch_size: int
) -> RepairedShard:
    """Generates bad tars from the rows of their intact part.

    Args:
        storage: The dataset; the caller holds the lease.
        path: The part's path.
        part: The part.
        bad: The tars to make again.
        regenerator: The dataset's own model and settings.
        batch_size: Its batch size.
    """
    split, shard_index = parse_part_path(path)
    rows = part.table.to_pylist()
    shards, files = list(part.shards), []
    fresh: dict[str, dict[str, Any]] = {}
    for shard in part.shards:
        if shard.path not in bad:
            continue
        attempt = attempt_of(shard.path)
        wanted = {row["key"]: row for row in rows if row["shard"] == shard.path}
        with ShardWriter(storage, split=split, shard_index=shard_index, attempt=attempt) as writer:
            for batch in batches(attempt_rows(rows, attempt), batch_size):
                # Batches stay as they were, but only those with a wanted image are generated.
                if any(row.key in wanted for row in batch):
                    for sample in regenerator.generate(batch, attempt):
                        if sample.key in wanted:
                            writer.add(_with_recorded(sample, wanted[sample.key]))
            table, written = writer.publish_shard()
        fresh |= {row["key"]: row for row in table.to_pylist()}
        # In its place; nothing where no image has bytes any more.
        position = shards.index(shard)
        shards[position : position + 1] = written
        files.append(shard.path)
    identical = tuple(shards) == part.shards
    # Another machine may give other bytes: then the part must say so. The tars are durable by now.
    if not identical:
        merged = pa.Table.from_pylist([fresh.get(row["key"], row) for row in rows], schema=SCHEMA)
        plan_id = part.origin.plan_id if part.origin else None
        replace_part(storage, split, shard_index, merged, shards, plan_id=plan_id)
        files.append(path)
    return RepairedShard(part=path, files=tuple(files), how="generated from its rows", identical=identical)


def _with_recorded(sample: Sample, row: dict[str, Any]) -> Sample:
    """An image that came out bit for bit keeps the device and the library versions that its row records."""
    if sample.image_bytes is None or digest(sample.image_bytes) != row["sha256"]:
        return sample
    recorded = {name: row[name] for name in ("device", "library_versions")}
    return replace(sample, provenance={**sample.provenance, **recorded})


def holds_all_rows(storage: Storage, shards: Sequence[ShardFile], num_rows: int) -> bool:
    """Whether intact tars hold as many samples as their lost part had rows: then no row was one without bytes."""
    return sum(1 for shard in shards for _ in _samples(storage, shard)) == num_rows


def read_back(
    storage: Storage, entry: PartEntry, shards: Sequence[ShardFile], order: Sequence[str] | None
) -> RepairedShard:
    """Writes a lost part from its intact tars, whose json members hold the provenance.

    Args:
        storage: The dataset; the caller holds the lease.
        entry: What the commit says of the part.
        shards: Its tars.
        order: Keys in the order of the plan; needed where there are several tars.
    """
    split, shard_index = parse_part_path(entry.path)
    rows = [
        _row(storage, shard, split, index, sample)
        for shard in shards
        for index, sample in enumerate(_samples(storage, shard))
    ]
    if order is not None:
        position = {key: number for number, key in enumerate(order)}
        rows.sort(key=lambda row: position[row["key"]])
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    plan_id = next((row["plan_id"] for row in rows), None)
    identical = replace_part(storage, split, shard_index, table, shards, plan_id=plan_id, sha256=entry.sha256)
    return RepairedShard(part=entry.path, files=(entry.path,), how="read back from its tars", identical=identical)


def _samples(storage: Storage, shard: ShardFile) -> Iterator[TarSample]:
    url = storage.object_url(shard.path)
    with storage.open(shard.path) as stream:
        yield from read_samples(list(read_members(stream, where=url)), where=url)


def _row(storage: Storage, shard: ShardFile, split: str, index: int, sample: TarSample) -> dict[str, Any]:
    """The manifest row of a sample that `gen-sd` wrote."""
    images = [extension for extension in sample.members if extension not in _LABEL_EXTENSIONS]
    if len(images) != 1 or "json" not in sample.members:
        raise ShardError(
            f"sample {sample.key!r} of {storage.object_url(shard.path)} has members {', '.join(sample.members)}, "
            "expected json, cls and one image: it was not written by gen-sd, restore the manifest part"
        )
    member, label = sample.members[images[0]], sample.members["json"]
    facts = read_json(storage.read_range(shard.path, label.offset, label.num_bytes))
    payload = storage.read_range(shard.path, member.offset, member.num_bytes)
    with Image.open(io.BytesIO(payload)) as image:
        size = {"width": image.width, "height": image.height, "mode": image.mode}
    return {
        "key": sample.key,
        "split": split,
        "shard": shard.path,
        "sample_index": index,
        "member_offset": member.offset,
        "num_bytes": member.num_bytes,
        "sha256": digest(payload),
        "image_format": images[0],
        **size,
        "wnid": facts["wnid"],
        "class_index": facts["class_index"],
        "label_source": "prompt",
        "source": facts["source"],
        "status": STATUS_OK,
        "reason": facts.get("reason"),
        **{name: facts.get(name) for name in GENERATED_COLUMNS},
    }


def remake_from_plan(
    storage: Storage,
    path: str,
    plan: Plan,
    regenerator: Regenerator,
    *,
    latest_attempt: int,
    entry: PartEntry | None,
    listed: Sequence[ShardFile],
) -> RepairedShard:
    """Generates a shard whose part is lost, with the attempts that the dataset has gone through.

    Args:
        storage: The dataset; the caller holds the lease.
        path: The part's path.
        plan: The dataset's plan.
        regenerator: Its model and settings.
        latest_attempt: Images that fail are made again up to this attempt.
        entry: What the commit says of the part, if there is one.
        listed: What it says of the part's tars.
    """
    split, shard_index = parse_part_path(path)
    rows = plan.shard_rows(shard_index)
    table, shards = _generate(storage, split, shard_index, rows, regenerator, plan, 1)
    for attempt in range(2, latest_attempt + 1):
        statuses = dict(zip(table["key"].to_pylist(), table["status"].to_pylist(), strict=True))
        failed = [replace(row, seed=plan.retry_seed(row, attempt)) for row in rows if statuses[row.key] != STATUS_OK]
        if not failed:
            break
        fresh_table, fresh_shards = _generate(storage, split, shard_index, failed, regenerator, plan, attempt)
        fresh = {row["key"]: row for row in fresh_table.to_pylist()}
        table = pa.Table.from_pylist([fresh.get(row["key"], row) for row in table.to_pylist()], schema=SCHEMA)
        shards = (*shards, *fresh_shards)
    plan_id = next(iter(table["plan_id"].to_pylist()), None)
    sha256 = entry.sha256 if entry is not None else None
    is_part_same = replace_part(storage, split, shard_index, table, shards, plan_id=plan_id, sha256=sha256)
    same = is_part_same and shards == tuple(listed)
    files = (*(shard.path for shard in shards), path)
    return RepairedShard(
        part=path, files=files, how="generated from the plan", identical=same if entry is not None else None
    )


def _generate(
    storage: Storage,
    split: str,
    shard_index: int,
    rows: Sequence[PlanRow],
    regenerator: Regenerator,
    plan: Plan,
    attempt: int,
) -> tuple[pa.Table, tuple[ShardFile, ...]]:
    with ShardWriter(storage, split=split, shard_index=shard_index, attempt=attempt) as writer:
        for batch in batches(rows, plan.options.generator.batch_size):
            for sample in regenerator.generate(batch, attempt):
                writer.add(sample)
        return writer.publish_shard()
