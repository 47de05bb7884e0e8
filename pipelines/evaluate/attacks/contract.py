"""What an attack is given and gives back, and the network as it sees it.

Owns the contract that every attack keeps: it maps (`Victim`, `Images`, `AttackSettings`) to `Found`, draws only through
`Images.draws`, and returns images inside the ball and the box. So what becomes of an image depends on its key and its
pixels; the price is that each image's noise is drawn by itself, a millisecond for 224 x 224 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from shardtools.arrays import Int64s
from shardtools.errors import DatasetError, OptionError, RunError
from shardtools.evaluation.attacks import AttackSettings
from shardtools.loader.randomness import Draws, hash_keys

Network = Callable[[torch.Tensor], torch.Tensor]
"""float32 images [N, 3, H, W], 0 to 1, to logits [N, C]; normalization is inside."""

LossFunction = Callable[[torch.Tensor, "Images"], torch.Tensor]
"""Logits [N, C] of the images to what the attack raises, [N]."""


class Victim:
    """A network under attack.

    Attributes:
        num_forwards: Images that went through it so far.
        num_gradients: Those whose gradient was taken.
    """

    def __init__(self, network: Network) -> None:
        """Takes the network, in evaluation mode and with its parameters frozen where it is a module.

        Without gradients of parameters a step costs 1.7 times less.
        """
        if isinstance(network, nn.Module):
            network = network.eval().requires_grad_(False)
        self._network = network
        self.num_forwards, self.num_gradients = 0, 0

    def logits(self, pixels: torch.Tensor, keys: Sequence[str]) -> torch.Tensor:
        """float32 logits [N, C].

        Args:
            pixels: float32 [N, 3, H, W], 0 to 1.
            keys: Of the samples, for the message.

        Raises:
            RunError: A logit is not finite.
        """
        with torch.no_grad():
            return self._forward(pixels, keys)

    def gradient(
        self, pixels: torch.Tensor, images: Images, loss: LossFunction
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Loss [N], logits [N, C] and gradient of the loss [N, 3, H, W] at other pixels of the images.

        Raises:
            RunError: A logit is not finite.
        """
        leaf = pixels.detach().requires_grad_()
        with torch.enable_grad():
            logits = self._forward(leaf, images.keys)
            values = loss(logits, images)
            # No sample's loss depends on another's pixels, so the gradient of the sum is each one's own.
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        self.num_gradients += len(pixels)
        return values.detach(), logits.detach(), gradient

    def _forward(self, pixels: torch.Tensor, keys: Sequence[str]) -> torch.Tensor:
        logits = self._network(pixels).float()
        self.num_forwards += len(pixels)
        finite = torch.isfinite(logits.detach()).all(1)
        if not finite.all():
            key = keys[int((~finite).nonzero()[0])]
            raise RunError(
                f"the network gives {key!r} a logit that is not finite: are the weights damaged, or the precision too "
                "low? Take --precision fp32"
            )
        return logits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """A batch to attack; all tensors are on the network's device.

    Attributes:
        pixels: float32 [N, 3, H, W], 0 to 1.
        labels: int64 [N], outputs of the network.
        targets: int64 [N], the drawn classes; those of a restart that aims; the labels where there is no aim.
        logits: Of `pixels`, float32 [N, C].
        keys: Of the samples.
        draws: Of the samples.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor
    logits: torch.Tensor
    keys: tuple[str, ...]
    draws: Draws

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, rows: torch.Tensor) -> Images:
        """Some of them, by number, int64 [n]."""
        numbers = rows.cpu().numpy()
        return replace(
            self,
            pixels=self.pixels[rows],
            labels=self.labels[rows],
            targets=self.targets[rows],
            logits=self.logits[rows],
            keys=tuple(self.keys[number] for number in numbers.tolist()),
            draws=self.draws.for_rows(numbers),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What became of a batch.

    Attributes:
        pixels: float32 [N, 3, H, W], 0 to 1, inside the ball.
        success: Whether the network errs as it was to err, bool [N].
        steps: Gradients that an image took, int32 [N].
        loss: At `pixels`, float32 [N].
    """

    pixels: torch.Tensor
    success: torch.Tensor
    steps: torch.Tensor
    loss: torch.Tensor

    def put(self, rows: torch.Tensor, other: Found) -> None:
        """Takes over the results of some images, by number, int64 [n]."""
        self.pixels[rows], self.success[rows] = other.pixels, other.success
        self.steps[rows], self.loss[rows] = other.steps, other.loss

    def of(self, rows: torch.Tensor) -> Found:
        """The results of some images."""
        return Found(pixels=self.pixels[rows], success=self.success[rows], steps=self.steps[rows], loss=self.loss[rows])


Attack = Callable[[Victim, Images, AttackSettings], Found]
"""Attacks a batch; see the module."""


def prepare(
    victim: Victim,
    pixels: torch.Tensor,
    labels: Sequence[int | None],
    keys: Sequence[str],
    settings: AttackSettings,
) -> Images:
    """A batch with its clean logits and targets.

    Args:
        victim: The network that is attacked.
        pixels: float32 [N, 3, H, W], 0 to 1.
        labels: Outputs of the network.
        keys: Of the samples.
        settings: Seed and aim.

    Raises:
        DatasetError: A sample has no label, or one that is no output of the network.
        OptionError: Pixels are not from 0 to 1.
        RunError: A logit is not finite.
    """
    low, high = (float(value) for value in torch.aminmax(pixels))
    if not 0 <= low <= high <= 1:
        raise OptionError(f"pixels to attack are 0 to 1, found {low} to {high}: divide by 255, and do not normalize")
    logits = victim.logits(pixels, keys)
    num_classes = logits.shape[1]
    for key, label in zip(keys, labels, strict=True):
        if label is None or not 0 <= label < num_classes:
            raise DatasetError(
                f"an attack needs the label of every image, as an output of the network (0 to {num_classes - 1}), "
                f"found {'none' if label is None else label} for {key!r}: correct the label, or leave the image out"
            )
    draws = Draws(seed=settings.seed, epoch=0, keys=hash_keys(pa.array(list(keys), pa.string())))
    given = np.array(labels, np.int64)
    targets = random_targets(given, num_classes, draws) if settings.target == "random" else given
    device = pixels.device
    return Images(
        pixels=pixels,
        labels=torch.from_numpy(given).to(device),
        targets=torch.from_numpy(targets).to(device),
        logits=logits,
        keys=tuple(keys),
        draws=draws,
    )


def random_targets(labels: Int64s, num_classes: int, draws: Draws) -> Int64s:
    """A class other than the label for each image, uniformly drawn, int64 [N].

    Raises:
        OptionError: There is only one class.
    """
    if num_classes < 2:
        raise OptionError(f"an attack leads from one class to another, found a network of {num_classes}")
    others = np.floor(draws.uniform("target", 1)[:, 0] * (num_classes - 1)).astype(np.int64)
    return others + (others >= labels)


def succeeds(logits: torch.Tensor, images: Images, settings: AttackSettings) -> torch.Tensor:
    """Whether the network errs as it was to err, bool [N]: at the drawn target, or anywhere but at the label."""
    found = logits.argmax(1)
    return found == images.targets if settings.target == "random" else found != images.labels
