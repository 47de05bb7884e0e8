"""The manifest as a whole: totals, keys that must be unique, and the merged files that must hold the same rows.

Owns what no single part can show. The price of unique keys over 64 million rows: a temporary file of 8 bytes a row,
read once for every four million rows, and a second look at the parts where two hashes meet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardtools.dataset import DATASET_FILE, DatasetInfo, PartEntry
from shardtools.errors import NotFoundError
from shardtools.hashes import hash_texts, stream_digest
from shardtools.manifest import SCHEMA
from shardtools.sample import STATUS_OK
from shardtools.shards import parse_part_path
from shardtools.storage import Storage
from shardtools.verify.image_check import shown
from shardtools.verify.part_check import PartResult, load_part
from shardtools.verify.report import Problem
from shardtools.verify.state import State

_KEYS_A_PASS = 4_000_000
_BATCH_ROWS = 50_000


class Totals:
    """Sums over parts, to compare with the commit."""

    def __init__(self) -> None:
        self._splits: dict[str, Counter[str]] = {}
        self._statuses: Counter[str] = Counter()
        self._plan_ids: set[str | None] = set()

    def add(self, result: PartResult) -> None:
        """Counts a part whose rows are readable."""
        table = result.table
        if table is None:
            return
        self._statuses.update(table["status"].to_pylist())
        self._plan_ids.update(result.plan_ids)
        total = self._splits.setdefault(parse_part_path(result.path)[0], Counter())
        total["num_rows"] += table.num_rows
        total["num_images"] += pc.sum(pc.equal(table["status"], STATUS_OK)).as_py() or 0
        total["num_bytes"] += pc.sum(table["num_bytes"]).as_py() or 0

    def compare(self, info: DatasetInfo, url: str) -> Iterator[Problem]:
        """Problems of the commit's totals; call it where every part was readable."""
        found: dict[str, Any] = {split: dict(total) for split, total in self._splits.items()}
        stated = {
            split: {"num_rows": one.num_rows, "num_images": one.num_images, "num_bytes": one.num_bytes}
            for split, one in info.splits.items()
        }
        remedy = "run the job that made the dataset again, it writes dataset.json"
        if found != stated or dict(self._statuses) != info.statuses:
            yield Problem(
                kind="commit",
                message=f"{url}/{DATASET_FILE} states totals {stated} and statuses {info.statuses}, the parts have "
                f"{found} and {dict(sorted(self._statuses.items()))}: {remedy}",
                path=DATASET_FILE,
            )
        others = sorted(str(plan_id) for plan_id in self._plan_ids - {info.plan_id})
        if info.kind == "generated" and others:
            yield Problem(
                kind="commit",
                message=f"{url}/{DATASET_FILE} has plan_id {info.plan_id}, rows have {', '.join(others[:3])}: the "
                "dataset was put together from several: make them apart",
                path=DATASET_FILE,
            )


