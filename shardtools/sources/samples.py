"""Samples in hand as a source: arrays, encoded images and what is known of them, out of memory or a generator.

Owns where they wait until a process writes them. They are spilled in their order into one file, so that a generator is
consumed once and every process reads the system's one copy instead of being sent its own. The price: for the time of
the run that file takes a byte a pixel and channel, or the encoded bytes, in `$TMPDIR`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import operator
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.errors import NoSpaceError, OptionError, ShardError, SourceError, StorageError
from shardtools.manifest import PROVENANCE_COLUMNS, SCHEMA
from shardtools.sample import Sample
from shardtools.shards.names import check_key, check_split
from shardtools.sources.base import Source
from shardtools.sources.image_check import MAX_SAMPLE_BYTES, make_sample, too_large
from shardtools.sources.index import Index, IndexBuilder
from shardtools.sources.png import encode_grey_png, encode_rgb_png
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes

KIND = "samples"
ORIGINS = ("real", "generated", "rendered", "corrupted")
"""What the manifest's column `source` may say of samples in hand."""

MAX_PIXELS = MAX_SAMPLE_BYTES // 3
"""Pixels of one array; Pillow, and so most readers, warns of more."""

_MAX_CLASS_INDEX = 2**31 - 1
_GREY, _RGB, _ENCODED = 1, 3, 0
_ENTRY = pa.schema(
    [
        ("key", pa.string()),
        ("offset", pa.int64()),
        ("num_bytes", pa.int64()),
        ("channels", pa.int8()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("label", pa.int32()),
        ("provenance", pa.string()),
    ]
)
"""A sample in the index; `channels` is 0 for encoded bytes, `provenance` is JSON or null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSample:
    """One image and what its owner knows of it; `open_samples` checks the values.

    Attributes:
        image: Pixels, [H, W] grey or [H, W, 3] RGB uint8; or the bytes of an encoded image, which are kept.
        label: 0-based class index; `None` where there is none.
        key: Unique among all samples; `None` makes one of the split and the position in it, "train_00000".
        split: Lower-case letters and digits.
        provenance: Manifest column of `manifest.PROVENANCE_COLUMNS` -> value; one that is `None` is left out.
    """

    image: npt.NDArray[np.uint8] | bytes
    label: int | None = None
    key: str | None = None
    split: str = "train"
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesSource(Source):
    """Samples that were spilled.

    Attributes:
        path: The file of pixels and encoded images.
        index: Where each lies in it, in the order in which they were given.
        wnids: Class index -> class name; `None` takes the label's number.
        origin: One of `ORIGINS`, for every row.
        label_source: Where the labels come from, for every row that has one.
        lossless: "png" or "ppm": what pixels become.
    """

    path: Path
    index: Index
    wnids: Sequence[str] | None
    origin: str
    label_source: str
    lossless: str

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise SourceError(
                f"{self.path}, where the samples wait, cannot be read ({error.strerror}): keep the folder until the "
                "dataset is written"
            ) from None
        with stream:
            for number, entry in self.index.rows(split, start, stop):
                yield self._sample(number, entry, self._read(stream, number, entry))

    def keys(self, split: str) -> Iterator[str]:
        return (entry["key"] for _, entry in self.index.rows(split, 0, self.splits[split]))

    def _read(self, stream: BinaryIO, number: int, entry: Mapping[str, Any]) -> bytes:
        stream.seek(entry["offset"])
        content = stream.read(entry["num_bytes"])
        if len(content) != entry["num_bytes"]:
            raise SourceError(
                f"{self.path} ends in sample {number}, expected {entry['num_bytes']} bytes at byte {entry['offset']}: "
                "give the samples again"
            )
        return content

    def _sample(self, number: int, entry: Mapping[str, Any], content: bytes) -> Sample:
        label: int | None = entry["label"]
        facts: dict[str, Any] = {
            "key": entry["key"],
            "wnid": None if label is None else self.wnids[label] if self.wnids is not None else str(label),
            "class_index": label,
            "label_source": None if label is None else self.label_source,
            "source": self.origin,
            "provenance": {"source_path": f"{KIND}:{number}", **json.loads(entry["provenance"] or "{}")},
        }
        if entry["channels"] == _ENCODED:
            return make_sample(too_large(len(content)) or content, decode=True, extension="", **facts)
        width, height, channels = entry["width"], entry["height"], entry["channels"]
        return Sample(
            image_bytes=_encode(content, width, height, channels, self.lossless),
            image_format=self.lossless,
            width=width,
            height=height,
            mode="L" if channels == _GREY else "RGB",
            **facts,
        )


def _encode(pixels: bytes, width: int, height: int, channels: int, lossless: str) -> bytes:
    if lossless == "ppm":
        # Netpbm's binary forms: P5 is grey, P6 is RGB; the pixels follow as they are.
        return b"P%d\n%d %d\n255\n" % (5 if channels == _GREY else 6, width, height) + pixels
    return (encode_grey_png if channels == _GREY else encode_rgb_png)(pixels, width, height)


def open_samples(
    samples: Iterable[GivenSample],
    folder: Path,
    *,
    classes: str | Sequence[str] | None = None,
    origin: str = "real",
    label_source: str = "given",
    lossless: str = "png",
) -> SamplesSource:
    """Takes all samples, in their order, into a file that every process can read.

    Args:
        samples: At least one; read once to the end, one in memory at a time.
        folder: An existing, empty folder; the source can be read as long as it exists.
        classes: Class names in the order of the labels, or a specification for `taxonomy.load_classes`; `None` takes
            the label's number for its name.
        origin: The manifest's column `source`: one of `ORIGINS`.
        label_source: The manifest's column of that name, for rows with a label.
        lossless: What pixels become: "png", or "ppm" (no compression) where every image is encoded anew afterwards.

    Raises:
        SourceError: There is no sample, or one is none: its image, label, key, split or provenance.
        OptionError: An option is not one of those.
        TaxonomyError: No such classes.
        NoSpaceError: The folder's disk is full.
    """
    if origin not in ORIGINS:
        raise OptionError(f"source is one of {', '.join(ORIGINS)}, found {origin!r}")
    if lossless not in ("png", "ppm"):
        raise OptionError(f"lossless is png or ppm, found {lossless!r}")
    wnids = _class_names(classes)
    path = folder / "samples.bin"
    digests = _Digests()
    split_numbers = array("I")
    number_of: dict[str, int] = {}
    counts: Counter[str] = Counter()
    with IndexBuilder(folder, _ENTRY, None) as builder, path.open("xb", buffering=0) as stream:
        offset = 0
        for number, given in enumerate(samples):
            pixels, shape = _payload(given.image, number)
            label = _label(given.label, number, wnids)
            provenance = _provenance(given.provenance, number)
            key = _key(given, number, counts)
            counts[given.split] += 1
            split_numbers.append(number_of.setdefault(given.split, len(number_of)))
            _spill(stream, pixels, number)
            # One name for all: the entries stay in the order they come in, `_by_split` arranges them.
            builder.add(KIND, key, offset, len(pixels), *shape, label, provenance)
            digests.add(pixels, shape, (key, given.split), label, provenance)
            offset += len(pixels)
        if not split_numbers:
            raise SourceError("no samples were given: expected at least one image")
        index = builder.finish()
    _refuse_repeats(index)
    return SamplesSource(
        kind=KIND,
        storage=open_storage(str(folder)),
        splits=dict(counts),
        settings={
            "source_kind": KIND,
            **digests.settings(),
            "classes": None if wnids is None else hashlib.sha256(json.dumps(wnids).encode()).hexdigest(),
            "label_source": label_source,
            "source": origin,
            "lossless": lossless,
        },
        path=path,
        index=_by_split(index, np.frombuffer(split_numbers, np.uintc), counts, folder),
        wnids=wnids,
        origin=origin,
        label_source=label_source,
        lossless=lossless,
    )


class _Digests:
    """sha256 over all samples, a digest a kind of fact, so that a changed plan says what changed."""

    def __init__(self) -> None:
        self._images, self._labels, self._keys, self._provenance = (hashlib.sha256() for _ in range(4))

    def add(
        self,
        pixels: memoryview,
        shape: tuple[int, ...],
        names: tuple[str, str],
        label: int | None,
        provenance: str | None,
    ) -> None:
        self._images.update(repr(shape).encode() + hashlib.sha256(pixels).digest())
        self._labels.update(f"{label}\n".encode())
        # JSON, so that no name can be taken for the end of another.
        self._keys.update(json.dumps(names).encode())
        self._provenance.update(f"{provenance}\n".encode())

    def settings(self) -> dict[str, str]:
        return {
            "images": self._images.hexdigest(),
            "labels": self._labels.hexdigest(),
            "keys": self._keys.hexdigest(),
            "provenance": self._provenance.hexdigest(),
        }


def _by_split(
    index: Index, split_numbers: npt.NDArray[np.uintc], counts: Mapping[str, int], folder: Path
) -> Index:
    """The index with a range a split: samples of several splits may come mixed, each split keeps their order."""
    ends = np.cumsum(list(counts.values())).tolist()
    ranges = {split: (end - counts[split], end) for split, end in zip(counts, ends, strict=True)}
    order = np.argsort(split_numbers, kind="stable")
    if (order[1:] > order[:-1]).all():
        return replace(index, ranges=ranges)
    path = folder / "order.npy"
    np.save(path, order.astype(np.int64, copy=False))
    return replace(index, ranges=ranges, order_path=path)


def _spill(stream: BinaryIO, payload: memoryview, number: int) -> None:
    try:
        # An unbuffered file may take a part only.
        while payload:
            payload = payload[stream.write(payload) :]
    except OSError as error:
        kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        raise kind(
            f"{stream.name}: {error.strerror} at sample {number}: samples wait there until they are written, set "
            "TMPDIR to a folder with room for all of them"
        ) from None


def _payload(image: object, number: int) -> tuple[memoryview, tuple[int, int | None, int | None]]:
    """Bytes of an image, and channels, height, width (pixels); (0, None, None) for encoded bytes."""
    if isinstance(image, bytes | bytearray | memoryview):
        return memoryview(image).cast("B"), (_ENCODED, None, None)
    if not isinstance(image, np.ndarray):
        raise SourceError(
            f"image {number}: expected a NumPy array or the bytes of an encoded image, found {type(image).__name__}: "
            "convert it"
        )
    is_grey = image.ndim == 2
    if image.dtype != np.uint8 or not (is_grey or (image.ndim == 3 and image.shape[2] == _RGB)):
        raise SourceError(
            f"image {number}: expected uint8 of shape [height, width] or [height, width, 3], found {image.dtype} "
            f"{list(image.shape)}: {_advice(image)}"
        )
    height, width = image.shape[:2]
    if not 0 < height * width <= MAX_PIXELS:
        raise SourceError(
            f"image {number}: expected 1 to {MAX_PIXELS} pixels, found {width}x{height}: resize it or leave it out"
        )
    return memoryview(np.ascontiguousarray(image)).cast("B"), (_GREY if is_grey else _RGB, height, width)


def _advice(image: npt.NDArray[Any]) -> str:
    if image.dtype != np.uint8:
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            return "it holds NaN or infinity, find out why"
        return "scale it to 0 to 255 and give .astype(np.uint8)"
    if image.ndim == 3 and image.shape[0] == _RGB:
        return "give channels last, .transpose(1, 2, 0)"
    if image.ndim == 3 and image.shape[2] in (1, 4):
        return f"give {'[..., 0]' if image.shape[2] == 1 else '[..., :3]'} of it"
    return "give one picture at a time"


def _label(label: object, number: int, wnids: Sequence[str] | None) -> int | None:
    """A label as a plain integer; NumPy's and PyTorch's whole numbers are taken, floats and truth values are not."""
    if label is None:
        return None
    try:
        found = -1 if isinstance(label, bool | np.bool_) else operator.index(label)  # type: ignore[arg-type]
    except TypeError:
        found = -1
    last = _MAX_CLASS_INDEX if wnids is None else len(wnids) - 1
    if not 0 <= found <= last:
        what = "a whole number from 0" if wnids is None else f"one of {len(wnids)} classes, a whole number from 0"
        raise SourceError(
            f"label of image {number}: expected {what} to {last}, or None, found {label!r}: give its class index"
        )
    return found


def _key(given: GivenSample, number: int, counts: Mapping[str, int]) -> str:
    try:
        if not isinstance(given.split, str):
            raise ShardError(f"a split is a text, found {given.split!r}")
        check_split(given.split)
        if given.key is None:
            return f"{given.split}_{counts.get(given.split, 0):05d}"
        if not isinstance(given.key, str):
            raise ShardError(f"a key is a text, found {given.key!r}: give str(...) of it")
        return check_key(str(given.key))
    except ShardError as error:
        raise SourceError(f"image {number}: {error}") from None


def _provenance(given: Mapping[str, Any], number: int) -> str | None:
    """The values as the manifest's types hold them, as JSON; `None` where there are none."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in PROVENANCE_COLUMNS:
            raise SourceError(
                f"image {number}: provenance {name!r} is no column of the manifest: expected one of "
                f"{', '.join(PROVENANCE_COLUMNS)}; keep other facts in an overlay"
            )
        arrow_type = SCHEMA.field(name).type
        try:
            held = pa.scalar(value, arrow_type).as_py()
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            held = math.nan
        if isinstance(held, float) and not math.isfinite(held):
            raise SourceError(f"image {number}: provenance {name} is {arrow_type}, found {value!r}: give such a value")
        if held is not None:
            values[name] = held
    return json.dumps(values, sort_keys=True) if values else None


def _class_names(classes: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, str):
        return tuple(one.wnid for one in load_classes(classes))
    odd = next((name for name in classes if not isinstance(name, str) or not name.isprintable() or not name), None)
    if odd is not None or not len(classes):
        raise OptionError(f"classes are names in the order of the labels, found {odd if classes else 'none'!r}")
    twin = next((name for name, count in Counter(classes).items() if count > 1), None)
    if twin is not None:
        raise OptionError(f"classes name {twin!r} twice: one class has one label, name it once")
    return tuple(map(str, classes))


def _refuse_repeats(index: Index) -> None:
    for group in index.repeats:
        first, second = (index.row(number)["key"] for number in group[:2])
        if first == second:
            raise SourceError(
                f"key {first!r} comes twice, for images {group[0]} and {group[1]}: keys are unique in a dataset, "
                "rename one"
            )
