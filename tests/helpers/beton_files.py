"""`.beton` files for tests: made by the encoder, or put together by hand from the layout alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shardtools.shards.beton.format import HEADER
from shardtools.shards.beton.reader import Beton, open_beton
from shardtools.shards.beton.writer import BetonEncoder
from shardtools.shards.encoder import ShardSample
from shardtools.storage import open_storage
from tests.helpers.pictures import jpeg


def jpeg_sample(number: int, *, label: int | None = None, **members: bytes) -> ShardSample:
    return ShardSample(
        key=f"key_{number:04d}",
        image_bytes=jpeg(number),
        image_format="jpg",
        width=48,
        height=36,
        class_index=label,
        members=members,
    )


def raw_sample(key: str, width: int, height: int, pixels: bytes, members: Mapping[str, bytes]) -> ShardSample:
    return ShardSample(
        key=key, image_bytes=pixels, image_format="raw", width=width, height=height, class_index=None, members=members
    )


def encode_beton(
    samples: Sequence[ShardSample],
    fields: tuple[str, ...] = (),
    *,
    page_bytes: int = 1 << 21,
    max_samples: int | None = None,
) -> tuple[bytes, list[int]]:
    """The bytes of a file and the offsets of its images."""
    stream = io.BytesIO()
    room = len(samples) if max_samples is None else max_samples
    encoder = BetonEncoder(stream, max_samples=room, fields=fields, page_bytes=page_bytes)
    offsets = [encoder.add(sample) for sample in samples]
    assert encoder.finish() == len(stream.getvalue())
    return stream.getvalue(), offsets


def opened_beton(content: bytes, folder: Path, name: str = "x.beton") -> Beton:
    (folder / name).write_bytes(content)
    return open_beton(open_storage(str(folder)), name, folder)


def payloads(beton: Beton, field: int) -> list[bytes]:
    """All payloads of a field, in the order of samples."""
    rows = beton.metadata.read(0, beton.num_samples)[f"f{field}"]
    addresses = rows if rows.dtype.names is None else rows["ptr"]
    lengths = beton.lengths.read(0, beton.num_samples)[:, field]
    return beton.read_payloads(list(zip(addresses.tolist(), lengths.tolist(), strict=True)))


def labels(beton: Beton) -> list[int]:
    return list(beton.metadata.read(0, beton.num_samples)["f1"])


def header(content: bytes) -> tuple[int, ...]:
    return np.frombuffer(content, HEADER, 1)[0].tolist()
