"""A network with a classifier, ready to be judged.

Owns what every forward pass of an evaluation does alike: logits are float32, and what they stand for lies beside them.
The price of checking logits where they are read and not in `forward`: who reads them has to refuse what is no number.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from shardtools.evaluation import ModelFacts


class Classifier(nn.Module):
    """A network in evaluation mode with parameters that need no gradient.

    Attributes:
        network: Float images [N, 3, H, W] to logits [N, C].
        facts: What decides on a logit; `num_outputs` is C.
    """

    lowest: torch.Tensor
    highest: torch.Tensor

    def __init__(self, network: nn.Module, facts: ModelFacts) -> None:
        super().__init__()
        # Without frozen parameters the gradient of an image costs 1.7 times as much.
        self.network, self.facts = network.requires_grad_(False), facts
        mean, std = (torch.tensor(value, dtype=torch.float32).view(3, 1, 1) for value in (facts.mean, facts.std))
        # Normalised black and white.
        self.register_buffer("lowest", -mean / std, persistent=False)
        self.register_buffer("highest", (1 - mean) / std, persistent=False)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [N, 3, H, W] to float32 logits [N, C]."""
        logits: torch.Tensor = self.network(self._enlarged(images))
        return logits.float()

    def _enlarged(self, images: torch.Tensor) -> torch.Tensor:
        """Squares at the size of the network, as Pillow's bicubic resize makes them but for its rounding to 1/255."""
        side = self.facts.enlarge
        if side is None:
            return images
        # With antialias the kernel is Pillow's (a = -0.5). It overshoots, and Pillow ends pixels at black and white
        # after the rows already.
        found = images.float()
        for size in ((found.shape[-2], side), (side, side)):
            found = functional.interpolate(found, size=size, mode="bicubic", antialias=True)
            found = torch.maximum(torch.minimum(found, self.highest), self.lowest)
        return found
