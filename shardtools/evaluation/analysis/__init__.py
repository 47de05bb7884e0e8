"""Analyses of features: what a representation does with its dimensions and its classes."""

from typing import TYPE_CHECKING

from shardtools.evaluation.analysis.options import AnalyzeOptions, FeatureAnalysis
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.analysis.classes import IntraClassDistance, intra_class_distance
    from shardtools.evaluation.analysis.dimensions import (
        SingularValues,
        coding_length,
        redundancy,
        singular_values,
        sparsity,
    )
    from shardtools.evaluation.analysis.run import analyze, mean_analysis
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "AnalyzeOptions",
    "FeatureAnalysis",
    "IntraClassDistance",
    "SingularValues",
    "analyze",
    "coding_length",
    "intra_class_distance",
    "mean_analysis",
    "redundancy",
    "singular_values",
    "sparsity",
]
