"""Pictures that matplotlib draws: what is refused before the work, an empty figure, the file.

Owns the door to matplotlib, and the colours that pictures of judged networks share. The price of one door: a picture
is a .png.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from shardtools.errors import OptionError, RunError, first_line
from shardtools.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which people with any color vision tell apart."""

# A page of its own: the picture keeps its light ground on a dark page, so that its letters stay legible there.
GROUND, INK, FAINT, GRID = "#ffffff", "#222222", "#b8b8b8", "#e4e4e4"


def require_pictures(asked_by: str) -> None:
    """Refuses early what could not be drawn.

    Args:
        asked_by: What the user asked for, for the message: "eval ood --picture".

    Raises:
        RunError: matplotlib is not installed.
    """
    require(asked_by, ("matplotlib",), extra="train")


def check_picture(address: str | os.PathLike[str], asked_by: str) -> None:
    """Refuses early what could not be drawn or not be written.

    Args:
        address: Of the picture.
        asked_by: As in `require_pictures`.

    Raises:
        OptionError: The file's name does not end in ".png".
        RunError: matplotlib is not installed.
    """
    if Path(address).suffix.lower() != ".png":
        raise OptionError(f"the picture is a .png, found {os.fspath(address)!r}: give a name that ends in .png")
    require_pictures(asked_by)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure.

    Args:
        width: In units of 120 pixels.
        height: Likewise.

    Raises:
        RunError: matplotlib is not installed.
    """
    require("figures", ("matplotlib",), extra="train")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Without pyplot: it would take over signals, backends and figures of the caller.
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor=GROUND)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, address: str | os.PathLike[str]) -> None:
    """Writes a figure as a .png, whole or not at all; figures that are drawn alike are the same bytes.

    Raises:
        RunError: The place cannot be written.
    """
    partial = Path(f"{os.fspath(address)}.partial")
    try:
        figure.savefig(partial, format="png", metadata={"Software": None})
        partial.replace(address)
    except OSError as error:
        raise RunError(f"{os.fspath(address)} cannot be written ({first_line(error)}): give another place") from None
