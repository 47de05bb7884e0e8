"""The fast gradient sign method: one step as long as the radius.

Owns nothing but its name: it is `pgd` with one step from the image itself (Goodfellow et al. 2015, "Explaining and
harnessing adversarial examples", section 4). The price of its speed: it is a weak attack, good for comparison only.
"""

from __future__ import annotations

from shardtools.evaluation.attacks import AttackSettings
from shardtools.pipelines.evaluate.attacks.contract import Found, Images, Victim
from shardtools.pipelines.evaluate.attacks.pgd import attempt_inside
from shardtools.pipelines.evaluate.attacks.restarts import attack_in_turns


def fgsm(victim: Victim, images: Images, settings: AttackSettings) -> Found:
    """One step."""
    return attack_in_turns(victim, images, settings, attempt_inside)
