"""What is trained: an encoder, an expendable projector, and a head (thesis, chapter 4, section 4.3).

Owns the projector, the heads that are learned, the order of crops, the optimiser and which weights decay. Lengths are
normalised in the heads that need it and not in the projector, so that Online Class Means can store embeddings as they
are; the price is that a projector used alone gives raw embeddings unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from shardtools.errors import OptionError
from shardtools.pipelines.encoders.networks import MICRO, Encoder, make_encoder
from shardtools.pipelines.train.ocm import OnlineClassMeans, cosine_logits
from shardtools.training import Recipe

__all__ = [
    "MICRO",
    "Classifier",
    "CosineSoftmax",
    "Images",
    "LinearHead",
    "Projector",
    "build_classifier",
    "crop_labels",
    "make_encoder",
    "make_optimizer",
    "num_crops",
    "parameter_groups",
]

Images = torch.Tensor | Sequence[torch.Tensor]
"""[N, 3, H, W]; or for multi-crop one tensor a kind of view, [N, K, 3, H, W] each, global crops first."""

_INIT_STD = 0.02
_LINEAR = ("linear", "sigmoid")
"""Heads that differ in their loss alone."""


class Projector(nn.Module):
    """The expendable projector (thesis, section 4.3 and figure 4.2).

    Lengths of the input are normalised; each hidden layer is linear with bias, batch norm, GELU; a linear layer without
    bias ends in the bottleneck. With no hidden layer only that is left.
    """

    def __init__(
        self,
        in_dim: int,
        num_layers: int,
        hidden: int,
        bottleneck: int,
        *,
        normalize_input: bool = True,
        normalize_output: bool = False,
    ) -> None:
        """Draws the weights: normal with deviation 0.02, cut off at +-2; biases 0.

        Args:
            in_dim: Dimensions of a feature.
            num_layers: Hidden layers, L, 0 or more.
            hidden: Their width.
            bottleneck: Dimensions of an embedding.
            normalize_input: Whether features get length 1 first.
            normalize_output: Whether embeddings get length 1; heads on cosines do that themselves.
        """
        super().__init__()
        self.normalize_input, self.normalize_output = normalize_input, normalize_output
        widths = [in_dim, *[hidden] * num_layers]
        self.hidden = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.GELU())
                for before, after in pairwise(widths)
            )
        )
        self.bottleneck = nn.Linear(widths[-1], bottleneck, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=_INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features [N, `in_dim`] to embeddings [N, `bottleneck`]."""
        if self.normalize_input:
            features = functional.normalize(features.float(), dim=1)
        embeddings: torch.Tensor = self.bottleneck(self.hidden(features))
        return functional.normalize(embeddings.float(), dim=1) if self.normalize_output else embeddings


class LinearHead(nn.Linear):
    """Logits by a linear layer with bias; [N, D] to [N, C]."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(dim, num_classes)


class CosineSoftmax(nn.Module):
    """Logits by the cosine to a learned prototype of each class (thesis, equation 4.1).

    Attributes:
        weight: [C, D], a row a class; only its direction matters. First as torch draws a linear layer's.
    """

    def __init__(self, dim: int, num_classes: int, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature
        self.weight = nn.Parameter(nn.Linear(dim, num_classes, bias=False).weight.detach())

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Embeddings [N, D] of any length to float32 logits [N, C], each within +-1 / temperature."""
        return cosine_logits(embeddings, functional.normalize(self.weight.float(), dim=1), self.temperature)


