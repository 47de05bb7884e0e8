"""x"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import pickle
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools.errors import OptionError, ShardError, ShardtoolsError
from shardtools.shards.mds import mds_index, mds_shard_name
from shardtools.shards.sample_table import IndexedShard
from shardtools.sources import chunk_opening
from shardtools.storage import open_storage
from tests.pictures import drawing, encode, jpeg
from tests.reading import by_key, everything
from tests.s3_server import S3Server
from tests.streamed import LITDATA, MDS, Format, encoded, opened, sample, write


def refused(form: Format, root: Path, index: Path, **options: Any) -> str:
    with pytest.raises(ShardtoolsError) as caught:
        everything(opened(form, root, index, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit_index(root: Path, **changes: Any) -> None:
    """Changes entries of the first shard; "a.b" is b in a."""
    path = root / "index.json"
    content = json.loads(path.read_bytes())
    for name, value in changes.items():
        *outer, last = name.split(".")
        target = content["shards"][0]
        for part in outer:
            target = target[part]
        target[last] = value
    path.write_text(json.dumps(content))


def mds(
    root: Path, columns: dict[str, tuple[str, int | None]], rows: list[list[bytes]], name: str = "shard.00000.mds"
) -> Path:
    """A dataset with any columns, put together from the format's facts."""
    sized = [size is None for _, size in columns.values()]
    bodies = []
    for row in rows:
        lengths = [len(value) for value, has in zip(row, sized, strict=True) if has]
        bodies.append(struct.pack(f"<{len(lengths)}I", *lengths) + b"".join(row))
    start = 4 * (len(rows) + 2)
    offsets = [start + sum(map(len, bodies[:number])) for number in range(len(bodies) + 1)]
    content = struct.pack(f"<{len(rows) + 2}I", len(rows), *offsets) + b"".join(bodies)
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    shard = {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": None,
        "samples": len(rows),
        "column_names": list(columns),
        "column_encodings": [encoding for encoding, _ in columns.values()],
        "column_sizes": [size for _, size in columns.values()],
        "raw_data": {"basename": name, "bytes": len(content), "hashes": {}},
        "zip_data": None,
    }
    (root / "index.json").write_text(json.dumps({"version": 2, "shards": [shard]}))
    return root


def pil(image: Image.Image) -> bytes:
    mode = image.mode.encode()
    return struct.pack("<III", *image.size, len(mode)) + mode + image.tobytes()
