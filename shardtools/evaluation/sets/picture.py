"""The table as one picture: bars of every set, and accuracy against accuracy with published models as grey points.

Owns what is drawn. Accuracies are bars by set and model; a second panel puts each model's accuracy on a harder set
against that on ImageNet, where both were measured, over the shipped figures of others. The price of one picture: what
is no share (flips, ratios of errors) is left to the table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardtools.errors import OptionError, RunError, first_line
from shardtools.evaluation.metrics import METRICS
from shardtools.evaluation.results import REFERENCES, Result, reference_results
from shardtools.evaluation.sets.rows import Column, OodTable
from shardtools.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which people with any colour vision tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# A page of its own: the picture keeps its light ground on a dark page, so that its letters stay legible there.
_GROUND, _INK, _FAINT, _GRID = "#ffffff", "#222222", "#b8b8b8", "#e4e4e4"
_X, _METRIC = "imagenet", "top1_accuracy"
_LONGEST_NAME = 28


def check_picture(address: str | os.PathLike[str]) -> None:
    """Refuses early what could not be drawn.

    Raises:
        OptionError: The file's name does not end in ".png".
        RunError: matplotlib is not installed.
    """
    if Path(address).suffix.lower() != ".png":
        raise OptionError(f"the picture is a .png, found {os.fspath(address)!r}: give a name that ends in .png")
    require("eval ood --picture", ("matplotlib",), extra="train")


def draw_ood(table: OodTable, address: str | os.PathLike[str]) -> None:
    """Draws the table.

    Args:
        table: What was found.
        address: The picture to write.

    Raises:
        OptionError: Its name does not end in ".png", or the table has no share to draw.
        RunError: matplotlib is not installed, or the picture cannot be written.
    """
    check_picture(address)
    shares = [column for column in table.columns if METRICS[column.metric].is_share]
    if not shares:
        raise OptionError("there is no share among the figures, so no bar to draw: take --markdown")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    harder = _harder(table)
    widths = [max(6.0, 0.55 * len(shares) * (1 + 0.35 * len(table.models)))] + [5.0] * len(harder)
    # Without pyplot: it would take over signals, backends and figures of the caller.
    figure = Figure(figsize=(sum(widths), 4.6), dpi=120, layout="constrained", facecolor=_GROUND)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    _bars(axes[0], table, shares)
    for panel, column in zip(axes[1:], harder, strict=True):
        _against(panel, table, column, _published())
    for panel in axes:
        _style(panel)
    try:
        figure.savefig(address)
    except OSError as error:
        raise RunError(f"{os.fspath(address)} cannot be written ({first_line(error)}): give another place") from None


def _bars(axes: Axes, table: OodTable, columns: Sequence[Column]) -> None:
    width = 0.8 / len(table.models)
    for number, model in enumerate(table.models):
        figures = [table.figure(model, column) for column in columns]
        places = [place + (number - (len(table.models) - 1) / 2) * width for place in range(len(columns))]
        heights = [0.0 if figure is None else 100 * figure.value for figure in figures]
        # Distances from the bar's end to the ends of its interval; none where there is no interval.
        ends: Any = [
            [
                0.0 if one is None or one.interval is None else 100 * abs(one.interval[side] - one.value)
                for one in figures
            ]
            for side in (0, 1)
        ]
        axes.bar(
            places,
            heights,
            width,
            yerr=ends,
            color=_COLORS[number % len(_COLORS)],
            label=_short(model),
            error_kw={"ecolor": _INK, "elinewidth": 0.8},
        )
        if len(table.models) * len(columns) <= 24:
            for place, height in zip(places, heights, strict=True):
                axes.annotate(
                    f"{height:.1f}",
                    (place, height),
                    xytext=(0, 2),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                    color=_INK,
                )
    titles = [
        f"{column.title}\n{METRICS[column.metric].short}" + (f"\n{column.how}" if column.how else "")
        for column in columns
    ]
    axes.set_xticks(range(len(columns)), titles, fontsize=7)
    axes.set_ylabel("%")
    axes.legend(frameon=False, fontsize=8, ncols=min(len(table.models), 3), loc="upper right")
    axes.margins(y=0.18)


def _against(axes: Axes, table: OodTable, column: Column, published: Sequence[Result]) -> None:
    dataset, first = _dataset(table, column), _column_of(table, _X)
    assert first is not None
    known = {
        (row.source, row.model, row.dataset): row.value for row in published if row.metric == _METRIC and not row.split
    }
    points = [
        (100 * value, 100 * known[source, model, dataset])
        for (source, model, name), value in known.items()
        if name == _X and (source, model, dataset) in known
    ]
    axes.scatter(
        *(zip(*points, strict=True) if points else ([], [])), s=9, color=_FAINT, label=f"{len(points)} published"
    )
    for number, model in enumerate(table.models):
        x, y = table.figure(model, first), table.figure(model, column)
        if x is not None and y is not None:
            axes.scatter(
                [100 * x.value], [100 * y.value], s=40, color=_COLORS[number % len(_COLORS)], label=_short(model)
            )
    axes.set_xlabel("ImageNet top-1, %")
    axes.set_ylabel(f"{column.title} top-1, %" + (f" ({column.how})" if column.how else ""))
    axes.legend(frameon=False, fontsize=7, loc="upper left")


def _harder(table: OodTable) -> list[Column]:
    """Columns of accuracies on other sets, where ImageNet's was measured too: one a set, restricted where it may be."""
    if _column_of(table, _X) is None:
        return []
    columns = [one for one in table.columns if one.metric == _METRIC and _dataset(table, one) not in (_X, "")]
    return list({one.label: one for one in reversed(columns)}.values())[::-1]


def _column_of(table: OodTable, dataset: str) -> Column | None:
    return next((one for one in table.columns if one.metric == _METRIC and _dataset(table, one) == dataset), None)


def _dataset(table: OodTable, column: Column) -> str:
    return next(pair.request.test_set.dataset for pair in table.pairs if pair.request.label == column.label)


def _published() -> list[Result]:
    return [row for name in REFERENCES for row in reference_results(name)]


def _style(axes: Axes) -> None:
    axes.set_facecolor(_GROUND)
    axes.grid(axis="y", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"...{name[3 - _LONGEST_NAME :]}"
