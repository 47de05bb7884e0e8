"""A dataset's pictures, corrupted, as a source: what is written of them is an ordinary dataset.

Owns the order and the rows. All copies of a picture follow each other, so it is decoded and resized once for all of
them; a reader takes one corruption by its columns. The price: one corruption alone is not one run of bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from shardtools.arrays import UInt8s
from shardtools.corruption.native import corrupt, load_core
from shardtools.corruption.options import CorruptOptions
from shardtools.corruption.seeds import sample_seed
from shardtools.decode import DecodeOptions, Decoder, DecodeStatus, center_windows, whole_crops
from shardtools.errors import SourceError
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
            yield from (copy_key(key, name, severity) for name, severity in self.options.variants)

    def close(self) -> None:
        self.pictures.close()

    def _copies(self, sample: Sample, variants: tuple[tuple[str, int], ...]) -> Iterator[Sample]:
        parent, pixels = self._view(sample)
        for name, severity in variants:
            row = replace(
                parent,
                key=copy_key(sample.key, name, severity),
                provenance={**parent.provenance, "corruption": name, "severity": severity},
            )
            if pixels is None:
                yield row
                continue
            seed = sample_seed(self.options.seed, sample.key, name, severity)
            made = corrupt(pixels, name, severity, seeds=seed, clean=self.options.clean)
            yield replace(row, image_bytes=self._encoded(made), **_facts(made, is_png=self.options.clean))

    def _view(self, sample: Sample) -> tuple[Sample, UInt8s | None]:
        """What all copies of a sample share, and its pixels, uint8 [H, W, 3]; none of a row without an image."""
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
        else:
            if min(width, height) < self.options.image_size:
                raise SourceError(
                    f"{sample.key!r} of {self.storage.url} has {width} x {height} pixels, fewer than the "
                    f"{self.options.image_size} that are cut out: give --whole to take each picture as it is, or a "
                    "smaller --image-size and --resize"
                )
            width = height = self.options.image_size
            crops, windows = center_windows(sizes, resize=self.options.resize, size=width)
        pixels = np.empty((1, height, width, 3), np.uint8)
        status = DecodeStatus(int(decoder.decode_batch(images, crops, None, pixels, windows=windows)[0]))
        return (pixels[0] if status == DecodeStatus.OK else None), status

    def _encoded(self, pixels: UInt8s) -> bytes:
        sink = io.BytesIO()
        image = Image.fromarray(pixels)
        if self.options.clean:
            image.save(sink, "PNG", compress_level=_PNG_LEVEL)
        else:
            # As ImageNet-C's program saves them.
            image.save(sink, "JPEG", quality=self.options.quality, optimize=True)
        return sink.getvalue()


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


def copy_key(key: str, corruption: str, severity: int) -> str:
    """The key of a corrupted copy."""
    return f"{key}-{corruption}-{severity}"


def _settings(options: CorruptOptions) -> dict[str, Any]:
    """What decides on the copies, under names of their own, so that a plan that differs is refused by name."""
    free = ("corruption_set", "corruptions", "severities")
    named = {f"corrupt_{name}": value for name, value in asdict(options).items() if name not in free}
    return {**named, "corruptions": [f"{name} {severity}" for name, severity in options.variants]}


def _facts(pixels: UInt8s, *, is_png: bool) -> dict[str, Any]:
    height, width, _ = pixels.shape
    return {"image_format": "png" if is_png else "jpg", "width": width, "height": height, "mode": "RGB"}
