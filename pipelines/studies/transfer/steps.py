"""The steps of the study of transfer, in their order.

Owns the order and what "there" means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shardtools.pipelines.studies.steps import Step, catalogue_steps, largest_classes, render_step
from shardtools.pipelines.studies.transfer.plan import (
    CLOTHES,
    DIGITS,
    PRETRAINING,
    RECIPES,
    RENDERED,
    SETS,
    Network,
    StudyOptions,
)
from shardtools.pipelines.studies.transfer.pretraining import is_pretrained, pretrain
from shardtools.pipelines.studies.transfer.probing import extract, feature_name, is_probed, probe
from shardtools.pipelines.studies.transfer.sets import (
    write_clothes,
    write_digits,
    write_pretraining,
    write_rendered_sets,
)
from shardtools.pipelines.studies.transfer.tuning import tune, tuned_report, write_study
from shardtools.rendering import RenderOptions, SceneOptions
from shardtools.storage import open_storage

WORLD = "world"
_SIDE = 224


def set_steps(options: StudyOptions) -> Iterator[Step]:
    """What is pretrained on, and the four sets."""
    for name, write in ((PRETRAINING, write_pretraining), (CLOTHES, write_clothes), (DIGITS, write_digits)):
        yield _dataset_step(options, name, write)
    meshes, backgrounds, world = _meshes(options), str(options.folder / "backgrounds"), options.dataset(WORLD)
    there = [open_storage(options.dataset(name)).exists("dataset.json") for name in RENDERED]
    if all(there):
        # What they were made from may have been removed.
        return
    yield from catalogue_steps(options.meshes, meshes, None, backgrounds)
    # Only now: which classes there are is read of the catalogue.
    classes = largest_classes(meshes, num_classes=options.classes, num_objects=options.objects)
    render = RenderOptions(classes=",".join(classes), objects=options.objects, factors=("background",))
    scene = SceneOptions(image_size=_SIDE)
    yield render_step(WORLD, (meshes, backgrounds), world, render, scene, options.processes)
    yield Step(
        name=f"sets {' and '.join(RENDERED)}",
        is_done=lambda: all(open_storage(options.dataset(name)).exists("dataset.json") for name in RENDERED),
        run=lambda: write_rendered_sets(options, world, meshes),
    )


def _meshes(options: StudyOptions) -> str:
    return str(options.folder / "meshes")


def _dataset_step(options: StudyOptions, name: str, write: Callable[[StudyOptions], None]) -> Step:
    return Step(
        name=f"dataset {name}",
        is_done=lambda: open_storage(options.dataset(name)).exists("dataset.json"),
        run=lambda: write(options),
    )


def network_steps(options: StudyOptions) -> Iterator[Step]:
    """The pretrainings, then the probes of all networks."""
    for recipe in RECIPES:
        yield _pretraining_step(options, recipe)
    networks: tuple[Network | str, ...] = (*options.networks, *options.lite)
    for network in networks:
        yield _probe_step(options, network)


def _pretraining_step(options: StudyOptions, recipe: str) -> Step:
    return Step(
        name=f"pretraining {recipe}",
        is_done=lambda: is_pretrained(options, recipe),
        run=lambda: pretrain(options, recipe),
    )


def _probe_step(options: StudyOptions, network: Network | str) -> Step:
    def run() -> None:
        for name in SETS:
            extract(options, network, name)
            probe(options, network, name)

    return Step(
        name=f"probes of {feature_name(network)}",
        is_done=lambda: all(is_probed(options, network, name) for name in SETS),
        run=run,
    )


def tuning_steps(options: StudyOptions) -> Iterator[Step]:
    """Fine-tuning."""

    def run() -> None:
        write_study(options)
        tune(options)

    def is_done() -> bool:
        return (options.folder / "tuning.toml").exists() and not tuned_report(options).num_left

    yield Step(name="fine-tuning", is_done=is_done, run=run)
