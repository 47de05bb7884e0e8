"""Batches whose JPEGs are decoded on a GPU: the order, crops, labels and state of `TorchBatches`, other pixels.

    batches = GpuBatches(LoaderOptions(datasets=("imagenet",), split="train", batch_size=256))
    for epoch in range(100):
        for images, labels in batches.epoch(epoch):        # both on the device; uint8 [N, 3, H, W], int64 [N]
            loss = criterion(model(normalise(images)), labels)

How far its pixels are from the CPU's, and how fast it is, on this machine:

    python -m shardtools.pipelines.batches.gpu_batches DATASET --device cuda

Hardware: made for one NVIDIA GPU a rank, with torchvision's nvJPEG. It has been run with device="cpu" only, where
torchvision's libjpeg-turbo takes nvJPEG's place and everything else is the same; no GPU was at hand.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TypeVar, cast

import click
import numpy as np
import torch

from shardtools.arrays import Int64s
from shardtools.errors import ShardtoolsError
from shardtools.loader import Batch, Loader, LoaderOptions
from shardtools.loader.reading.batch import Replacement
from shardtools.pipelines.batches.gpu_decoder import GpuDecoder
from shardtools.pipelines.batches.torch_batches import Images, TorchBatches, of_this_process

_Batch = TypeVar("_Batch", "DeviceBatch", Batch)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceBatch:
    """What `Batch` is, on a device.

    Attributes:
        images: uint8 [N, 3, H, W] with the strides of channels-last memory; for multi-crop one a kind of view,
            [N, K, 3, H, W].
        labels: int64 [N]; -1 where there is none.
        weights: float32 [N] of the view, or `None`.
        keys: Keys of the samples.
        rows: Rows of the loader's table, int64 [N], in the computer's memory.
        repeated: Keys at the end that come twice in the epoch.
        replacements: Samples that could not be read or decoded, and what took their place.
        epoch: 0-based.
        step: 0-based within the epoch, counted from where this run began it.
    """

    images: Images
    labels: torch.Tensor
    weights: torch.Tensor | None
    keys: list[str]
    rows: Int64s
    repeated: tuple[str, ...]
    replacements: tuple[Replacement, ...]
    epoch: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The pixels of a device against those of the CPU's decoder, over the same batches.

    Attributes:
        device: What was compared.
        num_images: How many.
        max_difference: Of 255.
        mean_difference: Of 255, over all values.
        share_above_2: Share of all values that differ by more than 2.
        images_per_second: Of the device, from the first request on.
        cpu_images_per_second: Of the CPU's decoder, likewise.
    """

    device: str
    num_images: int
    max_difference: int
    mean_difference: float
    share_above_2: float
    images_per_second: float
    cpu_images_per_second: float


