"""Generation: options -> plan -> processes -> a committed dataset. Imports no torch; the processes do."""

from typing import TYPE_CHECKING

from shardtools.generation.options import EMBEDDED_MODEL, GenerateOptions
from shardtools.generation.plan import SCHEDULERS
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.generation.estimating import Estimate, estimate
    from shardtools.generation.launch import GenerateResult, Generation, commit_if_whole, generate
    from shardtools.generation.measure import measured_estimate
    from shardtools.generation.model import ResolvedModel, resolve_model
    from shardtools.generation.plan_notes import generator_settings, rebuild_plan
    from shardtools.generation.preparing import Job, Prepared, begin, prepare
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "EMBEDDED_MODEL",
    "SCHEDULERS",
    "Estimate",
    "GenerateOptions",
    "GenerateResult",
    "Generation",
    "Job",
    "Prepared",
    "ResolvedModel",
    "begin",
    "commit_if_whole",
    "estimate",
    "generate",
    "generator_settings",
    "measured_estimate",
    "prepare",
    "rebuild_plan",
    "resolve_model",
]
