"""The figures of the micro study: prompts and guidance, scale, and the two sweeps.

Owns what is drawn. Bars of error are deviations of single seeds; a dashed line is the model trained on photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardtools.pictures import new_figure, save_figure
from shardtools.pipelines.studies.imagenet_sd.cells import (
    SCALE_GUIDANCE,
    SWEEP_GUIDANCE,
    SWEEP_TEMPLATE,
    StudyOptions,
)
from shardtools.pipelines.studies.imagenet_sd.results import Mean, find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PROMPTS_FILE = "prompts.png"
SCALE_FILE = "scale.png"
SWEEPS_FILE = "guidance_and_steps.png"
# Okabe and Ito's colours, which people with any colour vision tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_REAL_COLOR = "#000000"


def draw_figures(out: Path, options: StudyOptions, found: Sequence[Mean]) -> list[Path]:
    """Draws each figure that has at least two points.

    Args:
        out: Folder for the pictures.
        options: The study's.
        found: Of `means`.

    Returns:
        The pictures written.

    Raises:
        RunError: matplotlib is not installed, or a picture cannot be written.
    """
    written = []
    for name, size, draw, points in (
        (PROMPTS_FILE, (9.0, 4.2), _draw_prompts, len(options.templates)),
        (SCALE_FILE, (5.6, 4.2), _draw_scale, len(options.scales)),
        (SWEEPS_FILE, (9.0, 4.2), _draw_sweeps, min(len(options.guidance_sweep), len(options.steps_sweep))),
    ):
        if points > 1:
            figure = new_figure(*size)
            draw(figure, options, found)
            save_figure(figure, out / name)
            written.append(out / name)
    return written


def _draw_prompts(figure: Figure, options: StudyOptions, found: Sequence[Mean]) -> None:
    """A panel an augmentation; a group of bars a template, a colour a guidance."""
    panels: Any = figure.subplots(1, len(options.augmentations), sharey=True, squeeze=False)
    width = 0.8 / len(options.guidances)
    for axes, augmentation in zip(panels[0], options.augmentations, strict=True):
        for number, guidance in enumerate(sorted(options.guidances)):
            cells = [
                find(
                    found,
                    prompt_template=prompt_template,
                    guidance=guidance,
                    steps=options.num_inference_steps,
                    scale=1,
                    augmentation=augmentation,
                )
                for prompt_template in options.templates
            ]
            places = [place + number * width for place, cell in enumerate(cells) if cell]
            present = [cell[0] for cell in cells if cell]
            axes.bar(
                places,
                [cell.top1 for cell in present],
                width,
                yerr=_errors(present),
                color=_COLORS[number % len(_COLORS)],
                label=f"guidance {guidance:g}",
                capsize=3,
            )
        _real_line(axes, found, augmentation, label="trained on photographs")
        middle = width * (len(options.guidances) - 1) / 2
        axes.set_xticks([place + middle for place in range(len(options.templates))], options.templates, rotation=12)
        axes.set_title(augmentation)
    panels[0][0].set_ylabel("top-1 on real test images (%)")
    # Bars are read by their length.
    panels[0][0].set_ylim(0, None)
    _legend(figure, panels[0][-1])


def _draw_scale(figure: Figure, options: StudyOptions, found: Sequence[Mean]) -> None:
    axes = figure.subplots()
    for number, augmentation in enumerate(options.augmentations):
        cells = find(
            found,
            prompt_template=SWEEP_TEMPLATE,
            guidance=SCALE_GUIDANCE,
            steps=options.num_inference_steps,
            augmentation=augmentation,
        )
        color = _COLORS[number % len(_COLORS)]
        _line(axes, [cell.scale for cell in cells], cells, color, augmentation)
        _real_line(axes, found, augmentation, color)
    axes.set_xscale("log")
    axes.set_xticks(options.scales, [f"{scale}x" for scale in options.scales])
    axes.minorticks_off()
    axes.set_xlabel(f'clones of "{SWEEP_TEMPLATE}" at guidance {SCALE_GUIDANCE:g}')
    axes.set_ylabel("top-1 on real test images (%)")
    _legend(figure, axes)


def _draw_sweeps(figure: Figure, options: StudyOptions, found: Sequence[Mean]) -> None:
    """Guidance on the left, steps on the right, as figure 5.5."""
    augmentation = options.augmentations[0]
    left, right = figure.subplots(1, 2, sharey=True)
    fixed: dict[str, Any] = {"prompt_template": SWEEP_TEMPLATE, "scale": 1, "augmentation": augmentation}
    cells = find(found, steps=options.num_inference_steps, **fixed)
    _line(
        left,
        [cell.guidance or 0.0 for cell in cells],
        cells,
        _COLORS[0],
        augmentation,
    )
    left.set_xlabel(f"guidance scale ({options.num_inference_steps} steps)")
    left.set_ylabel("top-1 on real test images (%)")
    cells = find(found, guidance=SWEEP_GUIDANCE, **fixed)
    _line(right, [cell.steps or 0 for cell in cells], cells, _COLORS[0], augmentation)
    right.set_xscale("log")
    right.set_xticks(options.steps_sweep, list(map(str, options.steps_sweep)))
    right.minorticks_off()
    right.set_xlabel(f"denoising steps (guidance {SWEEP_GUIDANCE:g})")
    for axes in (left, right):
        _real_line(axes, found, augmentation)
    _legend(figure, left)


def _line(axes: Axes, places: Sequence[float], cells: Sequence[Mean], color: str, augmentation: str) -> None:
    label = f"trained on generated images, {augmentation}"
    axes.errorbar(
        places, [cell.top1 for cell in cells], _errors(cells), color=color, marker="o", capsize=3, label=label
    )


def _errors(cells: Sequence[Mean]) -> list[float]:
    return [cell.deviation or 0.0 for cell in cells]


def _real_line(
    axes: Axes, found: Sequence[Mean], augmentation: str, color: str = _REAL_COLOR, label: str | None = None
) -> None:
    label = label or f"trained on photographs, {augmentation}"
    for cell in find(found, source="real", augmentation=augmentation):
        axes.axhline(cell.top1, color=color, linestyle="--", linewidth=1, label=label)


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the plots, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
