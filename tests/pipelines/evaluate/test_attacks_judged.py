"""Attacks beside foolbox's."""

from __future__ import annotations

import foolbox
import pytest
import torch
from torch import nn
from torch.nn import functional

from shardtools.evaluation.attacks import AttackSettings, attack_settings
from shardtools.pipelines.encoders.lite import load_lite
from shardtools.pipelines.evaluate.attacks import ATTACKS, Victim, prepare
from tests.helpers.attacked_networks import TinyNetwork, keys_of, photos, tiny_images

EPS = 0.03


def own(network: nn.Module, pixels: torch.Tensor, labels: list[int], settings: AttackSettings) -> torch.Tensor:
    victim, keys = Victim(network), keys_of(len(labels))
    return ATTACKS[settings.attack](victim, prepare(victim, pixels, labels, keys, settings), settings).pixels


def test_pgd_and_fgsm_without_noise_are_foolboxs() -> None:
    network, pixels = TinyNetwork().eval(), tiny_images(32)
    labels = network(pixels).argmax(1)
    judge = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    for settings, attack in (
        (
            attack_settings("pgd", eps=EPS, step=0.01, num_steps=8, random_start=False, early_stop=False),
            foolbox.attacks.LinfPGD(abs_stepsize=0.01, steps=8, random_start=False),
        ),
        (attack_settings("fgsm", eps=EPS, early_stop=False), foolbox.attacks.LinfFastGradientAttack()),
    ):
        _, expected, _ = attack(judge, pixels, labels, epsilons=EPS)
        found = own(network, pixels, labels.tolist(), settings)

        # The sign of a gradient that is all but zero is chance.
        assert (found - expected).abs().gt(1e-6).float().mean() < 1e-3


def test_targeted_pgd_is_foolboxs() -> None:
    network, pixels, victim = TinyNetwork().eval(), tiny_images(32), Victim(TinyNetwork())
    labels = network(pixels).argmax(1).tolist()
    settings = attack_settings(
        "pgd", eps=EPS, step=0.01, num_steps=8, random_start=False, early_stop=False, target="random"
    )
    targets = prepare(victim, pixels, labels, keys_of(32), settings).targets
    attack = foolbox.attacks.LinfPGD(abs_stepsize=0.01, steps=8, random_start=False)
    judge = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    _, expected, _ = attack(judge, pixels, foolbox.criteria.TargetedMisclassification(targets), epsilons=EPS)
    kept = network(pixels).argmax(1) != targets

    found = own(network, pixels, labels, settings)
    assert (found - expected)[kept].abs().gt(1e-6).float().mean() < 1e-3


class Lite0(nn.Module):
    """EfficientNet-Lite0 on pixels of 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.network = load_lite("lite0")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network((images - 127 / 255) / (128 / 255))
        return logits


def test_on_lite0_pgd_equals_foolboxs_and_apgd_is_no_weaker() -> None:
    # A third of the pixels that the network was trained for cost a third, and the photographs stay recognizable.
    network, (pixels, labels) = Lite0().eval().requires_grad_(False), photos(128, 12)
    given, eps, steps = torch.tensor(labels), 0.25 / 255, 6
    torch.manual_seed(0)
    judge = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    _, adversarial, _ = foolbox.attacks.LinfPGD(abs_stepsize=eps / 4, steps=steps)(judge, pixels, given, epsilons=eps)

    def outcome(images: torch.Tensor) -> tuple[float, int]:
        with torch.no_grad():
            logits = network(images)
        return float(functional.cross_entropy(logits, given)), int((logits.argmax(1) != given).sum())

    loss, fooled = outcome(adversarial)
    own_loss, own_fooled = outcome(
        own(network, pixels, labels, attack_settings("pgd", eps=eps, num_steps=steps, early_stop=False))
    )
    assert own_loss == pytest.approx(loss, rel=0.02)
    assert abs(own_fooled - fooled) <= 1
    assert outcome(own(network, pixels, labels, attack_settings("apgd", eps=eps, num_steps=steps)))[1] >= fooled
