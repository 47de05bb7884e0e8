"""Figures 3.4 to 3.7 of the thesis as pictures, of own models and published ones.

Owns what is drawn. Own models are lines in colours, published ones grey behind them; alone, these have the colours, one
a model, or one a category where they are many. The price: of many lines few can be followed; the tables have the
digits.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from shardtools.errors import OptionError, RunError, first_line
from shardtools.evaluation.cog.figures import OWN, WHOLE, CogFigures, CogModel, categories
from shardtools.evaluation.cog.naming import Place
from shardtools.pictures import COLORS, FAINT, GRID, GROUND, INK, new_figure, require_pictures, save_figure
from shardtools.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ASKED_BY = "cog report --pictures"
_RANDOM = "#E69F00"
_STYLES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")
_MOST_NAMED = 12

LEVELS_PICTURE, SHOTS_PICTURE = "levels.png", "shots.png"
FINE_TUNED_PICTURE, MEASURES_PICTURE = "fine_tuned.png", "measures.png"


def draw_levels(found: CogFigures, address: str | os.PathLike[str]) -> None:
    """Accuracy by level with all images, and relative to the baseline, a panel a category (figure 3.4).

    Raises:
        OptionError: No model has figures of two sets with all images.
        RunError: The picture cannot be written.
    """
    places = _lin_places(found)
    keys = [(place.dataset, WHOLE) for place in places]
    models = _having(found, keys)
    groups = list(dict.fromkeys(model.category for model in models if model.category))
    panels: list[tuple[str, list[CogModel], bool]] = [("top-1, %", models, False)]
    relative = f"points above {found.baseline.name}"
    if len(groups) > 1:
        own = [model for model in models if model.group == OWN]
        for group in groups:
            panels.append((f"{group}: {relative}", [*own, *_of(models, group)], True))
    else:
        panels.append((relative, models, True))
    figure, axes = _open(len(panels), width=3.9, height=3.5, columns=3)
    for panel, (title, shown, is_relative) in zip(axes, panels, strict=True):
        _lines(panel, found, shown, keys, is_relative=is_relative)
        panel.set_title(title, fontsize=9)
        panel.set_xticks(range(len(places)), [place.title for place in places])
    save_figure(figure, address)


def draw_shots(found: CogFigures, address: str | os.PathLike[str]) -> None:
    """Accuracy by images a concept, a panel a set, absolute above and relative below (figures 3.5, B.1, B.2).

    Raises:
        OptionError: No model learnt from a few images.
        RunError: The picture cannot be written.
    """
    if len(found.shots) < 2:
        raise OptionError("there are no accuracies by images a concept: run with --shots 1,2,4")
    places = _lin_places(found, least=1)
    titles = ["all" if shots == WHOLE else str(shots) for shots in found.shots]
    figure, axes = _open(2 * len(places), width=2.9, height=2.7, columns=len(places))
    for number, panel in enumerate(axes):
        place, is_relative = places[number % len(places)], number >= len(places)
        keys = [(place.dataset, shots) for shots in found.shots]
        _lines(panel, found, _having(found, keys, least=1), keys, is_relative=is_relative)
        panel.set_title(f"{place.title}{f': points above {found.baseline.name}' if is_relative else ''}", fontsize=9)
        panel.set_xticks(range(len(titles)), titles, fontsize=7)
    figure.supxlabel("images a concept", fontsize=9)
    save_figure(figure, address)


def draw_fine_tuned(
    found: CogFigures, fine_tuned: Mapping[str, Mapping[str, float]], address: str | os.PathLike[str]
) -> None:
    """Linear classifiers on the features as they are, less the same model trained on each level (figure 3.6).

    Args:
        found: Own figures.
        fine_tuned: Model -> set -> accuracy; a single model stands for a single own one, whatever their names.
        address: The picture.

    Raises:
        OptionError: No own model has both.
        RunError: The picture cannot be written.
    """
    places = _lin_places(found)
    own = [model for model in found.models if model.group == OWN] or list(found.models)
    pairs = [(model, fine_tuned[model.name]) for model in own if model.name in fine_tuned]
    if not pairs and len(own) == 1 and len(fine_tuned) == 1:
        pairs = [(own[0], next(iter(fine_tuned.values())))]
    if not pairs:
        raise OptionError(
            "no model has figures both of features and of training: the former are of "
            f"{', '.join(model.name for model in own)}, the latter of {', '.join(fine_tuned)}: name them alike"
        )
    figure, [panel] = _open(1, width=5.2, height=3.8)
    panel.axhline(0, color=INK, linewidth=1, label="trained on the level")
    for number, (model, sets) in enumerate(pairs):
        points = [
            (x, 100 * (model.figures[place.dataset, WHOLE].value - sets[place.dataset]))
            for x, place in enumerate(places)
            if (place.dataset, WHOLE) in model.figures and place.dataset in sets
        ]
        if not points:
            raise OptionError(f"{model.name} has no level with figures both of features and of training")
        panel.plot(*zip(*points, strict=True), color=COLORS[number % len(COLORS)], marker="o", ms=4, label=model.name)
    panel.set_xticks(range(len(places)), [place.title for place in places])
    panel.set_title("features as they are, points above training on the level", fontsize=9)
    panel.legend(frameon=False, fontsize=8)
    save_figure(figure, address)


def draw_measures(found: CogFigures, address: str | os.PathLike[str]) -> None:
    """The baseline's accuracy by level, a line a measure of similarity, and the mean of drawn ones (figure 3.7).

    Raises:
        OptionError: It has figures of levels by one measure alone, and of none that were drawn.
        RunError: The picture cannot be written.
    """
    model = found.baseline
    having = [place for place in found.places if (place.dataset, WHOLE) in model.figures]
    measures = list(dict.fromkeys(place.measure for place in having if place.measure not in ("", "random")))
    drawn = [model.figures[place.dataset, WHOLE].value for place in having if place.measure == "random"]
    if len(measures) + bool(drawn) < 2:
        raise OptionError(
            f"{model.name} has levels by {', '.join(measures) or 'no measure'} alone: measure it on levels of "
            "`shardtools cog levels --again --measure text`, or --random 15, too"
        )
    seen = [place for place in having if place.measure == ""]
    num = max((place.number for place in having if place.measure in measures), default=1)
    titles = [*(place.title for place in seen), *(f"L{number}" for number in range(1, num + 1))]
    figure, [panel] = _open(1, width=5.2, height=3.8)
    for index, measure in enumerate(measures):
        shown = [*enumerate(seen), *((len(seen) + p.number - 1, p) for p in having if p.measure == measure)]
        points = [(x, 100 * model.figures[place.dataset, WHOLE].value) for x, place in shown]
        panel.plot(*zip(*points, strict=True), color=COLORS[index % 4], marker="o", ms=4, label=measure)
    if drawn:
        label = f"{counted(len(drawn), 'draw')}, mean"
        panel.hlines(100 * fmean(drawn), len(seen), len(titles) - 1, color=_RANDOM, label=label)
    panel.set_xticks(range(len(titles)), titles)
    panel.set_title(f"{model.name}: top-1, %, levels by measure", fontsize=9)
    panel.legend(frameon=False, fontsize=8)
    save_figure(figure, address)


def draw_all(
    found: CogFigures, folder: str | os.PathLike[str], *, fine_tuned: Mapping[str, Mapping[str, float]] | None = None
) -> tuple[list[str], list[str]]:
    """All pictures that the figures allow.

    Args:
        found: The figures.
        folder: Where they go; made where it is not there.
        fine_tuned: Model -> set -> accuracy of trained models.

    Returns:
        Names of the pictures, and why others were not drawn, a line each.
    """
    require_pictures(ASKED_BY)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{os.fspath(folder)} cannot be made ({first_line(error)}): give another place") from None
    wanted: dict[str, Callable[[Path], None]] = {
        LEVELS_PICTURE: lambda path: draw_levels(found, path),
        SHOTS_PICTURE: lambda path: draw_shots(found, path),
        MEASURES_PICTURE: lambda path: draw_measures(found, path),
    }
    if fine_tuned is not None:
        wanted[FINE_TUNED_PICTURE] = lambda path: draw_fine_tuned(found, fine_tuned, path)
    drawn, left = [], []
    for name, draw in wanted.items():
        try:
            draw(Path(folder) / name)
            drawn.append(name)
        except OptionError as error:
            left.append(f"no {name}: {error}")
    return drawn, left


def _lin_places(found: CogFigures, *, least: int = 2) -> list[Place]:
    """Seen concepts and the levels by Lin's measure."""
    places = [place for place in found.places if place.measure in ("", "lin")]
    if len(places) < least:
        raise OptionError(
            f"there are figures of {counted(len(places), 'set')} of seen concepts and levels, expected {least} or "
            "more: measure more levels"
        )
    return places


