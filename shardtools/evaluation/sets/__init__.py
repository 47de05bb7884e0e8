"""Test sets: which classes and metrics each has, how a model's answers are restricted, and what came of them."""

from typing import TYPE_CHECKING

from shardtools.evaluation.sets.making_options import CueConflictOptions
from shardtools.evaluation.sets.ood_options import OodOptions, SetRequest
from shardtools.evaluation.sets.test_sets import TEST_SETS, TestSet
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.sets.cue_conflict import CUE_OVERLAY, read_pair
    from shardtools.evaluation.sets.figure import Figure, Judgement
    from shardtools.evaluation.sets.joining import view_of
    from shardtools.evaluation.sets.judging import SetInputs, judge_set
    from shardtools.evaluation.sets.making import make_cue_conflict
    from shardtools.evaluation.sets.outputs import add_results, write_text
    from shardtools.evaluation.sets.picture import draw_ood
    from shardtools.evaluation.sets.restricting import Restricted, restrict
    from shardtools.evaluation.sets.rows import Column, ModelOnSet, OodTable, markdown_table, table_cells, with_gaps
    from shardtools.evaluation.sets.run import evaluate_ood
    from shardtools.evaluation.sets.view import SetView
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CUE_OVERLAY",
    "TEST_SETS",
    "Column",
    "CueConflictOptions",
    "Figure",
    "Judgement",
    "ModelOnSet",
    "OodOptions",
    "OodTable",
    "Restricted",
    "SetInputs",
    "SetRequest",
    "SetView",
    "TestSet",
    "add_results",
    "draw_ood",
    "evaluate_ood",
    "judge_set",
    "make_cue_conflict",
    "markdown_table",
    "read_pair",
    "restrict",
    "table_cells",
    "view_of",
    "with_gaps",
    "write_text",
]
