"""Batches that a plan fixes: which process takes which of them, and their images, wherever a run begins.

Owns what jobs share that put every image of a dataset through a network once. A batch begins where the plan says and is
padded at the end, because the last bits of a result depend on the size of the batch; so they do not depend on the
number of processes or restarts. The price: the last batch costs as much as a full one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from shardtools.arrays import Bools
from shardtools.errors import OptionError
from shardtools.loader import CenterCropOptions, LoaderOptions, OrderOptions, ResizeOptions
from shardtools.pipelines.batches.on_device import DeviceBatches, DeviceImages


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedImages:
    """Neighboring rows of the loader's table.

    Attributes:
        start: The first of them.
        images: uint8 [N, 3, H, W] on the device.
        is_read: bool [N]; where it is false another image took the place.
        unread: Place -> reason, where it is false.
    """

    start: int
    images: torch.Tensor
    is_read: Bools
    unread: dict[int, str]

    def __len__(self) -> int:
        return len(self.is_read)


def share(tasks: Sequence[int], rank: int, world_size: int) -> Sequence[int]:
    """A run of neighbors for each process, as even as can be."""
    return tasks[len(tasks) * rank // world_size : len(tasks) * (rank + 1) // world_size]


def neighbors(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbors among rising numbers."""
    breaks = [place for place, (one, two) in enumerate(pairwise(numbers), 1) if two != one + 1]
    for start, stop in pairwise([0, *breaks, len(numbers)]):
        if stop > start:
            yield numbers[start], numbers[stop - 1]


def evaluation_options(
    dataset: str,
    *,
    split: str | None,
    crop: str,
    image_size: int,
    resize: int,
    interpolation: str,
    batch_size: int,
    num_threads: int,
) -> LoaderOptions:
    """Every image once, in the manifest's order, as a network wants to see it; arguments as `EncoderFacts` has them."""
    return LoaderOptions(
        datasets=(dataset,),
        split=split,
        crop=CenterCropOptions(size=image_size, resize=resize, interpolation=interpolation)
        if crop == "center"
        else ResizeOptions(height=image_size, width=image_size, interpolation=interpolation),
        batch_size=batch_size,
        order=OrderOptions(shuffle="none"),
        last="short",
        num_threads=num_threads,
    )


def images_from(batches: DeviceBatches, start: int) -> Generator[PlannedImages]:
    """The images from a row of the table on, a batch of the loader at a time; to be closed."""
    loader = batches.loader
    loader.load_state(replace(loader.state(), epoch=0, num_delivered=start))
    with contextlib.closing(batches.epoch(0)) as epoch:  # type: ignore[type-var]  # it is a generator
        for batch in epoch:
            yield _planned(batches, batch, start)
            start += len(batch.rows)
            del batch


def padded(pixels: torch.Tensor, batch_size: int) -> torch.Tensor:
    """A batch of full size: the last image again and again behind the others, [batch_size, 3, H, W]."""
    missing = batch_size - len(pixels)
    if not missing:
        return pixels
    filled = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)])
    return filled.contiguous(memory_format=torch.channels_last)


def _planned(batches: DeviceBatches, batch: DeviceImages, start: int) -> PlannedImages:
    if not isinstance(batch.images, torch.Tensor):
        raise OptionError("a network judges one crop an image, found several")
    wanted = np.arange(start, start + len(batch.rows))
    is_read = batch.rows == wanted
    places = np.flatnonzero(~is_read)
    unread = {}
    for place, key in zip(places.tolist(), batches.loader.table.key_strings(wanted[places]), strict=True):
        lines = [line for line in batch.replaced if line.startswith(f"sample {key!r} replaced by ")]
        unread[place] = lines[0].partition(": ")[2] if lines else "it could not be read"
    return PlannedImages(start=start, images=batch.images, is_read=is_read, unread=unread)
