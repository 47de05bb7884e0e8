"""What a study will train, what of it is done, and how long the rest takes.

Owns the estimate. A cell's time is reckoned from finished ones: those of its model on its set; else those of its model
on other sets, by the images that pass through; else it is not known. The price: a model's first cell is an unknown, and
one that trained on a busier machine makes the estimate longer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from shardtools.storage import open_storage
from shardtools.transfer.cells import Cell, SetFacts, list_cells, read_facts
from shardtools.transfer.heads import head_notes
from shardtools.transfer.options import out_folder
from shardtools.transfer.outcomes import DONE, FAILED, Outcome, read_outcomes
from shardtools.transfer.reading import read_study
from shardtools.transfer.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The cells of a model, a set and an augmentation.

    Attributes:
        model, set, augmentation: Names.
        num_cells: All.
        num_done: Of these, done.
        num_failed: Of these, failed.
        cell_seconds: Of a cell, from finished ones; `None` where that is not known.
    """

    model: str
    set: str
    augmentation: str
    num_cells: int
    num_done: int
    num_failed: int
    cell_seconds: float | None

    @property
    def num_left(self) -> int:
        """Cells that are neither."""
        return self.num_cells - self.num_done - self.num_failed

    @property
    def seconds_left(self) -> float | None:
        """Of the cells that are left, one after the other; `None` where that is not known."""
        if not self.num_left:
            return 0.0
        return None if self.cell_seconds is None else self.num_left * self.cell_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a study will train.

    Attributes:
        out: Its folder.
        groups: In the order of the study.
        cells: All of them, likewise.
        notes: What should be known before they are trained, a line each.
    """

    out: str
    groups: tuple[Group, ...]
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()

    @property
    def seconds_left(self) -> float | None:
        """Of all that is left whose time is known, one cell after the other; `None` where none is."""
        known = [group.seconds_left for group in self.groups if group.seconds_left is not None and group.num_left]
        return sum(known) if known else None

    @property
    def num_unknown(self) -> int:
        """Cells that are left and whose time is not known."""
        return sum(group.num_left for group in self.groups if group.seconds_left is None)


def plan_study(path: str, out: str | None = None) -> StudyPlan:
    """The cells of a study file; nothing is written.

    Args:
        path: The file.
        out: The study's folder; `None` for the file's name without its ending.

    Raises:
        OptionError: The file is wrong.
        DatasetError: A dataset is missing.
    """
    study = read_study(path)
    return plan_cells(study, out_folder(path, out))


def plan_cells(study: Study, out: str) -> StudyPlan:
    """The cells of a study, and how they stand.

    Raises:
        OptionError: A recipe or a split is wrong.
        DatasetError: A dataset is missing.
    """
    facts = {on.name: read_facts(on) for on in study.sets}
    cells = list_cells(study, facts)
    outcomes = read_outcomes(open_storage(out), cells)
    seconds = cell_seconds(cells, outcomes, facts)
    grouped: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        grouped[cell.model.name, cell.on.name, cell.augmentation].append(cell)
    groups = tuple(
        Group(
            model=model,
            set=on,
            augmentation=augmentation,
            num_cells=len(own),
            num_done=_count(own, outcomes, DONE),
            num_failed=_count(own, outcomes, FAILED),
            cell_seconds=seconds.get((model, on)),
        )
        for (model, on, augmentation), own in grouped.items()
    )
    return StudyPlan(out=out, groups=groups, cells=cells, notes=head_notes(cells))


def cell_seconds(
    cells: Sequence[Cell], outcomes: Mapping[str, Outcome], facts: Mapping[str, SetFacts]
) -> dict[tuple[str, str], float]:
    """(Model, set) -> seconds of a cell, where finished ones say so."""
    measured: dict[tuple[str, str], list[float]] = defaultdict(list)
    speeds: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        found = outcomes.get(cell.digest)
        if found is not None and found.seconds is not None:
            measured[cell.model.name, cell.on.name].append(found.seconds)
            speeds[cell.model.name].append(found.seconds / _work(cell, facts))
    known = {key: fmean(seconds) for key, seconds in measured.items()}
    for cell in cells:
        key = cell.model.name, cell.on.name
        if key not in known and cell.model.name in speeds:
            known[key] = fmean(speeds[cell.model.name]) * _work(cell, facts)
    return known


def _work(cell: Cell, facts: Mapping[str, SetFacts]) -> float:
    """What a cell's time grows with: pixels, a trained image costing three passes and a judged one one."""
    of = facts[cell.on.name]
    return cell.recipe.epochs * (3 * of.num_train + of.num_judged) * cell.recipe.image_size**2


def _count(cells: Sequence[Cell], outcomes: Mapping[str, Outcome], status: str) -> int:
    return sum(cell.digest in outcomes and outcomes[cell.digest].status == status for cell in cells)
