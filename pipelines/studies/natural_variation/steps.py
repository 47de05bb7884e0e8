"""The steps of the study, in their order, each of which is skipped once what it makes is there.

Owns the order and what "there" means.
"""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError, PlanError
from shardtools.evaluation import ModelOptions
from shardtools.evaluation.predictions import PredictOptions, predict
from shardtools.evaluation.variation import VariationOptions, measure
from shardtools.features import FeatureOptions, extract_features, feature_names
from shardtools.overlays import overlay_names
from shardtools.pipelines.studies.natural_variation.measured import has_measured, store
from shardtools.pipelines.studies.natural_variation.plan import (
    MAIN,
    StudyOptions,
    Training,
    World,
    list_measurements,
    list_trainings,
    list_worlds,
)
from shardtools.pipelines.studies.natural_variation.repeats import overlay_name
from shardtools.pipelines.studies.natural_variation.trainings import run_folder, run_training
from shardtools.pipelines.studies.steps import Step
from shardtools.rendering import (
    BackgroundOptions,
    MeshCatalogue,
    MeshOptions,
    make_backgrounds,
    make_catalogue,
    open_catalogue,
)
from shardtools.storage import Storage, open_storage
from shardtools.words import counted
from shardtools.writing import write_rendered

_SHARD = 500


def catalogue_steps(options: StudyOptions) -> Iterator[Step]:
    """Meshes and photographs."""
    meshes, backgrounds = options.meshes_folder, options.backgrounds_folder
    yield Step(
        name="catalogue of meshes",
        is_done=lambda: open_storage(meshes).exists("meshes.csv"),
        run=lambda: make_catalogue(MeshOptions(source=options.meshes, out=meshes)),
    )
    yield Step(
        name="catalogue of photographs",
        is_done=lambda: open_storage(backgrounds).exists("backgrounds.csv"),
        run=lambda: make_backgrounds(options.backgrounds, backgrounds, BackgroundOptions()),
    )


def choose_classes(options: StudyOptions) -> tuple[str, ...]:
    """The classes with the most objects, sorted by wnid; of equals the first.

    Raises:
        PlanError: Too few classes have enough objects.
    """
    catalogue: MeshCatalogue = open_catalogue(options.meshes_folder)
    counts: dict[str, int] = {}
    for one in catalogue.objects:
        counts[one.wnid] = counts.get(one.wnid, 0) + 1
    fitting = sorted((-count, wnid) for wnid, count in counts.items() if count >= options.objects)
    if len(fitting) < options.classes:
        raise PlanError(
            f"{catalogue.storage.url}: {counted(len(fitting), 'class', 'classes')} of at least "
            f"{counted(options.objects, 'object')}, the study wants {options.classes}: give fewer --classes, or fewer "
            "--objects"
        )
    return tuple(sorted(wnid for _, wnid in fitting[: options.classes]))


def world_steps(options: StudyOptions, wnids: tuple[str, ...]) -> Iterator[Step]:
    """Worlds, and their features by each encoder."""
    worlds = list_worlds(options, wnids)
    for world in worlds:
        yield _render_step(options, world)
    for encoder, name in options.features.items():
        for world in worlds:
            yield _feature_step(options, world, encoder, name)


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


def _render_step(options: StudyOptions, world: World) -> Step:
    out = options.dataset(world.name)
    return Step(
        name=f"pictures of {world.name}",
        is_done=lambda: open_storage(out).exists("dataset.json"),
        run=lambda: write_rendered(
            options.meshes_folder,
            options.backgrounds_folder,
            out,
            world.render,
            world.scene,
            samples_per_shard=_SHARD,
            num_processes=options.processes,
        ),
    )


def _feature_step(options: StudyOptions, world: World, encoder: str, name: str) -> Step:
    out = options.dataset(world.name)
    network, _, weights = encoder.partition("=")
    wanted = FeatureOptions(
        dataset=out,
        encoder=network,
        weights=weights or None,
        name=name,
        num_processes=options.processes,
        device="cpu",
    )
    return Step(
        name=f"features of {world.name} by {name}",
        is_done=lambda: name in feature_names(open_dataset(out)),
        run=lambda: extract_features(wanted),
    )


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
        run=lambda: run_training(options, training),
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
