"""Trainings of the study: which pictures a network sees, and by which recipe.

Owns the choice of pictures, as an SQL condition that names the objects held out by the first fold, so that a run's own
file says what it was trained on. Trainings on varied pictures see more of them in fewer passes, one at least: about as
many steps, so that more steps are not what helps.
"""

from __future__ import annotations

from pathlib import Path

from shardtools.evaluation.variation import Split, World, open_world, read_twins, split_objects
from shardtools.pipelines.studies.natural_variation.plan import FINE_TUNED, MAIN, StudyOptions, Training
from shardtools.pipelines.studies.training import ONE_CORE
from shardtools.training import TrainOptions, load_recipe

_MICRO_SIDE = 64
_FINE_TUNED_SIDE = 224
_BATCH = {True: 25, False: 50}


def run_folder(options: StudyOptions, training: Training) -> Path:
    """Where a training lies."""
    return options.folder / "runs" / training.name


def held_out_condition(world: World, split: Split) -> str:
    """SQL that leaves out what the first fold may not learn from."""
    lost = [one for one, is_trained in zip(world.objects, split.trained(0), strict=True) if not is_trained]
    names = ", ".join(f"'{one.wnid}/{one.object_id}'" for one in lost)
    return f"wnid || '/' || object_id not in ({names})"


def training_options(options: StudyOptions, training: Training) -> TrainOptions:
    """What `shardtools train` is asked for."""
    world = open_world((options.dataset(MAIN),))
    twins = read_twins(options.meshes_folder, world)
    split = split_objects(world, held_out=None, num_folds=options.folds, seed=0, twins=twins)
    where = held_out_condition(world, split)
    is_trained = split.trained(0)[world.object_of]
    num_canonical = int((is_trained & (world.set_of < 0)).sum())
    num_images = int(is_trained.sum()) if training.varied else num_canonical
    if not training.varied:
        where += " and grid = 'canonical'"
    is_fine = training.how == FINE_TUNED
    # About as many images are seen in all, whatever there are.
    epochs = max(1, round(options.epochs[0 if is_fine else 1] * num_canonical / num_images))
    batch = min(_BATCH[is_fine], num_images)
    sizes = _fine_sizes(options) if is_fine else _micro_sizes()
    changes = {**sizes, "encoder": training.encoder, "epochs": str(epochs), "batch_size": str(batch)}
    return TrainOptions(
        datasets=(options.dataset(MAIN),),
        out=str(run_folder(options, training)),
        recipe=load_recipe("fine-tune" if is_fine else "micro", changes),
        where=where,
        init=training.encoder if is_fine else None,
        seed=training.seed,
        **ONE_CORE,
    )


def _fine_sizes(options: StudyOptions) -> dict[str, str]:
    side = str(min(_FINE_TUNED_SIDE, options.image_size))
    return {"image_size": side, "eval_resize": side}


def _micro_sizes() -> dict[str, str]:
    """The recipe is of 32 pixels and of clothes; ImageNet's mean and deviation are those of photographs."""
    side = str(_MICRO_SIDE)
    return {
        "image_size": side,
        "eval_resize": side,
        "mean": "0.485,0.456,0.406",
        "std": "0.229,0.224,0.225",
    }
