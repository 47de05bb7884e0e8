"""Shards: the bytes of shard files, written reproducibly and read with suspicion."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.shards.layout_names import IMAGEFOLDER, LAYOUT_NAMES

if TYPE_CHECKING:
    from shardtools.shards.beton.join import join_betons
    from shardtools.shards.beton.reader import Beton, open_beton
    from shardtools.shards.chunks.sample_table import IndexedShard
    from shardtools.shards.encoder import ShardEncoder, ShardSample
    from shardtools.shards.layouts import (
        LAYOUTS,
        Layout,
        check_fields,
        joined_path,
        shard_path,
    )
    from shardtools.shards.names import MAX_MEMBER_NAME_BYTES, check_key, check_split, parse_part_path, part_path
    from shardtools.shards.tar.members import Member, TarSample, TarWriter, read_members, read_samples
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "IMAGEFOLDER",
    "LAYOUTS",
    "LAYOUT_NAMES",
    "MAX_MEMBER_NAME_BYTES",
    "Beton",
    "IndexedShard",
    "Layout",
    "Member",
    "ShardEncoder",
    "ShardSample",
    "TarSample",
    "TarWriter",
    "check_fields",
    "check_key",
    "check_split",
    "join_betons",
    "joined_path",
    "open_beton",
    "parse_part_path",
    "part_path",
    "read_members",
    "read_samples",
    "shard_path",
]
