"""Nearest classes: by means and by votes of neighbours, within a dataset or against a real one."""

from shardtools.nearest.means import ClassMeans, MeanScores, class_means, mean_scores
from shardtools.nearest.options import NearestOptions, NearestResult
from shardtools.nearest.run import nearest_classes
from shardtools.nearest.spread import own_class_distances
from shardtools.nearest.tables import SAMPLE_COLUMNS
from shardtools.nearest.votes import Votes, count_votes

__all__ = [
    "SAMPLE_COLUMNS",
    "ClassMeans",
    "MeanScores",
    "NearestOptions",
    "NearestResult",
    "Votes",
    "class_means",
    "count_votes",
    "mean_scores",
    "nearest_classes",
    "own_class_distances",
]
