"""The ball that an attacked image stays in, cut by the box of pixel values.

Owns the bounds and the check of what comes back. Bounds are rounded inwards, so that |x' - x| <= eps holds as written,
without a tolerance; the price is a last bit of the radius.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shardtools.errors import RunError
from shardtools.loader.randomness import Draws


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ball:
    """Least and greatest value of each pixel, float32 [N, 3, H, W]."""

    low: torch.Tensor
    high: torch.Tensor

    def project_(self, pixels: torch.Tensor) -> torch.Tensor:
        """Moves pixels to the nearest ones inside, in place."""
        torch.maximum(pixels, self.low, out=pixels)
        return torch.minimum(pixels, self.high, out=pixels)

    def of(self, rows: torch.Tensor) -> Ball:
        """Those of some images, by number."""
        return Ball(low=self.low[rows], high=self.high[rows])


def ball_around(pixels: torch.Tensor, eps: float) -> Ball:
    """The ball of radius `eps` around images of 0 to 1, cut at 0 and 1."""
    exact = pixels.double()
    low, high = (exact - eps).clamp_(min=0), (exact + eps).clamp_(max=1)
    inf = torch.full_like(pixels, torch.inf)
    least, greatest = low.float(), high.float()
    return Ball(
        low=torch.where(least.double() < low, torch.nextafter(least, inf), least),
        high=torch.where(greatest.double() > high, torch.nextafter(greatest, -inf), greatest),
    )


def noise(pixels: torch.Tensor, eps: float, draws: Draws, operation: str) -> torch.Tensor:
    """Uniform in the ball around zero, float32 of the shape of the images; a function of seed, key and operation."""
    found = torch.empty(pixels.shape, dtype=torch.float32)
    # One after the other: the numbers are float64, and a batch of large images has a hundred million.
    for row in range(len(pixels)):
        unit = torch.from_numpy(draws.for_rows(np.array([row])).uniform(operation, pixels[0].numel()))
        found[row] = unit.mul_(2).sub_(1).mul_(eps).view(pixels.shape[1:])
    return found.to(pixels.device)


def distances(found: torch.Tensor, clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest absolute and Euclidean difference of each image, float64 [N]."""
    difference = (found.double() - clean.double()).flatten(1)
    return difference.abs().amax(1), difference.norm(dim=1)


def check_inside(found: torch.Tensor, clean: torch.Tensor, eps: float, keys: Sequence[str]) -> None:
    """Holds every attacked image against the ball and the box.

    Raises:
        RunError: One is outside.
    """
    linf, _ = distances(found, clean)
    low, high = found.flatten(1).amin(1), found.flatten(1).amax(1)
    # The order of the comparisons refuses NaN too.
    inside = (linf <= eps) & (low >= 0) & (high <= 1)
    if not inside.all():
        row = int((~inside).nonzero()[0])
        raise RunError(
            f"the attacked image of {keys[row]!r} is off by {float(linf[row])} with values of {float(low[row])} to "
            f"{float(high[row])}, expected at most {eps} and 0 to 1: the attack is at fault"
        )


def to_bytes(found: torch.Tensor, clean: torch.Tensor, eps: float) -> torch.Tensor:
    """Attacked images as uint8, the nearest values that are still in the ball.

    Args:
        found: float32 [N, 3, H, W], in the ball.
        clean: uint8 [N, 3, H, W]: what they were made of.
        eps: Radius, of values from 0 to 1.
    """
    # The same rule as `check_inside` has, in whole numbers: floor(255 eps), but not a level less for a lost last bit.
    radius = int(255 * eps + 1e-9)
    levels = (found.double() * 255).round_().to(torch.int16)
    center = clean.to(torch.int16)
    levels = torch.minimum(torch.maximum(levels, center - radius), center + radius)
    return levels.clamp_(0, 255).to(torch.uint8)
