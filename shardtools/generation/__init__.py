"""Generation: options -> plan -> processes -> a committed dataset. Imports no torch; the processes do."""

from shardtools.generation.estimate import Estimate, estimate
from shardtools.generation.launch import GenerateResult, generate
from shardtools.generation.measure import measured_estimate
from shardtools.generation.model import ResolvedModel, resolve_model
from shardtools.generation.options import EMBEDDED_MODEL, SCHEDULERS, GenerateOptions
from shardtools.generation.prepare import Job, Prepared, begin, prepare

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
