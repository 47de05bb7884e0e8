"""The table as one picture: bars of every set, and accuracy against accuracy with published models as grey points.

Owns what is drawn. Accuracies are bars by set and model; a second panel puts each model's accuracy on a harder set
against that on ImageNet, where both were measured, over the shipped figures of others. The price of one picture: what
is no share (flips, ratios of errors) is left to the table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import METRICS
from shardtools.evaluation.results import REFERENCES, reference_results
from shardtools.evaluation.sets.rows import Column, OodTable
from shardtools.pictures import COLORS, FAINT, GRID, GROUND, INK, check_picture, new_figure, save_figure
from shardtools.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ASKED_BY = "eval ood --picture"
_X, _METRIC = "imagenet", "top1_accuracy"
_LONGEST_NAME = 28


def draw_ood(table: OodTable, address: str | os.PathLike[str]) -> None:
    """Draws the table.

    Args:
        table: What was found.
        address: The picture to write.

    Raises:
        OptionError: Its name does not end in ".png", or the table has no share to draw.
        RunError: matplotlib is not installed, or the picture cannot be written.
    """
    check_picture(address, ASKED_BY)
    shares = [column for column in table.columns if METRICS[column.metric].is_share]
    if not shares:
        raise OptionError("there is no share among the figures, so no bar to draw: take --markdown")
    harder = _harder(table)
    widths = [7.5] + [4.5] * len(harder)
    height = max(3.6, 1.2 + len(shares) * max(0.34, 0.2 * len(table.models)))
    figure = new_figure(sum(widths), height)
    axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    _bars(axes[0], table, shares)
    for panel, column in zip(axes[1:], harder, strict=True):
        _against(panel, table, column, _published())
    for panel in axes:
        _style(panel, "x" if panel is axes[0] else "both")
    save_figure(figure, address)


def _bars(axes: Axes, table: OodTable, columns: Sequence[Column]) -> None:
    """Lying bars, the first set at the top: titles of sets are long."""
    thickness = 0.8 / len(table.models)
    for number, model in enumerate(table.models):
        shift = (number - (len(table.models) - 1) / 2) * thickness
        for place, column in enumerate(columns):
            figure = table.figure(model, column)
            if figure is None:
                continue
            low, high = figure.interval or (figure.value, figure.value)
            axes.barh(
                place + shift,
                100 * figure.value,
                thickness,
                xerr=[[100 * (figure.value - low)], [100 * (high - figure.value)]] if figure.interval else None,
                color=COLORS[number % len(COLORS)],
                label=None if _short(model) in axes.get_legend_handles_labels()[1] else _short(model),
                error_kw={"ecolor": INK, "elinewidth": 0.8},
            )
            axes.annotate(
                f"{100 * figure.value:.1f}",
                (100 * high, place + shift),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=INK,
            )
    titles = [
        f"{column.title}: {METRICS[column.metric].short}" + (f" ({column.how})" if column.how else "")
        for column in columns
    ]
    axes.set_yticks(range(len(columns)), titles, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("%")
    axes.margins(x=0.1)
    # Above the bars, where there are none to cover.
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))


def _against(axes: Axes, table: OodTable, column: Column, published: Mapping[tuple[str, str, str], float]) -> None:
    dataset, first = _dataset(table, column), _column_of(table, _X)
    assert first is not None
    points = [
        (100 * value, 100 * published[reference, model, dataset])
        for (reference, model, name), value in published.items()
        if name == _X and (reference, model, dataset) in published
    ]
    if points:
        xs, ys = zip(*points, strict=True)
        axes.scatter(xs, ys, s=9, color=FAINT, label=f"{counted(len(points), 'network')}, published")
    for number, model in enumerate(table.models):
        x, y = table.figure(model, first), table.figure(model, column)
        if x is not None and y is not None:
            axes.scatter(
                [100 * x.value], [100 * y.value], s=40, color=COLORS[number % len(COLORS)], label=_short(model)
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


def _published() -> dict[tuple[str, str, str], float]:
    """(Shipped set of figures, its model, test set) -> top-1 accuracy on the whole set."""
    rows = ((name, row) for name in REFERENCES for row in reference_results(name))
    return {(name, row.model, row.dataset): row.value for name, row in rows if row.metric == _METRIC and not row.split}


def _style(axes: Axes, lines: Literal["x", "both"]) -> None:
    axes.set_facecolor(GROUND)
    axes.grid(axis=lines, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"...{name[3 - _LONGEST_NAME :]}"
