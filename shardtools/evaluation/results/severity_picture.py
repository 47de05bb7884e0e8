"""Errors by corruption and severity as one picture: a small panel a corruption, a line a network.

Owns what is drawn: own networks in colours, published ones in grey behind them, and first the mean of all corruptions
that a network has. The price of small panels: values are read off to a few points; the table has the digits.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import TYPE_CHECKING

from shardtools.errors import OptionError
from shardtools.evaluation.results.joining import OWN, Joined
from shardtools.pictures import COLORS, FAINT, GRID, GROUND, check_picture, new_figure, save_figure
from shardtools.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ASKED_BY = "eval table --severities"
METRIC = "error"
SEVERITIES = (1, 2, 3, 4, 5)

_MEAN = "mean"
_COLUMNS = 4

Curves = dict[tuple[str, str], dict[str, list[float]]]
"""(Group, network) -> corruption, or "mean" -> error at severities 1 to 5, NaN where it was not measured."""


def severity_curves(joined: Iterable[Joined]) -> Curves:
    """What is drawn: rows of errors whose split is a corruption and a severity ("snow/3").

    Runs that differ in the seed alone are their mean; a further protocol of a network is a network of its own.

    Raises:
        OptionError: There is none.
    """
    values: dict[tuple[str, str], dict[str, list[list[float]]]] = {}
    ways: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for one in joined:
        row = one.result
        corruption, slash, severity = row.split.rpartition("/")
        if row.metric != METRIC or not slash or severity not in map(str, SEVERITIES):
            continue
        known = ways.setdefault((one.group, row.model), [])
        if (row.protocol, row.source) not in known:
            known.append((row.protocol, row.source))
        is_first = known[0] == (row.protocol, row.source)
        name = row.model if is_first else f"{row.model} ({row.protocol or row.source})"
        own = values.setdefault((one.group, name), {})
        own.setdefault(corruption, [[] for _ in SEVERITIES])[int(severity) - 1].append(row.value)
    if not values:
        raise OptionError(
            "there is no error of a corruption at a severity to draw: judge on ImageNet-C (`shardtools eval ood MODEL "
            "--on c=DATASET`), or draw --reference robustbench"
        )
    return {network: _with_mean(own) for network, own in values.items()}


def _with_mean(values: Mapping[str, list[list[float]]]) -> dict[str, list[float]]:
    curves = {name: [fmean(own) if own else math.nan for own in errors] for name, errors in values.items()}
    means = [sum(errors) / len(curves) for errors in zip(*curves.values(), strict=True)]
    return {_MEAN: means, **curves}


def draw_severities(curves: Curves, address: str | os.PathLike[str]) -> None:
    """Draws the picture.

    Args:
        curves: As `severity_curves` gives them.
        address: The picture to write.

    Raises:
        OptionError: Its name does not end in ".png".
        RunError: matplotlib is not installed, or the picture cannot be written.
    """
    check_picture(address, ASKED_BY)
    names = list(dict.fromkeys(name for own in curves.values() for name in own))
    rows = math.ceil(len(names) / _COLUMNS)
    figure = new_figure(2.5 * _COLUMNS, 1.9 * rows + 0.6)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True).ravel()
    colors = _colors(curves)
    for panel, name in zip(panels, names, strict=False):
        _panel(panel, name, curves, colors)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8)
    figure.supxlabel("severity", fontsize=9)
    figure.supylabel("error, %", fontsize=9)
    save_figure(figure, address)


def _colors(curves: Curves) -> dict[tuple[str, str], str]:
    """Colours of own networks; where there are none, of the published ones, as far as the colours reach."""
    own = [network for network in curves if network[0] == OWN] or list(curves)[: len(COLORS)]
    return {network: COLORS[number % len(COLORS)] for number, network in enumerate(own)}


def _panel(axes: Axes, name: str, curves: Curves, colors: Mapping[tuple[str, str], str]) -> None:
    num_grey = len(curves) - len(colors)
    label: str | None = f"{counted(num_grey, 'network')}, published" if num_grey else None
    # Grey ones first, so that they lie behind.
    for network in sorted(curves, key=lambda network: network in colors):
        if name not in curves[network]:
            continue
        percent = [100 * error for error in curves[network][name]]
        if network in colors:
            axes.plot(SEVERITIES, percent, color=colors[network], linewidth=1.8, label=network[1], marker="o", ms=3)
        else:
            axes.plot(SEVERITIES, percent, color=FAINT, linewidth=0.8, label=label)
            label = None
    axes.set_title(name.replace("_", " "), fontsize=8, fontweight="bold" if name == _MEAN else "normal")
    axes.set_xticks(SEVERITIES)
    axes.set_ylim(0, 100)
    axes.grid(color=GRID, linewidth=0.6)
    axes.tick_params(labelsize=7)
    axes.set_facecolor(GROUND)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
