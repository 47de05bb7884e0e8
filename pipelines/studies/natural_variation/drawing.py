"""What all figures of the study share: colors of factors, bars with errors, legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shardtools.evaluation.variation import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, which people with any color vision tell apart.
COLORS = {
    "pose": "#0072B2",
    "size": "#009E73",
    "position": "#CC79A7",
    "lighting": "#E69F00",
    "background": "#D55E00",
    "pitch": "#56B4E9",
    "yaw": "#999999",
}
HERE, SEED = "#0072B2", "#BBBBBB"


def points(found: Sequence[Estimate | None]) -> tuple[list[int], list[float], list[list[float]]]:
    """Places of what was measured, its values in points, and the lengths of its bars of error, [2, N]."""
    places = [place for place, one in enumerate(found) if one is not None]
    there = [one for one in found if one is not None]
    lows = [100 * (one.value - (one.value if one.low is None else one.low)) for one in there]
    highs = [100 * ((one.value if one.high is None else one.high) - one.value) for one in there]
    # Quantiles of a bootstrap may lie on one side of the value.
    errors = [[max(0.0, length) for length in lengths] for lengths in (lows, highs)]
    return places, [100 * one.value for one in there], errors


def bars(axes: Axes, found: Sequence[Estimate | None], *, offset: float, width: float, color: str, label: str) -> None:
    """A group of bars with errors, at places 0, 1, ... and an offset."""
    places, values, errors = points(found)
    axes.bar(
        [place + offset for place in places],
        values,
        width,
        yerr=errors,
        color=color,
        label=label,
        capsize=2,
        ecolor="k",
    )


def numbers(axes: Axes, values: Sequence[float | None], *, offset: float, width: float, label: str) -> None:
    """A group of bars of the seed's numbers, in points."""
    there = [(place + offset, value) for place, value in enumerate(values) if value is not None]
    axes.bar([place for place, _ in there], [value for _, value in there], width, color=SEED, label=label)


def named(axes: Axes, names: Sequence[str], *, what: str) -> None:
    """Names below a group of bars, and the line of nothing."""
    axes.set_xticks(range(len(names)), names, rotation=20, fontsize=8)
    axes.axhline(0, color="k", linewidth=0.8)
    axes.set_ylabel(what)


def legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """Below the plots, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)
