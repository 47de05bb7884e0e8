"""Rendered pictures as a source: what is written of them is an ordinary dataset.

Owns the rows. A mesh and its buffers are kept until another object's turn comes, photographs while they are among the
last used; each process draws with a context of its own, made at its first picture. The price: bits hold within one
renderer, so its name is part of the plan, and a process that draws with another one ends the run.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from shardtools.arrays import UInt8s
from shardtools.errors import RunError, SourceError
from shardtools.rendering.backgrounds.catalogue import Backgrounds, Photo
from shardtools.rendering.factors import as_seen
from shardtools.rendering.mesh import Mesh
from shardtools.rendering.meshes.catalogue import MeshCatalogue, MeshObject
from shardtools.rendering.options import RENDERED, RenderOptions
from shardtools.rendering.plan import PlannedImage, RenderPlan, image_key
from shardtools.rendering.scene import RENDERING_VERSION
from shardtools.rendering.scene_options import SceneOptions
from shardtools.sample import Sample
from shardtools.sources import Source

if TYPE_CHECKING:
    from shardtools.rendering.opengl import Renderer

SPLIT = "train"
"""Of all rows: the split by objects is the protocol's."""

UNRENDERABLE, EMPTY = "unrenderable", "empty"
"""Status of an object that cannot be drawn, and of a picture that shows nothing of it."""

_PNG_LEVEL = 6
_PHOTOS_KEPT = 64


def describe_renderer(scene: SceneOptions) -> str:
    """What this machine draws with.

    Raises:
        RunError: It does not.
    """
    with _open_renderer(scene) as renderer:
        return renderer.description


def _open_renderer(scene: SceneOptions) -> Renderer:
    from shardtools.rendering.opengl import Renderer

    return Renderer(scene)


