"""Metrics: arrays in, values out, each with the source of its formula. Shares are 0 to 1."""

from typing import TYPE_CHECKING

from shardtools.evaluation.metrics.declared import METRICS, MetricFacts, printed_value
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.metrics.corruption import (
        corruption_errors,
        mean_corruption_error,
        mean_error,
        relative_mean_corruption_error,
    )
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "METRICS",
    "MetricFacts",
    "corruption_errors",
    "mean_corruption_error",
    "mean_error",
    "printed_value",
    "relative_mean_corruption_error",
]
