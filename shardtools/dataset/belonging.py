"""Whether a manifest part is the one that its place asks for, and whether its rows can be true.

Owns the rules that a reader may rely on before it follows a row to its bytes. A part says itself which plan, split and
shard it was made for; parts of releases before that say it by their rows and the names of their shards alone, which is
the price of reading them still.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import from_int64, from_texts
from shardtools.dataset.commit_file import PartEntry
from shardtools.errors import DatasetError
from shardtools.hashes import repeated_rows
from shardtools.manifest import Part, decode_part, digest
from shardtools.shards import joined_path, parse_part_path, part_name
from shardtools.storage import REQUESTS_IN_FLIGHT, Storage, read_ahead

MAX_CHECKED_BYTES = 256 * 1024 * 1024
MAX_FETCHED_BYTES = 32 * 1024 * 1024
"""Manifests that are longer in all, or longer in an object store, are not read twice: their digests are left to
`verify`."""

MAX_DECODED_BYTES = 32 * 1024 * 1024
"""Of shorter ones the rows are looked at too."""

_NEVER_NULL = ("key", "split", "status")
_PLACES = ("sample_index", "member_offset", "num_bytes", "width", "height")
_SHARD_STEM = re.compile(r"shards/(?:[a-z][a-z0-9]*/)?([a-z][a-z0-9]*-\d{6,})(?:-attempt\d+)?\.[a-z]+")


def check_belongs(part: Part, path: str, *, where: str, plan_ids: Collection[str] = ()) -> None:
    """Refuses the part of another shard, split or plan.

    Args:
        part: What was found.
        path: Where it was found: "manifest/train-000012.parquet".
        where: Names it in messages.
        plan_ids: Plans that it may have been made for; empty for any. Parts that name no plan are of any.

    Raises:
        DatasetError: It is another's.
    """
    split, shard_index = parse_part_path(path)
    found = _found(part, split, shard_index)
    if found is None and plan_ids and part.origin is not None and part.origin.plan_id not in plan_ids:
        found = f"that of plan {part.origin.plan_id}, not {' or '.join(sorted(plan_ids))}"
    if found is not None:
        raise DatasetError(
            f"{where}: expected the part of shard {part_name(split, shard_index)}, found {found}: put back its own, or "
            "delete it and run the job again, which makes its shard again"
        )


def _found(part: Part, split: str, shard_index: int) -> str | None:
    """What a part is of, where it is not of this shard."""
    origin, wanted = part.origin, part_name(split, shard_index)
    if origin is not None and (origin.split, origin.shard_index) != (split, shard_index):
        return f"that of {part_name(origin.split, origin.shard_index)}"
    for shard in part.shards:
        match = _SHARD_STEM.fullmatch(shard.path)
        if shard.path != joined_path(split) and (match is None or match[1] != wanted):
            return f"one that speaks for {shard.path!r}"
    others = [value for value in part.table["split"].unique().to_pylist() if value != split]
    return f"rows of split {others[0]!r}" if others else None


def check_rows(table: pa.Table, shards: Mapping[str, int], *, where: str) -> None:
    """Refuses rows whose numbers lead nowhere; the columns are those of the manifest, or some of them.

    Args:
        table: Rows.
        shards: Path -> length in bytes of the shards they may lie in; empty where every image is a file.
        where: Names their file in messages.

    Raises:
        DatasetError: A row has no key, split or status, a number is negative, or a row ends behind its shard.
    """
    for name in _NEVER_NULL:
        if name in table.column_names and table[name].null_count:
            raise DatasetError(f"{where} has a row without {name}: restore it, or run the job again")
    for name in _PLACES:
        smallest = pc.min(table[name]).as_py() if name in table.column_names else None
        if smallest is not None and smallest < 0:
            raise DatasetError(f"{where}: {name} is 0 or more, found {smallest}: restore it, or run the job again")
    if not shards or not table.num_rows:
        return
    numbers = pc.index_in(table["shard"].cast(pa.string()), value_set=from_texts(list(shards)))
    lengths = from_int64(np.array(list(shards.values()), np.int64)).take(numbers.combine_chunks())
    # Not the end of the row, which may be too large for 64 bits: what its shard has behind its beginning.
    beyond = pc.greater(table["num_bytes"], pc.subtract(lengths, table["member_offset"]))
    if pc.any(beyond).as_py():
        row = table.filter(beyond).slice(0, 1).select(["key", "shard", "member_offset", "num_bytes"]).to_pylist()[0]
        raise DatasetError(
            f"{where}: row {row['key']!r} has member_offset {row['member_offset']} and num_bytes {row['num_bytes']}, "
            f"{row['shard']} has {shards[row['shard']]} bytes: restore it, or run the job again"
        )


def check_digest(content: bytes, entry: PartEntry, *, where: str) -> None:
    """Refuses a file of the manifest that is not the one that was committed.

    Raises:
        DatasetError: It is another.
    """
    found = digest(content)
    if found != entry.sha256:
        raise DatasetError(
            f"{where} is not the file that was committed: expected sha256 {entry.sha256[:12]}..., found "
            f"{found[:12]}...: restore it, or run shardtools verify"
        )


def check_committed(storage: Storage, entries: Sequence[PartEntry]) -> None:
    """Compares files of the manifest with the digests of their commit.

    Args:
        storage: The dataset.
        entries: The files.

    Raises:
        DatasetError: One is damaged, or another than was committed.
    """
    calls = (partial(storage.read, entry.path) for entry in entries)
    depth = 0 if storage.is_local else REQUESTS_IN_FLIGHT
    for entry, content in zip(entries, read_ahead(calls, depth), strict=True):
        check_digest(content, entry, where=storage.object_url(entry.path))


def find_repeated_keys(storage: Storage, paths: Sequence[str], hashes: Sequence[npt.NDArray[np.uint64]]) -> None:
    """Refuses keys that stand in two rows.

    Args:
        storage: The dataset.
        paths: Its parts.
        hashes: For each part, `hash_texts` of its keys.

    Raises:
        DatasetError: A key comes twice.
    """
    starts = np.cumsum([0, *(len(some) for some in hashes)])
    groups = repeated_rows(np.concatenate([np.empty(0, np.uint64), *hashes]))
    first: dict[str, str] = {}
    # Two keys may share a hash by chance, so those that do are read again and compared as texts.
    for key, path in _keys(storage, paths, starts, {row for group in groups for row in group}):
        if key in first:
            raise DatasetError(
                f"key {key!r} stands in {first[key]} and in {path} of {storage.url}, expected once: delete the part "
                "that is not its own and run the job again"
            )
        first[key] = path


def _keys(
    storage: Storage, paths: Sequence[str], starts: npt.NDArray[np.int64], rows: Collection[int]
) -> Iterator[tuple[str, str]]:
    by_part: dict[int, list[int]] = {}
    for row in sorted(rows):
        by_part.setdefault(int(np.searchsorted(starts, row, side="right")) - 1, []).append(row)
    for number, of_part in by_part.items():
        path = paths[number]
        keys = decode_part(storage.read(path), where=storage.object_url(path)).table["key"].to_pylist()
        for row in of_part:
            yield keys[row - int(starts[number])], path
