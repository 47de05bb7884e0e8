"""Projected gradient descent: steps along the sign of the gradient, back into the ball after each.

Owns the loop that `pgd-seed` and `fgsm` are special cases of (Madry et al. 2018, "Towards deep learning models
resistant to adversarial attacks", section 2.1). The forward pass of a step tells whether the step before has fooled the
network, so k steps cost k gradients and one forward pass; the price is one gradient in vain for each image that stops.
"""

from __future__ import annotations

import torch

from shardtools.evaluation.attacks import AttackSettings
from shardtools.pipelines.evaluate.attacks.ball import Ball, ball_around, noise
from shardtools.pipelines.evaluate.attacks.contract import Found, Images, LossFunction, Victim, succeeds
from shardtools.pipelines.evaluate.attacks.restarts import attack_in_turns


def pgd(victim: Victim, images: Images, settings: AttackSettings) -> Found:
    """Standard projected gradient descent; any point on the way that fools the network will do."""
    return attack_in_turns(victim, images, settings, attempt_inside)


def attempt_inside(
    victim: Victim, images: Images, settings: AttackSettings, loss: LossFunction, operation: str
) -> Found:
    """One start in the ball and the box."""
    ball = ball_around(images.pixels, settings.eps)
    return descend(victim, images, settings, loss, ball, ball.project_(start(images, settings, operation)), 0)


def start(images: Images, settings: AttackSettings, operation: str) -> torch.Tensor:
    """Where an attempt begins, before it is cut to the box."""
    if not settings.random_start:
        return images.pixels.clone()
    return noise(images.pixels, settings.eps, images.draws, operation).add_(images.pixels)


def descend(
    victim: Victim,
    images: Images,
    settings: AttackSettings,
    loss: LossFunction,
    ball: Ball,
    pixels: torch.Tensor,
    counts_from: int,
) -> Found:
    """Steps from a start.

    Args:
        victim: The network.
        images: What is attacked.
        settings: Steps and their length.
        loss: What is raised.
        ball: Where the images stay.
        pixels: The start; it is written to.
        counts_from: Steps before an image may count as fooled; 0 counts the start.
    """
    found = Found(
        pixels=pixels,
        success=torch.zeros(len(images), dtype=torch.bool, device=pixels.device),
        steps=torch.full((len(images),), settings.num_steps, dtype=torch.int32, device=pixels.device),
        loss=torch.empty(len(images), device=pixels.device),
    )
    rows = torch.arange(len(images), device=pixels.device)
    for step in range(settings.num_steps):
        values, logits, gradient = victim.gradient(pixels, images, loss)
        if settings.early_stop and step >= counts_from:
            fooled = succeeds(logits, images, settings)
            if fooled.any():
                found.put(rows[fooled], _stopped(pixels, values, fooled, step))
                kept = (~fooled).nonzero()[:, 0]
                if not len(kept):
                    return found
                rows, images, ball, gradient = rows[kept], images.of(kept), ball.of(kept), gradient[kept]
                pixels = pixels[kept]
        pixels = ball.project_(gradient.sign_().mul_(settings.step).add_(pixels))
    logits = victim.logits(pixels, images.keys)
    found.put(
        rows,
        Found(
            pixels=pixels,
            success=succeeds(logits, images, settings),
            steps=found.steps[rows],
            loss=loss(logits, images),
        ),
    )
    return found


def _stopped(pixels: torch.Tensor, values: torch.Tensor, fooled: torch.Tensor, step: int) -> Found:
    count = int(fooled.sum())
    return Found(
        pixels=pixels[fooled],
        success=torch.ones(count, dtype=torch.bool, device=pixels.device),
        steps=torch.full((count,), step, dtype=torch.int32, device=pixels.device),
        loss=values[fooled],
    )
