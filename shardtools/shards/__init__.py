"""Shards: the bytes of WebDataset tars, written reproducibly and read with suspicion."""

from shardtools.shards.names import MAX_MEMBER_NAME_BYTES, check_key, part_path, shard_path
from shardtools.shards.tar import Member, TarSample, TarWriter, read_members, read_samples

__all__ = [
    "MAX_MEMBER_NAME_BYTES",
    "Member",
    "TarSample",
    "TarWriter",
    "check_key",
    "part_path",
    "read_members",
    "read_samples",
    "shard_path",
]
