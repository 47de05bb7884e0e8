"""Which attacks there are."""

from __future__ import annotations

from collections.abc import Mapping

from shardtools.pipelines.evaluate.attacks.apgd import apgd
from shardtools.pipelines.evaluate.attacks.contract import Attack
from shardtools.pipelines.evaluate.attacks.fgsm import fgsm
from shardtools.pipelines.evaluate.attacks.pgd import pgd
from shardtools.pipelines.evaluate.attacks.pgd_seed import pgd_seed

ATTACKS: Mapping[str, Attack] = {"pgd-seed": pgd_seed, "pgd": pgd, "fgsm": fgsm, "apgd": apgd}
"""Name, as in `shardtools.evaluation.attacks.DEFAULTS` -> what carries it out."""
