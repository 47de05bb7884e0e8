"""Verify: digests, offsets and decodability of a dataset; repair of what was generated; rendering anew."""

from shardtools.verify.checks import verify
from shardtools.verify.options import RegenerateOptions, RepairOptions, VerifyOptions
from shardtools.verify.regenerating import RegeneratedImage, RegenerateReport, regenerate
from shardtools.verify.remake import RepairedShard
from shardtools.verify.repairing import RepairReport, repair
from shardtools.verify.report import KINDS, Problem, VerifyReport

__all__ = [
    "KINDS",
    "Problem",
    "RegenerateOptions",
    "RegenerateReport",
    "RegeneratedImage",
    "RepairOptions",
    "RepairReport",
    "RepairedShard",
    "VerifyOptions",
    "VerifyReport",
    "regenerate",
    "repair",
    "verify",
]
