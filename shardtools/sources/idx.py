"""MNIST's idx files: raw grey pixels and labels in two files a split, plain or gzip.

Owns the one source without original image bytes: each picture becomes a lossless 8-bit grey PNG. A compressed file can
only be read forward, so every process decompresses it once from its start, and samples keep the order of the file.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from shardtools.errors import OptionError, SourceError
from shardtools.sample import Sample
from shardtools.shards import check_split
from shardtools.sources.base import Source
from shardtools.sources.image.png import encode_gray_png
from shardtools.sources.labels import labels_digest
from shardtools.sources.options import SourceOptions
from shardtools.sources.top_level import list_top_level
from shardtools.storage import Storage
from shardtools.taxonomy import ImageClass, load_classes

_FILE_NAME = re.compile(r"(?P<name>.+)-(?P<what>images[-.]idx3|labels[-.]idx1)-ubyte(?P<gz>\.gz)?")
_SPLIT_NAMES = {"t10k": "test"}
_IMAGES_MAGIC = 0x00000803
_LABELS_MAGIC = 0x00000801
_IMAGES_HEADER_BYTES = 16
_LABELS_HEADER_BYTES = 8
_CHUNK_BYTES = 1 << 20
_FASHION_LABELS = {
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""sha256 of Fashion-MNIST's two decompressed label files: MNIST's have the same names and sizes."""


def is_idx_name(name: str) -> bool:
    """Whether a file is named like an idx file of images or labels."""
    return _FILE_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class IdxSplit:
    """One pair of files: path of the images, their size in pixels, one label byte an image, sha256 of the images."""

    path: str
    width: int
    height: int
    labels: bytes
    digest: str


@dataclass(slots=True)
class _Reader:
    """An open file of images and the number of the image that comes next."""

    stream: BinaryIO
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IdxSource(Source):
    """A folder of idx files.

    Attributes:
        files: Split -> its pair of files.
        wnids: Class index -> class name.
        readers: Open files of this process; empty until it reads.
    """

    files: Mapping[str, IdxSplit]
    wnids: Sequence[str]
    readers: dict[str, _Reader] = field(default_factory=dict, repr=False, compare=False)

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        files = self.files[split]
        for position in range(start, stop):
            pixels = self._pixels(split, position)
            class_index = files.labels[position]
            yield Sample(
                key=self._key(split, position),
                image_bytes=encode_gray_png(pixels, files.width, files.height),
                image_format="png",
                width=files.width,
                height=files.height,
                mode="L",
                wnid=self.wnids[class_index],
                class_index=class_index,
                label_source="idx",
            )

    def keys(self, split: str) -> Iterator[str]:
        return (self._key(split, position) for position in range(self.splits[split]))

    def _key(self, split: str, position: int) -> str:
        digits = max(5, len(str(self.splits[split] - 1)))
        return f"{split}_{position:0{digits}d}"

    def close(self) -> None:
        while self.readers:
            self.readers.popitem()[1].stream.close()

    def _pixels(self, split: str, position: int) -> bytes:
        files = self.files[split]
        num_bytes = files.width * files.height
        where = self.storage.object_url(files.path)
        try:
            reader = self._reader(split, position)
            _skip(reader.stream, (position - reader.position) * num_bytes)
            reader.position = position + 1
            pixels = reader.stream.read(num_bytes)
        except (EOFError, OSError, zlib.error) as error:
            raise SourceError(f"{where} is damaged at image {position}: {error}: fetch it again") from None
        if len(pixels) != num_bytes:
            raise SourceError(f"{where} ends in image {position}, expected {len(files.labels)} images: fetch it again")
        return pixels

    def _reader(self, split: str, position: int) -> _Reader:
        """The open file, at an image not behind `position`."""
        reader = self.readers.get(split)
        # What lies behind can only be had from the start again. Writers ask for rising positions, so it happens once a
        # shard at most.
        if reader is None or reader.position > position:
            if reader is not None:
                reader.stream.close()
                del self.readers[split]
            stream = _open(self.storage, self.files[split].path)
            reader = self.readers[split] = _Reader(stream, 0)
            _skip(stream, _IMAGES_HEADER_BYTES)
        return reader


def _skip(stream: BinaryIO, num_bytes: int) -> None:
    if not isinstance(stream, gzip.GzipFile):
        stream.seek(num_bytes, 1)
        return
    while num_bytes > 0 and (content := stream.read(min(num_bytes, _CHUNK_BYTES))):
        num_bytes -= len(content)


def _open(storage: Storage, path: str) -> BinaryIO:
    stream = storage.open(path)
    return cast(BinaryIO, _Unpacked(stream)) if path.endswith(".gz") else stream


