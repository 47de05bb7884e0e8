"""Small catalogues of meshes and photographs, in memory and on disk, and a renderer without graphics."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shardtools.arrays import UInt8s
from shardtools.errors import SourceError
from shardtools.manifest import digest
from shardtools.rendering import (
    FactorValues,
    Mesh,
    MeshObject,
    MeshPart,
    ObjectName,
    Photo,
    PhotoName,
    RenderedSource,
    RenderOptions,
    SceneOptions,
    make_plan,
    open_rendered,
    write_mesh,
)
from shardtools.rendering.backgrounds.catalogue import write_catalogue
from shardtools.rendering.meshes.catalogue import write_listing
from shardtools.storage import Storage, open_storage
from tests.helpers.pictures import drawing, encode

SIDE = 64
TYPES = ("home", "city")
DRAWN_WITH = "painter; 1.0"
FEW = RenderOptions(grids=("canonical", "single"), values=3, objects=2)
SMALL = SceneOptions(image_size=SIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An object or a photograph."""

    name: str
    kind: str
    license: str | None = "CC-BY-4.0"
    author: str | None = "A. Maker"

    @property
    def wnid(self) -> str:
        return self.kind

    @property
    def type(self) -> str:
        return self.kind

    @property
    def object_id(self) -> str:
        return self.name

    @property
    def sha256(self) -> str:
        return hashlib.sha256(f"{self.kind}/{self.name}".encode()).hexdigest()


@dataclass(slots=True)
class Catalogue:
    """Both catalogues in one; what it read is noted."""

    storage: Storage
    lost: Sequence[str] = ()
    read_names: list[str] = field(default_factory=list)

    def read(self, work: Work, size: int = 0, /) -> Any:
        if work.name in self.lost:
            raise SourceError(f"{work.name} is not there")
        self.read_names.append(work.name)
        seed = int(work.sha256[:8], 16)
        if size:
            return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
        return triangle(seed)


def triangle(seed: int) -> Mesh:
    """One triangle; its color is the seed's."""
    color = np.random.default_rng(seed).random(3)
    return Mesh(
        positions=np.array([[-0.4, -0.3, 0], [0.4, -0.3, 0], [0, 0.5, 0]], np.float32),
        normals=np.array([[0, 0, 1]] * 3, np.float32),
        uvs=np.zeros((3, 2), np.float32),
        triangles=np.array([[0, 1, 2]], np.uint32),
        parts=(MeshPart(first=0, count=1, color=(*map(float, color), 1.0)),),
    )


@dataclass(slots=True)
class Painter:
    """Draws a block whose place and color follow from mesh and values."""

    scene: SceneOptions
    description: str = DRAWN_WITH
    broken: float | None = None

    def __enter__(self) -> Painter:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def render(self, mesh: Mesh, values: FactorValues, photo: UInt8s, /) -> UInt8s:
        red = mesh.parts[0].color[0]
        if self.broken is not None and red == self.broken:
            raise ValueError("a texture has no pixels")
        pixels = photo.copy()
        facts = repr((mesh.parts[0].color, values)).encode()
        pixels[10:30, 10:30] = np.frombuffer(hashlib.sha256(facts).digest()[:3], np.uint8)
        return pixels


def objects(*sizes: int) -> dict[tuple[str, str], Work]:
    """So many objects of each class."""
    made = [
        Work(name=f"object{number}", kind=f"n{label:08d}")
        for label, size in enumerate(sizes, 1)
        for number in range(size)
    ]
    return {(one.kind, one.name): one for one in made}


def photographs(per_type: int = 2) -> dict[str, Work]:
    """So many photographs of each type."""
    return {f"{kind}/{n}": Work(name=f"{kind}/{n}", kind=kind) for kind in TYPES for n in range(per_type)}


def painted(
    folder: Path | str,
    *sizes: int,
    options: RenderOptions = FEW,
    scene: SceneOptions = SMALL,
    lost: Sequence[str] = (),
    **changes: Any,
) -> RenderedSource:
    """The pictures of so many objects of each class, painted."""
    works, photos = objects(*sizes), photographs()
    plan = make_plan(
        [ObjectName(*name) for name in works], [PhotoName(p.name, p.kind) for p in photos.values()], options
    )
    catalogue = Catalogue(open_storage(folder), lost)
    facts = {"renderer": DRAWN_WITH, "make_renderer": Painter} | changes
    return open_rendered(catalogue, works, catalogue, photos, plan=plan, options=options, scene=scene, **facts)


def make_catalogues(folder: Path | str, *sizes: int) -> tuple[str, str]:
    """So many objects of each class and two photographs of each type, as prepared catalogues; their addresses."""
    meshes, backgrounds = open_storage(f"{folder}/meshes"), open_storage(f"{folder}/backgrounds")
    listed = []
    for (wnid, object_id), work in objects(*sizes).items():
        path, content = f"{wnid}/{object_id}.mesh", write_mesh(triangle(int(work.sha256[:8], 16)))
        meshes.write(path, content)
        listed.append(MeshObject(wnid=wnid, object_id=object_id, path=path, sha256=digest(content), license="CC0-1.0"))
    write_listing(meshes, listed, ())
    photos = []
    for number, (name, work) in enumerate(photographs().items()):
        content = encode(drawing(number), "JPEG", quality=90)
        backgrounds.write(f"{name}.jpg", content)
        facts = {"license": "CC0-1.0", "author": None, "source": None, "width": 64, "height": 48}
        photos.append(Photo(name=name, type=work.kind, path=f"{name}.jpg", sha256=digest(content), **facts))
    backgrounds.write("backgrounds.csv", write_catalogue(photos))
    return meshes.url, backgrounds.url
