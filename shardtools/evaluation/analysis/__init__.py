"""Analyses of features: what a representation does with its dimensions and its classes."""

from shardtools.evaluation.analysis.classes import IntraClassDistance, intra_class_distance
from shardtools.evaluation.analysis.dimensions import (
    SingularValues,
    coding_length,
    redundancy,
    singular_values,
    sparsity,
)

__all__ = [
    "IntraClassDistance",
    "SingularValues",
    "coding_length",
    "intra_class_distance",
    "redundancy",
    "singular_values",
    "sparsity",
]
