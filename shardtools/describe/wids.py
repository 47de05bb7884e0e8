"""The index of a split for wids, WebDataset's reader with random access: `wids-SPLIT.json`.

Owns the form "wids-shard-index-v1". Shards are named relative to the index, so a dataset can be moved or uploaded as it
is; "base" is left out, because readers then take the index's own place. The price of an index without md5, which needs
all of each shard to be read, is that wids trusts what it downloads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shardtools.manifest import ShardFile

KIND = "wids-shard-index-v1"


def wids_path(split: str) -> str:
    """Path of a split's index in its dataset."""
    return f"wids-{split}.json"


def wids_index(*, name: str, info: str, shards: Sequence[tuple[ShardFile, int, str | None]]) -> bytes:
    """The content of an index.

    Args:
        name: Of dataset and split; wids names its cache folder so, hence no two datasets should share it.
        info: Free text.
        shards: Tars of the split, the number of samples in each (wids finds sample 1500 by these), and md5 if known.
    """
    shardlist: list[dict[str, Any]] = []
    for shard, num_samples, md5 in shards:
        entry: dict[str, Any] = {"url": shard.path, "nsamples": num_samples, "filesize": shard.num_bytes}
        shardlist.append(entry | ({"md5sum": md5} if md5 is not None else {}))
    content = {"__kind__": KIND, "wids_version": 1, "name": name, "info": info, "shardlist": shardlist}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
