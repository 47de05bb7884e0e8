"""Metrics against accuracy in pretraining as one picture: figure 1 of seed 003, and with stars its figure 8.

Owns what is drawn: a panel a set; a point a network, a star for one that was trained in two steps (LP-FT); the line of
least squares over all networks, and over those above the bar. The price of small panels: names of networks stand in a
list below, by number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import METRICS
from shardtools.pictures import COLORS, GRID, INK, check_picture, new_figure, save_figure
from shardtools.transfer.agreement import FEWEST, Point, above_name
from shardtools.transfer.cells import metric_name
from shardtools.transfer.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ASKED_BY = "transfer report --picture"
_ALL, _ABOVE, _STAR = "#999999", COLORS[0], COLORS[3]
_COLUMNS = 3
_NAMES_PER_LINE = 6


def draw_report(report: Report, address: str | os.PathLike[str]) -> None:
    """Draws a study's sets.

    Raises:
        OptionError, RunError: As in `draw_points`.
    """
    study = report.study
    metrics = {on.name: metric_name(on) for on in study.sets}
    draw_points(report.points, metrics, address, pretraining=study.pretraining, above=study.above)


def draw_points(
    points: Sequence[Point],
    metrics: Mapping[str, str],
    address: str | os.PathLike[str],
    *,
    pretraining: str,
    above: float,
) -> None:
    """Draws all sets.

    Args:
        points: The networks; those without an accuracy in pretraining are not drawn.
        metrics: Name of a set -> name of its metric.
        address: The picture to write.
        pretraining: What the accuracy was measured on.
        above: The bar of the second line, 0 to 1.

    Raises:
        OptionError: The name does not end in ".png", or there is nothing to draw.
        RunError: matplotlib is not installed, or the picture cannot be written.
    """
    check_picture(address, ASKED_BY)
    drawn = sorted(
        (one for one in points if one.accuracy is not None and one.values), key=lambda one: one.accuracy or 0
    )
    if not drawn:
        raise OptionError("no network has an accuracy in pretraining and a value on a set: there is nothing to draw")
    # Four fill a square.
    columns = 2 if len(metrics) == 4 else min(_COLUMNS, len(metrics))
    lines = -(-len(metrics) // columns)
    figure = new_figure(3.6 * columns, 3.2 * lines + 0.9)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, (name, metric) in zip(panels, metrics.items(), strict=False):
        _panel(axes, drawn, name, metric, above)
        axes.set_xlabel(f"{pretraining} top-1, %", fontsize=8)
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    _legend(figure, panels[0], drawn)
    save_figure(figure, address)


def _panel(axes: Axes, points: Sequence[Point], name: str, metric: str, above: float) -> None:
    own = [(number, one) for number, one in enumerate(points, start=1) if name in one.values]
    unit = 100 if METRICS[metric].is_share else 1
    for is_starred, marker, size, color in ((False, "o", 22, INK), (True, "*", 90, _STAR)):
        chosen = [one for _, one in own if one.is_starred == is_starred]
        xs = [100 * (one.accuracy or 0) for one in chosen]
        label = "trained in two steps" if is_starred else "network"
        axes.scatter(xs, [unit * one.values[name] for one in chosen], s=size, marker=marker, color=color, label=label)
    for number, one in own:
        where = (100 * (one.accuracy or 0), unit * one.values[name])
        axes.annotate(str(number), where, xytext=(3, 3), textcoords="offset points", fontsize=6, color=INK)
    pairs = np.array([(100 * (one.accuracy or 0), unit * one.values[name]) for _, one in own]).reshape(-1, 2)
    for least, color, label in ((-1.0, _ALL, "line of all"), (100 * above, _ABOVE, f"line {above_name(above)}")):
        _line(axes, pairs[pairs[:, 0] > least], color, label)
    axes.set_title(name, fontsize=9)
    axes.set_ylabel(METRICS[metric].short + (", %" if unit == 100 else ""), fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def _line(axes: Axes, pairs: np.ndarray, color: str, label: str) -> None:
    """Of least squares, where there are networks enough to have one."""
    if len(pairs) < FEWEST or np.ptp(pairs[:, 0]) == 0:
        return
    slope, start = np.polyfit(pairs[:, 0], pairs[:, 1], 1)
    ends = np.array([pairs[:, 0].min(), pairs[:, 0].max()])
    axes.plot(ends, slope * ends + start, color=color, linewidth=1.4, label=label)


def _legend(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    shown = [(handle, label) for handle, label in zip(handles, labels, strict=True) if label != "network"]
    if not any(one.is_starred for one in points):
        shown = [pair for pair in shown if pair[1] != "trained in two steps"]
    if shown:
        axes.legend(*zip(*shown, strict=True), fontsize=6, frameon=False)
    names = [f"{number} {one.model}" for number, one in enumerate(points, start=1)]
    text = "\n".join(
        "   ".join(names[start : start + _NAMES_PER_LINE]) for start in range(0, len(names), _NAMES_PER_LINE)
    )
    figure.supxlabel(text, fontsize=7)