class Classifier(nn.Module):
    """Encoder, projector if there is one, and head.

    Rows of the logits are ordered by crop, then by image: crop k of image n of N has row k * N + n, the kinds of views
    one after the other. The first N rows are those of the first (global) crops; `crop_labels` knows that order.
    """

    def __init__(self, encoder: Encoder, projector: Projector | None, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector
        self.head = head

    def forward(self, images: Images) -> torch.Tensor:
        """Logits [crops * N, C]: crops of one size go through the encoder together, all through projector and head."""
        features = [self._crop_features(kind) for kind in _kinds(images)]
        embeddings = features[0] if len(features) == 1 else torch.cat(features)
        if self.projector is not None:
            embeddings = self.projector(embeddings)
        logits: torch.Tensor = self.head(embeddings)
        return logits

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Features [N, D] of images [N, 3, H, W], before the projector: what is transferred."""
        features: torch.Tensor = self.encoder(images)
        return features

    def _crop_features(self, kind: torch.Tensor) -> torch.Tensor:
        if kind.dim() == 4:
            return self.features(kind)
        # The features change their order and not the crops, which are a thousand times larger.
        features = self.features(kind.flatten(0, 1))
        return features.view(*kind.shape[:2], -1).transpose(0, 1).flatten(0, 1)


def _kinds(images: Images) -> Sequence[torch.Tensor]:
    return [images] if isinstance(images, torch.Tensor) else images


def num_crops(images: Images) -> int:
    """Crops of each image: 1 for [N, 3, H, W]."""
    return sum(kind.shape[1] if kind.dim() == 5 else 1 for kind in _kinds(images))


def crop_labels(labels: torch.Tensor, images: Images) -> torch.Tensor:
    """Values of images (labels, weights), [N, ...], repeated for the rows of `Classifier`, [crops * N, ...]."""
    return labels.repeat(num_crops(images), *[1] * (labels.dim() - 1))


def parameter_groups(model: nn.Module, weight_decay: float, *, decay_all: bool = False) -> list[dict[str, Any]]:
    """Trained parameters for an optimiser: those that decay, then those that do not.

    Args:
        model: What is trained.
        weight_decay: Of the first group.
        decay_all: Whether all decay; else weights of two or more dimensions do, biases and the weights of norms do not.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decays = [decay_all or (parameter.dim() > 1 and not name.endswith("bias")) for name, parameter in trained]
    return [
        {
            "params": [parameter for (_, parameter), decay in zip(trained, decays, strict=True) if decay is wanted],
            "weight_decay": weight_decay if wanted else 0.0,
        }
        for wanted in (True, False)
    ]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """What moves the weights of a model, at the recipe's highest rate; the loop sets the rate of each step."""
    groups = parameter_groups(model, recipe.decay, decay_all=recipe.decay_all)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.peak_lr)
    return torch.optim.SGD(groups, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=recipe.nesterov)


def build_classifier(
    recipe: Recipe, num_classes: int, *, seed: int | None = None, weights: str | None = None
) -> Classifier:
    """The model of a recipe, in float32 on the CPU.

    With a linear or sigmoid head the projector normalises nothing (SL-MLP of Wang et al. 2022, see thesis, section
    4.3); with the others it normalises its input, and they its output.

    Args:
        recipe: How to train.
        num_classes: C, at least 1.
        seed: Of the weights and of the first memory; torch's generator goes on as if none had been drawn. `None` draws
            from torch's generator as it is.
        weights: File with weights of the encoder; see `make_encoder`.

    Raises:
        OptionError: There is no such encoder, the weights do not fit, or there are no classes.
    """
    if num_classes < 1:
        raise OptionError(f"a classifier has at least 1 class, found {num_classes}")
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        encoder = make_encoder(recipe.encoder, weights=weights, channels=recipe.channels)
        projector, dim = None, encoder.feature_dim
        if recipe.projector_layers is not None:
            dim = recipe.projector_bottleneck
            projector = Projector(
                encoder.feature_dim,
                recipe.projector_layers,
                recipe.projector_hidden,
                dim,
                normalize_input=recipe.head not in _LINEAR,
            )
        return Classifier(encoder, projector, _build_head(recipe, encoder, projector, dim, num_classes))


def _build_head(recipe: Recipe, encoder: Encoder, projector: Projector | None, dim: int, num_classes: int) -> nn.Module:
    if recipe.head in _LINEAR:
        return LinearHead(dim, num_classes)
    if recipe.head == "cosine":
        return CosineSoftmax(dim, num_classes, recipe.temperature)
    if projector is None:
        raise OptionError(f"recipe {recipe.name}: head {recipe.head!r} needs a projector: set projector_layers")
    return OnlineClassMeans(
        encoder,
        projector,
        dim=dim,
        num_classes=num_classes,
        memory_size=recipe.memory_size,
        momentum=recipe.memory_momentum,
        temperature=recipe.temperature,
        normalized=recipe.memory_normalized,
    )
