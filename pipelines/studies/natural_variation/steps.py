"""The steps of the study, in their order, each of which is skipped once what it makes is there."""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.errors import DatasetError
from shardtools.evaluation import ModelOptions
from shardtools.evaluation.predictions import PredictOptions, predict
from shardtools.evaluation.variation import VariationOptions, measure
from shardtools.features import FeatureOptions
from shardtools.overlays import overlay_names
from shardtools.pipelines.studies.natural_variation.measured import has_measured, store
from shardtools.pipelines.studies.natural_variation.plan import (
    MAIN,
    StudyOptions,
    Training,
    list_measurements,
    list_trainings,
    list_worlds,
)
from shardtools.pipelines.studies.natural_variation.repeats import overlay_name
from shardtools.pipelines.studies.natural_variation.trainings import run_folder, training_options
from shardtools.pipelines.studies.steps import Step, feature_step, largest_classes, render_step
from shardtools.pipelines.studies.training import train_whole
from shardtools.storage import Storage, open_storage


def choose_classes(options: StudyOptions) -> tuple[str, ...]:
    """The classes of the study; see `largest_classes`."""
    return largest_classes(options.meshes_folder, num_classes=options.classes, num_objects=options.objects)


def world_steps(options: StudyOptions, wnids: tuple[str, ...]) -> Iterator[Step]:
    """Worlds, and their features by each encoder."""
    worlds = list_worlds(options, wnids)
    catalogues = options.meshes_folder, options.backgrounds_folder
    for world in worlds:
        out = options.dataset(world.name)
        yield render_step(world.name, catalogues, out, world.render, world.scene, options.processes)
    for encoder, name in options.features.items():
        network, _, weights = encoder.partition("=")
        for world in worlds:
            wanted = FeatureOptions(
                dataset=options.dataset(world.name),
                encoder=network,
                weights=weights or None,
                name=name,
                num_processes=options.processes,
                device="cpu",
            )
            yield feature_step(world.name, wanted)


def measure_steps(options: StudyOptions, storage: Storage) -> Iterator[Step]:
    """What is measured of features."""
    for one in list_measurements(options):
        yield _measure_step(storage, one.name, one.world, one.options)


def training_steps(options: StudyOptions, storage: Storage) -> Iterator[Step]:
    """Trainings, their predictions, and what is measured of these, all on the objects that the first fold holds out."""
    trainings = list(list_trainings(options))
    for training in trainings:
        yield _train_step(options, training)
        yield _predict_step(options, training)
    if trainings:
        judged = VariationOptions(
            datasets=(options.dataset(MAIN),),
            predictions=tuple(overlay_name(one) for one in trainings),
            num_folds=options.folds,
            twins=options.meshes_folder,
            fold=0,
        )
        yield _measure_step(storage, TRAINED, MAIN, judged)


TRAINED = f"{MAIN}-trained"


def measured_names(options: StudyOptions) -> list[str]:
    """Names of all measurements, in their order."""
    names = [one.name for one in list_measurements(options)]
    return names + ([TRAINED] if any(True for _ in list_trainings(options)) else [])


def _measure_step(storage: Storage, name: str, world: str, wanted: VariationOptions) -> Step:
    return Step(
        name=f"figures {name}",
        is_done=lambda: has_measured(storage, name),
        run=lambda: store(storage, name, world, measure(wanted)),
    )


def _train_step(options: StudyOptions, training: Training) -> Step:
    return Step(
        name=f"training {training.name}",
        is_done=lambda: _is_predicted(options, training),
        run=lambda: train_whole(training_options(options, training), training.name),
    )


def _predict_step(options: StudyOptions, training: Training) -> Step:
    def run() -> None:
        if not run_folder(options, training).is_dir():
            raise DatasetError(f"{run_folder(options, training)} is gone: the same command trains again")
        predict(
            PredictOptions(
                datasets=(options.dataset(MAIN),),
                model=ModelOptions(model=str(run_folder(options, training))),
                name=overlay_name(training),
                num_processes=options.processes,
                device="cpu",
            )
        )

    return Step(name=f"predictions of {training.name}", is_done=lambda: _is_predicted(options, training), run=run)


def _is_predicted(options: StudyOptions, training: Training) -> bool:
    return overlay_name(training) in overlay_names(open_storage(options.dataset(MAIN)))
