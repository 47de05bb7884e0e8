"""The best cell of each model, set and augmentation: chosen by validation, told by its value on the reported split.

Owns the choice, seed 003's: the epoch of a training by its validation value, then the setting of the grid by the mean
over seeds of these; the test value decides on nothing. The price of choosing among eighty by one split is that the
validation value of the chosen one is too high where it is also what is reported, as seed 003 does for most of its sets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from shardtools.transfer.cells import Cell, Setting
from shardtools.transfer.outcomes import DONE, Outcome
from shardtools.transfer.study import StudyModel, StudySet


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """What a model came to on a set, with an augmentation.

    Attributes:
        model, on, augmentation: Of which.
        num_cells: Cells of the group.
        num_done: Of these, done; fewer than all make it a figure of what is there so far.
        cells: The chosen cells, one a seed; empty where none is done.
        val: Mean over seeds of the metric on the validation split; `None` where none is done.
        value: Likewise on the reported split.
    """

    model: StudyModel
    on: StudySet
    augmentation: str
    num_cells: int
    num_done: int
    cells: tuple[Cell, ...] = ()
    val: float | None = None
    value: float | None = None

    @property
    def setting(self) -> Setting | None:
        """The chosen point of the grid."""
        return self.cells[0].setting if self.cells else None


def choose(cells: Sequence[Cell], outcomes: Mapping[str, Outcome]) -> tuple[Best, ...]:
    """The best of each group, in the order of the study.

    A setting is chosen among those that are done with every seed; a tie goes to the first in the grid.
    """
    groups: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.model.name, cell.on.name, cell.augmentation].append(cell)
    return tuple(_best(own, outcomes) for own in groups.values())


def _best(cells: Sequence[Cell], outcomes: Mapping[str, Outcome]) -> Best:
    seeds = {cell.seed for cell in cells}
    done = [cell for cell in cells if cell.digest in outcomes and outcomes[cell.digest].status == DONE]
    settings: dict[Setting, list[Cell]] = defaultdict(list)
    for cell in done:
        settings[cell.setting].append(cell)
    whole = [own for own in settings.values() if len(own) == len(seeds)]
    first = cells[0]
    nothing = Best(
        model=first.model,
        on=first.on,
        augmentation=first.augmentation,
        num_cells=len(cells),
        num_done=len(done),
    )
    if not whole:
        return nothing
    chosen = max(whole, key=lambda own: _mean(own, outcomes, "val"))
    return Best(
        model=first.model,
        on=first.on,
        augmentation=first.augmentation,
        num_cells=len(cells),
        num_done=len(done),
        cells=tuple(chosen),
        val=_mean(chosen, outcomes, "val"),
        value=_mean(chosen, outcomes, "test"),
    )


def _mean(cells: Sequence[Cell], outcomes: Mapping[str, Outcome], name: str) -> float:
    return fmean(getattr(outcomes[cell.digest], name) for cell in cells)