@dataclass(slots=True)
class _Tools:
    """What this process draws with; begun anew in each."""

    renderer: Renderer | None = None
    object_index: int | None = None
    mesh: Mesh | None = None
    failure: str | None = None
    photos: OrderedDict[str, UInt8s] = field(default_factory=OrderedDict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedSource(Source):
    """Pictures of a plan.

    Attributes:
        plan: Which.
        meshes: Where the objects are read.
        objects: Those of the plan, in its order.
        backgrounds: Where the photographs are read.
        photos: Name -> photograph, of all that the plan names.
        scene: What all pictures share.
        options: Format and quality.
        renderer: What the plan is drawn with: `Renderer.description`.
        tools: What this process draws with.
    """

    plan: RenderPlan
    meshes: MeshCatalogue
    objects: tuple[MeshObject, ...]
    backgrounds: Backgrounds
    photos: Mapping[str, Photo]
    scene: SceneOptions
    options: RenderOptions
    renderer: str
    tools: _Tools = field(default_factory=_Tools, repr=False, compare=False)

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        for image in self.plan.images(start, stop):
            yield self._sample(image)

    def keys(self, split: str) -> Iterator[str]:
        for image in self.plan.images(0, len(self.plan)):
            yield image_key(self.plan.objects[image.object_index], image.grid, image.index)

    def close(self) -> None:
        renderer, self.tools.renderer = self.tools.renderer, None
        self.tools.object_index = self.tools.mesh = None
        self.tools.photos.clear()
        if renderer is not None:
            renderer.close()

    def _sample(self, image: PlannedImage) -> Sample:
        of = self.objects[image.object_index]
        content: bytes | None = None
        status, reason = "ok", None
        try:
            pixels = self._pixels(image)
        except _UnrenderableError as error:
            status, reason = UNRENDERABLE, str(error)
        else:
            if pixels is None:
                status, reason = EMPTY, f"nothing of {of.object_id} is to be seen"
            else:
                content = encoded(pixels, self.options)
        size = self.scene.image_size
        return Sample(
            key=image_key(self.plan.objects[image.object_index], image.grid, image.index),
            image_bytes=content,
            image_format=None if content is None else self.options.image_format,
            width=None if content is None else size,
            height=None if content is None else size,
            mode=None if content is None else "RGB",
            wnid=of.wnid,
            class_index=self.plan.wnids.index(of.wnid),
            label_source="mesh",
            source=RENDERED,
            status=status,
            reason=reason,
            provenance=self._provenance(image),
        )

    def _pixels(self, image: PlannedImage) -> UInt8s | None:
        """The picture, uint8 [S, S, 3]; `None` where it is the photograph alone.

        Raises:
            _UnrenderableError: The object cannot be drawn.
            SourceError: A file is not what the catalogue says.
            RunError: This machine does not draw, or otherwise than the plan says.
        """
        renderer = self._renderer()
        mesh = self._mesh(image.object_index)
        photo = self._photo(image.values.background)
        try:
            pixels = renderer.render(mesh, as_seen(image.values), photo)
        except SourceError as error:
            self.tools.failure = str(error)
            raise _UnrenderableError(self.tools.failure) from None
        return None if np.array_equal(pixels, photo) else pixels

    def _renderer(self) -> Renderer:
        tools = self.tools
        if tools.renderer is None:
            tools.renderer = _open_renderer(self.scene)
            found = tools.renderer.description
            if found != self.renderer:
                raise RunError(
                    f"this process draws with {found}, the plan with {self.renderer}, which gives other bits: run the "
                    "command where all processes draw alike"
                )
        return tools.renderer

    def _mesh(self, object_index: int) -> Mesh:
        tools = self.tools
        if tools.object_index != object_index:
            tools.object_index, tools.mesh, tools.failure = object_index, None, None
            tools.mesh = self.meshes.read(self.objects[object_index])
        # What failed once fails in each of its rows, without another try.
        if tools.failure is not None:
            raise _UnrenderableError(tools.failure)
        assert tools.mesh is not None
        return tools.mesh

    def _photo(self, name: str) -> UInt8s:
        photos = self.tools.photos
        if name not in photos:
            photos[name] = self.backgrounds.read(self.photos[name], self.scene.image_size)
            if len(photos) > _PHOTOS_KEPT:
                photos.popitem(last=False)
        photos.move_to_end(name)
        return photos[name]

    def _provenance(self, image: PlannedImage) -> dict[str, Any]:
        of, photo = self.objects[image.object_index], self.photos[image.values.background]
        return {
            "object_id": of.object_id,
            "mesh_sha256": of.sha256,
            "mesh_license": of.license or None,
            "mesh_author": of.author or None,
            "background": photo.name,
            "background_type": photo.type,
            "background_sha256": photo.sha256,
            "background_license": photo.license or None,
            "background_author": photo.author or None,
            "grid": image.grid,
            "varied": "+".join(image.varied),
            "is_canonical": image.is_canonical,
            "pose": image.values.pose,
            "pose_axis": self.scene.pose_axis,
            "size": image.values.size,
            "position": image.values.position,
            "hue": image.values.hue,
            "camera": camera(self.scene),
            "renderer": self.renderer,
            "jpeg_quality": self.options.quality if self.options.image_format == "jpg" else None,
        }


class _UnrenderableError(Exception):
    """An object that cannot be drawn; the text says why."""


def encoded(pixels: UInt8s, options: RenderOptions) -> bytes:
    """A picture's file: the same bytes for the same pixels, uint8 [S, S, 3], with one release of Pillow's libraries."""
    sink, image = io.BytesIO(), Image.fromarray(pixels)
    if options.image_format == "png":
        image.save(sink, "PNG", compress_level=_PNG_LEVEL)
    else:
        # Full chroma: hue is a factor, and half of it would blur at the object's edge.
        image.save(sink, "JPEG", quality=options.quality, subsampling="4:4:4")
    return sink.getvalue()


def camera(scene: SceneOptions) -> str:
    """What a row says of the scene, as JSON."""
    facts = {name: value for name, value in asdict(scene).items() if name not in ("image_size", "pose_axis")}
    return json.dumps(facts, sort_keys=True)


def open_rendered(
    meshes: MeshCatalogue,
    backgrounds: Backgrounds,
    *,
    plan: RenderPlan,
    options: RenderOptions,
    scene: SceneOptions,
    renderer: str,
) -> RenderedSource:
    """The pictures of a plan.

    Args:
        meshes: Holds all objects that the plan names.
        backgrounds: Holds all photographs that it names.
        plan: Which pictures.
        options: What the plan was made of.
        scene: What all pictures share.
        renderer: What this machine draws with.
    """
    objects = {(one.wnid, one.object_id): one for one in meshes.objects}
    photos = {one.name: one for one in backgrounds.photos}
    chosen = tuple(objects[name] for name in plan.objects)
    used = {name: photos[name] for name in plan.photos}
    return RenderedSource(
        kind=RENDERED,
        storage=meshes.storage,
        splits={SPLIT: len(plan)},
        settings=_settings(chosen, used, options, scene, renderer),
        notes=plan.notes,
        plan=plan,
        meshes=meshes,
        objects=chosen,
        backgrounds=backgrounds,
        photos=used,
        scene=scene,
        options=options,
        renderer=renderer,
    )


def _settings(
    objects: tuple[MeshObject, ...],
    photos: Mapping[str, Photo],
    options: RenderOptions,
    scene: SceneOptions,
    renderer: str,
) -> dict[str, Any]:
    """What decides on the pictures and their rows, under names of their own, so that a plan that differs is refused."""
    named: dict[str, Any] = {f"render_{name}": value for name, value in asdict(options).items() if name != "grids"}
    named |= {f"scene_{name}": value for name, value in asdict(scene).items()}
    # Tuples are lists once the plan is read back.
    settings: dict[str, Any] = json.loads(json.dumps(named))
    return {
        **settings,
        "source_kind": RENDERED,
        "render_grid": list(options.ordered_grids),
        "render_version": RENDERING_VERSION,
        "renderer": renderer,
        "meshes": _digest((one.wnid, one.object_id, one.sha256, one.license, one.author) for one in objects),
        "backgrounds": _digest((one.name, one.type, one.sha256, one.license, one.author) for one in photos.values()),
    }


def _digest(rows: Iterator[tuple[str | None, ...]]) -> str:
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update(json.dumps(row).encode())
    return hashed.hexdigest()
