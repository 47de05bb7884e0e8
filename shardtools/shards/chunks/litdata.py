"""Lightning's LitData chunks: a writer, and the index file that lists a split's chunks.

Owns the LitData bytes, in the plain layout that every release of LitData reads; 0.2.76 itself writes rows of bytes and
numbers as an Arrow file behind an empty table, where an image's place is not known until 256 rows are there.

The image is a leaf of type `bytes`: `StreamingDataset` gives its bytes, verbatim, for the training script to decode.
LitData's `jpeg` and `image` would give a decoded tensor instead, but only its pixels: EXIF's rotation applied or not by
release, 16-bit PNGs as another dtype, an exception for TIFF, BMP and JPEG 2000, and all of it by functions that
torchvision is about to drop.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

from shardtools.errors import ShardError
from shardtools.shards.chunks.mds import NO_LABEL, refuse_raw
from shardtools.shards.chunks.sample_table import IndexedShard, SampleTableWriter
from shardtools.shards.encoder import ShardEncoder, ShardSample

_ALWAYS = ("image", "label", "key")
_TREESPEC_VERSION = 1


class LitDataEncoder(ShardEncoder):
    """Items are {"image": bytes, FIELD: bytes, ..., "label": int (-1 for none), "key": str}.

    A member that a sample lacks is stored as no bytes, and is absent again when it is read.

    Raises:
        ShardError: A field has the name of a leaf that is always written.
    """

    def __init__(self, stream: BinaryIO, *, max_samples: int, fields: tuple[str, ...]) -> None:
        self._fields = fields
        self._is_sized = [True] * len(_leaves(fields))
        self._table = SampleTableWriter(stream, max_samples=max_samples, header=b"", kind="LitData")

    def add(self, sample: ShardSample) -> int:
        refuse_raw(sample, "LitData chunks")
        label = NO_LABEL if sample.class_index is None else sample.class_index
        members = [sample.members.get(name, b"") for name in self._fields]
        values = [sample.image_bytes, *members, struct.pack("<q", label), sample.key.encode()]
        return self._table.add(sample.key, values, is_sized=self._is_sized)[0]

    def finish(self) -> int:
        return self._table.finish()


def _leaves(fields: Sequence[str]) -> dict[str, str]:
    """Leaf -> type, in the order of the item.

    The key comes last: LitData looks for an Arrow file's mark in the last bytes of a chunk, and a member could end in
    it, a key with its trailing NUL never.
    """
    taken = [name for name in fields if name in _ALWAYS]
    if taken:
        raise ShardError(
            f"LitData chunks always have the leaves {', '.join(_ALWAYS)}, --fields names {taken[0]!r}: drop it"
        )
    return {"image": "bytes", **dict.fromkeys(fields, "bytes"), "label": "int", "key": "str"}


def litdata_index(shards: Sequence[IndexedShard], fields: Sequence[str]) -> bytes:
    """The index.json of one split, as LitData formats it; chunks without samples are left out.

    `updated_at`, by which LitData tells whether its cache of a remote dataset is still right, is no time here but a
    digest of the chunks.

    Args:
        shards: In the order that readers number samples by.
        fields: As given to the encoder.
    """
    listed = [shard for shard in shards if shard.num_samples]
    leaves = _leaves(fields)
    config = {
        "chunk_bytes": max((shard.num_bytes for shard in listed), default=0),
        "chunk_size": None,
        "compression": None,
        "compression_batch_size": None,
        "compression_level": None,
        "data_format": list(leaves.values()),
        "data_spec": _treespec(list(leaves)),
        "encryption": None,
        "ipc_compression": None,
        "item_loader": "PyTreeLoader",
        "types": leaves,
    }
    chunks = [
        {
            "chunk_bytes": shard.num_bytes,
            "chunk_size": shard.num_samples,
            "dim": None,
            "filename": shard.basename,
        }
        for shard in listed
    ]
    facts = json.dumps([[shard.sha256, shard.basename, shard.num_bytes] for shard in listed]).encode()
    content: dict[str, Any] = {
        "chunks": chunks,
        "config": config,
        "updated_at": hashlib.sha256(facts).hexdigest()[:16],
    }
    return json.dumps(content, sort_keys=True).encode()


def _treespec(names: Sequence[str]) -> str:
    """A flat dict as torch's pytree serialises it (LitData carries a copy of that code)."""
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    root = {"type": "builtins.dict", "context": json.dumps(names), "children_spec": [leaf] * len(names)}
    return json.dumps([_TREESPEC_VERSION, root])
