"""What classifiers of a setting are fitted to, as an overlay, so that `shardtools train` can fine-tune on the same.

Owns the columns: `fold`, `varied`, `share`, `repeat` name a training set, `weight` is the picture's in it. A view takes
one of them; weights are made for drawing in proportion (--weighted sampling). The price: a row for every picture of
every set.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from shardtools.arrays import from_int64, from_numbers
from shardtools.evaluation.variation.fitting import Trial
from shardtools.evaluation.variation.options import VariationOptions
from shardtools.evaluation.variation.splitting import Split
from shardtools.evaluation.variation.training_sets import TrainingSet, training_set
from shardtools.evaluation.variation.trials import trials_of
from shardtools.evaluation.variation.world import World
from shardtools.overlays import write_overlay

MADE_BY = "shardtools eval variation"
UNIQUE = ("key", "fold", "varied", "share", "repeat")


def write_training_sets(
    world: World, split: Split, options: VariationOptions, name: str, *, replace: bool = False
) -> int:
    """Writes the training sets of a setting beside each dataset; returns the number of rows.

    Args:
        world: The pictures.
        split: Folds over objects.
        options: The setting.
        name: Of the overlay.
        replace: Whether one that is there is written anew.

    Raises:
        AlreadyExistsError: One is there, and `replace` is not given.
        DatasetError: The grid that the setting needs is not there.
    """
    trials = trials_of(world, options)
    settings = {
        "setting": options.setting,
        "seed": options.seed,
        "images": options.images,
        "num_folds": split.num_folds,
        "held_out": options.held_out,
    }
    num_rows = 0
    for number, url in enumerate(world.datasets):
        info = write_overlay(
            url,
            name,
            _tables(world, split, trials, options.images, number),
            made_by=MADE_BY,
            settings=settings,
            unique=UNIQUE,
            replace=replace,
        )
        num_rows += info.num_rows
    return num_rows


def _tables(world: World, split: Split, trials: list[Trial], images: int, dataset: int) -> Iterator[pa.Table]:
    for fold in range(split.num_folds):
        trained = split.trained(fold)
        for trial in trials:
            varying = np.zeros(len(world.objects), np.int64) if trial.varying is None else trial.varying(trained)
            found = training_set(world, trained, trial.pool, varying, images)
            yield _table(world, found, trial, fold, dataset)


def _table(world: World, found: TrainingSet, trial: Trial, fold: int, dataset: int) -> pa.Table:
    here = world.dataset_of[found.rows] == dataset
    count = int(here.sum())
    return pa.table(
        {
            "key": world.keys.take(from_int64(found.rows[here])).cast(pa.string()),
            "fold": pa.array([fold] * count, pa.int32()),
            "varied": pa.array([trial.varied] * count, pa.string()),
            "share": pa.array([trial.share] * count, pa.int32()),
            "repeat": pa.array([trial.repeat] * count, pa.int32()),
            "weight": from_numbers(found.weights[here].astype(np.float64)),
        }
    )
