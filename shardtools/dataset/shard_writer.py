"""One shard and its manifest part: the unit of exactly-once work.

Owns the order of the two writes: the tar is published and durable first, then the part, put-if-absent. Until its part
is there a shard does not exist for any reader, so a run that is killed at any point leaves nothing half-done; the
price is that a killed run makes its shard in hand again from the start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa

from shardtools.errors import AlreadyExistsError, DatasetBusyError
from shardtools.manifest import ShardFile, digest, encode_part, rows_to_table
from shardtools.sample import STATUS_OK, Sample
from shardtools.shards import TarWriter, check_key, part_path, shard_path
from shardtools.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedShard:
    """What a committed shard holds: rows, rows with an image, and the image payloads' total length (bytes)."""

    split: str
    shard_index: int
    num_rows: int
    num_images: int
    num_bytes: int


class _HashingStream:
    """Passes writes on and hashes them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.sha256 = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        return self._stream.write(content)


class ShardWriter:
    """Collects the samples of one shard and commits them together.

    Use it as a context manager: leaving it without `commit` discards what was written.
    """

    def __init__(self, storage: Storage, *, split: str, shard_index: int, attempt: int = 1) -> None:
        self._storage = storage
        self._split = split
        self._shard_index = shard_index
        self._path = shard_path(split, shard_index, attempt)
        self._rows: list[dict[str, Any]] = []
        self._keys: set[str] = set()
        self._num_images = 0
        self._stack = ExitStack()
        self._stream: _HashingStream | None = None
        self._tar: TarWriter | None = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        discard = kind or GeneratorExit
        self._stack.__exit__(discard, error or discard(), trace)

    def add(self, sample: Sample) -> None:
        """Appends one sample; one without bytes becomes a row only.

        Raises:
            ShardError: Its key may not be used.
            ValueError: Its key was added before, or its status is ok and it has no image.
        """
        check_key(sample.key)
        if sample.key in self._keys:
            raise ValueError(f"key {sample.key!r} was added to {self._path} before")
        self._keys.add(sample.key)
        row = _row(sample, self._split)
        if sample.status == STATUS_OK:
            row |= self._write_members(sample)
        self._rows.append(row)

    def _write_members(self, sample: Sample) -> dict[str, Any]:
        if sample.image_bytes is None or sample.image_format is None:
            raise ValueError(f"sample {sample.key!r} has status ok and no image bytes or format")
        if self._tar is None:
            self._stream = _HashingStream(self._stack.enter_context(self._storage.writer(self._path)))
            self._tar = TarWriter(self._stream)  # type: ignore[arg-type]  # only write() is used
        members = {**_label_members(sample), **sample.extra_members, sample.image_format: sample.image_bytes}
        offsets = self._tar.write_sample(sample.key, members)
        self._num_images += 1
        return {
            "shard": self._path,
            "sample_index": self._num_images - 1,
            "member_offset": offsets[sample.image_format],
            "num_bytes": len(sample.image_bytes),
            "sha256": digest(sample.image_bytes),
        }

    def publish_shard(self) -> tuple[pa.Table, tuple[ShardFile, ...]]:
        """Publishes the tar (if any sample has bytes) and returns the rows and the tar's facts, not yet committed."""
        shards: tuple[ShardFile, ...] = ()
        if self._tar is not None and self._stream is not None:
            self._tar.finish()
            self._stack.close()
            sha256 = self._stream.sha256.hexdigest()
            shards = (ShardFile(path=self._path, num_bytes=self._tar.num_bytes, sha256=sha256),)
        return rows_to_table(self._rows), shards

    def commit(self) -> CommittedShard:
        """Publishes the tar, then the part.

        Raises:
            DatasetBusyError: Another run committed this shard with other content.
        """
        table, shards = self.publish_shard()
        content = encode_part(table, shards)
        path = part_path(self._split, self._shard_index)
        try:
            self._storage.write(path, content, if_absent=True)
        except AlreadyExistsError:
            if self._storage.read(path) != content:
                raise DatasetBusyError(
                    f"{self._storage.url}: another run committed {path} meanwhile: let one run finish, then verify "
                    "the dataset"
                ) from None
        return CommittedShard(
            split=self._split,
            shard_index=self._shard_index,
            num_rows=len(self._rows),
            num_images=self._num_images,
            num_bytes=sum(row.get("num_bytes") or 0 for row in self._rows),
        )


def replace_part(storage: Storage, split: str, shard_index: int, table: pa.Table, shards: Sequence[ShardFile]) -> None:
    """Puts new rows in the place of a committed part, atomically; the tars they point to are durable already."""
    storage.write(part_path(split, shard_index), encode_part(table, shards))


def _row(sample: Sample, split: str) -> dict[str, Any]:
    return {
        "key": sample.key,
        "split": split,
        "image_format": sample.image_format,
        "width": sample.width,
        "height": sample.height,
        "mode": sample.mode,
        "wnid": sample.wnid,
        "class_index": sample.class_index,
        "label_source": sample.label_source,
        "source": sample.source,
        "status": sample.status,
        "reason": sample.reason,
        **sample.provenance,
    }


def _label_members(sample: Sample) -> dict[str, bytes]:
    """`cls` (ASCII integer) and `json` (the label and the provenance, keys sorted) as WebDataset readers want them."""
    facts = {"key": sample.key, "wnid": sample.wnid, "class_index": sample.class_index, "source": sample.source}
    facts |= {name: value for name, value in sample.provenance.items() if value is not None}
    members = {"json": json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()}
    if sample.class_index is not None:
        members["cls"] = str(sample.class_index).encode()
    return members
