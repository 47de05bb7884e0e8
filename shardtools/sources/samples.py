"""Samples in hand as a source: arrays, encoded images and what is known of them, out of memory or a generator.

Owns where they wait until a process writes them. They are spilled in their order into one file, so that a generator is
consumed once and every process reads the system's one copy instead of being sent its own. The price: for the time of
the run that file takes a byte a pixel and channel, or the encoded bytes, in `$TMPDIR`.
"""

from __future__ import annotations

import errno
import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.errors import NoSpaceError, OptionError, SourceError, StorageError
from shardtools.sample import Sample
from shardtools.sources.base import Source
from shardtools.sources.given import (
    ENCODED,
    GRAY,
    GivenSample,
    class_names,
    key_of,
    label_of,
    payload_of,
    provenance_of,
)
from shardtools.sources.image.check import make_sample, too_large
from shardtools.sources.image.png import encode_gray_png, encode_rgb_png
from shardtools.sources.listing import Listing, ListingBuilder
from shardtools.storage import open_storage

KIND = "samples"
ORIGINS = ("real", "generated", "rendered", "corrupted", "attacked")
"""What the manifest's column `source` may say of samples in hand."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ENTRY = pa.schema(
    [
        ("key", pa.string()),
        ("offset", pa.int64()),
        ("num_bytes", pa.int64()),
        ("channels", pa.int8()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("label", pa.int32()),
        ("labels", pa.list_(pa.int32())),
        ("provenance", pa.string()),
    ]
)
"""A sample in the listing; `channels` is 0 for encoded bytes, `provenance` is JSON or null, `labels` several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesSource(Source):
    """Samples that were spilled.

    Attributes:
        path: The file of pixels and encoded images.
        listing: Where each lies in it, in the order in which they were given.
        wnids: Class index -> class name; `None` takes the label's number.
        origin: One of `ORIGINS`, for every row.
        label_source: Where the labels come from, for every row that has one.
        lossless: "png" or "ppm": what pixels become.
    """

    path: Path
    listing: Listing
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
            for number, entry in self.listing.rows(split, start, stop):
                yield self._sample(number, entry, self._read(stream, number, entry))

    def keys(self, split: str) -> Iterator[str]:
        return (entry["key"] for _, entry in self.listing.rows(split, 0, self.splits[split]))

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
        labels: list[int] | None = entry["labels"]
        facts: dict[str, Any] = {
            "key": entry["key"],
            "wnid": None if label is None else self.wnids[label] if self.wnids is not None else str(label),
            "class_index": label,
            "class_indexes": None if labels is None else tuple(labels),
            "label_source": None if label is None and labels is None else self.label_source,
            "source": self.origin,
            "provenance": {"source_path": f"{KIND}:{number}", **json.loads(entry["provenance"] or "{}")},
        }
        if entry["channels"] == ENCODED:
            return make_sample(too_large(len(content)) or content, decode=True, extension="", **facts)
        width, height, channels = entry["width"], entry["height"], entry["channels"]
        return Sample(
            image_bytes=_encode(content, width, height, channels, self.lossless),
            image_format=self.lossless,
            width=width,
            height=height,
            mode="L" if channels == GRAY else "RGB",
            **facts,
        )


def _encode(pixels: bytes, width: int, height: int, channels: int, lossless: str) -> bytes:
    if lossless == "ppm":
        # Netpbm's binary forms: P5 is grey, P6 is RGB; the pixels follow as they are.
        return b"P%d\n%d %d\n255\n" % (5 if channels == GRAY else 6, width, height) + pixels
    return (encode_gray_png if channels == GRAY else encode_rgb_png)(pixels, width, height)


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
    wnids = class_names(classes)
    path = folder / "samples.bin"
    listing, settings = _take(samples, path, wnids)
    return SamplesSource(
        kind=KIND,
        storage=open_storage(str(folder)),
        splits=listing.splits,
        settings={
            "source_kind": KIND,
            **settings,
            "classes": None if wnids is None else hashlib.sha256(json.dumps(wnids).encode()).hexdigest(),
            "label_source": label_source,
            "source": origin,
            "lossless": lossless,
        },
        path=path,
        listing=listing,
        wnids=wnids,
        origin=origin,
        label_source=label_source,
        lossless=lossless,
    )


