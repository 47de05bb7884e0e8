"""Transfer: models are fine-tuned on sets in a grid of settings, each cell once; tables of what carries over."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.transfer.options import TransferOptions

if TYPE_CHECKING:
    from shardtools.transfer.cells import Cell, Setting, list_cells
    from shardtools.transfer.outcomes import Outcome
    from shardtools.transfer.planning import Group, StudyPlan, plan_cells, plan_study
    from shardtools.transfer.reading import read_study, study_of
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
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "AUGMENTATIONS",
    "SET_METRICS",
    "Augmentation",
    "Cell",
    "Grid",
    "Group",
    "Outcome",
    "Ran",
    "Runner",
    "Setting",
    "Study",
    "StudyModel",
    "StudyPlan",
    "StudySet",
    "TransferOptions",
    "list_cells",
    "plan_cells",
    "plan_study",
    "read_study",
    "run_cells",
    "run_study",
    "study_of",
]
