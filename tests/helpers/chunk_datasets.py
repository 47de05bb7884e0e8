"""MDS and LitData datasets made with this package's encoders, for the tests of both."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shardtools.shards.chunks.litdata import LitDataEncoder, litdata_index
from shardtools.shards.chunks.mds import MdsEncoder, mds_index
from shardtools.shards.chunks.sample_table import IndexedShard
from shardtools.shards.encoder import ShardEncoder, ShardSample
from shardtools.sources import Source, SourceOptions
from shardtools.sources.chunks.litdata import open_litdata_source
from shardtools.sources.chunks.mds import open_mds_source
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes
from tests.helpers.opened_sources import refused_by
from tests.helpers.pictures import jpeg

Format = tuple[type[ShardEncoder], Callable[..., bytes], str, Callable[..., Any]]

MDS: Format = (MdsEncoder, mds_index, "shard.{:05d}.mds", open_mds_source)
LITDATA: Format = (LitDataEncoder, litdata_index, "chunk-0-{}.bin", open_litdata_source)


def sample(number: int, content: bytes | None = None, class_index: int | None = 0, **members: bytes) -> ShardSample:
    return ShardSample(
        key=f"key{number:04d}",
        image_bytes=jpeg(number) if content is None else content,
        image_format="jpg",
        width=48,
        height=36,
        class_index=class_index,
        members=members,
    )


def encoded(
    form: Format, samples: Sequence[ShardSample], fields: tuple[str, ...] = (), max_samples: int | None = None
) -> tuple[bytes, list[int]]:
    """A shard's bytes and the offsets that its encoder gave."""
    stream = io.BytesIO()
    encoder = form[0](stream, max_samples=len(samples) if max_samples is None else max_samples, fields=fields)
    offsets = [encoder.add(one) for one in samples]
    assert encoder.finish() == len(stream.getvalue())
    return stream.getvalue(), offsets


def write(
    form: Format, root: Path, shards: Sequence[Sequence[ShardSample]], fields: tuple[str, ...] = (), spare: int = 0
) -> Path:
    """A folder with shards and their index."""
    root.mkdir(parents=True, exist_ok=True)
    facts = []
    for number, samples in enumerate(shards):
        content, _ = encoded(form, samples, fields, len(samples) + spare)
        name = form[2].format(number)
        (root / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        facts.append(IndexedShard(basename=name, num_samples=len(samples), num_bytes=len(content), sha256=digest))
    (root / "index.json").write_bytes(form[1](facts, fields))
    return root


def opened(form: Format, root: Path | str, index: Path, *, classes: str | None = None, **options: Any) -> Source:
    index.mkdir(exist_ok=True)
    wanted = load_classes(classes) if classes is not None else None
    source: Source = form[3](
        open_storage(str(root)), SourceOptions(source=str(root), classes=classes, **options), wanted, index
    )
    return source


refused = functools.partial(refused_by, opened)
