"""`shardtools eval variation`: how far models hold when the factors of a picture vary, and what variation seen helps.

Owns the order: the world, the split, one model after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shardtools.errors import OptionError, TaxonomyError
from shardtools.evaluation.variation.feature_table import FeatureTable
from shardtools.evaluation.variation.figuring import Figuring
from shardtools.evaluation.variation.fitting import Answers, answer_trials
from shardtools.evaluation.variation.gaps import Resampling
from shardtools.evaluation.variation.options import VariationOptions
from shardtools.evaluation.variation.predicted import judge_predictions
from shardtools.evaluation.variation.result import (
    AVERAGE,
    SIMILARITY,
    SPEARMAN,
    UNSEEN,
    ModelVariation,
    VariationFigure,
    VariationResult,
)
from shardtools.evaluation.variation.similarity import (
    class_similarities,
    similarity_bins,
    similarity_correlation,
    similarity_points,
)
from shardtools.evaluation.variation.splitting import Split, read_twins, split_objects
from shardtools.evaluation.variation.training_overlay import write_training_sets
from shardtools.evaluation.variation.trials import trials_of
from shardtools.evaluation.variation.world import World, open_world
from shardtools.execution import Progress, ignore
from shardtools.words import counted


def measure(options: VariationOptions, *, progress: Progress = ignore) -> VariationResult:
    """Measures each model in one setting.

    Args:
        options: Which, and how.
        progress: Told what is done, and of every classifier that was fitted.

    Raises:
        DatasetError: A dataset holds no rendered pictures, or not those that the setting needs; there are no such
            features or predictions, or they are damaged.
        OptionError: A factor is none, or an option does not fit.
        PlanMismatchError: The datasets' features are of different encoders.
    """
    if not options.features and not options.predictions:
        raise OptionError(
            "a measurement needs features or predictions: give --features NAME (`shardtools features` makes them) or "
            "--predictions NAME"
        )
    world, split = open_split(options)
    models = [_fitted(world, split, name, options, progress) for name in options.features]
    models += [judge_predictions(world, split, name, options) for name in options.predictions]
    return VariationResult(
        setting=options.setting,
        dataset="+".join(url.rstrip("/").rpartition("/")[2] for url in options.datasets),
        sets=world.sets,
        factors=world.factors,
        seed=options.seed,
        models=tuple(models),
    )


def save_training_sets(options: VariationOptions, name: str, *, replace: bool = False) -> int:
    """Writes what a setting's classifiers are fitted to as an overlay of each dataset; returns the number of rows.

    Columns: key, fold, varied ("" for none), share (percent), repeat, weight. `shardtools train --view` takes a set of
    them, `measure` with `predictions` and the fold judges the network.

    Args:
        options: The datasets, the setting, and the split.
        name: Of the overlay.
        replace: Whether one that is there is written anew.

    Raises:
        AlreadyExistsError: One is there, and `replace` is not given.
        DatasetError: As in `measure`.
    """
    world, split = open_split(options)
    return write_training_sets(world, split, options, name, replace=replace)


def open_split(options: VariationOptions) -> tuple[World, Split]:
    """The pictures, and which objects are held out."""
    world = open_world(options.datasets)
    split = split_objects(
        world,
        held_out=options.held_out,
        num_folds=options.num_folds,
        seed=options.seed,
        twins=read_twins(options.twins, world) if options.twins is not None else (),
    )
    return world, split


def _fitted(world: World, split: Split, name: str, options: VariationOptions, progress: Progress) -> ModelVariation:
    table = FeatureTable(world, name)
    trials = trials_of(table.world, options)
    answers = answer_trials(table, split, trials, images=options.images, C=options.C, progress=progress)
    figuring = Figuring(table.world, answers, Resampling(split.fold_of, seed=options.seed))
    makers = {"canonical": figuring.canonical, "classes": figuring.classes}
    found = ModelVariation(
        model=name,
        source=table.source,
        protocol=_protocol(world, split, options),
        figures=tuple(makers.get(options.setting, figuring.shares)()),
        notes=(*table.world.notes, *split.notes, *canonical_notes(table.world)),
    )
    return _with_similarity(found, table.world, answers, options) if options.setting == "classes" else found


def _with_similarity(
    found: ModelVariation, world: World, answers: Sequence[Answers], options: VariationOptions
) -> ModelVariation:
    """With what the gaps of unseen classes have to do with how near the nearest varying one is."""
    try:
        similarities, name = class_similarities(world.wnids, options.text_features)
    except TaxonomyError as error:
        # The gaps stand without it: classes of the user's own are in no tree.
        return replace(found, notes=(*found.notes, f"no similarity of classes: {error}"))
    points = tuple(similarity_points(world, answers, similarities))
    figures = list(found.figures)
    for varied in dict.fromkeys(("", *(one.varied for one in points))):
        own = [one for one in points if varied in ("", one.varied)]
        correlation = similarity_correlation(own, seed=options.seed)
        if correlation is not None:
            figures.append(
                VariationFigure(
                    metric=SPEARMAN,
                    estimate=correlation,
                    varied=varied or AVERAGE,
                    group=UNSEEN,
                    measured=SIMILARITY,
                )
            )
    return replace(
        found,
        figures=tuple(figures),
        points=points,
        bins=tuple(similarity_bins(points, options.bins)) if points else (),
        similarity=name,
        notes=(*found.notes, f"similarity of classes: {name}"),
    )


def canonical_notes(world: World) -> tuple[str, ...]:
    """Which sets hold pictures that are canonical all the same, as seed 002's do: their gap is that much smaller."""
    notes = []
    for number, name in enumerate(world.sets):
        is_in = world.set_of == number
        same = int((is_in & world.is_canonical).sum())
        if same:
            notes.append(
                f"{name}: {counted(same, 'picture')} of {int(is_in.sum())} canonical all the same, so its gap is less"
            )
    return tuple(notes)


def _protocol(world: World, split: Split, options: VariationOptions) -> str:
    held = np.bincount(split.fold_of[split.fold_of >= 0], minlength=split.num_folds)
    fewest, most = int(held.min()), int(held.max())
    objects = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    parts = [
        f"linear, C {options.C:g}",
        f"{counted(split.num_folds, 'fold')}, {objects} of {counted(len(world.objects), 'object')} held out",
    ]
    if options.setting != "canonical":
        parts.append(f"{options.images} pictures an object")
    return "; ".join(parts)
