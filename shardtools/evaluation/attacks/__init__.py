"""Attacks on classifiers: which there are, what they are told, the overlay of what they came to."""

from typing import TYPE_CHECKING

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
    pass
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "DEFAULTS",
    "FIXED",
    "LOSSES",
    "MAX_RESTARTS",
    "MAX_STEPS",
    "TARGETS",
    "AttackSettings",
    "attack_settings",
]
