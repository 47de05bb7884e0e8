"""Published figures that the package ships: what own figures are divided by, checked against and printed beside."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.published.reading import (
        ALEXNET_CLEAN_ERROR,
        CORRUPTIONS,
        alexnet_errors,
        cue_categories,
        cue_counts,
        read_rows,
        robustbench_errors,
    )
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "ALEXNET_CLEAN_ERROR",
    "CORRUPTIONS",
    "alexnet_errors",
    "cue_categories",
    "cue_counts",
    "read_rows",
    "robustbench_errors",
]
