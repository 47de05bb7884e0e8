"""Publications: a file each, or a few that are alike; what its figures become as rows of results."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.results.publications.corruptions import linf_rows, robustbench_rows, robustness_rows
    from shardtools.evaluation.results.publications.pictures import cue_conflict_rows, imagenet_x_rows
    from shardtools.evaluation.results.publications.seed001 import seed001_rows
    from shardtools.evaluation.results.publications.seed002 import seed002_rows
    from shardtools.evaluation.results.publications.testbeds import testbed_rows, timm_rows
    from shardtools.evaluation.results.publications.thesis import (
        COG_LEVELS,
        COG_SHOTS,
        LONG_TAILED,
        SMALL_SETS,
        TRANSFER_SETS,
        cog_rows,
        imagenet_sd_rows,
        trex_rows,
    )
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "COG_LEVELS",
    "COG_SHOTS",
    "LONG_TAILED",
    "SMALL_SETS",
    "TRANSFER_SETS",
    "cog_rows",
    "cue_conflict_rows",
    "imagenet_sd_rows",
    "imagenet_x_rows",
    "linf_rows",
    "robustbench_rows",
    "robustness_rows",
    "seed001_rows",
    "seed002_rows",
    "testbed_rows",
    "timm_rows",
    "trex_rows",
]
