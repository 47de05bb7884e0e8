"""A transfer measurement as one picture: the plane of figure 4.7, singular values, and the measures of features.

Owns what is drawn: training against transfer with the envelope where there is a training set, else accuracies by set;
beside it figure 4.6b, and below the four measures as bars (figures 4.5, 4.6a and 5.6). The price of means over sets: a
set that stands out is seen in the rows of results.
"""

from __future__ import annotations

import os
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from shardtools.evaluation.metrics import METRICS
from shardtools.evaluation.transfer.measured import ANALYSES, Transfer
from shardtools.evaluation.transfer.plane import plane_points, upper_hull
from shardtools.evaluation.transfer.text import mean_shares
from shardtools.pictures import COLORS, FAINT, GRID, GROUND, INK, check_picture, new_figure, save_figure
from shardtools.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ASKED_BY = "eval transfer --picture"
_SHOWN_DIRECTIONS = 1000


def draw_transfer(found: Transfer, address: str | os.PathLike[str]) -> None:
    """Draws a measurement.

    Args:
        found: What was measured.
        address: The picture to write.

    Raises:
        OptionError: Its name does not end in ".png".
        RunError: matplotlib is not installed, or the picture cannot be written.
    """
    check_picture(address, ASKED_BY)
    rows = 2 if found.analyzed else 1
    figure = new_figure(11, 4.2 * rows - 0.8 * (rows - 1))
    if found.analyzed:
        parts: Any = figure.subfigures(2, 1, height_ratios=(4.2, 3))
        upper, lower = parts
        first, second = upper.subplots(1, 2)
        _strength(second, found)
        for axes, metric in zip(lower.subplots(1, len(ANALYSES)), ANALYSES, strict=True):
            _measure(axes, found, metric)
    else:
        first = figure.subplots(1, 1)
    if plane_points(found):
        _plane(first, found)
    else:
        _by_set(first, found)
    for axes in figure.get_axes():
        axes.set_facecolor(GROUND)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    save_figure(figure, address)


def _plane(axes: Axes, found: Transfer) -> None:
    """Figure 4.7: stars on the envelope."""
    points = plane_points(found)
    hull = upper_hull([(one.training, one.transfer) for one in points])
    published = [one for one in points if one.is_published]
    if published:
        axes.scatter(
            [100 * one.training for one in published],
            [one.transfer for one in published],
            s=16,
            color=FAINT,
            label=f"{counted(len(published), 'network')}, published",
        )
    axes.plot([100 * points[n].training for n in hull], [points[n].transfer for n in hull], color=FAINT, zorder=1)
    on_hull = {points[number] for number in hull}
    for number, one in enumerate(one for one in points if not one.is_published):
        marker, size = ("*", 160) if one in on_hull else ("o", 40)
        axes.scatter(
            [100 * one.training], [one.transfer], s=size, marker=marker, color=_color(number), label=one.model, zorder=2
        )
    axes.set_xlabel(f"{found.training} top-1, %")
    axes.set_ylabel(f"mean log odds over {counted(len(found.sets), 'set')}")
    axes.set_title("training against transfer", fontsize=9)
    axes.grid(color=GRID, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)


def _by_set(axes: Axes, found: Transfer) -> None:
    width = 0.8 / len(found.models)
    for number, model in enumerate(found.models):
        places, heights, errors = [], [], []
        for place, name in enumerate(found.sets):
            one = found.on(model, name)
            if one is not None:
                places.append(place + (number - (len(found.models) - 1) / 2) * width)
                heights.append(100 * one.accuracy)
                errors.append(100 * one.deviation)
        axes.bar(places, heights, width, yerr=errors, color=_color(number), label=model, error_kw={"ecolor": INK})
    axes.set_xticks(range(len(found.sets)), found.sets, fontsize=8)
    axes.set_ylabel("top-1, %")
    axes.set_title("linear classifiers", fontsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.05))


def _strength(axes: Axes, found: Transfer) -> None:
    """Figure 4.6b."""
    for number, model in enumerate(found.models):
        own = [one for one in found.analyzed if one.model == model]
        if own:
            shares = mean_shares(own)[:_SHOWN_DIRECTIONS]
            axes.semilogy(np.arange(1, len(shares) + 1), np.maximum(shares, 1e-9), color=_color(number), label=model)
    axes.set_xlabel("direction, strongest first")
    axes.set_ylabel("share of the singular values")
    axes.set_title("singular values, mean over sets", fontsize=9)
    axes.grid(color=GRID, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)


def _measure(axes: Axes, found: Transfer, metric: str) -> None:
    """One measure of features, mean over sets."""
    for number, model in enumerate(found.models):
        values = [getattr(one.analysis, metric) for one in found.analyzed if one.model == model]
        if values and None not in values:
            axes.bar([number], [fmean(values) * (100 if METRICS[metric].is_share else 1)], 0.7, color=_color(number))
    axes.set_xticks([])
    axes.set_title(METRICS[metric].short + (", %" if METRICS[metric].is_share else ""), fontsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.tick_params(labelsize=8)


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]
