"""What this machine reads from a dataset, where the time goes, and what would make it faster."""

from shardtools.readbench.advice import advise
from shardtools.readbench.measuring import measure_reading
from shardtools.readbench.result import ReadBench, ReadBenchOptions, Speed, StageShares

__all__ = ["ReadBench", "ReadBenchOptions", "Speed", "StageShares", "advise", "measure_reading"]