class KeyHashes:
    """Finds keys that stand in two rows, in bounded memory."""

    def __init__(self, scratch: BinaryIO) -> None:
        self._scratch = scratch
        self._num_keys = 0

    def add(self, key_hashes: npt.NDArray[np.uint64]) -> None:
        """Takes the hashes of one part's keys."""
        self._scratch.write(key_hashes.tobytes())
        self._num_keys += len(key_hashes)

    def repeated(self) -> npt.NDArray[np.uint64]:
        """Hashes that came more than once, sorted."""
        if not self._num_keys:
            return np.empty(0, dtype=np.uint64)
        self._scratch.flush()
        hashes = np.memmap(self._scratch, dtype=np.uint64, mode="r", shape=(self._num_keys,))
        num_passes = -(-self._num_keys // _KEYS_A_PASS)
        found = []
        # By the remainder of the hash: equal ones are in one pass, wherever they stand.
        for number in range(num_passes):
            some = np.sort(hashes[hashes % np.uint64(num_passes) == number])
            found.append(np.unique(some[1:][some[1:] == some[:-1]]))
        return np.sort(np.concatenate(found))


def duplicate_keys(state: State, repeated: npt.NDArray[np.uint64]) -> Iterator[Problem]:
    """Keys that stand in two rows, by looking again at the parts; two keys may share a hash by chance.

    Args:
        state: The dataset.
        repeated: Hashes to look for, sorted.
    """
    if not len(repeated):
        return
    first: dict[str, str] = {}
    for path in state.part_paths:
        part, _ = load_part(state.storage, path, None)
        if part is None:
            continue
        keys = part.table["key"].to_pylist()
        for index in np.flatnonzero(np.isin(hash_texts(keys), repeated)):
            key = keys[index]
            if key in first:
                yield Problem(
                    kind="duplicate-key",
                    message=f"key {key!r} stands in {first[key]} and in {path} of {state.storage.url}, expected once: "
                    "readers would see one sample twice: make the dataset again",
                    path=path,
                    part=path,
                    key=key,
                )
            first.setdefault(key, path)


def check_compact(state: State, *, compare_rows: bool) -> Iterator[Problem]:
    """The merged manifest files: digests, and whether they hold the rows of the parts in their order.

    Args:
        state: A dataset with a commit.
        compare_rows: Whether to compare the rows; only where all parts are intact.
    """
    info = state.info
    if info is None or not info.compact:
        return
    intact = True
    for entry in info.compact:
        problem = _check_compact_file(state.storage, entry)
        if problem is not None:
            intact = False
            yield problem
    if intact and compare_rows:
        yield from _compare_rows(state, info)


def _check_compact_file(storage: Storage, entry: PartEntry) -> Problem | None:
    url = storage.object_url(entry.path)
    try:
        with storage.open(entry.path) as stream:
            found = f"sha256 {shown(stream_digest(stream))}"
    except NotFoundError:
        found = "no file"
    if found == f"sha256 {shown(entry.sha256)}":
        return None
    return Problem(
        kind="compact",
        message=f"{url}: expected sha256 {shown(entry.sha256)}, found {found}: the parts hold the same rows: restore "
        "it, or for a generated dataset run shardtools verify --repair",
        path=entry.path,
    )


def _compare_rows(state: State, info: DatasetInfo) -> Iterator[Problem]:
    merged = _Cursor(state.storage, info.compact)
    for entry in info.parts:
        part, _ = load_part(state.storage, entry.path, entry)
        # Only the first difference is said: behind it everything may be shifted.
        if part is not None and not merged.take(part.table.num_rows).equals(part.table):
            yield Problem(
                kind="compact",
                message=f"{state.storage.url}/{info.compact[0].path} and its followers hold other rows than "
                f"{entry.path} at the same place: run the job that made the dataset again, it writes them",
                path=info.compact[0].path,
                part=entry.path,
            )
            return
    if merged.take(1).num_rows:
        yield Problem(
            kind="compact",
            message=f"{state.storage.url}/{info.compact[-1].path} holds more rows than the parts: run the job that "
            "made the dataset again, it writes them",
            path=info.compact[-1].path,
        )


class _Cursor:
    """Rows of several Parquet files one after the other, a batch in memory at a time."""

    def __init__(self, storage: Storage, entries: tuple[PartEntry, ...]) -> None:
        self._batches = self._read(storage, entries)
        self._pending = SCHEMA.empty_table()

    @staticmethod
    def _read(storage: Storage, entries: tuple[PartEntry, ...]) -> Iterator[pa.Table]:
        for entry in entries:
            with storage.open(entry.path) as stream:
                for batch in pq.ParquetFile(stream).iter_batches(_BATCH_ROWS):
                    yield pa.Table.from_batches([batch]).replace_schema_metadata(None)

    def take(self, num_rows: int) -> pa.Table:
        """The next rows; fewer at the end."""
        while self._pending.num_rows < num_rows:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._pending = pa.concat_tables([self._pending, batch])
        taken, self._pending = self._pending.slice(0, num_rows), self._pending.slice(num_rows)
        return taken
