"""Models that were trained already, judged by their predictions: zero-shot ones, or runs of `shardtools train`.

Owns among which classes a model answers: among those of the world, where it knows them by wnid and kept all logits;
else among all of its outputs. The price of not fitting: objects that it was trained on are not known here, so whoever
trained it on some of them names the fold.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Bools, Float64s, filled, from_int64
from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.predictions import Predictions, open_predictions
from shardtools.evaluation.sets import restrict
from shardtools.evaluation.variation.figuring import Figuring
from shardtools.evaluation.variation.fitting import Answers, Trial, judged_rows
from shardtools.evaluation.variation.gaps import Counts, Resampling
from shardtools.evaluation.variation.options import VariationOptions
from shardtools.evaluation.variation.result import ModelVariation
from shardtools.evaluation.variation.splitting import Split
from shardtools.evaluation.variation.world import World
from shardtools.quoting import shell_word
from shardtools.words import counted

_PREFIX = "predictions_"


def judge_predictions(world: World, split: Split, name: str, options: VariationOptions) -> ModelVariation:
    """Accuracies and gaps of a model that is not fitted here.

    Args:
        world: All pictures.
        split: Which objects a fold holds out.
        name: Of the predictions in every dataset.
        options: Which fold, if any.

    Raises:
        DatasetError: A dataset has no such predictions, or none of a canonical picture of an object.
        OptionError: They are of pictures that were corrupted, or there is no such fold.
    """
    if options.fold is not None and options.fold >= split.num_folds:
        raise OptionError(f"--fold is 0 to {split.num_folds - 1}, found {options.fold}: give one of --folds")
    is_right = np.full(len(world), np.nan)
    hows: dict[str, None] = {}
    sources = []
    for number, url in enumerate(world.datasets):
        predictions = open_predictions(url, name)
        rows = np.flatnonzero(world.dataset_of == number)
        right, how = _right(world, predictions)
        answered = predictions.keys.cast(pa.large_string())
        places = filled(pc.index_in(world.keys.take(from_int64(rows)), value_set=answered), -1)
        has = places >= 0
        is_right[rows[has]] = right[places[has]]
        sources.append(predictions.overlay.url)
        hows[how] = None
    judged = np.isfinite(is_right)
    kept = world.only(judged)
    is_known = kept.canonical_row >= 0
    if not is_known.any():
        raise DatasetError(f"{name} has no answer for a canonical picture of {world.where}: predict all of them")
    held, trained = is_known, None
    if options.fold is not None:
        held, trained = is_known & split.held_out(options.fold), is_known & split.trained(options.fold)
    answers = Answers(
        trial=Trial(), counts=_count(kept, held, is_right[judged]), trained=_count(kept, trained, is_right[judged])
    )
    resampling = Resampling(np.where(held, 0, -1).astype(np.int64), seed=options.seed)
    where = "all objects" if options.fold is None else f"fold {options.fold}, {counted(int(held.sum()), 'object')}"
    return ModelVariation(
        model=name.removeprefix(_PREFIX),
        source=" and ".join(sources),
        protocol=f"as trained, among {' or '.join(hows)}; {where}",
        figures=tuple(Figuring(kept, [answers], resampling).canonical()),
        notes=_notes(name, judged, is_known),
    )


def _right(world: World, predictions: Predictions) -> tuple[Float64s, str]:
    """Whether each answer is the picture's class, NaN where it has none, and among which classes; float64 [N]."""
    if predictions.plan.has_variants:
        raise OptionError(
            f"{predictions.overlay.url} has several rows a picture: predict without --corruption, under another --name"
        )
    is_known = predictions.labels >= 0
    if not is_known.any():
        raise DatasetError(
            f"{predictions.overlay.url} has no label that the model knows: give a model of the dataset's classes "
            f"(`shardtools predict MODEL {shell_word(predictions.dataset)}`)"
        )
    right = predictions.rank == 1
    how = f"all {predictions.model.num_outputs} outputs"
    outputs = predictions.model.classes
    if predictions.logits is not None and outputs is not None and set(outputs) > set(world.wnids) & set(outputs):
        restricted = restrict(predictions.logits, outputs, world.wnids)
        right = restricted.predicted == predictions.labels
        how = f"{len(restricted.outputs)} classes"
    return np.where(is_known, right.astype(np.float64), np.nan), how


def _notes(name: str, judged: Bools, is_known: Bools) -> tuple[str, ...]:
    lost, unknown = int((~judged).sum()), int((~is_known).sum())
    notes = []
    if lost:
        notes.append(f"{name}: {counted(lost, 'picture')} without an answer, or of a class unknown to the model")
    if unknown:
        notes.append(f"{name}: {counted(unknown, 'object')} left out, whose canonical picture is among them")
    return tuple(notes)


def _count(world: World, objects: Bools | None, is_right: Float64s) -> Counts:
    counts = Counts.none(len(world.objects), len(world.sets))
    if objects is not None:
        rows, columns = judged_rows(world, objects)
        counts.add(world.object_of[rows], columns, is_right[rows])
    return counts
