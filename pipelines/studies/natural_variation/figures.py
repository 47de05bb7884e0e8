"""The figures of the seed with what is found here: 1 to 7 and A14.

Owns what is drawn. Bars of error are intervals of 95 % over objects, of the mean over encoders those of
`Measured.mean`. Where the seed prints numbers (tables 1 and 3) they are drawn in grey; what it only draws is not read
off its pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardtools.evaluation.protocols import SEED002_PAIRS, SEED002_TRAINING
from shardtools.evaluation.variation import Estimate
from shardtools.pictures import new_figure, save_figure
from shardtools.pipelines.studies.natural_variation import seed
from shardtools.pipelines.studies.natural_variation.drawing import (
    COLORS,
    HERE,
    bars,
    legend,
    named,
    numbers,
    points,
)
from shardtools.pipelines.studies.natural_variation.measured import CHANGE, GAP, SLOPE, Key, Measured
from shardtools.pipelines.studies.natural_variation.plan import (
    ALL,
    CANONICAL_SETTING,
    CLASSES,
    EVERYTHING,
    FINE_TUNED,
    INSTANCES,
    MAIN,
    POSE,
    SAMPLES,
    StudyOptions,
    list_trainings,
)
from shardtools.pipelines.studies.natural_variation.repeats import trained_figure
from shardtools.rendering import FACTORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP = "gap (points)"


def draw_figures(out: Path, options: StudyOptions, found: Measured) -> list[Path]:
    """Draws all of them.

    Args:
        out: Folder for the pictures.
        options: The study's.
        found: What was measured.

    Raises:
        RunError: matplotlib is not installed, or a picture cannot be written.
    """
    models = [name for name in options.features.values() if name in found.figures]
    written = []
    for name, (width, height, draw) in _FIGURES.items():
        figure = new_figure(width, height)
        draw(figure, options, found, models)
        save_figure(figure, out / f"{name}.png")
        written.append(out / f"{name}.png")
    return written


def _mean(found: Measured, models: list[str], **key: Any) -> Estimate | None:
    return found.mean(models, Key(**key))


def _gaps(figure: Figure, options: StudyOptions, found: Measured, models: list[str]) -> None:
    """Figure 1: the gap, what variation of samples, classes and of another factor does to it."""
    first, second, third, fourth = figure.subplots(1, 4)
    linear = seed.table1(seed.LINEAR)[seed.AVERAGE]
    own = [_mean(found, models, world=MAIN, setting=CANONICAL_SETTING, metric=GAP, measured=one) for one in FACTORS]
    axes_of_pose = [
        _mean(found, models, world=axis, setting=CANONICAL_SETTING, metric=GAP, measured=POSE) for axis in options.axes
    ]
    bars(first, [*own, *axes_of_pose], offset=-0.2, width=0.4, color=HERE, label="here, mean of encoders")
    numbers(first, [linear[one] for one in FACTORS], offset=0.2, width=0.4, label="seed, tables 1a and 3")
    named(first, [*FACTORS, *options.axes], what=_GAP)
    first.set_title("nothing varies in training", fontsize=9)
    for place, (share, color) in enumerate(((50, "#56B4E9"), (max(options.shares), "#009E73"))):
        gaps = [
            _mean(found, models, world=MAIN, setting=SAMPLES, metric=GAP, varied=one, share=share, measured=one)
            for one in FACTORS
        ]
        bars(second, gaps, offset=0.4 * place - 0.2, width=0.4, color=color, label=f"{share} % of samples vary")
    named(second, FACTORS, what=_GAP)
    second.set_title("samples vary", fontsize=9)
    differences = [
        _mean(found, models, world=MAIN, setting=CLASSES, metric=GAP, varied=one, measured=one, group="difference")
        for one in FACTORS
    ]
    bars(third, differences, offset=-0.2, width=0.4, color=HERE, label="here")
    numbers(third, [seed.table3()[seed.AVERAGE][one] for one in FACTORS], offset=0.2, width=0.4, label="seed")
    named(third, FACTORS, what="unseen less seen (points)")
    third.set_title("half of the classes vary", fontsize=9)
    others = [
        _mean(found, models, world=MAIN, setting=INSTANCES, metric=CHANGE, varied=one, share=50, measured="others")
        for one in FACTORS
    ]
    bars(fourth, others, offset=0, width=0.5, color=HERE, label="here")
    named(fourth, FACTORS, what="change of other factors' gaps (points)")
    fourth.set_title("half of the instances vary in", fontsize=9)
    handles = [axes.get_legend_handles_labels() for axes in (first, second)]
    figure.legend(
        [one for own_handles, _ in handles for one in own_handles],
        [one for _, labels in handles for one in labels],
        loc="outside lower center",
        ncols=4,
        fontsize=8,
    )


def _supervision(figure: Figure, _options: StudyOptions, found: Measured, models: list[str]) -> None:
    """Figure 2: average gaps of the seed's networks by how they were trained, and those of the networks here."""
    for axes, mode in zip(figure.subplots(1, 2, sharey=True), (seed.LINEAR, seed.FINETUNE), strict=True):
        table = seed.table1(mode)
        kinds = ("self-supervised", "supervised")
        averages = [
            [_average(table[name]) for name, kind in SEED002_TRAINING.items() if kind == wanted] for wanted in kinds
        ]
        axes.boxplot(averages, tick_labels=[f"seed: {kind}" for kind in kinds], widths=0.5)
        if mode == seed.LINEAR:
            key = Key(world=MAIN, setting=CANONICAL_SETTING, metric=GAP, measured="average")
            _, values, _ = points([found.get(model, key) for model in models])
            axes.scatter([2.0] * len(values), values, color=HERE, zorder=3, label="here (supervised)")
        axes.set_title({seed.LINEAR: "linear", seed.FINETUNE: "fine-tuned"}[mode], fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_ylabel(f"average {_GAP}")
    legend(figure, figure.axes[0])


def _pretraining(figure: Figure, _options: StudyOptions, _found: Measured, _models: list[str]) -> None:
    """Figure 3: pairs of networks pretrained on ImageNet-1k and -21k, of the seed's table 1."""
    for axes, mode in zip(figure.subplots(1, 2, sharey=True), (seed.LINEAR, seed.FINETUNE), strict=True):
        table = seed.table1(mode)
        for color, (name, pair) in zip(COLORS.values(), SEED002_PAIRS.items(), strict=False):
            axes.plot([0, 1], [_average(table[one]) for one in pair], marker="o", color=color, label=f"seed: {name}")
        axes.set_xticks([0, 1], ["ImageNet-1k", "ImageNet-21k"])
        axes.set_xlim(-0.3, 1.3)
        axes.set_ylabel(f"average {_GAP}")
        axes.set_title({seed.LINEAR: "linear", seed.FINETUNE: "fine-tuned"}[mode], fontsize=9)
    legend(figure, figure.axes[0], 4)


def _average(gaps: dict[str, float]) -> float:
    return sum(gaps[factor] for factor in FACTORS) / len(FACTORS)


def _shares(setting: str) -> Callable[[Figure, StudyOptions, Measured, list[str]], None]:
    def draw(figure: Figure, options: StudyOptions, found: Measured, models: list[str]) -> None:
        """Figures 4 and A14: the gap of what varies against how much varies, a line an encoder."""
        curves = [(MAIN, factor, factor) for factor in FACTORS] + [(axis, POSE, axis) for axis in options.axes]
        panels = figure.subplots(1, len(curves), sharey=True)
        for axes, (world, factor, title) in zip(panels, curves, strict=True):
            for number, model in enumerate(models):
                style = ("-", "--", ":")[number % 3]
                _curve(axes, found, model, (world, setting, factor), color=COLORS[title], style=style)
            if setting == SAMPLES and world == MAIN:
                _tuned(axes, options, found, factor)
            axes.axhline(0, color="k", linewidth=0.8)
            axes.set_title(title, fontsize=9)
            axes.set_xlabel(f"% of {setting}", fontsize=8)
        panels[0].set_ylabel(_GAP)
        legend(figure, panels[0])

    return draw


def _curve(axes: Axes, found: Measured, model: str, what: tuple[str, str, str], *, color: str, style: str) -> None:
    world, setting, factor = what
    shares = [0, *found.shares(world, setting, factor)]
    keys = [
        Key(world=world, setting=setting, metric=GAP, varied=factor, share=share, measured=factor)
        if share
        else Key(world=world, setting=setting, metric=GAP, measured=factor)
        for share in shares
    ]
    places, values, errors = points([found.get(model, key) for key in keys])
    axes.errorbar(
        [shares[place] for place in places],
        values,
        errors,
        color=color,
        linestyle=style,
        marker="o",
        markersize=3,
        capsize=2,
        label=model,
    )


def _tuned(axes: Axes, options: StudyOptions, found: Measured, factor: str) -> None:
    """The gaps of the fine-tuned network, on canonical pictures alone and on those in which single factors vary."""
    tuned = [one for one in list_trainings(options) if one.how == FINE_TUNED]
    places, values, errors = points([trained_figure(found, one, GAP, factor) for one in tuned])
    # All pictures of the grids are learnt from, so but one an object varies.
    shares = [100.0 if tuned[place].varied else 0.0 for place in places]
    axes.errorbar(shares, values, errors, color="k", linestyle="", marker="D", markersize=4, label="fine-tuned")


def _slopes(figure: Figure, _options: StudyOptions, found: Measured, models: list[str]) -> None:
    """Figure 5: slopes of gaps (columns) over the share of instances that vary in a factor (rows)."""
    axes = figure.subplots()
    rows = [
        [
            _mean(found, models, world=MAIN, setting=INSTANCES, metric=SLOPE, varied=varied, measured=measured)
            for measured in FACTORS
        ]
        for varied in FACTORS
    ]
    values = [[float("nan") if one is None else one.value for one in row] for row in rows]
    shown = axes.imshow(values, cmap="RdBu", vmin=-0.5, vmax=0.5)
    for place, row in enumerate(values):
        for column, value in enumerate(row):
            axes.text(column, place, f"{value:.2f}", ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(FACTORS)), [f"gap of {one}" for one in FACTORS], rotation=30, fontsize=8)
    axes.set_yticks(range(len(FACTORS)), [f"{one} varies" for one in FACTORS], fontsize=8)
    figure.colorbar(shown, label="points of gap a point of share")


