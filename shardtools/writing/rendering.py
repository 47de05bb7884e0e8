"""Rendered pictures, written as a dataset; and what they would come to.

Owns the order: a plan, which needs no graphics, is refused before a context is made, and a machine that cannot draw
before a file is written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from shardtools.errors import RunError
from shardtools.execution import Progress
from shardtools.rendering import (
    ObjectName,
    PhotoName,
    RenderedSource,
    RenderOptions,
    RenderPlan,
    SceneOptions,
    describe_renderer,
    make_plan,
    open_backgrounds,
    open_catalogue,
    open_rendered,
)
from shardtools.sources import SourceOptions
from shardtools.storage import open_storage
from shardtools.writing.job import check_apart
from shardtools.writing.options import WriteOptions
from shardtools.writing.run import WriteResult, write_dataset

BYTES_PER_IMAGE = 14_900.0
IMAGES_PER_SECOND = 25.0
"""Of one core with llvmpipe, and of 224 pixels as JPEGs of quality 95: measured on Debian's furniture."""

_MEASURED_SIDE = 224
_TRIED_OBJECTS = 8
_TRIED_IN_A_ROW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderEstimate:
    """What a plan would come to.

    Attributes:
        counts: Grid -> images.
        num_images: Of all grids.
        num_classes: Classes.
        num_objects: Objects.
        num_shards: Shards.
        num_bytes: Of the images.
        seconds: Wall time.
        num_processes: Processes that draw.
        images_per_second: Of one process, meshes loaded.
        unmeasured: Why nothing could be drawn here, so that bytes and time are those of another machine; `None` where
            some images were drawn and measured.
        notes: Lines on what is left out.
    """

    counts: Mapping[str, int]
    num_images: int
    num_classes: int
    num_objects: int
    num_shards: int
    num_bytes: int
    seconds: float
    num_processes: int
    images_per_second: float
    unmeasured: str | None
    notes: tuple[str, ...]


def write_rendered(
    meshes: str | os.PathLike[str],
    backgrounds: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: RenderOptions,
    scene: SceneOptions,
    *,
    samples_per_shard: int,
    num_processes: int | None = None,
    progress: Progress | None = None,
) -> WriteResult:
    """Renders the pictures, and only the shards that are not there yet.

    Args:
        meshes: A catalogue of meshes: a folder or s3://bucket/prefix.
        backgrounds: A catalogue of photographs, likewise.
        out: The dataset, likewise.
        options: Which pictures.
        scene: What all of them share.
        samples_per_shard: See `WriteOptions`.
        num_processes: See `WriteOptions`.
        progress: Called with each message of each process.

    Raises:
        PlanError: A class has too few objects.
        OptionError: There are too few photographs, or the dataset lies inside of a catalogue.
        SourceError: A catalogue cannot be read, or a file of it is not what it says.
        PlanMismatchError: The dataset there was rendered otherwise, or by another renderer; the message names it.
        RunError: This machine cannot draw; or the run was stopped or killed, and the same call resumes.
    """
    wanted = WriteOptions(
        source=SourceOptions(source=os.fspath(meshes)),
        out=os.fspath(out),
        samples_per_shard=samples_per_shard,
        num_processes=num_processes,
    )
    source = Catalogues(meshes, backgrounds).source(options, scene)
    check_apart(source.backgrounds.storage, open_storage(wanted.out))
    return write_dataset(replace(wanted, source=source), progress=progress)


