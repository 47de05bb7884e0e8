"""Verify: digests, offsets and decodability of a dataset; repair of what was generated; generating anew."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.verify.options import RegenerateOptions, RepairOptions, VerifyOptions

if TYPE_CHECKING:
    from shardtools.verify.checks import verify
    from shardtools.verify.regenerating import RegeneratedImage, RegenerateReport, regenerate
    from shardtools.verify.regenerator import RegeneratorRequest, RegeneratorSetup
    from shardtools.verify.remake import RepairedShard
    from shardtools.verify.repairing import RepairReport, repair
    from shardtools.verify.report import KINDS, Problem, VerifyReport
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "KINDS",
    "Problem",
    "RegenerateOptions",
    "RegenerateReport",
    "RegeneratedImage",
    "RegeneratorRequest",
    "RegeneratorSetup",
    "RepairOptions",
    "RepairReport",
    "RepairedShard",
    "VerifyOptions",
    "VerifyReport",
    "regenerate",
    "repair",
    "verify",
]