class _Unpacked(gzip.GzipFile):
    """Closes the compressed stream with itself, as `GzipFile` does not."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()


def open_idx(storage: Storage, options: SourceOptions, classes: Sequence[ImageClass] | None) -> IdxSource:
    """Pairs the files, reads headers and labels.

    Args:
        storage: The folder.
        options: How to read it.
        classes: The class set given by the user; `None` takes Fashion-MNIST's for Fashion-MNIST, else the labels'
            numbers.

    Raises:
        SourceError: A file of a pair is missing or damaged, the counts differ, or a label is out of range.
        OptionError: `shuffle` is asked for.
    """
    if options.shuffle:
        raise OptionError("idx files are compressed and read forward, in their own order: drop --shuffle")
    pairs = _pair(storage)
    # One pair takes any name; of several, the name chooses.
    if options.split is not None:
        if len(pairs) > 1 and options.split not in pairs:
            raise SourceError(f"{storage.url} has splits {', '.join(pairs)}, not {options.split!r}: choose one of them")
        pairs = {options.split: pairs.get(options.split) or next(iter(pairs.values()))}
    files = {check_split(split): _read_pair(storage, *paths) for split, paths in pairs.items()}
    if classes is None and any(
        hashlib.sha256(_labels_header(one) + one.labels).hexdigest() in _FASHION_LABELS for one in files.values()
    ):
        classes = load_classes("fashion")
    wnids = [one.wnid for one in classes] if classes else [str(number) for number in range(256)]
    for one in files.values():
        _check_labels(storage, one, len(wnids))
    listing = [(split, one.digest, hashlib.sha256(one.labels).hexdigest()) for split, one in files.items()]
    return IdxSource(
        kind="idx",
        splits={split: len(one.labels) for split, one in files.items()},
        settings={
            "source_kind": "idx",
            "source_listing": hashlib.sha256(repr(listing).encode()).hexdigest(),
            "labels": labels_digest(classes) if classes else None,
        },
        storage=storage,
        files=files,
        wnids=wnids,
    )


def _labels_header(files: IdxSplit) -> bytes:
    return struct.pack(">II", _LABELS_MAGIC, len(files.labels))


def _check_labels(storage: Storage, files: IdxSplit, num_classes: int) -> None:
    largest = max(files.labels, default=0)
    if largest >= num_classes:
        raise SourceError(
            f"{storage.object_url(files.path)}: image {files.labels.index(largest)} has label {largest}, --classes "
            "has indexes "
            f"0 to {num_classes - 1}: give the set it belongs to"
        )


def _pair(storage: Storage) -> dict[str, tuple[str, str]]:
    """Split -> (file of images, file of labels), the training split first."""
    found: dict[str, dict[str, str]] = {}
    for name in list_top_level(storage).files:
        match = _FILE_NAME.fullmatch(name)
        if match is None:
            continue
        split = _SPLIT_NAMES.get(match["name"], match["name"].lower())
        files = found.setdefault(split, {})
        twin = files.setdefault(match["what"][:6], name)
        if twin != name:
            raise SourceError(f"{storage.url} has both {twin} and {name}: move one of them away")
    for split, files in found.items():
        for what in ("images", "labels"):
            if what not in files:
                raise SourceError(
                    f"{storage.url} has no file of {what} for split {split}: fetch it, idx files come in pairs"
                )
    if not found:
        raise SourceError(f"{storage.url} has no idx files such as train-images-idx3-ubyte.gz: check the path")
    order = sorted(found, key=lambda split: (split != "train", split))
    return {split: (found[split]["images"], found[split]["labels"]) for split in order}


def _read_pair(storage: Storage, images_path: str, labels_path: str) -> IdxSplit:
    magic, count, height, width = _read_header(storage, images_path, _IMAGES_HEADER_BYTES)
    labels_magic, num_labels = _read_header(storage, labels_path, _LABELS_HEADER_BYTES)
    for path, found, expected in ((images_path, magic, _IMAGES_MAGIC), (labels_path, labels_magic, _LABELS_MAGIC)):
        if found != expected:
            raise SourceError(
                f"{storage.object_url(path)} begins with {found:#010x}, expected {expected:#010x}: it is no such idx "
                "file"
            )
    if count != num_labels:
        raise SourceError(
            f"{storage.url}: {images_path} has {count} images, {labels_path} {num_labels} labels: fetch both again"
        )
    if count == 0 or width == 0 or height == 0:
        raise SourceError(
            f"{storage.object_url(images_path)} has {count} images of {width}x{height} pixels: nothing to write"
        )
    # Both to their ends now, or damage there would stop the job after hours.
    digest = _digest(storage, images_path, _IMAGES_HEADER_BYTES + count * width * height)
    _digest(storage, labels_path, _LABELS_HEADER_BYTES + count)
    with _open(storage, labels_path) as stream:
        labels = stream.read()[_LABELS_HEADER_BYTES:]
    return IdxSplit(images_path, width, height, labels, digest)


def _read_header(storage: Storage, path: str, num_bytes: int) -> tuple[int, ...]:
    try:
        with _open(storage, path) as stream:
            header = stream.read(num_bytes)
    except (EOFError, OSError, zlib.error) as error:
        raise SourceError(f"{storage.object_url(path)} is damaged: {error}: fetch it again") from None
    if len(header) != num_bytes:
        raise SourceError(f"{storage.object_url(path)} is cut off in its header: fetch it again")
    return struct.unpack(f">{num_bytes // 4}I", header)


def _digest(storage: Storage, path: str, expected: int) -> str:
    """sha256 of the unpacked file, which is read to its end: only there gzip tells whether it is intact."""
    where = storage.object_url(path)
    digest = hashlib.sha256()
    found = 0
    try:
        with _open(storage, path) as stream:
            while content := stream.read(_CHUNK_BYTES):
                digest.update(content)
                found += len(content)
    except (EOFError, OSError, zlib.error) as error:
        raise SourceError(f"{where} is damaged at byte {found} unpacked: {error}: fetch it again") from None
    if found != expected:
        raise SourceError(
            f"{where} is cut off or damaged: expected {expected} bytes unpacked, found {found}: fetch it again"
        )
    return digest.hexdigest()