def estimate_rendered(
    meshes: str | os.PathLike[str],
    backgrounds: str | os.PathLike[str],
    options: RenderOptions,
    scene: SceneOptions,
    *,
    samples_per_shard: int,
    num_processes: int | None = None,
) -> RenderEstimate:
    """Counts, bytes and time of a plan, out of some images that are drawn here; nothing is written.

    Args:
        meshes: As for `write_rendered`, and so are the others.
        backgrounds: See there.
        options: See there.
        scene: See there.
        samples_per_shard: See there.
        num_processes: See there.

    Raises:
        PlanError: See there.
        OptionError: See there.
        SourceError: See there.
    """
    wanted = WriteOptions(
        source=SourceOptions(source=os.fspath(meshes)),
        out="",
        samples_per_shard=samples_per_shard,
        num_processes=num_processes,
    )
    catalogues = Catalogues(meshes, backgrounds)
    plan = catalogues.plan(options)
    unmeasured: str | None = None
    try:
        with closing(catalogues.source(options, scene)) as source:
            speed = _tried(source)
    except RunError as error:
        unmeasured = str(error)
        share = (scene.image_size / _MEASURED_SIDE) ** 2
        speed = _Speed(bytes=BYTES_PER_IMAGE * share, image=share / IMAGES_PER_SECOND, mesh=0.0)
    num_shards = -(-len(plan) // samples_per_shard)
    processes = min(wanted.max_processes(), num_shards)
    seconds = len(plan) * speed.image + len(plan.objects) * speed.mesh
    return RenderEstimate(
        counts=plan.counts,
        num_images=len(plan),
        num_classes=len(plan.wnids),
        num_objects=len(plan.objects),
        num_shards=num_shards,
        num_bytes=round(len(plan) * speed.bytes),
        seconds=seconds / processes,
        num_processes=processes,
        images_per_second=len(plan) / seconds,
        unmeasured=unmeasured,
        notes=plan.notes,
    )


class Catalogues:
    """Both catalogues, opened."""

    def __init__(self, meshes: str | os.PathLike[str], backgrounds: str | os.PathLike[str]) -> None:
        self._meshes = open_catalogue(os.fspath(meshes))
        self._backgrounds = open_backgrounds(backgrounds)

    def plan(self, options: RenderOptions) -> RenderPlan:
        """As `make_plan`."""
        objects = (ObjectName(one.wnid, one.object_id) for one in self._meshes.objects)
        return make_plan(objects, [PhotoName(one.name, one.type) for one in self._backgrounds.photos], options)

    def source(self, options: RenderOptions, scene: SceneOptions, renderer: str | None = None) -> RenderedSource:
        """As `open_rendered`; `renderer` is this machine's where it is not known yet.

        Raises:
            RunError: This machine cannot draw.
        """
        plan = self.plan(options)
        return open_rendered(
            self._meshes,
            self._backgrounds,
            plan=plan,
            options=options,
            scene=scene,
            renderer=renderer or describe_renderer(scene),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speed:
    """Bytes of an image, seconds of one, and of a mesh that is loaded for the first."""

    bytes: float
    image: float
    mesh: float


def _tried(source: RenderedSource) -> _Speed:
    """Draws a few images in a row of each of some objects, as a run does: the first loads the mesh, too."""
    plan, [split] = source.plan, source.splits
    # The very first image also makes the context and its programs, and loads the canonical photograph.
    num_bytes = [len(one.image_bytes or b"") for one in source.samples(split, 0, 1)]
    firsts: list[float] = []
    others: list[float] = []
    count, in_row = min(_TRIED_OBJECTS, len(plan.objects)), min(_TRIED_IN_A_ROW, plan.num_images_an_object)
    for number in range(count):
        # Another place of the grids for each object: the small and the large, the one factor and the other.
        place = number * (plan.num_images_an_object - in_row) // count
        first = (number * len(plan.objects) // count) * plan.num_images_an_object + place
        began = time.perf_counter()
        for sample in source.samples(split, first, first + in_row):
            num_bytes.append(len(sample.image_bytes or b""))
            ended = time.perf_counter()
            (firsts if len(firsts) == number else others).append(ended - began)
            began = ended
    image = sum(others or firsts) / len(others or firsts)
    return _Speed(bytes=sum(num_bytes) / len(num_bytes), image=image, mesh=max(sum(firsts) / count - image, 0.0))
