"""Attacks on classifiers: which there are, what they are told, the overlay of what they came to."""

from typing import TYPE_CHECKING

from shardtools.evaluation.attacks.options import AttackOptions, AttackResult
from shardtools.evaluation.attacks.settings import (
    DEFAULTS,
    FIXED,
    LOSSES,
    MAX_RESTARTS,
    MAX_STEPS,
    TARGETS,
    AttackSettings,
    attack_settings,
)
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.attacks.images import add_images, write_attacked
    from shardtools.evaluation.attacks.launch import Attacking, attack, require_attack_libraries
    from shardtools.evaluation.attacks.plan import AttackPlan
    from shardtools.evaluation.attacks.results import attack_result, radius_text
    from shardtools.evaluation.attacks.rows import COLUMNS, Attacked, AttackFigures, attack_table, figures_of
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "COLUMNS",
    "DEFAULTS",
    "FIXED",
    "LOSSES",
    "MAX_RESTARTS",
    "MAX_STEPS",
    "TARGETS",
    "AttackFigures",
    "AttackOptions",
    "AttackPlan",
    "AttackResult",
    "AttackSettings",
    "Attacked",
    "Attacking",
    "add_images",
    "attack",
    "attack_result",
    "attack_settings",
    "attack_table",
    "figures_of",
    "radius_text",
    "require_attack_libraries",
    "write_attacked",
]
