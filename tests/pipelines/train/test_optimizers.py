"""Optimizers: what decays, and that runs of seed 003 step as torch's own do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from shardtools.pipelines.train.models import build_classifier, make_optimizer, parameter_groups
from shardtools.training.recipe import Recipe
from shardtools.training.schedule import LearningRate

RECIPE = Recipe(name="small", encoder="resnet-micro")


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_all_may_decay() -> None:
    classifier = build_classifier(RECIPE, 3, seed=0)
    everything, nothing = parameter_groups(classifier, 1e-4, decay_all=True)
    assert len(everything["params"]) == sum(1 for _ in classifier.parameters()) and not nothing["params"]


@pytest.mark.parametrize("schedule", ["cosine", "step"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_of_seed_003_is_torchs_own(optimizer: str, schedule: str) -> None:
    """Its sample_train.py: Nesterov or AdamW with decay over the rate, and torch's schedulers asked once an epoch."""
    recipe = replace(
        RECIPE,
        **({"optimizer": "adamw", "decay_over_rate": True} if optimizer == "adamw" else {"nesterov": True}),
        **({"schedule": "step", "step_at": (2.0, 3.0)} if schedule == "step" else {}),
        rate_by="epoch",
        epochs=4,
        warmup_epochs=0.0,
        base_lr=0.01,
        batch_size=128,
        lr_batch_size=128,
        weight_decay=1e-3,
        decay_all=True,
    )

    def layer() -> nn.Linear:
        made = nn.Linear(4, 3).double()
        with torch.no_grad():
            made.weight.copy_(pixels(3, 4))
            made.bias.copy_(pixels(3))
        return made

    ours, theirs = layer(), layer()
    made, rate = make_optimizer(ours, recipe), LearningRate.of(recipe, steps_per_epoch=3)
    wanted: torch.optim.Optimizer = (
        torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=1e-3 / 0.01)
        if optimizer == "adamw"
        else torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3, nesterov=True)
    )
    scheduler: torch.optim.lr_scheduler.LRScheduler = (
        torch.optim.lr_scheduler.MultiStepLR(wanted, milestones=[2, 3], gamma=0.1)
        if schedule == "step"
        else torch.optim.lr_scheduler.CosineAnnealingLR(wanted, T_max=4)
    )
    for step in range(12):
        images = pixels(5, 4, seed=step).double()
        for group in made.param_groups:
            group["lr"] = rate(step)
        for network, moved in ((ours, made), (theirs, wanted)):
            moved.zero_grad()
            functional.cross_entropy(network(images), torch.arange(5) % 3).backward()
            moved.step()
        if step % 3 == 2:
            scheduler.step()
        assert torch.allclose(ours.weight, theirs.weight, rtol=1e-12), step
        assert torch.allclose(ours.bias, theirs.bias, rtol=1e-12), step
