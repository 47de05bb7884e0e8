"""WebDataset tars as a shard format: image, label and every further member of a sample side by side."""

from __future__ import annotations

from typing import BinaryIO

from shardtools.shards.encoder import ShardEncoder, ShardSample
from shardtools.shards.tar.members import TarWriter


class TarEncoder(ShardEncoder):
    """Appends samples to a tar; holds any member, so `fields` says nothing."""

    def __init__(self, stream: BinaryIO, *, max_samples: int, fields: tuple[str, ...]) -> None:
        self._tar = TarWriter(stream)

    def add(self, sample: ShardSample) -> int:
        members = {**sample.members, sample.image_format: sample.image_bytes}
        return self._tar.write_sample(sample.key, members)[sample.image_format]

    def finish(self) -> int:
        self._tar.finish()
        return self._tar.num_bytes
