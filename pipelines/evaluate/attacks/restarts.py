"""Attempts one after the other: each loss, each restart, on the images that still withstand.

Owns the order of attempts and what they add up to. Between attempts an image keeps the pixels of its highest loss; the
price of leaving fooled images alone is that their loss is not the highest there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from shardtools.errors import OptionError
from shardtools.evaluation.attacks import AttackSettings
from shardtools.pipelines.evaluate.attacks.contract import Found, Images, LossFunction, Victim, succeeds
from shardtools.pipelines.evaluate.attacks.losses import LOSS_FUNCTIONS

Attempt = Callable[[Victim, Images, AttackSettings, LossFunction, str], Found]
"""One start with one loss; the text names its draws."""


def attack_in_turns(victim: Victim, images: Images, settings: AttackSettings, attempt: Attempt) -> Found:
    """Attempts until all images are wrong or all attempts are made.

    Raises:
        OptionError: There are more restarts than classes to aim at.
    """
    found = unharmed(images, settings)
    order = None
    if settings.target == "likely":
        order = _likeliest_others(images, settings.restarts)
    left = torch.arange(len(images), device=images.pixels.device)
    if settings.early_stop:
        left = left[~found.success]
    for loss in settings.losses:
        function = LOSS_FUNCTIONS[loss, settings.target != "none"]
        first = True
        for restart in range(settings.restarts):
            if not len(left):
                return found
            some = images if len(left) == len(images) else images.of(left)
            if order is not None:
                some = replace(some, targets=order[left, restart])
            made = attempt(victim, some, settings, function, f"start {loss} {restart}")
            before = found.of(left)
            # Losses of different kinds do not compare: the first attempt with each replaces what failed before it.
            better = made.success & ~before.success | (made.success == before.success) & (
                (made.loss > before.loss) | first
            )
            found.put(left[better], made.of(better))
            found.steps[left] = before.steps + made.steps
            left = left[~found.success[left]]
            first = False
    return found


def unharmed(images: Images, settings: AttackSettings) -> Found:
    """The clean images; those that are wrong already count as fooled, after no step."""
    return Found(
        pixels=images.pixels.clone(),
        success=succeeds(images.logits, images, settings),
        steps=torch.zeros(len(images), dtype=torch.int32, device=images.pixels.device),
        loss=torch.full((len(images),), -torch.inf, device=images.pixels.device),
    )


def _likeliest_others(images: Images, count: int) -> torch.Tensor:
    """The likeliest classes but the label, int64 [N, count]."""
    num_others = images.logits.shape[1] - 1
    if count > num_others:
        raise OptionError(
            f"each restart aims at another class, found {count} restarts and {num_others} classes to aim at: take fewer"
        )
    return images.logits.scatter(1, images.labels[:, None], -torch.inf).topk(count, dim=1).indices
