"""Networks small enough to attack in a test, images for them, and the photographs that foolbox brings."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

NUM_CLASSES = 6
SIDE = 8


class TinyNetwork(nn.Module):
    """Two convolutions and a layer on top; 0 to 1 in, six logits out, normalization inside."""

    def __init__(self, seed: int = 0, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 12, 3, padding=1),
                nn.Tanh(),
                nn.Conv2d(12, 12, 3, stride=2),
                nn.Tanh(),
                nn.Flatten(),
                nn.Linear(12 * 9, num_classes),
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers((images - 0.5) / 0.25)
        return logits


def tiny_images(count: int, seed: int = 1) -> torch.Tensor:
    """Random images on the grid of 256 levels, float32 [N, 3, 8, 8]; some pixels are 0 and 1."""
    levels = np.random.default_rng(seed).integers(-40, 296, (count, 3, SIDE, SIDE)).clip(0, 255)
    return torch.from_numpy((levels / 255).astype(np.float32))


def keys_of(count: int) -> tuple[str, ...]:
    """Keys of test images."""
    return tuple(f"image-{number}" for number in range(count))


def photos(side: int, count: int = 20) -> tuple[torch.Tensor, list[int]]:
    """foolbox's own ImageNet photographs, squeezed to a square: float32 [N, 3, S, S] of 0 to 1, and their classes."""
    library = importlib.util.find_spec("foolbox")
    assert library is not None and library.origin is not None
    paths = sorted((Path(library.origin).parent / "data").glob("imagenet_*.jpg"))[:count]
    labels = [int(re.fullmatch(r"imagenet_\d+_(\d+)", path.stem)[1]) for path in paths]  # type: ignore[index]
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(255).contiguous(), labels
