"""Figures of several models on several sets as rows of results, and as the cells of one table.

Owns what a row says of how it was measured: `protocol` holds preprocessing, restriction and decision, so that two
figures that do not compare differ in it. The price: it is text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardtools.evaluation.metrics import METRICS, background_gap, printed_value
from shardtools.evaluation.results import Result
from shardtools.evaluation.sets.figure import Figure, Judgement
from shardtools.evaluation.sets.ood_options import SetRequest

STUDY = "ood"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOnSet:
    """A judged pair.

    Attributes:
        model: The network's name.
        request: Which set, and where.
        judgement: What came of it.
        preprocessing: In words.
        source: Where the predictions are.
    """

    model: str
    request: SetRequest
    judgement: Judgement
    preprocessing: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What one column of a table holds: a set's figure, for every model.

    Attributes:
        label: The set, as it was typed.
        title: For people.
        metric: A name in `METRICS`.
        how: As `Figure.how`.
    """

    label: str
    title: str
    metric: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OodTable:
    """All that `evaluate_ood` found.

    Attributes:
        pairs: One for each model and set, model by model.
    """

    pairs: tuple[ModelOnSet, ...]

    @property
    def models(self) -> list[str]:
        """Names, in the order in which they were given."""
        return list(dict.fromkeys(pair.model for pair in self.pairs))

    @property
    def results(self) -> list[Result]:
        """All figures as rows of results."""
        return [_result(pair, figure) for pair in self.pairs for figure in pair.judgement.figures]

    @property
    def notes(self) -> list[str]:
        """What a reader should know, a line each; what holds for all models of a set is said once."""
        return list(
            dict.fromkeys(f"{pair.request.label}: {note}" for pair in self.pairs for note in pair.judgement.notes)
        )

    @property
    def columns(self) -> list[Column]:
        """The main figures, set by set."""
        found: dict[Column, None] = {}
        for pair in self.pairs:
            for figure in pair.judgement.figures:
                if figure.is_main:
                    title = pair.request.test_set.title or pair.request.part
                    if pair.request.test_set.title and pair.request.part:
                        title = f"{title} {pair.request.part}"
                    found[Column(label=pair.request.label, title=title, metric=figure.metric, how=figure.how)] = None
        return list(found)

    def figure(self, model: str, column: Column) -> Figure | None:
        """What a model has in a column; `None` where it was not measured."""
        for pair in self.pairs:
            if pair.model == model and pair.request.label == column.label:
                for figure in pair.judgement.figures:
                    if figure.is_main and figure.metric == column.metric and figure.how == column.how:
                        return figure
        return None


def with_gaps(pairs: Sequence[ModelOnSet]) -> tuple[ModelOnSet, ...]:
    """The same, with ImageNet-9's background gap where a model has both of its accuracies, at the second of them."""
    accuracy: dict[tuple[str, str], Figure] = {}
    found = []
    for pair in pairs:
        if pair.request.test_set.kind == "backgrounds":
            accuracy[pair.model, pair.request.part] = pair.judgement.figures[0]
            same, rand = (accuracy.get((pair.model, part)) for part in ("mixed_same", "mixed_rand"))
            if same and rand and pair.request.part in ("mixed_same", "mixed_rand"):
                gap = Figure(
                    metric="background_gap",
                    value=background_gap(same.value, rand.value),
                    how=same.how,
                    is_main=True,
                )
                figures = (*pair.judgement.figures, gap)
                pair = replace(pair, judgement=replace(pair.judgement, figures=figures))
        found.append(pair)
    return tuple(found)


def table_cells(table: OodTable, *, models_as_rows: bool) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the main figures, shares in percent.

    Args:
        table: What was found.
        models_as_rows: Whether a row is a model; else it is a figure, and a single model's has its interval.
    """
    columns, models = table.columns, table.models
    if models_as_rows:
        header = ["model", *(f"{one.title} {_metric(one)}" for one in columns)]
        return header, [[model, *(_cell(table.figure(model, one)) for one in columns)] for model in models]
    interval = len(models) == 1
    header = ["set", "metric", "how", *models, *(["95 % interval"] if interval else [])]
    rows = []
    for one in columns:
        figures = [table.figure(model, one) for model in models]
        ends = [_ends(figures[0])] if interval else []
        rows.append([one.title, METRICS[one.metric].short, one.how, *map(_cell, figures), *ends])
    return header, rows


def markdown_table(table: OodTable) -> str:
    """The main figures as a Markdown table, a model a row, and the notes below it."""
    header, rows = table_cells(table, models_as_rows=True)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join(
        [*("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines), "", *notes]
    ).strip()


def _result(pair: ModelOnSet, figure: Figure) -> Result:
    test_set, part = pair.request.test_set, pair.request.part
    own_split = part if test_set.kind == "backgrounds" else test_set.split
    low, high = figure.interval or (None, None)
    return Result(
        study=STUDY,
        model=pair.model,
        dataset=test_set.dataset or part,
        split=figure.split or own_split,
        protocol="; ".join(filter(None, (pair.preprocessing, figure.how))),
        metric=figure.metric,
        value=figure.value,
        low=low,
        high=high,
        source=pair.source,
    )


def _metric(column: Column) -> str:
    return METRICS[column.metric].short + (f" ({column.how})" if column.how else "")


def _cell(figure: Figure | None) -> str:
    return "-" if figure is None else printed_value(figure.metric, figure.value)


def _ends(figure: Figure | None) -> str:
    if figure is None or figure.interval is None:
        return "-"
    return " to ".join(printed_value(figure.metric, end) for end in figure.interval)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
