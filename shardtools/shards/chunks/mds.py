"""MosaicML Streaming's MDS shards (format version 2): a writer, and the index file that lists a split's shards.

Owns the MDS bytes. Columns stand in the order of their names as Streaming's own MDSWriter puts them, and a shard that
was filled is the file that MDSWriter would have written (with `hashes=["sha256"]` and no size limit). The price of
columns with one type each: a member that a sample lacks is stored as no bytes (`json`: as `null`), and is absent again
when it is read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

from shardtools.documents import read_json
from shardtools.errors import ShardError
from shardtools.shards.chunks.sample_table import IndexedShard, SampleTableWriter
from shardtools.shards.encoder import ShardEncoder, ShardSample

MDS_VERSION = 2
NO_LABEL = -1
"""The label of a sample without one: an integer column has no null."""

_NO_JSON = b"null"
_FIXED = {"image": ("jpeg", None), "key": ("str", None), "label": ("int", 8)}
"""Column -> (encoding, fixed length in bytes). Streaming opens a `jpeg` with Pillow, whichever format it is."""


class MdsEncoder(ShardEncoder):
    """Columns `image` (encoding jpeg), `key` (str), `label` (int, -1 for none), `json` (json), other members (bytes).

    `StreamingDataset` gives the image as a Pillow image of the verbatim bytes, whichever format that Pillow reads they
    are in. Only MDS's `bytes` would show the bytes themselves, and make every training script decode.

    Raises:
        ShardError: A field has the name of a column that is always written.
    """

    def __init__(self, stream: BinaryIO, *, max_samples: int, fields: tuple[str, ...]) -> None:
        self._columns = _columns(fields)
        header = json.dumps(_shard_config(fields), sort_keys=True).encode()
        self._table = SampleTableWriter(stream, max_samples=max_samples, header=header, kind="MDS")
        self._is_sized = [num_bytes is None for _, _, num_bytes in self._columns]

    def add(self, sample: ShardSample) -> int:
        refuse_raw(sample, "MDS shards")
        label = NO_LABEL if sample.class_index is None else sample.class_index
        own = {"image": sample.image_bytes, "key": sample.key.encode(), "label": struct.pack("<q", label)}
        values = [own[name] if name in own else _member(sample, name, encoding) for name, encoding, _ in self._columns]
        places = self._table.add(sample.key, values, is_sized=self._is_sized)
        return places[[name for name, _, _ in self._columns].index("image")]

    def finish(self) -> int:
        return self._table.finish()


def refuse_raw(sample: ShardSample, kind: str) -> None:
    """Raises `ShardError` for raw pixels, which no reader of encoded images would take."""
    if sample.image_format == "raw":
        raise ShardError(
            f"key {sample.key!r} is raw pixels, {kind} hold encoded images: give --write-mode jpg, or write a .beton"
        )


def _columns(fields: Sequence[str]) -> list[tuple[str, str, int | None]]:
    """(name, encoding, fixed length) in the order of names."""
    columns = {name: ("json" if name == "json" else "bytes", None) for name in fields}
    taken = sorted(columns.keys() & _FIXED.keys())
    if taken:
        raise ShardError(
            f"MDS shards always have the columns {', '.join(_FIXED)}, --fields names {taken[0]!r}: drop it"
        )
    return [(name, encoding, length) for name, (encoding, length) in sorted((columns | _FIXED).items())]


def _member(sample: ShardSample, name: str, encoding: str) -> bytes:
    payload = sample.members.get(name)
    if encoding != "json":
        return payload or b""
    if payload is None:
        return _NO_JSON
    try:
        read_json(payload.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ShardError(
            f"key {sample.key!r} has a member .{name} that is no JSON ({error}), which readers of MDS would fail at: "
            f"set it right, or leave {name} out of --fields"
        ) from None
    return payload


def _shard_config(fields: Sequence[str]) -> dict[str, Any]:
    """What a shard's own header says, and its entry in the index too."""
    columns = _columns(fields)
    return {
        "version": MDS_VERSION,
        "format": "mds",
        "compression": None,
        "hashes": ["sha256"],
        "size_limit": None,
        "column_names": [name for name, _, _ in columns],
        "column_encodings": [encoding for _, encoding, _ in columns],
        "column_sizes": [num_bytes for _, _, num_bytes in columns],
    }


def mds_index(shards: Sequence[IndexedShard], fields: Sequence[str]) -> bytes:
    """The index.json of one split, as MDSWriter formats it; shards without samples are left out.

    Args:
        shards: In the order that readers number samples by.
        fields: As given to the encoder.
    """
    entries = [_shard_config(fields) | _shard_facts(shard) for shard in shards if shard.num_samples]
    return json.dumps({"version": MDS_VERSION, "shards": entries}, sort_keys=True).encode()


def _shard_facts(shard: IndexedShard) -> dict[str, Any]:
    hashes = {"sha256": shard.sha256} if shard.sha256 is not None else {}
    return {
        "samples": shard.num_samples,
        "raw_data": {"basename": shard.basename, "bytes": shard.num_bytes, "hashes": hashes},
        "zip_data": None,
        "hashes": list(hashes),
    }
