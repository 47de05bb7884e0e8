"""Where the bytes of one shard go: into one shard file, or, for image folders, into a file an image.

Owns the choice between the two and the digest of a shard. A format that writes its tables last is read once more for
its digest; the price is a second pass over a file that is still in memory.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from typing import BinaryIO, Protocol, cast

from shardtools.dataset.hashing import HashThread
from shardtools.errors import ShardError
from shardtools.hashes import stream_digest
from shardtools.manifest import ShardFile
from shardtools.shards import IMAGEFOLDER, LAYOUTS, Layout, ShardSample, shard_path
from shardtools.storage import Storage

_NOT_IN_FOLDER_NAMES = re.compile(r"[/\\\x00-\x1f\x7f]")


class Sink(Protocol):
    """Takes samples and gives each a place."""

    def add(self, sample: ShardSample, wnid: str | None) -> tuple[str, int]:
        """Path of the file that holds the image, and the byte offset of its payload there."""

    def publish(self) -> tuple[ShardFile, ...]:
        """Makes everything durable; returns the facts of the shard files."""

    def discard(self) -> None:
        """Drops what is not published."""


def open_sink(
    storage: Storage,
    *,
    split: str,
    shard_index: int,
    attempt: int,
    layout: str,
    max_samples: int,
    fields: tuple[str, ...],
    hashing: HashThread,
) -> Sink:
    """A sink for one shard of a dataset; arguments as `ShardWriter` takes them."""
    if layout == IMAGEFOLDER:
        return _FolderSink(storage, split)
    path = shard_path(split, shard_index, attempt, layout=layout)
    return _FileSink(storage, path, LAYOUTS[layout], max_samples, fields, hashing)


class _HashingStream:
    """Passes writes on and hashes them; the digest is complete when the thread has finished."""

    def __init__(self, stream: BinaryIO, hashing: HashThread) -> None:
        self._stream = stream
        self._hashing = hashing
        self.sha256 = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self._hashing.update(self.sha256, content)
        return self._stream.write(content)


class _FileSink:
    """One shard file, which appears under its name when it is whole."""

    def __init__(
        self,
        storage: Storage,
        path: str,
        layout: Layout,
        max_samples: int,
        fields: tuple[str, ...],
        hashing: HashThread,
    ) -> None:
        self._path = path
        self._stack = ExitStack()
        self._stream = self._stack.enter_context(storage.writer(path))
        self._hashing = _HashingStream(self._stream, hashing) if layout.is_appended else None
        self._finish_hashing = hashing.finish
        target = cast(BinaryIO, self._hashing) if self._hashing else self._stream
        self._encoder = layout.encoder(target, max_samples=max_samples, fields=fields)

    def add(self, sample: ShardSample, wnid: str | None) -> tuple[str, int]:
        return self._path, self._encoder.add(sample)

    def publish(self) -> tuple[ShardFile, ...]:
        num_bytes = self._encoder.finish()
        self._finish_hashing()
        # While the stream is open and the file has no name yet: once closed, it is published.
        sha256 = self._hashing.sha256.hexdigest() if self._hashing else stream_digest(self._stream)
        self._stack.close()
        return (ShardFile(path=self._path, num_bytes=num_bytes, sha256=sha256),)

    def discard(self) -> None:
        self._stack.__exit__(GeneratorExit, GeneratorExit(), None)


class _FolderSink:
    """A file an image, as torchvision's ImageFolder reads them: SPLIT/CLASS/KEY.EXTENSION."""

    def __init__(self, storage: Storage, split: str) -> None:
        self._storage = storage
        self._split = split

    def add(self, sample: ShardSample, wnid: str | None) -> tuple[str, int]:
        if sample.image_format == "raw":
            raise ShardError(f"key {sample.key!r} is raw pixels, which no image file holds: give --write-mode jpg")
        path = f"{self._split}/{class_folder(wnid, sample.class_index)}/{sample.key}.{sample.image_format}"
        self._storage.write(path, sample.image_bytes)
        return path, 0

    def publish(self) -> tuple[ShardFile, ...]:
        return ()

    def discard(self) -> None:
        """What a killed run wrote is written again by the next one, with the same bytes."""


def class_folder(wnid: str | None, class_index: int | None) -> str:
    """Name of an image's folder: its wnid, else its label, else "unlabelled"."""
    if wnid is not None:
        name = _NOT_IN_FOLDER_NAMES.sub("_", wnid)
        return f"_{name}" if name.startswith(".") else name
    return "unlabelled" if class_index is None else f"{class_index:05d}"