def _take(samples: Iterable[GivenSample], path: Path, wnids: Sequence[str] | None) -> tuple[Listing, dict[str, str]]:
    """Spills the samples to `path`; their listing, and digests of them for the plan."""
    digests = _Digests()
    split_numbers = array("I")
    number_of: dict[str, int] = {}
    counts: Counter[str] = Counter()
    with ListingBuilder(path.parent, _ENTRY, None) as builder, path.open("xb", buffering=0) as stream:
        offset = 0
        for number, given in enumerate(samples):
            payload, shape = payload_of(given.image, number)
            label = label_of(given.label, number, wnids)
            provenance = provenance_of(given.provenance, number)
            key = key_of(given, number, counts)
            split = str(given.split)
            counts[split] += 1
            split_numbers.append(number_of.setdefault(split, len(number_of)))
            _spill(stream, payload, number)
            # One name for all: the entries stay in the order they come in, `_by_split` arranges them.
            pair = (None, label) if isinstance(label, tuple) else (label, None)
            builder.add(KIND, key, offset, len(payload), *shape, *pair, provenance)
            digests.add(payload, shape, (key, split), label, provenance)
            offset += len(payload)
        if not split_numbers:
            raise SourceError("no samples were given: expected at least one image")
        listing = builder.finish()
    _refuse_repeats(listing)
    return _by_split(listing, np.frombuffer(split_numbers, np.uintc), counts), digests.settings()


class _Digests:
    """sha256 over all samples, a digest a kind of fact, so that a changed plan says what changed."""

    def __init__(self) -> None:
        self._images, self._labels, self._keys, self._provenance = (hashlib.sha256() for _ in range(4))

    def add(
        self,
        payload: memoryview,
        shape: tuple[int | None, ...],
        names: tuple[str, str],
        label: int | tuple[int, ...] | None,
        provenance: str | None,
    ) -> None:
        self._images.update(repr(shape).encode() + hashlib.sha256(payload).digest())
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


def _by_split(listing: Listing, split_numbers: npt.NDArray[np.uintc], counts: Mapping[str, int]) -> Listing:
    """The listing with a range a split: samples of several splits may come mixed, each split keeps their order."""
    ends = np.cumsum(list(counts.values())).tolist()
    ranges = {split: (end - counts[split], end) for split, end in zip(counts, ends, strict=True)}
    order = np.argsort(split_numbers, kind="stable")
    if (order[1:] > order[:-1]).all():
        return replace(listing, ranges=ranges)
    path = listing.path.with_suffix(".npy")
    np.save(path, order.astype(np.int64, copy=False))
    return replace(listing, ranges=ranges, order_path=path)


def _spill(stream: BinaryIO, payload: memoryview, number: int) -> None:
    try:
        # An unbuffered file may take a part only.
        while payload:
            payload = payload[stream.write(payload) :]
    except OSError as error:
        # Room for the listing to be closed in: its file lies on the same disk.
        stream.truncate(0)
        kind = NoSpaceError if error.errno in _NO_SPACE else StorageError
        raise kind(
            f"{stream.name}: {error.strerror} at sample {number}: samples wait there until they are written, set "
            "TMPDIR to a folder with room for all of them"
        ) from None


def _refuse_repeats(listing: Listing) -> None:
    for group in listing.repeats:
        first, second = (listing.row(number)["key"] for number in group[:2])
        if first == second:
            raise SourceError(
                f"key {first!r} comes twice, for images {group[0]} and {group[1]}: keys are unique in a dataset, "
                "rename one"
            )
