"""Plans: classes x template x replicas -> rows. Pure: no file is read, no state is kept."""

from shardtools.plan.rows import PLAN_SCHEMA, Plan, PlanRow
from shardtools.plan.seeds import MAX_ATTEMPTS, MAX_REPLICAS, class_codes, image_seeds
from shardtools.plan.settings import GeneratorSettings, PlanOptions, auto_samples_per_shard

__all__ = [
    "MAX_ATTEMPTS",
    "MAX_REPLICAS",
    "PLAN_SCHEMA",
    "GeneratorSettings",
    "Plan",
    "PlanOptions",
    "PlanRow",
    "auto_samples_per_shard",
    "class_codes",
    "image_seeds",
]
