"""`shardtools transfer report`: what a study says so far.

Owns the order, and the rows of results. A report is made of what is there, so it may be asked for while cells are
trained; what is missing or failed is said in it. The price: the files of all cells are read each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardtools.evaluation.results import Result, write_results
from shardtools.storage import open_storage
from shardtools.transfer.agreement import ALL, Agreement, Correlation, Point, agree, correlate
from shardtools.transfer.cells import Cell, list_cells, metric_name
from shardtools.transfer.heads import head_notes
from shardtools.transfer.options import out_folder
from shardtools.transfer.outcomes import DONE, FAILED, Outcome, read_outcomes
from shardtools.transfer.pretraining import accuracies
from shardtools.transfer.reading import read_study
from shardtools.transfer.selecting import Best, choose
from shardtools.transfer.study import DEFAULT, SET_METRICS, Study
from shardtools.words import counted

STUDY = "applications"
"""Of the rows of results."""

RESULTS_FILE = "results.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a study says so far.

    Attributes:
        study: The study.
        out: Its folder.
        best: Of each model, set and augmentation.
        points: The models with the values of their best cells, `DEFAULT` alone.
        correlations: Of each set, of all models and of those above the bar.
        agreements: Of each set with the pretraining and with the other sets.
        failures: Cells that failed and why, one line each.
        head_notes: Where a head begins as a probe of other pictures than it is trained on.
        results: Rows: the best of each group, every cell that is done (splits "cell/..."), and the correlations.
    """

    study: Study
    out: str
    best: tuple[Best, ...]
    points: tuple[Point, ...]
    correlations: tuple[Correlation, ...]
    agreements: tuple[Agreement, ...]
    failures: tuple[str, ...]
    head_notes: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def num_cells(self) -> int:
        """Cells of the study."""
        return sum(one.num_cells for one in self.best)

    @property
    def num_left(self) -> int:
        """Cells that are neither done nor failed."""
        return self.num_cells - len(self.failures) - sum(one.num_done for one in self.best)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the figures."""
        unknown = [one.model for one in self.points if one.accuracy is None]
        notes = []
        if self.num_left:
            notes.append(
                f"{self.num_left} of {counted(self.num_cells, 'cell')} are still to be trained: what is best may change"
            )
        if unknown:
            notes.append(f"left out of correlations, without an accuracy in pretraining: {', '.join(unknown)}")
        if self.failures:
            notes.append(f"{counted(len(self.failures), 'cell')} failed")
        same = [on.name for on in self.study.sets if on.test_split is None]
        if same:
            notes.append(f"reported on the split that chose the cell, so too high: {', '.join(same)}")
        return (*notes, *self.head_notes)


def make_report(path: str, out: str | None = None) -> Report:
    """What a study file's cells say so far.

    Args:
        path: The file.
        out: The study's folder; `None` for the file's name without its ending.

    Raises:
        OptionError: The file is wrong.
        DatasetError: A dataset is missing.
    """
    return report_study(read_study(path), out_folder(path, out))


def report_study(study: Study, out: str) -> Report:
    """What a study's cells say so far.

    Raises:
        OptionError: A recipe, a split or the place of an accuracy is wrong.
        DatasetError: A dataset is missing, or a cell's file is damaged.
    """
    cells = list_cells(study)
    outcomes = read_outcomes(open_storage(out), cells)
    best = choose(cells, outcomes)
    points = _points(study, best)
    metrics = {on.name: metric_name(on) for on in study.sets}
    sets = list(metrics)
    least = {on.name: SET_METRICS[on.metric].least for on in study.sets}
    correlations = correlate(points, least, above=study.above)
    return Report(
        study=study,
        out=out,
        best=best,
        points=points,
        correlations=correlations,
        agreements=agree(points, sets),
        failures=tuple(
            f"{cell}: {outcomes[cell.digest].reason}"
            for cell in cells
            if cell.digest in outcomes and outcomes[cell.digest].status == FAILED
        ),
        head_notes=head_notes(cells),
        results=(
            *_best_rows(best, outcomes, out),
            *_cell_rows(cells, outcomes, out),
            *correlation_rows(correlations, study=STUDY, metrics=metrics, of=study.pretraining, source=out),
        ),
    )


def save_results(report: Report) -> int:
    """Writes the rows to `results.parquet` of the study's folder; returns how many."""
    return write_results(report.results, f"{report.out.rstrip('/')}/{RESULTS_FILE}")


def _points(study: Study, best: Sequence[Best]) -> tuple[Point, ...]:
    accuracy = accuracies(study)
    values: dict[str, dict[str, float]] = {model.name: {} for model in study.models}
    for one in best:
        if one.augmentation == DEFAULT and one.value is not None:
            values[one.model.name][one.on.name] = one.value
    return tuple(
        Point(
            model=model.name,
            accuracy=accuracy[model.name],
            values=values[model.name],
            is_starred=bool(model.probe),
        )
        for model in study.models
    )


def _best_rows(best: Sequence[Best], outcomes: Mapping[str, Outcome], out: str) -> Iterator[Result]:
    for one in best:
        for cell in one.cells:
            yield _row(cell, outcomes[cell.digest], out, protocol=_protocol(one))


def _protocol(one: Best) -> str:
    of = f"{one.num_done} of {one.num_cells}" if one.num_done < one.num_cells else f"{one.num_cells}"
    return f"best of {of} cells by {one.on.val_split}; {one.augmentation}"


def _cell_rows(cells: Sequence[Cell], outcomes: Mapping[str, Outcome], out: str) -> Iterator[Result]:
    for cell in cells:
        outcome = outcomes.get(cell.digest)
        if outcome is not None and outcome.status == DONE:
            yield _row(cell, outcome, out, split=f"cell/{cell.setting}", protocol=cell.augmentation)


def _row(cell: Cell, outcome: Outcome, out: str, *, protocol: str, split: str = "") -> Result:
    assert outcome.test is not None
    return Result(
        study=STUDY,
        model=cell.model.name,
        dataset=cell.on.name,
        split=split,
        protocol=protocol,
        metric=metric_name(cell.on),
        value=outcome.test,
        seed=cell.seed,
        source=f"{out.rstrip('/')}/cells/{cell.digest}",
    )


def correlation_rows(
    correlations: Sequence[Correlation], *, study: str, metrics: Mapping[str, str], of: str, source: str
) -> Iterator[Result]:
    """Correlations as rows of results; their model is a group of networks.

    Args:
        correlations: The figures.
        study: Of the rows.
        metrics: Name of a set -> what is correlated.
        of: What the accuracy in pretraining was measured on.
        source: Of the rows.
    """
    for one in correlations:
        group = "networks" if one.group == ALL else f"networks {one.group}"
        for metric, estimate in one.figures.items():
            yield Result(
                study=study,
                model=group,
                dataset=one.set,
                protocol=f"{metrics[one.set]} against accuracy on {of}, {counted(one.num_networks, 'network')}",
                metric=metric,
                value=estimate.value,
                low=None if estimate.interval is None else estimate.interval[0],
                high=None if estimate.interval is None else estimate.interval[1],
                source=source,
            )
