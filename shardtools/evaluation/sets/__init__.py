"""Test sets: which classes and metrics each has, how a model's answers are restricted, and what came of them."""

from typing import TYPE_CHECKING

from shardtools.evaluation.sets.making_options import CueConflictOptions
from shardtools.evaluation.sets.test_sets import TEST_SETS, TestSet
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.sets.backgrounds import right_backgrounds
    from shardtools.evaluation.sets.cue_conflict import CueCounts, count_cues, decide, read_pair
    from shardtools.evaluation.sets.factors import read_factors
    from shardtools.evaluation.sets.making import CUE_OVERLAY, make_cue_conflict
    from shardtools.evaluation.sets.real_labels import count_real, read_real_labels
    from shardtools.evaluation.sets.restricting import Restricted, restrict
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CUE_OVERLAY",
    "TEST_SETS",
    "CueConflictOptions",
    "CueCounts",
    "Restricted",
    "TestSet",
    "count_cues",
    "count_real",
    "decide",
    "make_cue_conflict",
    "read_factors",
    "read_pair",
    "read_real_labels",
    "restrict",
    "right_backgrounds",
]
