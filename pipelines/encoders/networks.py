"""Encoders: networks that turn images into features, from torchvision, timm, or of this project's own.

Owns how a classifier is cut off a network that has one, and which files of weights fit. Heads are found by the few
names that torchvision uses for them rather than by a table of architectures; the price is that a network that names its
head otherwise is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from shardtools.errors import OptionError, first_line
from shardtools.extras import require
from shardtools.pipelines.encoders.lite import LITE, LITE_DIM, LITE_HEAD, make_lite
from shardtools.pipelines.encoders.weights import fill, read_weights

MICRO = "resnet-micro"
_TIMM = "timm:"
HEADS = ("fc", "classifier", "heads", "head")
"""What torchvision calls a classifier."""

AUXILIARY = ("aux1", "aux2", "AuxLogits")
"""What it calls the second classifiers, which only training uses."""

_ARGUMENTS: dict[str, dict[str, Any]] = {
    # Their second classifiers would make the output of training a tuple.
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


class Encoder(nn.Module):
    """A network without its classifier.

    Attributes:
        network: The network; its state fits a plain network of that name, but for the classifier.
        feature_dim: Dimensions of a feature, D.
        channels: int64 [3], which of red, green and blue the network sees first, second and third; `None` where it sees
            them in this order. It is part of the state: who has the weights knows the order.
    """

    channels: torch.Tensor | None

    def __init__(self, network: nn.Module, feature_dim: int, channels: str = "rgb") -> None:
        super().__init__()
        self.network = network
        self.feature_dim = feature_dim
        self.set_channels(channels)

    def set_channels(self, channels: str) -> None:
        """Chooses the order in which the network sees the colours."""
        order = channel_order(channels)
        self.register_buffer("channels", None if order is None else torch.tensor(order))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float RGB images [N, 3, H, W] to features [N, D]: averaged over the image, or the class token of a ViT."""
        if self.channels is not None:
            # With the channels last, so that the memory keeps its order.
            images = images.movedim(1, -1).index_select(-1, self.channels).movedim(-1, 1)
        features: torch.Tensor = self.network(images)
        return features


def channel_order(channels: str) -> list[int] | None:
    """Which of red, green and blue come first, second and third; `None` for "rgb".

    Args:
        channels: One of `training.recipe.CHANNELS`.
    """
    return None if channels == "rgb" else ["rgb".index(color) for color in channels]


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_width != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_width, width, 1, stride, bias=False),
                nn.BatchNorm2d(width),
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.bn1(self.conv1(images)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(images))


