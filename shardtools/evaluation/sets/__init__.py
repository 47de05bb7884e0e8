"""Test sets: which classes and metrics each has, how a model's answers are restricted, and what came of them."""

from typing import TYPE_CHECKING

from shardtools.evaluation.sets.making_options import CueConflictOptions
from shardtools.evaluation.sets.test_sets import TEST_SETS, TestSet
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.sets.cue_conflict import CUE_OVERLAY, read_pair
    from shardtools.evaluation.sets.figure import Figure, Judgement
    from shardtools.evaluation.sets.joining import view_of
    from shardtools.evaluation.sets.judging import SetFiles, judge_set
    from shardtools.evaluation.sets.making import make_cue_conflict
    from shardtools.evaluation.sets.restricting import Restricted, restrict
    from shardtools.evaluation.sets.view import SetView
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CUE_OVERLAY",
    "TEST_SETS",
    "CueConflictOptions",
    "Figure",
    "Judgement",
    "Restricted",
    "SetFiles",
    "SetView",
    "TestSet",
    "judge_set",
    "make_cue_conflict",
    "read_pair",
    "restrict",
    "view_of",
]
