"""Generation: options -> plan -> processes -> a committed dataset. Imports no torch; the processes do."""

from typing import TYPE_CHECKING

from shardtools.generation.options import EMBEDDED_MODEL, GenerateOptions
from shardtools.generation.plan import SCHEDULERS
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.generation.estimating import Estimate, estimate
    from shardtools.generation.launch import GenerateResult, generate
    from shardtools.generation.measure import measured_estimate
    from shardtools.generation.model import ResolvedModel, resolve_model
    from shardtools.generation.preparing import Job, Prepared, begin, prepare
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "EMBEDDED_MODEL",
    "SCHEDULERS",
    "Estimate",
    "GenerateOptions",
    "GenerateResult",
    "Job",
    "Prepared",
    "ResolvedModel",
    "begin",
    "estimate",
    "generate",
    "measured_estimate",
    "prepare",
    "resolve_model",
]
