"""Linear classifiers of one encoder's features, fold by fold, and their answers to the pictures of held-out objects.

Owns the order: all classifiers of a fold are fitted, then every picture that is held out is read once and answered by
all of them. Features are divided by one number a fold, the standard deviation of the canonical training pictures, so
that C means the same for every encoder; a rotation or a shift of features changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from shardtools.arrays import Bools, Float32s, Int64s
from shardtools.errors import DatasetError
from shardtools.evaluation.probes import Linear, fit
from shardtools.evaluation.variation.feature_table import FeatureTable
from shardtools.evaluation.variation.gaps import CANONICAL_COLUMN, Counts
from shardtools.evaluation.variation.splitting import Split
from shardtools.evaluation.variation.training_sets import Pool, training_set
from shardtools.evaluation.variation.world import World
from shardtools.execution import Batch, Doing, Progress

_MAX_BLOCK = 4096
_MAX_LOGITS = 8_000_000
"""Logits of a block by all classifiers: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """What one classifier a fold is fitted to.

    Attributes:
        varied: The set that varies; "" for none.
        share: Percent that was asked for, 0 for none.
        repeat: Number of the draw.
        pool: Pictures that vary.
        varying: Of the pictures of each object how many vary, made of the objects that are learnt from.
        seen: Classes that are seen varying, bool [C]; `None` where that is no question.
    """

    varied: str = ""
    share: int = 0
    repeat: int = 0
    pool: Pool | None = field(default=None, repr=False)
    varying: Callable[[Bools], Int64s] | None = field(default=None, repr=False)
    seen: Bools | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What came of a trial, over all folds.

    Attributes:
        trial: What was fitted.
        counts: Answers to held-out objects.
        shares: Share of training pictures that varied, in each fold, 0 to 1.
        trained: Answers to the canonical pictures of the objects that were learnt from.
    """

    trial: Trial
    counts: Counts
    trained: Counts
    shares: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the training pictures that varied, 0 to 1: the mean of the folds."""
        return float(np.mean(self.shares))


def answer_trials(
    table: FeatureTable,
    split: Split,
    trials: Sequence[Trial],
    *,
    images: int,
    C: float,
    progress: Progress,
) -> list[Answers]:
    """Fits every trial in every fold, and counts the answers.

    Args:
        table: Features.
        split: Folds over objects.
        trials: In the order of the answers. One starts from the one before it where both vary the same.
        images: Pictures an object.
        C: Of the classifier, as scikit-learn defines it.
        progress: Told of every classifier.
    """
    world = table.world
    size = len(world.objects), len(world.sets)
    progress(Doing(text=f"{table.name}: fitting", total=split.num_folds * len(trials), noun="classifiers"))
    found = [Answers(trial=trial, counts=Counts.none(*size), trained=Counts.none(*size)) for trial in trials]
    for fold in range(split.num_folds):
        trained = split.trained(fold)
        scale = _scale(table, world.canonical_row[trained])
        models: list[Linear] = []
        for number, (trial, answers) in enumerate(zip(trials, found, strict=True)):
            before = trials[number - 1] if number else trial
            # Of the same pictures with one share more; else from the first, which is of canonical pictures.
            is_next = number and (before.varied, before.repeat) == (trial.varied, trial.repeat)
            start = models[-1] if is_next else models[0] if models else None
            models.append(_fit(table, trial, trained, answers, images, C, scale, start))
            progress(Batch(rows=1))
        shown = [_unscaled(model, scale) for model in models]
        rows, columns = judged_rows(world, split.held_out(fold))
        _count(table, shown, rows, columns, [one.counts for one in found])
        rows = world.canonical_row[trained]
        _count(table, shown, rows, np.full(len(rows), CANONICAL_COLUMN), [one.trained for one in found])
    return found


def _fit(
    table: FeatureTable,
    trial: Trial,
    trained: Bools,
    answers: Answers,
    images: int,
    C: float,
    scale: float,
    start: Linear | None,
) -> Linear:
    world = table.world
    varying = np.zeros(len(world.objects), np.int64) if trial.varying is None else trial.varying(trained)
    wanted = training_set(world, trained, trial.pool, varying, images)
    answers.shares.append(float(varying[trained].mean()) / images)
    features = table.take(wanted.rows)
    features /= np.float32(scale)
    labels = world.class_of[world.object_of[wanted.rows]]
    return fit(features, labels, len(world.wnids), C, weights=wanted.weights, start=start)


def _scale(table: FeatureTable, rows: Int64s) -> float:
    features = table.take(rows)
    scale = float(np.sqrt(np.mean(features.var(axis=0, dtype=np.float64))))
    if not scale > 0:
        raise DatasetError(
            f"{table.source}: features of all canonical pictures are the same: is the encoder the right one?"
        )
    return scale


def _unscaled(model: Linear, scale: float) -> Linear:
    """The same classifier of features that are not divided."""
    return Linear(weights=np.asarray(model.weights / scale, np.float32), intercept=model.intercept)


def judged_rows(world: World, held_out: Bools) -> tuple[Int64s, Int64s]:
    """Pictures of held-out objects, and the column that each counts in.

    The canonical picture of an object stands in its own column, and once more in a set whose grid holds it.
    """
    in_sets = np.flatnonzero(held_out[world.object_of] & (world.set_of >= 0))
    canonical = world.canonical_row[held_out]
    rows = np.concatenate([canonical, in_sets])
    columns = np.concatenate([np.full(len(canonical), CANONICAL_COLUMN), 1 + world.set_of[in_sets]])
    return rows, columns.astype(np.int64)


def _count(
    table: FeatureTable, models: Sequence[Linear], rows: Int64s, columns: Int64s, counts: Sequence[Counts]
) -> None:
    """Answers of all models to these pictures, added to their counts."""
    world = table.world
    num_classes = len(world.wnids)
    weights: Float32s = np.concatenate([model.weights for model in models])
    all_models = Linear(weights=weights, intercept=np.concatenate([model.intercept for model in models]))
    step = max(1, min(_MAX_BLOCK, _MAX_LOGITS // len(weights)))
    for start in range(0, len(rows), step):
        here = rows[start : start + step]
        objects = world.object_of[here]
        logits = all_models.logits(table.take(here)).reshape(len(here), len(models), num_classes)
        is_right = logits.argmax(axis=2) == world.class_of[objects][:, None]
        for number, own in enumerate(counts):
            own.add(objects, columns[start : start + step], is_right[:, number].astype(np.float64))
