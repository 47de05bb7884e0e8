"""Batches of a `shardtools.loader.Loader` as torch tensors, for existing training loops.

Run inside of a training script, one `TorchBatches` a rank; no `DataLoader` and no worker processes around it:

    batches = TorchBatches(LoaderOptions(datasets=("imagenet",), split="train", batch_size=256, num_threads=8))
    batches.load_state_dict(checkpoint["batches"])      # to go on, with any number of ranks
    for epoch in range(batches.next_epoch, 100):
        for images, labels in batches.epoch(epoch):      # uint8 [N, 3, H, W], channels last in memory; int64 [N]
            loss = criterion(model(normalise(images.to(device, non_blocking=True))), labels.to(device))

Pixels are decoded straight into the tensors' memory, which is page-locked where there is a CUDA device, so the copy to
the device runs beside the computation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from shardtools.errors import OptionError
from shardtools.loader import Batch, Loader, LoaderOptions, LoaderState

Images = torch.Tensor | list[torch.Tensor]


def allocate(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Memory for a batch that torch and NumPy share: page-locked where there is a CUDA device."""
    memory = torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
    array: npt.NDArray[np.uint8] = memory.numpy()
    return array


def to_tensors(batch: Batch) -> tuple[Images, torch.Tensor]:
    """Images and labels in place, without a copy.

    Returns:
        uint8 [N, 3, H, W] with the strides of channels-last memory, for multi-crop one a kind of view [N, K, 3, H, W];
        and int64 [N].
    """
    labels = torch.from_numpy(batch.labels)
    if isinstance(batch.images, list):
        return [torch.from_numpy(images).permute(0, 1, 4, 2, 3) for images in batch.images], labels
    return torch.from_numpy(batch.images).permute(0, 3, 1, 2), labels


def of_this_process(options: LoaderOptions) -> LoaderOptions:
    """The options with rank and world size of the distributed run that this process is in, if it is in one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    elif "WORLD_SIZE" in os.environ:
        rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ["WORLD_SIZE"])
    else:
        return options
    return replace(options, rank=rank, world_size=world_size)


class TorchBatches(IterableDataset[tuple[Images, torch.Tensor]]):
    """A loader that a training loop iterates over; also a dataset for `DataLoader(batches, batch_size=None)`.

    Attributes:
        loader: The loader, for its table and facts.
        next_epoch: The epoch that the next iteration reads.
    """

    def __init__(self, options: LoaderOptions, *, distributed: bool = True) -> None:
        """Makes the table of samples.

        Args:
            options: What to read; without an allocator of their own they get `allocate`.
            distributed: Whether rank and world size are taken from the distributed run, where there is one.
        """
        wanted = of_this_process(options) if distributed else options
        self.loader = Loader(wanted if wanted.allocator is not None else replace(wanted, allocator=allocate))
        self.next_epoch = 0

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return len(self.loader)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration reads, as with torch's DistributedSampler."""
        self.next_epoch = epoch

    def __iter__(self) -> Iterator[tuple[Images, torch.Tensor]]:
        """The next epoch, or the rest of it after `load_state_dict`.

        Raises:
            OptionError: A `DataLoader` with worker processes asks: each would deliver all samples.
        """
        if get_worker_info() is not None:
            raise OptionError(
                "a loader has threads of its own, found it in a worker process of a DataLoader, each of which would "
                "deliver all samples: give DataLoader num_workers=0"
            )
        # Now and not at the epoch's end: a loop may leave it early.
        epoch, self.next_epoch = self.next_epoch, self.next_epoch + 1
        return self.epoch(epoch)

    def epoch(self, epoch: int) -> Iterator[tuple[Images, torch.Tensor]]:
        """Images and labels of an epoch, or of the rest of it; see `Loader.epoch`."""
        for batch in self.loader.epoch(epoch):
            yield to_tensors(batch)
            del batch

    def close(self) -> None:
        """Ends reading; see `Loader.close`."""
        self.loader.close()

    def state_dict(self) -> dict[str, Any]:
        """Where the run is, as plain values for a checkpoint."""
        state: dict[str, Any] = json.loads(self.loader.state().to_json())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint, also with another number of ranks, threads or samples a batch.

        Raises:
            PlanMismatchError: The table, the seed or an option differs; the message names it.
        """
        self.loader.load_state(LoaderState.from_json(json.dumps(state)))
        self.next_epoch = self.loader.state().epoch
