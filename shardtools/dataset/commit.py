"""The commit: `dataset.json`, written last, out of the parts alone.

Owns the totals, the digests and the merged manifest. Everything here is derived from the committed parts, in their
order, so any process may do it, twice even, and the bytes are the same; the price is that the parts are read once
more.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardtools.dataset.belonging import check_belongs, check_digest, check_rows, find_repeated_keys
from shardtools.dataset.commit_file import DATASET_FILE, DatasetInfo, PartEntry, SplitInfo
from shardtools.dataset.index_files import IndexFiles, publish_changed
from shardtools.hashes import hash_texts
from shardtools.manifest import SCHEMA, Part, ShardFile, decode_part, digest
from shardtools.sample import STATUS_OK
from shardtools.shards import parse_part_path
from shardtools.storage import REQUESTS_IN_FLIGHT, Storage, read_ahead

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

COMPACT_FROM_PARTS = 64
"""Datasets with more parts than this also get their rows merged into few files.

Opening a file costs more than reading it.
"""

ROWS_PER_COMPACT_FILE = 4_000_000
_ROWS_PER_GROUP = 122_880
_UNIQUE_COLUMNS = ("key", "sha256", "seed")
"""A dictionary of these would be as long as the column."""


def commit_dataset(
    storage: Storage,
    *,
    kind: str,
    plan_id: str,
    scale: int,
    part_paths: Sequence[str],
    parent: str | None = None,
    layout: str = "tar",
    fields: Sequence[str] = (),
    compact_stem: str = "manifest",
    part_plan_id: str | None = None,
    known: Mapping[str, str] | None = None,
) -> DatasetInfo:
    """Writes `dataset.json` (and the merged manifest of a large dataset) for the given parts.

    Args:
        storage: The dataset.
        kind: "generated" or "real".
        plan_id: Fingerprint of the plan.
        scale: Number of clones.
        part_paths: All parts, in the order of shards.
        parent: Digest of the `dataset.json` this dataset was derived from.
        layout: Format of the shards.
        fields: Members that they hold beside image and label.
        compact_stem: Begins the names of the merged files; another one leaves those of an earlier commit alone.
        part_plan_id: The plan that the parts were made for, where it is another than the dataset's.
        known: Path -> sha256 of parts that were committed before, for whatever plan.

    Raises:
        DatasetError: A part is damaged, is another's, or has a key that comes twice.
        NotFoundError: A part is missing.
    """
    entries: list[PartEntry] = []
    shards: dict[str, ShardFile] = {}
    indexes = IndexFiles(layout, tuple(fields))
    statuses: Counter[str] = Counter()
    totals: dict[str, Counter[str]] = {}
    hashes: list[npt.NDArray[np.uint64]] = []
    belongs = partial(_check_part, storage, part_plan_id or plan_id, known or {})
    with Merger(storage, compact_stem) as merger:
        for path, content, part in _read_parts(storage, part_paths):
            belongs(path, content, part)
            hashes.append(hash_texts(part.table["key"].to_pylist()))
            entries.append(PartEntry(path=path, sha256=digest(content), num_rows=part.table.num_rows))
            # Several parts may speak for one file, where the shards of a split were joined.
            shards |= {shard.path: shard for shard in part.shards}
            indexes.add(parse_part_path(path)[0], part)
            part_statuses = Counter(part.table["status"].to_pylist())
            statuses += part_statuses
            total = totals.setdefault(parse_part_path(path)[0], Counter())
            total["num_rows"] += part.table.num_rows
            total["num_images"] += part_statuses[STATUS_OK]
            total["num_bytes"] += pc.sum(part.table["num_bytes"]).as_py() or 0
            if len(part_paths) > COMPACT_FROM_PARTS:
                merger.add(part.table)
        # Before anything is published: 8 bytes a row are held for it.
        find_repeated_keys(storage, part_paths, hashes)
        compact = merger.finish()
    info = DatasetInfo(
        kind=kind,
        plan_id=plan_id,
        scale=scale,
        parent=parent,
        splits={
            split: SplitInfo(**{name: total[name] for name in ("num_rows", "num_images", "num_bytes")})
            for split, total in totals.items()
        },
        statuses=dict(sorted(statuses.items())),
        parts=tuple(entries),
        shards=tuple(shards.values()),
        compact=compact,
        layout=layout,
        fields=tuple(fields),
        index_files=indexes.publish(storage),
    )
    # Last of all: whatever it lists is durable. Killed before, the next run makes the same bytes again.
    publish_changed(storage, DATASET_FILE, info.to_json())
    return info


def _check_part(
    storage: Storage, plan_id: str, known: Mapping[str, str], path: str, content: bytes, part: Part
) -> None:
    where = storage.object_url(path)
    if path in known:
        check_digest(content, PartEntry(path=path, sha256=known[path], num_rows=part.table.num_rows), where=where)
    check_belongs(part, path, where=where, plan_ids=() if path in known else (plan_id,))
    check_rows(part.table, {shard.path: shard.num_bytes for shard in part.shards}, where=where)


def _read_parts(storage: Storage, paths: Sequence[str]) -> Iterator[tuple[str, bytes, Part]]:
    """Parts in order; a few are fetched ahead, never all."""
    calls = (partial(storage.read, path) for path in paths)
    for path, content in zip(paths, read_ahead(calls, REQUESTS_IN_FLIGHT), strict=True):
        yield path, content, decode_part(content, where=storage.object_url(path))


class Merger:
    """Merges tables into files of `ROWS_PER_COMPACT_FILE` rows, holding one row group at a time.

    Use it as a context manager: leaving it before `finish` discards the file in hand.
    """

    def __init__(self, storage: Storage, stem: str = "manifest") -> None:
        self._storage = storage
        self._stem = stem
        self._pending: list[pa.Table] = []
        self._num_pending = 0
        self._entries: list[PartEntry] = []
        self._file: _CompactFile | None = None

    def __enter__(self) -> Merger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.discard()

    def add(self, table: pa.Table) -> None:
        self._pending.append(table)
        self._num_pending += table.num_rows
        if self._num_pending >= _ROWS_PER_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        if self._file is None:
            self._file = _CompactFile(self._storage, f"compact/{self._stem}-{len(self._entries):06d}.parquet")
        # Row groups end where parts do, by the rows alone, so that any process writes the same bytes.
        self._file.write(pa.concat_tables(self._pending).combine_chunks())
        self._pending, self._num_pending = [], 0
        if self._file.num_rows >= ROWS_PER_COMPACT_FILE:
            self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            self._entries.append(self._file.close())
            self._file = None

    def finish(self) -> tuple[PartEntry, ...]:
        if self._pending:
            self._write_group()
        self._close_file()
        return tuple(self._entries)


class _CompactFile:
    """One merged Parquet file, streamed to the storage; the commit that lists it makes it visible."""

    def __init__(self, storage: Storage, path: str) -> None:
        self._path = path
        self._stack = ExitStack()
        self._sink = _HashingSink(self._stack.enter_context(storage.writer(path)))
        repeated = [name for name in SCHEMA.names if name not in _UNIQUE_COLUMNS]
        self._writer = pq.ParquetWriter(
            self._sink,
            SCHEMA,
            compression="zstd",
            use_dictionary=repeated,
            column_encoding={"key": "DELTA_BYTE_ARRAY"},
        )
        self.num_rows = 0

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=table.num_rows)
        self.num_rows += table.num_rows

    def close(self) -> PartEntry:
        self._writer.close()
        self._stack.close()
        return PartEntry(path=self._path, sha256=self._sink.sha256.hexdigest(), num_rows=self.num_rows)

    def discard(self) -> None:
        self._stack.__exit__(GeneratorExit, GeneratorExit(), None)


class _HashingSink(io.RawIOBase):
    """Passes writes on, hashes them, and knows how many bytes there were, as Arrow's writers ask."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._num_bytes = 0
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._num_bytes

    def write(self, content: ReadableBuffer) -> int:
        with memoryview(content) as view:
            self.sha256.update(view)
            self._stream.write(view)
            self._num_bytes += view.nbytes
            return view.nbytes