def _everything(figure: Figure, options: StudyOptions, found: Measured, models: list[str]) -> None:
    """Figure 6: how gaps change when all factors vary together in training."""
    axes = figure.subplots()
    shares = found.shares(MAIN, EVERYTHING, ALL) or found.shares(MAIN, SAMPLES, POSE)[-1:]
    setting, together = (EVERYTHING, True) if options.draws else (SAMPLES, False)
    width = 0.8 / max(1, len(shares))
    for number, share in enumerate(shares):
        found_here = [
            _mean(
                found,
                models,
                world=MAIN,
                setting=setting,
                metric=CHANGE,
                varied=ALL if together else factor,
                share=share,
                measured=factor,
            )
            for factor in FACTORS
        ]
        what = "all factors vary" if together else "the factor itself varies (no combinations rendered)"
        color = list(COLORS.values())[number % len(COLORS)]
        bars(
            axes,
            found_here,
            offset=(number - (len(shares) - 1) / 2) * width,
            width=width,
            color=color,
            label=f"{what}, {share} % of samples",
        )
    named(axes, FACTORS, what="change of the gap (points; more is better)")
    legend(figure, axes, 2)


def _similarity(figure: Figure, _options: StudyOptions, found: Measured, models: list[str]) -> None:
    """Figure 7: gaps of classes that were not seen varying, against their similarity to the nearest that was."""
    axes = figure.subplots()
    for number, model in enumerate(models):
        own = [one for one in found.bins.get((MAIN, model), []) if one.varied == ""]
        axes.errorbar(
            [(one.least + one.greatest) / 2 for one in own],
            [100 * one.gap for one in own],
            [100 * (one.standard_error or 0) for one in own],
            marker="o",
            capsize=3,
            color=list(COLORS.values())[number % len(COLORS)],
            label=model,
        )
    axes.axhline(0, color="k", linewidth=0.8)
    axes.set_xlabel(f"similarity to the nearest class seen varying ({found.similarity})", fontsize=8)
    axes.set_ylabel(f"{_GAP}, standard error")
    legend(figure, axes)


_Draw = Callable[["Figure", StudyOptions, Measured, list[str]], None]

_FIGURES: dict[str, tuple[float, float, _Draw]] = {
    "figure1_gaps": (13.0, 3.8, _gaps),
    "figure2_supervision": (8.0, 3.8, _supervision),
    "figure3_pretraining": (8.0, 3.8, _pretraining),
    "figure4_samples": (13.0, 3.4, _shares(SAMPLES)),
    "figure5_slopes": (6.4, 4.8, _slopes),
    "figure6_all_factors": (7.0, 4.0, _everything),
    "figure7_similarity": (6.4, 4.0, _similarity),
    "figureA14_instances": (13.0, 3.4, _shares(INSTANCES)),
}
"""File -> width, height in inches, and what draws it."""


def figure_names() -> Sequence[str]:
    """Names of the pictures."""
    return tuple(_FIGURES)
