"""Transfer: models are fine-tuned on sets in a grid of settings, each cell once; tables of what carries over."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.transfer.options import TransferOptions

if TYPE_CHECKING:
    from shardtools.transfer.agreement import ALL, Agreement, Correlation, Point, agree, correlate
    from shardtools.transfer.cells import Cell, Setting, list_cells
    from shardtools.transfer.outcomes import Outcome
    from shardtools.transfer.picture import draw_points, draw_report
    from shardtools.transfer.planning import Group, StudyPlan, plan_cells, plan_study
    from shardtools.transfer.reading import read_study, study_of
    from shardtools.transfer.report import Report, correlation_rows, make_report, report_study, save_results
    from shardtools.transfer.running import Ran, Runner, run_cells, run_study
    from shardtools.transfer.study import (
        AUGMENTATIONS,
        SET_METRICS,
        Augmentation,
        Grid,
        Study,
        StudyModel,
        StudySet,
    )
    from shardtools.transfer.text import correlation_tables, estimate_text, markdown_text, text_tables, values_table
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "ALL",
    "AUGMENTATIONS",
    "SET_METRICS",
    "Agreement",
    "Augmentation",
    "Cell",
    "Correlation",
    "Grid",
    "Group",
    "Outcome",
    "Point",
    "Ran",
    "Report",
    "Runner",
    "Setting",
    "Study",
    "StudyModel",
    "StudyPlan",
    "StudySet",
    "TransferOptions",
    "agree",
    "correlate",
    "correlation_rows",
    "correlation_tables",
    "draw_points",
    "draw_report",
    "estimate_text",
    "list_cells",
    "make_report",
    "markdown_text",
    "plan_cells",
    "plan_study",
    "read_study",
    "report_study",
    "run_cells",
    "run_study",
    "save_results",
    "study_of",
    "text_tables",
    "values_table",
]
