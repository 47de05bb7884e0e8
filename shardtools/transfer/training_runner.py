"""A cell by `shardtools train`: the one place that knows what a training is asked and what it answers.

Owns the translation. A training goes on from its own checkpoint, so a cell that was killed does not begin anew; when
its figures are known its weights and checkpoints go, unless they are to be kept. The price: which of 80 networks was
best is known only when all are gone, so its weights are made again where they are wanted.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from shardtools.training import MODEL_FILE, TrainOptions, load_recipe, require_training_libraries, train
from shardtools.transfer.cells import Cell
from shardtools.transfer.heads import fit_head
from shardtools.transfer.options import TransferOptions
from shardtools.transfer.outcomes import DONE, Outcome
from shardtools.transfer.study import SET_METRICS, Study

_RUN = "run"
_NEEDED_TO_RESUME = ("checkpoints", "tables")


def train_cell(cell: Cell, folder: str, options: TransferOptions) -> Outcome:
    """Trains a cell, or goes on with it; a `running.Runner`.

    Raises:
        StoppedError: It was asked to stop.
        ShardtoolsError: It cannot be trained.
    """
    started = time.monotonic()
    head = fit_head(cell, str(Path(folder).parents[1]))
    result = train(training_options(cell, folder, options, init_head=head))
    metric = SET_METRICS[cell.on.metric]
    seconds = time.monotonic() - started
    whole = cell.num_train * cell.recipe.epochs
    return Outcome(
        settings=cell.settings,
        status=DONE,
        epoch=round(result.metrics["best_epoch"]),
        val=result.metrics[f"val_{metric.val_metric}"] / metric.unit,
        test=result.metrics[f"{'val' if cell.on.test_split is None else 'test'}_{metric.val_metric}"] / metric.unit,
        # A resumed training tells of its last part alone.
        seconds=round(seconds * whole / result.images, 3) if result.images else None,
    )


def training_options(
    cell: Cell, folder: str, options: TransferOptions, *, init_head: str | None = None
) -> TrainOptions:
    """What `shardtools train` is asked for.

    Args:
        cell: What is trained.
        folder: Of the cell.
        options: Device and threads.
        init_head: Folder of the probe that the head begins as.
    """
    on = cell.on
    # One process a training: what a grid has more of than cores are cells.
    share = max(1, (os.cpu_count() or 1) // options.processes)
    return TrainOptions(
        datasets=(on.dataset,),
        out=f"{folder}/{_RUN}",
        recipe=cell.recipe,
        split=on.train_split,
        val=on.dataset,
        val_split=on.val_split,
        test_split=on.test_split,
        select="best",
        val_metric=SET_METRICS[on.metric].val_metric,
        init=cell.model.init,
        init_head=init_head,
        seed=cell.seed,
        num_processes=1,
        threads=options.threads or share,
        compute_threads=options.compute_threads or (share if options.device == "cpu" else None),
        device=options.device,
        tensorboard=False,
    )


def clear_cell(folder: str) -> None:
    """Removes weights and checkpoints of a cell whose figures are known; its metrics, curves and run file stay."""
    run = Path(folder) / _RUN
    for name in _NEEDED_TO_RESUME:
        shutil.rmtree(run / name, ignore_errors=True)
    (run / MODEL_FILE).unlink(missing_ok=True)


def check_libraries(study: Study) -> None:
    """Fails early where what the trainings need is not installed.

    Raises:
        RunError: A library is missing.
    """
    for encoder in dict.fromkeys(model.encoder for model in study.models):
        recipe = load_recipe(study.recipe, {"encoder": encoder})
        require_training_libraries(TrainOptions(datasets=("",), out="", recipe=recipe, tensorboard=False))
