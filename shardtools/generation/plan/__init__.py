"""Plans: classes x template x replicas -> rows. Pure: no file is read, no state is kept."""

from typing import TYPE_CHECKING

from shardtools.generation.plan.options import (
    MAX_AUTO_SAMPLES_PER_SHARD,
    OLD_SCENE_ORDER,
    SCENE_ORDERS,
    SCHEDULERS,
    GeneratorOptions,
)
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.generation.plan.rows import PLAN_SCHEMA, Plan, PlanRow
    from shardtools.generation.plan.seeds import MAX_ATTEMPTS, MAX_REPLICAS, class_codes, image_seeds
    from shardtools.generation.plan.settings import (
        TEMPLATE_SETTING,
        GeneratorSettings,
        PlanOptions,
        auto_samples_per_shard,
    )
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "MAX_ATTEMPTS",
    "MAX_AUTO_SAMPLES_PER_SHARD",
    "MAX_REPLICAS",
    "OLD_SCENE_ORDER",
    "PLAN_SCHEMA",
    "SCENE_ORDERS",
    "SCHEDULERS",
    "TEMPLATE_SETTING",
    "GeneratorOptions",
    "GeneratorSettings",
    "Plan",
    "PlanOptions",
    "PlanRow",
    "auto_samples_per_shard",
    "class_codes",
    "image_seeds",
]
