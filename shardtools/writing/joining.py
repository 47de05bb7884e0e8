"""One .beton a split out of several: what FFCV's loader opens.

Owns the order of the steps. The joined file is published first, then each manifest part is pointed at it, then the
commit lists it, and last the shards it was made from are removed; killed in between, the same command does the steps
again from the shards, which are there until the commit. The price: for the time of joining, twice the space.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from shardtools.dataset import replace_part
from shardtools.hashes import stream_digest
from shardtools.manifest import Part, ShardFile, decode_part
from shardtools.shards import join_betons, joined_path, open_beton, parse_part_path, shard_path
from shardtools.storage import Storage


def join_splits(storage: Storage, part_paths: Sequence[str]) -> None:
    """Joins the shards of each split and points the parts at the result.

    Args:
        storage: The dataset; its shards are .beton files.
        part_paths: All parts, in the order of shards.

    Raises:
        ShardError: A shard is damaged.
    """
    by_split: dict[str, list[str]] = {}
    for path in part_paths:
        by_split.setdefault(parse_part_path(path)[0], []).append(path)
    for split, paths in by_split.items():
        parts = [(path, _read(storage, path)) for path in paths]
        if any(shard.path != joined_path(split) for _, part in parts for shard in part.shards):
            _join(storage, split, [path for path, part in parts if part.shards])


def _read(storage: Storage, path: str) -> Part:
    return decode_part(storage.read(path), where=storage.object_url(path))


def _join(storage: Storage, split: str, paths: Sequence[str]) -> None:
    shards = [shard_path(*parse_part_path(path), layout="beton") for path in paths]
    target = joined_path(split)
    with tempfile.TemporaryDirectory(prefix="shardtools-") as folder, storage.writer(target) as stream:
        shifts = join_betons([open_beton(storage, shard, Path(folder)) for shard in shards], stream)
        sha256 = stream_digest(stream)
        num_bytes = stream.seek(0, 2)
    joined = ShardFile(path=target, num_bytes=num_bytes, sha256=sha256)
    first_index = 0
    for path, shift in zip(paths, shifts, strict=True):
        part = _read(storage, path)
        num_images = part.table.num_rows - part.table["shard"].null_count
        if part.shards[0].path != target:
            replace_part(storage, *parse_part_path(path), _moved(part.table, target, shift, first_index), [joined])
        first_index += num_images


def _moved(table: pa.Table, target: str, shift: int, first_index: int) -> pa.Table:
    """The rows with their images' places in the joined file; rows without images stay as they are."""
    columns = {
        "shard": pc.if_else(pc.is_null(table["shard"]), pa.scalar(None, pa.string()), target),
        "sample_index": pc.cast(pc.add(table["sample_index"], first_index), pa.int32()),
        "member_offset": pc.add(table["member_offset"], shift),
    }
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    return table.combine_chunks()


def remove_joined(storage: Storage, part_paths: Sequence[str]) -> None:
    """Removes the shards that joined files were made from, if they are there; call it after the commit."""
    for path in part_paths:
        storage.delete(shard_path(*parse_part_path(path), layout="beton"))
