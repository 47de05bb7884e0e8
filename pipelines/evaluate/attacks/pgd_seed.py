"""The attack of seed 001: descent to a drawn class, that ends as soon as it is the likeliest one.

Owns what foolbox 1.8's RandomStartProjectedGradientDescentAttack does otherwise than the standard attack, as
eminorhan/ood-benchmarks calls it (evaluate_whitebox.py): the start is uniform in the ball and not cut to the box before
the first gradient, and it does not count as a result. The price of the aim: an image that does not reach its class is
scored as it was before, so that the accuracy is an optimistic one beside the standard attack's.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from shardtools.evaluation.attacks import AttackSettings
from shardtools.pipelines.evaluate.attacks.ball import ball_around
from shardtools.pipelines.evaluate.attacks.contract import Found, Images, LossFunction, Victim
from shardtools.pipelines.evaluate.attacks.pgd import descend, start
from shardtools.pipelines.evaluate.attacks.restarts import attack_in_turns


def pgd_seed(victim: Victim, images: Images, settings: AttackSettings) -> Found:
    """One targeted descent; an image that does not reach its target is given back as it was."""
    found = attack_in_turns(victim, images, settings, _attempt)
    return replace(found, pixels=torch.where(found.success[:, None, None, None], found.pixels, images.pixels))


def _attempt(victim: Victim, images: Images, settings: AttackSettings, loss: LossFunction, operation: str) -> Found:
    ball = ball_around(images.pixels, settings.eps)
    return descend(victim, images, settings, loss, ball, start(images, settings, operation), 1)
