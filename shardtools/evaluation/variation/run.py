"""`shardtools eval variation`: how far models hold when the factors of a picture vary, and what variation seen helps.

Owns the order: the world, the split, one model after another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shardtools.evaluation.variation.feature_table import FeatureTable
from shardtools.evaluation.variation.fitting import answer_trials
from shardtools.evaluation.variation.gaps import Resampling
from shardtools.evaluation.variation.options import VariationOptions
from shardtools.evaluation.variation.result import ModelVariation, VariationResult
from shardtools.evaluation.variation.settings import Figuring, trials_of
from shardtools.evaluation.variation.splitting import Split, read_twins, split_objects
from shardtools.evaluation.variation.world import World, open_world
from shardtools.words import counted


def measure(options: VariationOptions, *, report: Callable[[str], None] = lambda _line: None) -> VariationResult:
    """Measures each model in one setting.

    Args:
        options: Which, and how.
        report: Called with a line a step.

    Raises:
        DatasetError: A dataset holds no rendered pictures, or not those that the setting needs; there are no such
            features or predictions, or they are damaged.
        OptionError: A factor is none, or an option does not fit.
        PlanMismatchError: The datasets' features are of different encoders.
    """
    world = open_world(options.datasets)
    split = split_objects(
        world,
        held_out=options.held_out,
        num_folds=options.num_folds,
        seed=options.seed,
        twins=read_twins(options.twins, world) if options.twins is not None else (),
    )
    models = [_fitted(world, split, name, options, report) for name in options.features]
    return VariationResult(
        setting=options.setting,
        dataset="+".join(url.rstrip("/").rpartition("/")[2] for url in options.datasets),
        sets=world.sets,
        factors=world.factors,
        seed=options.seed,
        models=tuple(models),
    )


def _fitted(
    world: World, split: Split, name: str, options: VariationOptions, report: Callable[[str], None]
) -> ModelVariation:
    table = FeatureTable(world, name)
    trials = trials_of(table.world, options)
    answers = answer_trials(table, split, trials, images=options.images, C=options.C, report=report)
    figuring = Figuring(table.world, answers, Resampling(split.fold_of, seed=options.seed))
    makers = {"canonical": figuring.canonical, "classes": figuring.classes}
    return ModelVariation(
        model=name,
        source=table.source,
        protocol=_protocol(world, split, options),
        figures=tuple(makers.get(options.setting, figuring.shares)()),
        notes=(*table.world.notes, *split.notes, *canonical_notes(table.world)),
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
