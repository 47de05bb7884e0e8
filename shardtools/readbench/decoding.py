"""Decoding alone, from memory: the bound of what a loader can reach, and what its time consists of.

Owns the sample that is decoded. Images and their crops are ready before the clock starts, so it times nothing but the
decoder; the price is up to 64 MiB of images in memory, and numbers of a sample.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.decode import DecodeOptions, Decoder, DecodeStatus, StageSeconds
from shardtools.errors import ShardError
from shardtools.loader import Crop, Draws, SampleTable
from shardtools.loader.crops.requests import Cropping, draw_crops, output_shapes
from shardtools.loader.reading.reader import BatchReader
from shardtools.readbench.result import Speed

MAX_SAMPLE_BYTES = 64 * 1024 * 1024
MAX_SAMPLE_IMAGES = 512
_MAX_CALL_BYTES = 64 * 1024 * 1024
"""Of pixels that one call makes."""
_NUM_PASSES = 3
"""Different crops of each image."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodeSample:
    """Encoded images in memory.

    Attributes:
        images: The bytes.
        sizes: Width and height in pixels, int32 [N, 2].
        raw_sizes: For the decoder: sizes of those that are rows of pixels, or `None`.
        key_hashes: uint64 [N].
        num_bad: Images that were left out because they have no readable header.
    """

    images: list[bytes]
    sizes: npt.NDArray[np.int32]
    raw_sizes: npt.NDArray[np.int32] | None
    key_hashes: npt.NDArray[np.uint64]
    num_bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What some decoding took.

    Attributes:
        speed: Images that decoded, and the wall time.
        stages: The native core's seconds, over all threads.
        cpu_share: Of the time that the threads were decoding, the share for which they had a core.
        num_bad: Images that did not decode.
    """

    speed: Speed
    stages: StageSeconds
    cpu_share: float
    num_bad: int


def take_sample(table: SampleTable, rows: Int64s, reader: BatchReader, decoder: Decoder) -> DecodeSample:
    """Reads the first of `rows`, as many as there is room for.

    Raises:
        ShardError: None of them is an image.
    """
    fits = np.cumsum(table.num_bytes[rows]) <= MAX_SAMPLE_BYTES
    rows = rows[: max(1, min(int(fits.sum()), MAX_SAMPLE_IMAGES))]
    [raw] = reader.batches(iter([rows]))
    rows, images = raw.rows, [bytes(content) for content in raw.buffers]
    is_raw = np.zeros(len(rows), np.bool_)
    if "raw" in table.image_formats:
        is_raw = np.asarray(table.image_format[rows] == table.image_formats.index("raw"))
    sizes = np.stack([table.width[rows], table.height[rows]], axis=1).astype(np.int32)
    unknown = np.flatnonzero((sizes < 1).any(axis=1))
    statuses = np.zeros(len(rows), np.int32)
    if len(unknown):
        sizes[unknown], statuses[unknown] = decoder.sizes([images[index] for index in unknown.tolist()])
    good = np.flatnonzero(statuses == DecodeStatus.OK)
    if not len(good):
        raise ShardError(f"none of {len(rows)} samples has a header that can be read: run shardtools verify")
    return DecodeSample(
        images=[images[index] for index in good.tolist()],
        sizes=sizes[good],
        raw_sizes=np.where(is_raw[good, None], sizes[good], np.int32(0)) if is_raw[good].any() else None,
        key_hashes=np.asarray(table.key_hash[rows[good]]),
        num_bad=len(rows) - len(good),
    )


def croppings(sample: DecodeSample, crop: Crop, seed: int) -> list[Cropping]:
    """Crops of several epochs."""
    return [
        draw_crops(crop, Draws(seed=seed, epoch=epoch, keys=sample.key_hashes), sample.sizes)
        for epoch in range(_NUM_PASSES)
    ]


def decode_for(seconds: float, sample: DecodeSample, crop: Crop, seed: int, options: DecodeOptions) -> Decoded:
    """Decodes the sample again and again, until the time is over."""
    decoder = Decoder(options)
    num_at_once = min(_images_a_call(crop), len(sample.images))
    outs = [np.zeros(shape, np.uint8) for shape in output_shapes(crop, num_at_once)]
    num_images = num_bytes = num_bad = 0
    started, cpu_started = time.perf_counter(), time.process_time()
    for part, cropping in _parts(sample, croppings(sample, crop, seed), num_at_once):
        images = sample.images[part]
        statuses = decoder.decode_crops(
            images,
            cropping.crops,
            cropping.flips,
            [out[: len(images)] for out in outs],
            windows=cropping.windows,
            colors=cropping.colors,
            raw_sizes=None if sample.raw_sizes is None else sample.raw_sizes[part],
        )
        is_bad = statuses != DecodeStatus.OK
        num_bad += int(is_bad.sum())
        num_images += len(images) - int(is_bad.sum())
        num_bytes += sum(len(image) for image, bad in zip(images, is_bad, strict=True) if not bad)
        if time.perf_counter() - started >= seconds:
            break
    speed = Speed(num_images=num_images, num_bytes=num_bytes, seconds=time.perf_counter() - started)
    cpu_share = share_of_cores(time.process_time() - cpu_started, decoder.stage_seconds(), options.num_threads)
    return Decoded(speed=speed, stages=decoder.stage_seconds(), cpu_share=cpu_share, num_bad=num_bad)


def share_of_cores(cpu_seconds: float, stages: StageSeconds, num_threads: int) -> float:
    """For how much of its stages a process had as many cores as it may use at a time; 1 where stages are not known."""
    busy = stages.decode + stages.resize + stages.color
    # More threads than cores take turns, which is nobody else's doing.
    busy *= min(1.0, len(os.sched_getaffinity(0)) / num_threads)
    return min(1.0, cpu_seconds / busy) if busy else 1.0


def entropy_share(seconds: float, sample: DecodeSample, crop: Crop, seed: int, whole: Decoded) -> float:
    """Share of the decoding that is headers and entropy decoding, by an estimate; 0 where the native core is not used.

    Decoded to one pixel, the inverse transform works at an eighth of the size, but all codes must be read as before.

    Args:
        seconds: How long to try.
        sample: The images.
        crop: What `whole` made of them.
        seed: Of the crops.
        whole: With one thread.
    """
    if not whole.stages.decode or not whole.speed.num_images:
        return 0.0
    decoder = Decoder(DecodeOptions(allow_scaled=True, backend="native"))
    plain = [replace(cropping, windows=None, colors=None) for cropping in croppings(sample, crop, seed)]
    num_images, started = 0, time.perf_counter()
    for part, cropping in _parts(sample, plain, len(sample.images) // 4 + 1):
        images, num_crops = sample.images[part], cropping.crops.shape[1]
        outs = [np.zeros((len(images), num_crops, 1, 1, 3), np.uint8)]
        raw_sizes = None if sample.raw_sizes is None else sample.raw_sizes[part]
        statuses = decoder.decode_crops(images, cropping.crops, None, outs, raw_sizes=raw_sizes)
        num_images += int((statuses == DecodeStatus.OK).sum())
        if time.perf_counter() - started >= seconds:
            break
    if not num_images:
        return 0.0
    return min(1.0, decoder.stage_seconds().decode / num_images / (whole.stages.decode / whole.speed.num_images))


def share_of_large_crops(sample: DecodeSample, crop: Crop, seed: int) -> float:
    """Share of the images of which every crop has at least twice its output's sides."""
    shapes = output_shapes(crop, 1)
    sides = np.concatenate([np.tile((shape[3], shape[2]), (shape[1], 1)) for shape in shapes])
    shares = []
    for cropping in croppings(sample, crop, seed):
        wanted = sides if cropping.windows is None else cropping.windows[..., :2]
        shares.append((cropping.crops[..., 2:] >= 2 * wanted).all(axis=(1, 2)).mean())
    return float(np.mean(shares))


def _images_a_call(crop: Crop) -> int:
    num_bytes = sum(int(np.prod(shape)) for shape in output_shapes(crop, 1))
    return max(1, min(256, _MAX_CALL_BYTES // num_bytes))


def _parts(sample: DecodeSample, plain: list[Cropping], num_at_once: int) -> Iterator[tuple[slice, Cropping]]:
    """The sample in pieces, round after round, without end."""
    num_images = len(sample.images)
    starts = range(0, num_images, num_at_once)
    pieces = [
        (slice(start, start + num_at_once), cropping.part(np.arange(start, min(start + num_at_once, num_images))))
        for cropping in plain
        for start in starts
    ]
    while True:
        yield from pieces
