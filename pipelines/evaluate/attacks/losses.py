"""What attacks raise: the cross-entropy and the difference of logits ratio, with and without an aim.

Owns the formulas of Croce and Hein 2020 ("Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", section 4). The price of the ratio: it needs three classes, with an aim four.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from shardtools.errors import OptionError
from shardtools.evaluation.attacks import AttackSettings
from shardtools.pipelines.evaluate.attacks.contract import Images, LossFunction


def cross_entropy(logits: torch.Tensor, images: Images) -> torch.Tensor:
    """-log p of the label: high where the network does not see it."""
    return functional.cross_entropy(logits, images.labels, reduction="none")


def aimed_cross_entropy(logits: torch.Tensor, images: Images) -> torch.Tensor:
    """Log p of the target."""
    return -functional.cross_entropy(logits, images.targets, reduction="none")


def ratio(logits: torch.Tensor, images: Images) -> torch.Tensor:
    """-(z_y - max_{i != y} z_i) / (z_1 - z_3), z_1 >= z_2 >= z_3 the largest logits (equation 6)."""
    _require_classes(logits.shape[1], 3, "dlr")
    top = logits.topk(3, dim=1).values
    of_label = _at(logits, images.labels)
    others = logits.scatter(1, images.labels[:, None], -torch.inf).amax(1)
    return (others - of_label) / (top[:, 0] - top[:, 2]).clamp_min(_LEAST)


def aimed_ratio(logits: torch.Tensor, images: Images) -> torch.Tensor:
    """-(z_y - z_t) / (z_1 - (z_3 + z_4) / 2), t the target (equation 7)."""
    _require_classes(logits.shape[1], 4, "dlr")
    top = logits.topk(4, dim=1).values
    spread = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return (_at(logits, images.targets) - _at(logits, images.labels)) / spread.clamp_min(_LEAST)


LOSS_FUNCTIONS: Mapping[tuple[str, bool], LossFunction] = {
    ("ce", False): cross_entropy,
    ("ce", True): aimed_cross_entropy,
    ("dlr", False): ratio,
    ("dlr", True): aimed_ratio,
}
"""(Loss, whether it aims at a class) -> function."""

_LEAST = 1e-12


def _at(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


def check_outputs(settings: AttackSettings, num_outputs: int) -> None:
    """Refuses a loss that compares more logits than a network has.

    Raises:
        OptionError: It has fewer.
    """
    least = 3 if settings.target == "none" else 4
    if "dlr" in settings.losses:
        _require_classes(num_outputs, least, settings.loss)


def _require_classes(num_outputs: int, least: int, loss: str) -> None:
    if num_outputs < least:
        raise OptionError(f"--loss {loss} compares {least} logits, found a network of {num_outputs}: take --loss ce")
