"""The curves of training runs as one picture.

Owns what is drawn and how. The price of one picture for all: runs of very different length share an axis of epochs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError
from shardtools.pictures import check_picture, new_figure, save_figure
from shardtools.training.metrics import Columns, read_metrics
from shardtools.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Style = Literal["-", "--", ":"]
# Okabe and Ito's colours, which people with any colour vision tell apart; black last.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES: tuple[_Style, ...] = ("-", "--", ":")
_POINTS = 100
"""Lines of more points than this are shown as means over neighbours, above the points themselves in a paler colour."""
_LONGEST_NAME = 32
_OTHER_METRICS = {"kappa": "kappa", "macro_f1": "macro F1", "roc_auc": "ROC AUC"}
"""What an evaluation may be judged by beside accuracy, as a part of one -> what people call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    name: str
    color: str
    style: _Style
    metrics: dict[str, Columns]

    @property
    def reached(self) -> float:
        """Epochs done at the last line; a little more than 0 where there is none."""
        return max(float(columns["epoch"].max(initial=1e-9)) for columns in self.metrics.values())


def draw_curves(run_folders: Sequence[str | os.PathLike[str]], out_png: str | os.PathLike[str]) -> None:
    """Draws loss, accuracy, learning rate, images/s and data-wait share over epochs, all runs in each plot.

    Args:
        run_folders: Folders of runs, or their `metrics.jsonl`; finished or not.
        out_png: The picture to write, 1800 x 1000 pixels.

    Raises:
        OptionError: No run is named, or the picture's name does not end in ".png".
        NotFoundError: A folder has no metrics.
        DatasetError: A file of metrics is damaged.
        RunError: matplotlib is not installed, or the picture cannot be written.
    """
    if not run_folders:
        raise OptionError("curves need at least one run, found none: name the folders that runs were given as --out")
    check_picture(out_png, "curves")
    runs = [
        _read(number, run, name)
        for number, (run, name) in enumerate(zip(run_folders, _names(run_folders), strict=True))
    ]
    figure = new_figure(15, 25 / 3)
    _fill(figure, runs)
    save_figure(figure, out_png)