def _having(found: CogFigures, keys: Sequence[tuple[str, int]], *, least: int = 2) -> list[CogModel]:
    models = [model for model in found.models if sum(key in model.figures for key in keys) >= least]
    if not models:
        raise OptionError(f"no model has {counted(least, 'figure')} of {', '.join(dict.fromkeys(k[0] for k in keys))}")
    return models


def _of(models: Sequence[CogModel], category: str) -> list[CogModel]:
    return [model for model in models if model.category == category]


def _lines(
    panel: Axes,
    found: CogFigures,
    models: Sequence[CogModel],
    keys: Sequence[tuple[str, int]],
    *,
    is_relative: bool,
) -> None:
    """A line a model; where there are own ones, the others lie grey behind them."""
    has_own = any(model.group == OWN for model in models)
    # Too many for a legend: then a colour is a category.
    is_crowded = not has_own and len(models) > _MOST_NAMED
    order = list(dict.fromkeys(categories().values()))
    if is_relative:
        panel.axhline(0, color=FAINT, linewidth=1)
    known: set[str] = set()
    for model in sorted(models, key=lambda model: model.group == OWN):
        values = [_value(found, model, key, is_relative=is_relative) for key in keys]
        if has_own and model.group != OWN:
            panel.plot(range(len(keys)), values, color=FAINT, linewidth=0.8)
        else:
            number = [other.name for other in models if (other.group == OWN) == has_own].index(model.name)
            label = model.name
            if is_crowded:
                number = order.index(model.category) if model.category else len(COLORS)
                label = "_" if model.category in known else model.category or model.name
                known.add(model.category)
            panel.plot(
                range(len(keys)),
                values,
                color=COLORS[number % len(COLORS)] if number < len(COLORS) or not is_crowded else INK,
                linestyle=_STYLES[0 if is_crowded else number // len(COLORS) % len(_STYLES)],
                linewidth=1.4,
                marker="o",
                ms=3,
                label=label,
            )
    panel.legend(fontsize=6, framealpha=0.75, edgecolor="none", handlelength=3)


def _value(found: CogFigures, model: CogModel, key: tuple[str, int], *, is_relative: bool) -> float:
    """In percent or points; not a number where there is none, which leaves a gap in the line."""
    if is_relative:
        difference = found.difference(model, key)
        return math.nan if difference is None else 100 * difference
    figure = model.figures.get(key)
    return math.nan if figure is None else 100 * figure.value


def _open(num_panels: int, *, width: float, height: float, columns: int = 6) -> tuple[Figure, list[Axes]]:
    columns = min(columns, num_panels)
    rows = math.ceil(num_panels / columns)
    figure = new_figure(width * columns, height * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for panel in axes:
        panel.set_facecolor(GROUND)
        panel.grid(color=GRID, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.tick_params(colors=INK, labelsize=7)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    for panel in axes[num_panels:]:
        panel.set_axis_off()
    return figure, axes[:num_panels]
