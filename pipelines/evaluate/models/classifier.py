"""A network with a classifier, ready to be judged.

Owns what every forward pass of an evaluation does alike: logits are float32, and what they stand for lies beside them.
The price of checking logits where they are read and not in `forward`: an attack, which asks for thousands of gradients,
waits for no GPU; who writes predictions calls `check`.
"""

from __future__ import annotations

import torch
from torch import nn

from shardtools.errors import RunError
from shardtools.evaluation import ModelFacts


class Classifier(nn.Module):
    """A network in evaluation mode with parameters that need no gradient.

    Attributes:
        network: Float images [N, 3, H, W] to logits [N, C].
        facts: What decides on a logit; `num_outputs` is C.
    """

    def __init__(self, network: nn.Module, facts: ModelFacts) -> None:
        super().__init__()
        # Without frozen parameters the gradient of an image costs 1.7 times as much.
        self.network, self.facts = network.eval().requires_grad_(False), facts

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [N, 3, H, W] to float32 logits [N, C]."""
        logits: torch.Tensor = self.network(images)
        return logits.float()

    def check(self, logits: torch.Tensor, first_key: str) -> None:
        """Refuses logits that are no numbers.

        Args:
            logits: Of a batch, [N, C].
            first_key: Key of the batch's first image, for the message.

        Raises:
            RunError: One is infinite or not a number.
        """
        if bool(torch.isfinite(logits).all()):
            return
        wrong = int((~torch.isfinite(logits)).any(dim=1).nonzero()[0])
        is_full = self.facts.precision == "fp32"
        advice = "are the weights whole?" if is_full else "take --precision fp32, or look at the weights"
        raise RunError(
            f"{self.facts.name}: expected logits that are numbers, found others in image {wrong} of the batch that "
            f"begins with {first_key}: {advice}"
        )