def _read(number: int, run: str | os.PathLike[str], name: str) -> _Run:
    return _Run(
        name=name,
        color=_COLORS[number % len(_COLORS)],
        style=_STYLES[number // len(_COLORS) % len(_STYLES)],
        metrics=read_metrics(run),
    )


def _names(run_folders: Sequence[str | os.PathLike[str]]) -> list[str]:
    """What the legend calls the runs: as few of the last parts of their paths as tell all apart."""
    parts = [_folder(folder).parts for folder in run_folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(set(parts)):
            break
    return [name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}" for name in names]


def _folder(run: str | os.PathLike[str]) -> Path:
    path = Path(run).absolute()
    return path if path.is_dir() else path.parent


def _fill(figure: Figure, runs: Sequence[_Run]) -> None:
    title = f"Training of {runs[0].name}" if len(runs) == 1 else f"Training of {len(runs)} runs"
    figure.suptitle(title, fontsize=18)
    grid: Any = figure.subplots(2, 3)
    loss, accuracy, rate, speed, wait, legend = grid.flat
    for run in runs:
        _curve(loss, run, "loss")
        _points(loss, run, "val_loss")
        _points(accuracy, run, "val_top1")
        _points(accuracy, run, "val_top5", faint=True)
        for name in _OTHER_METRICS:
            _points(accuracy, run, f"val_{name}", scale=100, marker="s")
        _mark_best(accuracy, run)
        _curve(rate, run, "lr", smooth=False)
        _curve(speed, run, "images_per_second")
        _curve(wait, run, "data_wait", scale=100)
    _label(loss, "Loss (line: training, dots: evaluation)", "cross entropy, nats", from_zero=False)
    others = [
        words
        for name, words in _OTHER_METRICS.items()
        if any(f"val_{name}" in run.metrics["evaluation"] for run in runs)
    ]
    squares = f", squares: {', '.join(others)}" if others else ""
    _label(
        accuracy, f"Accuracy in evaluation (pale: top-5{squares})", "images right, %" + (" or x 100" if others else "")
    )
    _label(rate, "Learning rate", "learning rate")
    _label(speed, "Speed", "training images/s")
    _label(wait, "Waiting for data", "share of the time, %")
    _share_epochs([loss, accuracy, rate, speed, wait], max(run.reached for run in runs))
    _write_legend(legend, runs)


def _share_epochs(fields: Sequence[Axes], epochs: float) -> None:
    """One axis of epochs for all, in whole epochs where there are some."""
    for axes in fields:
        axes.set_xlim(-0.02 * epochs, 1.02 * epochs)
        axes.locator_params(axis="x", integer=epochs >= 3)


def _curve(axes: Axes, run: _Run, name: str, *, scale: float = 1.0, smooth: bool = True) -> None:
    columns = run.metrics["step"]
    if name not in columns:
        return
    epochs, values = columns["epoch"], columns[name] * scale
    if smooth and len(values) > _POINTS:
        axes.plot(epochs, values, color=run.color, linestyle=run.style, linewidth=0.7, alpha=0.25)
        width = -(-len(values) // _POINTS)
        epochs, values = _means(epochs, width), _means(values, width)
    axes.plot(epochs, values, color=run.color, linestyle=run.style, linewidth=1.8)


def _means(values: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Means over `width` neighbours each, what is not a number left out; NaN where nothing is left."""
    padded = np.full(-(-len(values) // width) * width, np.nan)
    padded[: len(values)] = values
    parts = padded.reshape(-1, width)
    counts = np.isfinite(parts).sum(axis=1)
    means = np.full(len(parts), np.nan)
    np.divide(np.nansum(parts, axis=1), counts, out=means, where=counts > 0)
    return means


def _points(axes: Axes, run: _Run, name: str, *, faint: bool = False, scale: float = 1.0, marker: str = "o") -> None:
    columns = run.metrics["evaluation"]
    if name in columns:
        axes.plot(
            columns["epoch"],
            columns[name] * scale,
            color=run.color,
            linestyle=run.style,
            linewidth=1.0 if faint else 1.8,
            alpha=0.45 if faint else 1.0,
            marker=marker,
            markersize=4,
        )


def _mark_best(axes: Axes, run: _Run) -> None:
    """A line down at the epoch whose weights were kept."""
    columns = run.metrics["selected"]
    if "best_epoch" in columns:
        axes.axvline(float(columns["best_epoch"][-1]), color=run.color, linestyle=":", linewidth=1.2)


def _label(axes: Axes, title: str, unit: str, *, from_zero: bool = True) -> None:
    axes.set_title(title, fontsize=13)
    axes.set_xlabel("epochs")
    axes.set_ylabel(unit)
    axes.grid(visible=True, alpha=0.3)
    if not axes.lines:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, color="grey")
        return
    if from_zero:
        # Room above what is drawn: a curve along the frame is not seen.
        drawn = [value for line in axes.lines for value in np.asarray(line.get_ydata(), np.float64) if value > 0]
        axes.set_ylim(bottom=0, top=1.05 * max(drawn, default=1.0))


def _write_legend(axes: Axes, runs: Sequence[_Run]) -> None:
    """The sixth field of the grid: which line is whose, and what each run has reached."""
    from matplotlib.lines import Line2D

    axes.axis("off")
    handles = [Line2D([], [], color=run.color, linestyle=run.style, linewidth=2.5) for run in runs]
    axes.legend(
        handles,
        [f"{run.name}: {_reached(run)}" for run in runs],
        loc="upper left",
        fontsize=12 if len(runs) <= 14 else 8,
        frameon=False,
        title="Run: last figures",
        title_fontsize=13,
        alignment="left",
    )


def _reached(run: _Run) -> str:
    steps, evaluations = run.metrics["step"], run.metrics["evaluation"]
    words = [counted(round(run.reached, 2), "epoch", spec="g")]
    if "loss" in steps:
        words.append(f"loss {steps['loss'][-1]:.3g}")
    if "val_top1" in evaluations:
        words.append(f"top-1 {evaluations['val_top1'][-1]:.1f} %")
    words += [
        f"{words_of} {evaluations[f'val_{name}'][-1]:.3f}"
        for name, words_of in _OTHER_METRICS.items()
        if f"val_{name}" in evaluations
    ]
    if "best_epoch" in run.metrics["selected"]:
        words.append(f"kept epoch {run.metrics['selected']['best_epoch'][-1]:.0f}")
    return ", ".join(words)
