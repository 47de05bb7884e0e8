"""Training in two steps (LP-FT): the head of a cell begins as a linear probe of frozen features.

Owns where probes lie, `OUT/heads/`, and that each is fitted once for all cells of a model and a set (Kumar et al. 2022;
seed 003 trains its CLIP models so, and does not say how its probes were found: here by L-BFGS, C chosen on a fifth of
the training split, so that validation images choose cells and nothing else). The price of sharing: of processes that
begin together one fits the probe, and the others wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from shardtools.dataset.plan_file import fingerprint
from shardtools.errors import DatasetBusyError
from shardtools.evaluation.probes import ProbeOptions, run_probe
from shardtools.transfer.cells import Cell

_FOLDER = "heads"
_LOOK_SECONDS = 2.0


def fit_head(cell: Cell, out: str) -> str | None:
    """The folder of the probe that a cell's head begins as, fitted unless it is there; `None` for a head that is drawn.

    Args:
        cell: What is trained.
        out: Folder of the study.

    Raises:
        DatasetError: The set has no features of that name, or they are of another version of it.
        RunError: A library is missing.
    """
    if not cell.model.probe:
        return None
    names = ("commit", "probe", "splits", "seed")
    wanted = ProbeOptions(
        dataset=cell.on.dataset,
        features=cell.model.probe,
        solver="lbfgs",
        train_split=cell.on.train_split,
        test_split=cell.on.val_split,
        seeds=(cell.seed,),
        predictions="none",
        # Copies across splits are the set's own; they are the audits' to find.
        copies="keep",
        out=f"{out.rstrip('/')}/{_FOLDER}/{fingerprint({name: cell.settings[name] for name in names})}",
    )
    while True:
        try:
            return run_probe(wanted).url
        except DatasetBusyError:
            time.sleep(_LOOK_SECONDS)


def head_notes(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Where a head begins as the probe of pictures that the training does not see, a line a model and set."""
    lines = {
        f"{cell.model.name} on {cell.on.name}: the head begins as a probe of features of rgb pictures, the training "
        f"sees {cell.recipe.channels}"
        for cell in cells
        if cell.model.probe and cell.recipe.channels != "rgb"
    }
    return tuple(sorted(lines))
