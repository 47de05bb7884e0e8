"""A loader's batches on the device that trains: decoded there or on the CPU, the same samples and crops.

Owns the choice between the two decoders and what the pixels are turned into before the network sees them. The price of
keeping them whole numbers until then: normalising is one pass over the batch on the device.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shardtools.arrays import Int64s
from shardtools.loader import LoaderOptions, LoaderState
from shardtools.pipelines.batches.torch_batches import Images, TorchBatches, to_tensors

if TYPE_CHECKING:
    from shardtools.pipelines.batches.gpu_batches import GpuBatches

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precision of a forward pass -> the type that `torch.autocast` computes in."""

_PREFETCH = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceImages:
    """One process's share of a step, on its device.

    Attributes:
        images: uint8 [N, 3, H, W], or one tensor [N, K, 3, H, W] a kind of view.
        labels: int64 [N].
        weights: float32 [N] of the view, or `None`.
        keys: Of the samples.
        rows: Of the loader's table, int64 [N], in the computer's memory.
        replaced: Reports of samples that could not be read, one line each.
    """

    images: Images
    labels: torch.Tensor
    weights: torch.Tensor | None
    keys: list[str]
    rows: Int64s
    replaced: tuple[str, ...]


class DeviceBatches:
    """Epochs of a loader on one device.

    Attributes:
        loader: The loader, for its table, state and facts.
        decoder: "cpu" or "gpu".
    """

    def __init__(self, options: LoaderOptions, device: torch.device, *, decoder: str = "auto") -> None:
        """Makes the table of samples.

        Args:
            options: What to read, with rank and world size.
            device: Where the batches go.
            decoder: "cpu", "gpu", or "auto" for the GPU where the device is one.
        """
        self.decoder = ("gpu" if device.type == "cuda" else "cpu") if decoder == "auto" else decoder
        self._device = device
        ahead = replace(options, prefetch=_PREFETCH)
        self._on_gpu: GpuBatches | None = None
        if self.decoder == "gpu":
            # Its torchvision brings torch's compiler along: seconds, for which a process on the CPU would have no use.
            from shardtools.pipelines.batches.gpu_batches import GpuBatches

            self._on_gpu = GpuBatches(ahead, device=str(device), distributed=False)
            self.loader = self._on_gpu.loader
        else:
            self.loader = TorchBatches(ahead, distributed=False).loader

    def epoch(self, epoch: int) -> Iterator[DeviceImages]:
        """Batches of an epoch, or of the rest of it; see `Loader.epoch`."""
        if self._on_gpu is not None:
            for made in self._on_gpu.batches(epoch):
                yield DeviceImages(
                    images=made.images,
                    labels=made.labels,
                    weights=made.weights,
                    keys=made.keys,
                    rows=made.rows,
                    replaced=tuple(map(str, made.replacements)),
                )
                del made
            return
        for batch in self.loader.epoch(epoch):
            images, labels = to_tensors(batch)
            yield DeviceImages(
                images=[self._moved(views) for views in images] if isinstance(images, list) else self._moved(images),
                labels=self._moved(labels),
                weights=None if batch.weights is None else self._moved(torch.from_numpy(batch.weights)),
                keys=batch.keys,
                rows=batch.rows,
                replaced=tuple(map(str, batch.replacements)),
            )
            del batch, images, labels

    def state_dict(self) -> dict[str, Any]:
        """Where the run is, as plain values for a checkpoint."""
        state: dict[str, Any] = json.loads(self.loader.state().to_json())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint.

        Raises:
            PlanMismatchError: The table, the seed or an option differs.
        """
        self.loader.load_state(LoaderState.from_json(json.dumps(state)))

    @property
    def is_epoch_over(self) -> bool:
        """Whether the epoch in hand has no further step: what is left of it fills none."""
        state, options = self.loader.state(), self.loader.options
        return state.num_positions - state.num_delivered < options.batch_size * options.world_size

    @property
    def next_epoch(self) -> int:
        """The epoch to go on with, 0-based."""
        state = self.loader.state()
        return state.epoch + state.is_finished

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._device, non_blocking=True)


class Normalizer:
    """uint8 pixels to what the network sees: (pixel / 255 - mean) / std, as float32."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> None:
        scale = 1 / (255 * np.asarray(std, np.float64))
        self._scale = torch.tensor(scale, dtype=torch.float32, device=device).view(3, 1, 1)
        self._shift = torch.tensor(-np.asarray(mean) / std, dtype=torch.float32, device=device).view(3, 1, 1)

    def __call__(self, images: Images) -> Images:
        """The same shapes as float32, in the memory order of the pixels."""
        if isinstance(images, list):
            return [self.one(views) for views in images]
        return self.one(images)

    def one(self, pixels: torch.Tensor) -> torch.Tensor:
        """As called, for one tensor."""
        # In place: keeps the channels last, as the pixels have them.
        return pixels.float().mul_(self._scale).add_(self._shift)
