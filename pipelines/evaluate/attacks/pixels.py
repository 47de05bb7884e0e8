"""A classifier as an attack sees it: pixels of 0 to 1 in, logits out.

Owns the way from a pixel to what the network was trained to see. A network of another size than the pixels sees them
enlarged or reduced within its own graph, so that an attack made with it is one on the pixels; the price is a resize
other than the one that it was trained with.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from shardtools.pipelines.batches.on_device import AUTOCAST
from shardtools.pipelines.evaluate.models import Classifier


class PixelNetwork(nn.Module):
    """float32 images [N, 3, S, S], 0 to 1, to float32 logits [N, C]."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier, self._facts = classifier, classifier.facts
        for name in ("mean", "std"):
            values = torch.tensor(getattr(classifier.facts, name), dtype=torch.float32)
            self.register_buffer(name, values.view(3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits of images of any side."""
        side = self._facts.image_size
        if pixels.shape[-1] != side:
            pixels = functional.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
        kind = AUTOCAST[self._facts.precision]
        with torch.autocast(pixels.device.type, dtype=kind, enabled=kind is not None):
            logits: torch.Tensor = self.classifier((pixels - self.mean) / self.std)
        return logits.float()
