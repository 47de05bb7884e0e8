"""A dataset's pictures, corrupted, as a source: what is written of them is an ordinary dataset.

Owns the order and the rows. All copies of a picture follow each other, so it is decoded and resized once for all of
them; a reader takes one corruption by its columns. The price: one corruption alone is not one run of bytes.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from shardtools.arrays import UInt8s
from shardtools.corruption.native import corrupt, load_core
from shardtools.corruption.options import CorruptOptions, Variant
from shardtools.corruption.registry import CORRUPTION_VERSION
from shardtools.corruption.seeds import sample_seed
from shardtools.corruption.sequences import perturb
from shardtools.decode import DecodeOptions, Decoder, DecodeStatus, center_windows, whole_crops
from shardtools.errors import OptionError, SourceError
from shardtools.manifest import digest
from shardtools.sample import STATUS_OK, Sample
from shardtools.sources import Source

CORRUPTED = "corrupted"
_PNG_LEVEL = 1


@dataclass(slots=True)
class _Tools:
    """What this process decodes with; begun anew in each."""

    decoder: Decoder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptedSource(Source):
    """Copies of the samples of another source.

    Attributes:
        pictures: The other source.
        options: Which copies.
        tools: What this process decodes with.
    """

    pictures: Source
    options: CorruptOptions
    tools: _Tools = field(default_factory=_Tools, repr=False, compare=False)

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        num_variants = len(self.options.variants)
        first, last = start // num_variants, -(-stop // num_variants)
        for number, sample in enumerate(self.pictures.samples(split, first, last), start=first):
            begin = max(start - number * num_variants, 0)
            end = min(stop - number * num_variants, num_variants)
            yield from self._copies(sample, self.options.variants[begin:end])

    def keys(self, split: str) -> Iterator[str]:
        for key in self.pictures.keys(split):
            yield from (copy_key(key, variant) for variant in self.options.variants)

    def close(self) -> None:
        self.pictures.close()

    def _copies(self, sample: Sample, variants: tuple[Variant, ...]) -> Iterator[Sample]:
        parent, pixels = self._view(sample)
        # A sequence is made whole, also for a range of positions that begins or ends within it.
        for (name, severity), of_one in itertools.groupby(variants, key=lambda variant: variant[:2]):
            made = None if pixels is None else self._corrupted(pixels, sample.key, name, severity)
            for variant in of_one:
                row = replace(
                    parent,
                    key=copy_key(sample.key, variant),
                    provenance={**parent.provenance, **variant._asdict()},
                )
                if made is None:
                    yield row
                else:
                    yield self._with_image(row, made[variant.frame or 0])

    def _corrupted(self, pixels: UInt8s, key: str, name: str, severity: int) -> UInt8s:
        """The copies of a picture for one severity: the frames of a sequence, or one."""
        seed, clean = sample_seed(self.options.seed, key, name, severity), self.options.clean
        if not self.options.is_sequence:
            try:
                return corrupt(pixels[None], name, severity, seeds=seed, clean=clean)
            except OptionError as error:
                raise SourceError(f"{key!r} of {self.storage.url}: {error}") from None
        size = None if self.options.whole else self.options.image_size
        return perturb(pixels, name, seed=seed, level=severity, clean=clean, size=size)

    def _with_image(self, row: Sample, pixels: UInt8s) -> Sample:
        height, width, _ = pixels.shape
        sink = io.BytesIO()
        image = Image.fromarray(pixels)
        # Frames are compared with each other: a JPEG's blocks would move with the picture.
        is_png = self.options.clean or self.options.is_sequence
        if is_png:
            image.save(sink, "PNG", compress_level=_PNG_LEVEL)
        else:
            # As ImageNet-C's program saves them.
            image.save(sink, "JPEG", quality=self.options.quality, optimize=True)
        return replace(
            row,
            image_bytes=sink.getvalue(),
            image_format="png" if is_png else "jpg",
            width=width,
            height=height,
            mode="RGB",
        )

    def _view(self, sample: Sample) -> tuple[Sample, UInt8s | None]:
        """What all copies of a sample share, and its pixels, uint8 [H, W, 3]; none of a row without an image."""
        # The row has room for one corruption: what was done before would be forgotten.
        if sample.provenance.get("corruption") is not None:
            raise SourceError(
                f"{sample.key!r} of {self.storage.url} is corrupted already ({sample.provenance['corruption']}): give "
                "the pictures as they were"
            )
        provenance: dict[str, Any] = {**sample.provenance, "source_path": sample.key}
        row = replace(
            sample, image_bytes=None, image_format=None, source=CORRUPTED, provenance=provenance, extra_members={}
        )
        if sample.image_bytes is None or sample.status != STATUS_OK:
            return row, None
        provenance |= {
            "source_sha256": digest(sample.image_bytes),
            "source_num_bytes": len(sample.image_bytes),
            "source_width": sample.width,
            "source_height": sample.height,
            # The copy is upright or not as its pixels are: it carries no EXIF.
            "exif_orientation": None,
        }
        pixels, status = self._decoded(sample)
        if pixels is None:
            reason = f"{sample.key} does not decode ({status.name.lower()})"
            return replace(row, status="undecodable", reason=reason, width=None, height=None, mode=None), None
        return row, pixels

    def _decoded(self, sample: Sample) -> tuple[UInt8s | None, DecodeStatus]:
        assert sample.image_bytes is not None
        decoder = self.tools.decoder = self.tools.decoder or Decoder(DecodeOptions(interpolation="bilinear"))
        images = [sample.image_bytes]
        sizes, statuses = decoder.sizes(images)
        if statuses[0] != DecodeStatus.OK:
            return None, DecodeStatus(int(statuses[0]))
        width, height = sizes[0].tolist()
        if self.options.whole:
            crops, windows = whole_crops(sizes), None
        elif self.options.is_sequence:
            # What turns or moves brings in what lies around the center, which is cut out afterwards.
            self._check_size(sample.key, width, height)
            crops, full = center_windows(sizes, resize=self.options.resize, size=1)
            (width, height), windows = full[0, :2].tolist(), None
        else:
            self._check_size(sample.key, width, height)
            width = height = self.options.image_size
            crops, windows = center_windows(sizes, resize=self.options.resize, size=width)
        pixels = np.empty((1, height, width, 3), np.uint8)
        status = DecodeStatus(int(decoder.decode_batch(images, crops, None, pixels, windows=windows)[0]))
        return (pixels[0] if status == DecodeStatus.OK else None), status

    def _check_size(self, key: str, width: int, height: int) -> None:
        if min(width, height) < self.options.image_size:
            raise SourceError(
                f"{key!r} of {self.storage.url} has {width} x {height} pixels, fewer than the "
                f"{self.options.image_size} that are cut out: give --whole to take each picture as it is, or a "
                "smaller --image-size and --resize"
            )


def open_corrupted(pictures: Source, options: CorruptOptions) -> CorruptedSource:
    """The corrupted copies of a source's samples.

    Args:
        pictures: An open source; it stays open while the copies are read.
        options: Which copies.

    Raises:
        RunError: The native core was not built.
    """
    load_core()
    num_variants = len(options.variants)
    return CorruptedSource(
        kind=CORRUPTED,
        storage=pictures.storage,
        splits={split: count * num_variants for split, count in pictures.splits.items()},
        settings={**pictures.settings, **_settings(options)},
        parent=pictures.parent,
        notes=pictures.notes,
        pictures=pictures,
        options=options,
    )


def copy_key(key: str, variant: Variant) -> str:
    """The key of a corrupted copy."""
    frame = "" if variant.frame is None else f"-{variant.frame:02d}"
    return f"{key}-{variant.corruption}-{variant.severity}{frame}"


def _settings(options: CorruptOptions) -> dict[str, Any]:
    """What decides on the copies, under names of their own, so that a plan that differs is refused by name."""
    free = ("corruption_set", "corruptions", "severities")
    named = {f"corrupt_{name}": value for name, value in asdict(options).items() if name not in free}
    names = dict.fromkeys(f"{name} {severity}" for name, severity, _ in options.variants)
    named["corrupt_version"] = CORRUPTION_VERSION
    return {**named, "corrupt_what": "sequences" if options.is_sequence else "corruptions", "corruptions": list(names)}