class MicroResNet(nn.Module):
    """A ResNet for images of 32 pixels (and crops of 16): one block of 32, 64 and 128 channels, 0.31 M parameters.

    Few wide layers instead of the many narrow ones of CIFAR's ResNet-20, and half the resolution from the first one on
    (12 million multiplications for an image of 32 x 32): four times the speed on a CPU core.
    """

    feature_dim = 128

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(32)
        self.stages = nn.Sequential(_Block(32, 32, 1), _Block(32, 64, 2), _Block(64, 128, 2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Block):
                nn.init.zeros_(module.bn2.weight)  # each block starts as its shortcut (Goyal et al. 2017, section 5.1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float images [N, 3, H, W], sides of 4 or more, to features [N, 128]."""
        features: torch.Tensor = self.stages(functional.relu(self.bn(self.stem(images))))
        return features.mean((2, 3))


def make_encoder(name: str, *, weights: str | None = None, channels: str = "rgb") -> Encoder:
    """A network without its classifier, with first weights drawn from torch's generator.

    Args:
        name: A classification model of torchvision ("resnet50"), "timm:NAME", "resnet-micro", or one of `LITE`.
        weights: Local file to take the weights from, safetensors or a state dict that torch saved: of the plain
            network, with or without its classifier, or of a `Classifier` around it. Nothing is downloaded.
        channels: The order in which the network is to see red, green and blue.

    Raises:
        OptionError: There is no such model, or the file is none, or of another network.
    """
    if name == MICRO:
        network: nn.Module = MicroResNet()
        encoder, removed = Encoder(network, MicroResNet.feature_dim), tuple(HEADS)
    elif name in LITE:
        encoder, removed = Encoder(make_lite(name), LITE_DIM), (LITE_HEAD,)
    elif name.startswith(_TIMM):
        encoder, removed = _from_timm(name.removeprefix(_TIMM))
    else:
        encoder, removed = _from_torchvision(name)
    if weights is not None:
        _load(encoder.network, weights, name, removed)
    encoder.set_channels(channels)
    return encoder


def _from_torchvision(name: str) -> tuple[Encoder, tuple[str, ...]]:
    """The encoder, and the names of the parts that were cut off."""
    require(f"encoder {name}", ("torchvision",), extra="train")
    import torchvision  # takes seconds, as timm does

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise _unknown(name, [*names, MICRO])
    network = torchvision.models.get_model(name, weights=None, **_ARGUMENTS.get(name, {}))
    head = next((child for child, _ in network.named_children() if child in HEADS), None)
    if head is None:
        raise OptionError(f"encoder {name}: expected a classifier named {', '.join(HEADS)}, found none: take another")
    return Encoder(network, _cut(network, head)), (head, *AUXILIARY)


def _cut(network: nn.Module, head: str) -> int:
    """Takes the classifier off in place, from its first layer with weights to mix features on, and returns D."""
    module = network.get_submodule(head)
    layers = list(module.children()) or [module]
    mixing = next(n for n, layer in enumerate(layers) if isinstance(layer, nn.Linear | nn.Conv2d))
    kept = [layer for layer in layers[:mixing] if not isinstance(layer, nn.Dropout)]
    # SqueezeNet pools after its classifier, which is a convolution.
    kept += [layer for layer in layers[mixing:] if isinstance(layer, nn.AdaptiveAvgPool2d)]
    setattr(network, head, nn.Sequential(*kept))
    first = layers[mixing]
    dim = int(first.in_channels if isinstance(first, nn.Conv2d) else first.in_features)  # type: ignore[arg-type]
    pool = getattr(network, "avgpool", None)
    if isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size not in (1, (1, 1)):
        rows, columns = pool.output_size  # type: ignore[misc]
        dim //= int(rows) * int(columns)  # type: ignore[arg-type]  # AlexNet and VGG classify a grid of features
        network.avgpool = nn.AdaptiveAvgPool2d(1)
    return dim


def _from_timm(name: str) -> tuple[Encoder, tuple[str, ...]]:
    """As `_from_torchvision`."""
    require(f"encoder {_TIMM}{name}", ("timm",), extra="train")
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise _unknown(_TIMM + name, [_TIMM + known for known in timm.list_models()])
    try:
        try:
            # Lets a ViT take local crops beside global ones.
            network = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
        except TypeError:
            network = timm.create_model(name, pretrained=False, num_classes=0)
    except RuntimeError as error:
        raise OptionError(f"encoder {_TIMM}{name}: timm refuses it: {first_line(error)}") from error
    settings: dict[str, Any] = vars(network).get("default_cfg") or {}
    heads = settings.get("classifier") or ()
    # The second is the width before what some networks put between the pooling and their classifier.
    dim = int(vars(network).get("head_hidden_size") or vars(network)["num_features"])
    return Encoder(network, dim), (heads,) if isinstance(heads, str) else tuple(heads)


def _unknown(name: str, known: Iterable[str]) -> OptionError:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return OptionError(
        f"an encoder is a classification model of torchvision, {_TIMM}NAME or {MICRO}, found {name!r}{hint}"
    )


def _load(network: nn.Module, path: str, name: str, removed: tuple[str, ...]) -> None:
    """Fills a network from a file, all of it.

    Raises:
        OptionError: The file cannot be read, lacks a tensor, or has others than the network and its classifier.
    """
    fill(network, read_weights(path), f"weights {path}", f"encoder {name}", removed)
