"""Nearest classes: by means and by votes of neighbours, within a dataset or against a real one."""

from typing import TYPE_CHECKING

from shardtools.audits.nearest.options import NearestOptions, NearestResult
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.audits.nearest.means import ClassMeans, MeanScores, class_means, mean_scores
    from shardtools.audits.nearest.run import nearest_classes
    from shardtools.audits.nearest.spread import own_class_distances
    from shardtools.audits.nearest.tables import SAMPLE_COLUMNS
    from shardtools.audits.nearest.votes import Votes, count_votes
else:
    __getattr__, __dir__ = on_demand(__name__)

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
