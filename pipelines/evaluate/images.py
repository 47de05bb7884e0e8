"""The images of a plan's batches: as they are, or each in all of its variants.

Owns the way from a row of the overlay to pixels. An image is decoded once for all its variants, which are made from the
square that the network sees; a batch of variants is made in threads while the one before it goes through the network.
The price: pixels of three batches in memory.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from shardtools.arrays import Int64s, UInt8s
from shardtools.corruption import corrupt, sample_seed
from shardtools.evaluation.predictions import CLEAN, PredictionPlan, Variant
from shardtools.pipelines.batches.on_device import DeviceBatches
from shardtools.pipelines.batches.planned import images_from

_BATCHES_AHEAD = 2
_LEAST_DECODED = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowImages:
    """A batch of the plan.

    Attributes:
        batch: Its number.
        images: uint8 [N, 3, H, W] on the device.
        rows: Of the loader's table, int64 [N].
        variants: Corruption and severity of each row; `None` where the overlay has none.
        unread: Place -> reason, of images that could not be read; their pixels are any.
    """

    batch: int
    images: torch.Tensor
    rows: Int64s
    variants: tuple[list[str], list[int]] | None
    unread: dict[int, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Decoded:
    """An image as the network sees it: uint8 [H, W, 3], and why not, where it could not be read."""

    pixels: UInt8s
    reason: str | None


def decoded_at_once(batch_size: int, num_variants: int) -> int:
    """Images of a batch of the loader: those of a batch of the plan, or a few where each has many variants."""
    return max(-(-batch_size // num_variants), _LEAST_DECODED) if num_variants else batch_size


def plain_batches(batches: DeviceBatches, plan: PredictionPlan, first: int, last: int) -> Generator[RowImages]:
    """The images of neighboring batches as they are; to be closed."""
    stream = images_from(batches, plan.rows_of(first).start)
    with contextlib.closing(stream):
        for batch, found in zip(range(first, last + 1), stream, strict=False):
            rows = np.arange(found.start, found.start + len(found))
            yield RowImages(batch=batch, images=found.images, rows=rows, variants=None, unread=found.unread)


def variant_batches(
    batches: DeviceBatches, plan: PredictionPlan, first: int, last: int, *, device: torch.device, num_threads: int
) -> Generator[RowImages]:
    """Every image in all of its variants; to be closed.

    Args:
        batches: Decode on the CPU, into its memory, in batches of any size.
        plan: With variants.
        first: Batch.
        last: Batch.
        device: Where the batches go.
        num_threads: That corrupt.
    """
    with ThreadPoolExecutor(num_threads, "shardtools-corrupt") as threads:
        ahead: deque[tuple[RowImages, list[Future[None]]]] = deque()
        with contextlib.closing(_begun(batches, plan, first, last, threads)) as begun:
            for one in begun:
                ahead.append(one)
                if len(ahead) > _BATCHES_AHEAD:
                    yield _finished(*ahead.popleft(), device)
            while ahead:
                yield _finished(*ahead.popleft(), device)


def _begun(
    batches: DeviceBatches, plan: PredictionPlan, first: int, last: int, threads: ThreadPoolExecutor
) -> Generator[tuple[RowImages, list[Future[None]]]]:
    """Batches that are being made: their memory, and what fills it."""
    table, count = batches.loader.table, len(plan.variants)
    start = plan.rows_of(first).start // count
    with contextlib.closing(_decoded(batches, start)) as stream:
        # Of the images in hand the first is number `start`; a batch may begin and end within the variants of one.
        images: deque[_Decoded] = deque()
        for batch in range(first, last + 1):
            numbers = np.array(plan.rows_of(batch), np.int64)
            rows = numbers // count
            while start < rows[0]:
                images.popleft()
                start += 1
            while start + len(images) <= rows[-1]:
                images.append(next(stream))
            keys = table.key_strings(rows)
            pixels = np.empty((len(rows), *images[0].pixels.shape), np.uint8)
            chosen = [plan.variants[number % count] for number in numbers.tolist()]
            made = [
                threads.submit(_make, plan, images[row - start].pixels, key, variant, pixels[place])
                for place, (row, key, variant) in enumerate(zip(rows.tolist(), keys, chosen, strict=True))
            ]
            reasons = enumerate(images[row - start].reason for row in rows.tolist())
            one = RowImages(
                batch=batch,
                images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
                rows=rows,
                variants=([one.corruption for one in chosen], [one.severity for one in chosen]),
                unread={place: reason for place, reason in reasons if reason is not None},
            )
            yield one, made


def _decoded(batches: DeviceBatches, start: int) -> Generator[_Decoded]:
    with contextlib.closing(images_from(batches, start)) as stream:
        for found in stream:
            pixels = found.images.permute(0, 2, 3, 1).numpy()
            for place in range(len(found)):
                yield _Decoded(pixels=pixels[place], reason=found.unread.get(place))


def _make(plan: PredictionPlan, pixels: UInt8s, key: str, variant: Variant, out: UInt8s) -> None:
    name, severity = variant.corruption, variant.severity
    if name == CLEAN:
        out[:] = pixels
    else:
        seed = sample_seed(plan.seed, key, name, severity)
        corrupt(pixels, name, severity, seeds=seed, clean=plan.clean, out=out)


def _finished(batch: RowImages, made: list[Future[None]], device: torch.device) -> RowImages:
    """The batch on the device, once all of its pixels are there."""
    for one in made:
        one.result()
    return replace(batch, images=batch.images.to(device, non_blocking=True))
