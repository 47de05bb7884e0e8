"""Steps of a study: what each makes, whether that is there, and the jobs that several studies begin with.

Owns the order's unit and what "there" means. Every step is a job of its own room that resumes by itself; the study's
process waits for it. The price: steps follow one another, even where two would fit on the machine.
"""

from __future__ import annotations

import json
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardtools.dataset import acquire, open_dataset
from shardtools.errors import PlanError, RunError, ShardtoolsError
from shardtools.features import FeatureOptions, extract_features, feature_names
from shardtools.pipelines.studies.folder import hold_to_settings
from shardtools.rendering import (
    BackgroundOptions,
    MeshOptions,
    RenderOptions,
    SceneOptions,
    make_backgrounds,
    make_catalogue,
    open_catalogue,
)
from shardtools.storage import Storage, open_storage
from shardtools.words import counted
from shardtools.writing import write_rendered

STEPS_FILE, LOG_FILE = "steps.jsonl", "errors.log"
_SHARD = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step.

    Attributes:
        name: What it makes.
        is_done: Whether that is there.
        run: Makes it, or goes on with it.
    """

    name: str
    is_done: Callable[[], bool]
    run: Callable[[], object]


Run = Callable[[Iterable[Step]], None]
"""Runs the steps that are not done, one after the other."""


@contextmanager
def hold_study(folder: Path, settings: Mapping[str, Any], show: Callable[[str], None]) -> Iterator[tuple[Storage, Run]]:
    """A study's folder while it is worked on: one study, one process; with what runs its steps there.

    Args:
        folder: Of the study.
        settings: What it is held to: name -> JSON value.
        show: Called with lines about what is done.

    Raises:
        ShardtoolsError: The folder holds another study, is in use, or cannot be written.
        RunError: Of the steps: the folder was taken over by another run.
    """
    storage = open_storage(str(folder))
    storage.check_writable()
    with acquire(storage, purpose="study") as lease:
        hold_to_settings(storage, settings)

        def run(steps: Iterable[Step]) -> None:
            for step in steps:
                if lease.lost:
                    raise RunError(f"{folder} was taken over by another run: look at that one")
                run_step(folder, step, show)

        yield storage, run


def run_step(folder: Path, step: Step, show: Callable[[str], None]) -> None:
    """Runs a step unless it is done, and notes what it took, CPU seconds of child processes included.

    Args:
        folder: Of the study.
        step: The step.
        show: Called with lines about what is done.

    Raises:
        ShardtoolsError: The step failed; the trace of an error that nobody expected goes to a file.
    """
    if step.is_done():
        return
    show(step.name)
    before, started = _cpu_seconds(), time.monotonic()
    try:
        step.run()
    except ShardtoolsError:
        raise
    except Exception as error:
        path = folder / LOG_FILE
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{step.name}\n")
            traceback.print_exc(file=log)
        raise RunError(f"{step.name}: {type(error).__name__}: {error} (trace in {path}); what is done stays") from error
    line = {
        "step": step.name,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(_cpu_seconds() - before, 1),
    }
    with (folder / STEPS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    show(f"{step.name}: {line['seconds']} s, {line['cpu_seconds']} CPU seconds")


def catalogue_steps(
    meshes: str, meshes_folder: str, backgrounds: str | None, backgrounds_folder: str
) -> Iterator[Step]:
    """Catalogues of meshes and photographs.

    Args:
        meshes: Source of objects, as `shardtools meshes` takes it.
        meshes_folder: Their catalogue.
        backgrounds: Source of photographs, as `shardtools backgrounds` takes it; `None` for the default set.
        backgrounds_folder: Their catalogue.
    """
    yield Step(
        name="catalogue of meshes",
        is_done=lambda: open_storage(meshes_folder).exists("meshes.csv"),
        run=lambda: make_catalogue(MeshOptions(source=meshes, out=meshes_folder)),
    )
    yield Step(
        name="catalogue of photographs",
        is_done=lambda: open_storage(backgrounds_folder).exists("backgrounds.csv"),
        run=lambda: make_backgrounds(backgrounds, backgrounds_folder, BackgroundOptions()),
    )


def object_counts(meshes_folder: str) -> Counter[str]:
    """Class of a catalogue -> its objects."""
    return Counter(one.wnid for one in open_catalogue(meshes_folder).objects)


def largest_classes(meshes_folder: str, *, num_classes: int, num_objects: int) -> tuple[str, ...]:
    """The classes of a catalogue with the most objects, sorted by wnid; of equals the first.

    Args:
        meshes_folder: The catalogue.
        num_classes: How many are wanted.
        num_objects: That each has at least.

    Raises:
        PlanError: Too few classes have enough objects.
    """
    counts = object_counts(meshes_folder)
    fitting = sorted((-count, wnid) for wnid, count in counts.items() if count >= num_objects)
    if len(fitting) < num_classes:
        raise PlanError(
            f"{meshes_folder}: {counted(len(fitting), 'class', 'classes')} of at least "
            f"{counted(num_objects, 'object')}, the study wants {num_classes}: give fewer --classes, or fewer --objects"
        )
    return tuple(sorted(wnid for _, wnid in fitting[:num_classes]))


def render_step(
    name: str, catalogues: tuple[str, str], out: str, render: RenderOptions, scene: SceneOptions, processes: int
) -> Step:
    """A rendered dataset.

    Args:
        name: Of the world.
        catalogues: Folders of meshes and of photographs.
        out: The dataset.
        render: Which pictures.
        scene: What they share.
        processes: That draw.
    """
    return Step(
        name=f"pictures of {name}",
        is_done=lambda: open_storage(out).exists("dataset.json"),
        run=lambda: write_rendered(*catalogues, out, render, scene, samples_per_shard=_SHARD, num_processes=processes),
    )


def feature_step(world: str, options: FeatureOptions) -> Step:
    """Features of a dataset, unless it has some of that name; `world` is what the step calls it."""
    return Step(
        name=f"features of {world} by {options.features_name}",
        is_done=lambda: options.features_name in feature_names(open_dataset(options.dataset)),
        run=lambda: extract_features(options),
    )


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
