"""The steps of the study, in their order, each of which is skipped once what it makes is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from shardtools.dataset import open_dataset
from shardtools.errors import PlanError
from shardtools.evaluation.cog import CogOptions, run_cog
from shardtools.evaluation.results import Result, read_results, write_results
from shardtools.features import FeatureOptions, feature_names
from shardtools.overlays import overlay_names
from shardtools.pipelines.studies.micro_cog.concepts import Concepts, write_parts
from shardtools.pipelines.studies.micro_cog.plan import (
    WORLD,
    StudyOptions,
    features_of,
    list_trainings,
    model_names,
    overlay_name,
)
from shardtools.pipelines.studies.micro_cog.trainings import run_folder, training_options
from shardtools.pipelines.studies.steps import Step, feature_step, object_counts, render_step
from shardtools.pipelines.studies.training import train_whole
from shardtools.rendering import RenderOptions, SceneOptions
from shardtools.sources import SourceOptions
from shardtools.storage import Storage, open_storage
from shardtools.words import counted
from shardtools.writing import WriteOptions, write_dataset

MEASURED_FOLDER = "measured/"
RESULTS_FILE = "results.parquet"
_SEED = 22


def choose_classes(options: StudyOptions) -> tuple[str, ...]:
    """The classes that have enough objects, sorted.

    Raises:
        PlanError: There are fewer than the levels take.
    """
    counts = object_counts(options.catalogues[0])
    found = tuple(sorted(wnid for wnid, count in counts.items() if count >= options.at_least))
    if len(found) < options.levels * options.size:
        raise PlanError(
            f"{options.catalogues[0]}: {counted(len(found), 'class', 'classes')} of at least "
            f"{counted(options.at_least, 'object')}, the levels take {options.levels * options.size}: give fewer "
            "--levels, or a smaller --size"
        )
    return found


def picture_steps(options: StudyOptions, wnids: Sequence[str]) -> Iterator[Step]:
    """The rendered world, and the photographs."""
    render = RenderOptions(
        grids=("canonical", "all"),
        classes=",".join(wnids),
        objects=options.objects,
        at_least=options.at_least,
        draws=options.draws,
        pose_range=(-60.0, 60.0),
        size_range=(0.7, 1.1),
        position_range=(-0.15, 0.15),
    )
    # Furniture turned as people walk around it: rolls and far sizes would be another study's question.
    scene = SceneOptions(image_size=options.image_size, pose_axis="yaw")
    yield render_step(WORLD, options.catalogues, options.dataset(WORLD), render, scene, options.processes)
    if options.fashion:
        out = options.dataset("fashion")
        wanted = WriteOptions(source=SourceOptions(source=options.fashion), out=out, num_processes=options.processes)
        yield Step(
            name="photographs",
            is_done=lambda: open_storage(out).exists("dataset.json"),
            run=lambda: write_dataset(wanted),
        )


def network_steps(options: StudyOptions, concepts: Concepts) -> Iterator[Step]:
    """Which pictures are learnt from in each fold, own networks, features of all."""
    dataset = options.dataset(WORLD)
    for fold in range(options.folds):
        yield Step(
            name=f"parts of fold {fold}",
            is_done=lambda fold=fold: overlay_name(fold) in overlay_names(open_storage(dataset)),  # type: ignore[misc]
            run=lambda fold=fold: write_parts(options, concepts, fold),  # type: ignore[misc]
        )
    for training in list_trainings(options):
        # Features are what a training is for; where they are, it is not made again.
        yield Step(
            name=f"training {training.name}",
            is_done=lambda name=training.name: name in feature_names(open_dataset(dataset)),  # type: ignore[misc]
            run=lambda training=training: train_whole(  # type: ignore[misc]
                training_options(options, concepts, training), training.name
            ),
        )
        yield feature_step(WORLD, _features(options, str(run_folder(options, training)), training.name))
    for encoder in options.encoders:
        yield feature_step(WORLD, _features(options, encoder, encoder))


def measure_steps(options: StudyOptions, storage: Storage) -> Iterator[Step]:
    """A linear classifier a model, a fold, a set of concepts and a number of images."""
    for fold in range(options.folds):
        for model in model_names(options):
            name = measured_name(model, fold)
            yield Step(
                name=f"figures of {model}, fold {fold}",
                is_done=lambda name=name: storage.exists(name),  # type: ignore[misc]
                run=lambda name=name, model=model, fold=fold: write_results(  # type: ignore[misc]
                    measure(options, model, fold), options.folder / name
                ),
            )


def measured_name(model: str, fold: int) -> str:
    """Of the file of a model's figures in a fold."""
    return f"{MEASURED_FOLDER}{model}-fold{fold}.parquet"


def measure(options: StudyOptions, model: str, fold: int) -> list[Result]:
    """The figures of a model in a fold; the fold stands where rows have their seed."""
    found = run_cog(
        CogOptions(
            dataset=options.dataset(WORLD),
            overlay=overlay_name(fold),
            features=(features_of(options, model, fold),),
            shots=options.shots,
            solver="lbfgs",
            seeds=(_SEED,),
            num_trials=options.trials,
        )
    )
    return [replace(row, model=model, seed=fold, source="micro-CoG") for row in found.results]


def read_measured(options: StudyOptions) -> list[Result]:
    """All figures, model by model."""
    names = [measured_name(model, fold) for model in model_names(options) for fold in range(options.folds)]
    return read_results([options.folder / name for name in names])


def _features(options: StudyOptions, encoder: str, name: str) -> FeatureOptions:
    return FeatureOptions(
        dataset=options.dataset(WORLD),
        encoder=encoder,
        name=name,
        num_processes=options.processes,
        device="cpu",
    )
