"""What is done to a training batch behind the loader's crops and colours: vertical flips, RandAugment, AugMix.

Owns the draws, which are a function of (seed, epoch, sample) alone, so that a sample looks the same in any batch,
process and resumption. The policies are torchvision's own on uint8 tensors. They draw from torch's one generator on the
CPU, which is set for each image and put back behind the batch; the price is that images go through them one after the
other, in the process that trains.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from shardtools.arrays import UInt64s
from shardtools.extras import require
from shardtools.loader import Draws
from shardtools.pipelines.batches.torch_batches import Images
from shardtools.pipelines.encoders.networks import channel_order
from shardtools.training import Recipe

_SEEDS = 2**53
"""Of an image's draws: as many as a draw has values."""

Policy = Callable[[torch.Tensor], torch.Tensor]


class Augmenter:
    """Changes the images of a batch in place."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        """Makes the policy.

        Args:
            recipe: How to train.
            seed: Of the run.

        Raises:
            RunError: The policy's library is not installed.
        """
        self._seed, self._vertical_flip = seed, recipe.vertical_flip
        self._order = channel_order(recipe.channels)
        self._policy = None if recipe.policy == "none" else make_policy(recipe.policy)

    def __call__(self, images: Images, epoch: int, keys: UInt64s) -> None:
        """Changes a batch.

        Args:
            images: uint8 [N, 3, H, W], or one tensor [N, K, 3, H, W] a kind of view.
            epoch: 0-based.
            keys: The hash of each sample's key, [N].
        """
        draws = Draws(seed=self._seed, epoch=epoch, keys=keys)
        if self._vertical_flip:
            self._flip([images] if isinstance(images, torch.Tensor) else images, draws)
        if self._policy is not None and isinstance(images, torch.Tensor):
            self._apply(self._policy, images, draws)

    def _flip(self, kinds: list[torch.Tensor], draws: Draws) -> None:
        """Each view on its own."""
        counts = [kind.shape[1] if kind.dim() == 5 else 1 for kind in kinds]
        flipped = draws.uniform("vertical flip", sum(counts)) < self._vertical_flip
        for kind, wanted in zip(kinds, np.split(flipped, np.cumsum(counts)[:-1], axis=1), strict=True):
            views = kind if kind.dim() == 5 else kind[:, None]
            for sample, view in np.argwhere(wanted).tolist():
                views[sample, view] = views[sample, view].flip(1)

    def _apply(self, policy: Policy, images: torch.Tensor, draws: Draws) -> None:
        seeds = (draws.uniform("policy", 1)[:, 0] * _SEEDS).astype(np.int64).tolist()
        before = torch.get_rng_state()
        try:
            for image, seed in zip(images, seeds, strict=True):
                # Not `torch.manual_seed`, which would set the generators of GPUs too.
                torch.default_generator.manual_seed(seed)
                # As the network will see it: what a policy does to a colour depends on the channel that it is in.
                found = policy(image if self._order is None else image[self._order])
                image.copy_(found if self._order is None else found[torch.tensor(self._order).argsort()])
        finally:
            torch.set_rng_state(before)


def make_policy(name: str) -> Policy:
    """A policy of torchvision with its defaults, uint8 [3, H, W] to the same.

    Args:
        name: "randaugment" (Cubuk et al. 2020: 2 operations of magnitude 9 of 31) or "augmix" (Hendrycks et al. 2020:
            severity 3, 3 chains of 1 to 3 operations).
    """
    require(f"policy {name}", ("torchvision",), extra="train")
    from torchvision import transforms

    made: Policy = transforms.RandAugment() if name == "randaugment" else transforms.AugMix()
    return made
