"""What this machine reads from a dataset, where the time goes, and what would make it faster."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.readbench.options import ReadBenchOptions

if TYPE_CHECKING:
    from shardtools.readbench.advice import advise
    from shardtools.readbench.measuring import measure_reading
    from shardtools.readbench.options import CROP_SIDE
    from shardtools.readbench.result import ReadBench, Speed, StageShares
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CROP_SIDE",
    "ReadBench",
    "ReadBenchOptions",
    "Speed",
    "StageShares",
    "advise",
    "measure_reading",
]