class GpuBatches(TorchBatches):
    """A loader whose pixels are made on a device; `state_dict` and `load_state_dict` fit those of `TorchBatches`.

    Attributes:
        loader: The loader, for its table and facts. Its own batches hold tensors where others hold arrays.
        device: Where the pixels are.
    """

    def __init__(self, options: LoaderOptions, *, device: str = "cuda", distributed: bool = True) -> None:
        """Makes the table of samples.

        Args:
            options: What to read. `allocator` is not used; `num_threads` are for what the device does not decode.
            device: "cuda" (the current device), "cuda:1", ..., or "cpu", which is for tests.
            distributed: Whether rank and world size are taken from the distributed run.

        Raises:
            OptionError: There is no such device, or an option is the CPU decoder's alone.
        """
        wanted = of_this_process(options) if distributed else options
        place = torch.device(device)
        if place.type == "cuda" and place.index is None and torch.cuda.is_available():
            # The loader's threads have a current device of their own.
            place = torch.device("cuda", torch.cuda.current_device())
        self.device = place
        decoder = GpuDecoder(wanted.decode_options(), place)
        self.loader = Loader(replace(wanted, allocator=None), decoder=decoder)
        self.set_epoch(0)

    def epoch(self, epoch: int) -> Iterator[tuple[Images, torch.Tensor]]:
        """Images and labels of an epoch, or of the rest of it; see `Loader.epoch`."""
        for batch in self.batches(epoch):
            yield batch.images, batch.labels
            del batch

    def batches(self, epoch: int) -> Iterator[DeviceBatch]:
        """As `epoch`, with keys and what else the loader knows."""
        for batch in self.loader.epoch(epoch):
            yield self._on_device(batch)
            # The caller's alone, or there would be one more on the device.
            del batch

    def _on_device(self, batch: Batch) -> DeviceBatch:
        made = cast("torch.Tensor | list[torch.Tensor]", batch.images)
        if self.device.type == "cuda":
            self._hand_over(made if isinstance(made, list) else [made], is_patched=bool(batch.replacements))
        images = (
            [views.permute(0, 1, 4, 2, 3) for views in made] if isinstance(made, list) else made.permute(0, 3, 1, 2)
        )
        return DeviceBatch(
            images=images,
            labels=torch.from_numpy(batch.labels).to(self.device),
            weights=None if batch.weights is None else torch.from_numpy(batch.weights).to(self.device),
            keys=batch.keys,
            rows=batch.rows,
            repeated=batch.repeated,
            replacements=batch.replacements,
            epoch=batch.epoch,
            step=batch.step,
        )

    def _hand_over(self, images: list[torch.Tensor], *, is_patched: bool) -> None:
        """Makes memory of the decoder's stream safe to use, and to free, on the caller's."""
        if is_patched:
            # Replacements were put in by the loader's thread, on yet another stream.
            torch.cuda.synchronize(self.device)
        for tensor in images:
            tensor.record_stream(torch.cuda.current_stream(self.device))


def compare(options: LoaderOptions, *, device: str = "cuda", num_batches: int = 4) -> Comparison:
    """Decodes the same batches on a device and on the CPU.

    Args:
        options: What to read.
        device: See `GpuBatches`.
        num_batches: At most so many of the first epoch's; at least 1.

    Raises:
        OptionError: See `GpuBatches`.
    """
    batches = GpuBatches(options, device=device, distributed=False)
    with batches.loader:
        there, speed = _timed(batches.batches(0), num_batches)
    with Loader(options) as loader:
        here, cpu_speed = _timed(loader.epoch(0), num_batches)
    differences = np.zeros(256, np.int64)
    for made, expected in zip(there, here, strict=True):
        arrays = expected.images if isinstance(expected.images, list) else [expected.images]
        for tensor, array in zip(_views(made.images), arrays, strict=True):
            distance = np.abs(tensor.movedim(-3, -1).cpu().numpy().astype(np.int16) - array)
            differences += np.bincount(distance.ravel(), minlength=256)
    return Comparison(
        device=device,
        num_images=sum(len(batch.keys) for batch in there),
        max_difference=int(np.flatnonzero(differences).max()),
        mean_difference=float((differences * np.arange(256)).sum() / differences.sum()),
        share_above_2=float(differences[3:].sum() / differences.sum()),
        images_per_second=speed,
        cpu_images_per_second=cpu_speed,
    )


def _timed(batches: Iterator[_Batch], num_batches: int) -> tuple[list[_Batch], float]:
    """The first batches, and images a second."""
    started = time.perf_counter()
    found = list(islice(batches, num_batches))
    return found, sum(len(batch.keys) for batch in found) / (time.perf_counter() - started)


def _views(images: Images) -> list[torch.Tensor]:
    return images if isinstance(images, list) else [images]


@click.command()
@click.argument("dataset")
@click.option("--device", default="cuda", show_default=True)
@click.option("--num-batches", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
def main(dataset: str, device: str, num_batches: int, batch_size: int, threads: int) -> None:
    """Compare the pixels and the speed of a device with the CPU's; prints one JSON object."""
    options = LoaderOptions(datasets=(dataset,), batch_size=batch_size, num_threads=threads)
    try:
        found = compare(options, device=device, num_batches=num_batches)
    except ShardtoolsError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
