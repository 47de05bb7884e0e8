"""What a run of an attack writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from shardtools.documents import Format
from shardtools.evaluation.attacks.settings import AttackSettings
from shardtools.evaluation.model_facts import ModelFacts
from shardtools.evaluation.predictions import BatchPlan

ATTACKS_VERSION = 1
MADE_BY = "shardtools eval attack"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackPlan(BatchPlan):
    """Two runs with the same plan write the same parts.

    Attributes:
        attack: Its settings.
        source: The model that makes the attack, where that is not the judged one.
        every: Each how manieth row of the dataset is attacked; `num_images` are those.
        keeps_images: Whether attacked images are written as a dataset.
    """

    format: ClassVar[Format] = Format(
        name="shardtools-attack",
        version=ATTACKS_VERSION,
        what="the plan of an attack",
        remedy="remove the overlay, or attack again with --replace",
    )
    made_by: ClassVar[str] = MADE_BY
    rows_are: ClassVar[str] = "results"

    attack: AttackSettings
    source: ModelFacts | None = None
    every: int = 1
    keeps_images: bool = False
