"""Mixup and CutMix: two images in one, and their losses in the same shares.

Owns the draws, which are a function of (seed, step) alone, and what is mixed with what: as torchvision's and timm's
transforms do, one share for a whole batch and each image with its neighbor. The loss of a mixed image is the mean of
its losses for either label, weighted by their shares: for cross entropy that is the loss of soft targets, and weights
of samples keep their meaning. The price: neighbors are those of one pass of one process, so that other numbers of
processes or passes mix other pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from shardtools.loader import Draws
from shardtools.training import Recipe

_ATTEMPTS = 64
"""At drawing a gamma number, each of which succeeds 95 times in 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """How the images of a step are mixed with their neighbors.

    Attributes:
        share: Of an image itself, 0 to 1; the rest is its neighbor's.
        center: Of CutMix: the middle of the box that is the neighbor's, as shares of height and width; `None` mixes
            whole images.
    """

    share: float
    center: tuple[float, float] | None = None

    def images(self, images: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Mixed images, float [N, 3, H, W], and the share of an image itself as it came out.

        The box of CutMix (Yun et al. 2019, equation 2) has `1 - share` of the area, its sides those of the image in
        proportion; what lies outside of the image is cut off, and the share is then that of the pixels.
        """
        neighbors = images.roll(1, 0)
        if self.center is None:
            return images * self.share + neighbors * (1 - self.share), self.share
        height, width = images.shape[-2:]
        top, bottom = _interval(self.center[0], height, self.share)
        left, right = _interval(self.center[1], width, self.share)
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = neighbors[..., top:bottom, left:right]
        return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _interval(center: float, side: int, share: float) -> tuple[int, int]:
    """First pixel of the box and the one behind its last."""
    half, middle = int(0.5 * math.sqrt(1 - share) * side), int(center * side)
    return max(middle - half, 0), min(middle + half, side)


def mixed_losses(
    losses: Callable[[torch.Tensor], torch.Tensor], targets: torch.Tensor, weights: torch.Tensor | None, share: float
) -> torch.Tensor:
    """Losses of mixed images, [N].

    Args:
        losses: Targets of all images to a loss each.
        targets: Of the images themselves, a row an image.
        weights: Of the samples, [N]; `None` for all alike.
        share: Of an image itself.
    """
    own, other = losses(targets), losses(targets.roll(1, 0))
    if weights is not None:
        own, other = own * weights, other * weights.roll(1, 0)
    return own * share + other * (1 - share)


def draw_mixing(recipe: Recipe, seed: int, step: int) -> Mixing | None:
    """How the images of a step are mixed; `None` where the recipe mixes none.

    A share has the distribution Beta(alpha, alpha) (Zhang et al. 2018, "mixup", section 2). With both kinds a coin says
    which it is.

    Args:
        recipe: How to train.
        seed: Of the run.
        step: Optimiser steps done.
    """
    if not recipe.mixup and not recipe.cutmix:
        return None
    draws = Draws(seed=seed, epoch=0, keys=np.array([step], np.uint64))
    coin, *center = draws.uniform("mixing", 3)[0].tolist()
    is_cut = bool(recipe.cutmix) and (not recipe.mixup or coin < 0.5)
    share = draw_beta(recipe.cutmix if is_cut else recipe.mixup, draws)
    return Mixing(share=share, center=(center[0], center[1]) if is_cut else None)


def draw_beta(alpha: float, draws: Draws) -> float:
    """One number of Beta(alpha, alpha), of the first sample of `draws`."""
    one, other = (
        _draw_gamma(alpha, iter(draws.uniform(name, 3 * _ATTEMPTS + 1)[0].tolist())) for name in ("share", "rest")
    )
    # Tiny alphas make both too small for a float: the limit of the distribution is a coin.
    return one / (one + other) if one + other > 0 else float(draws.uniform("coin", 1)[0, 0] < 0.5)


def _draw_gamma(shape: float, numbers: Iterator[float]) -> float:
    """One number of a gamma distribution (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000).

    Args:
        shape: Above 0.
        numbers: Uniform in 0 (included) to 1.
    """
    boost = (1 - next(numbers)) ** (1 / shape) if shape < 1 else 1.0
    d = (shape + 1 if shape < 1 else shape) - 1 / 3
    c = 1 / math.sqrt(9 * d)
    for _ in range(_ATTEMPTS):
        first, second, third = 1 - next(numbers), next(numbers), 1 - next(numbers)
        normal = math.sqrt(-2 * math.log(first)) * math.cos(2 * math.pi * second)
        cubed = (1 + c * normal) ** 3
        if cubed > 0 and math.log(third) < normal**2 / 2 + d - d * cubed + d * math.log(cubed):
            return boost * d * cubed
    # One draw in 10**83: the middle of the distribution is as good as any.
    return boost * d
