"""Small catalogues of meshes and photographs, and the pictures of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from shardtools.manifest import digest
from shardtools.rendering import (
    Mesh,
    MeshObject,
    MeshPart,
    Photo,
    RenderedSource,
    RenderOptions,
    SceneOptions,
    write_mesh,
)
from shardtools.rendering.backgrounds.catalogue import write_catalogue
from shardtools.rendering.meshes.catalogue import write_listing
from shardtools.storage import open_storage
from shardtools.writing.rendering import Catalogues
from tests.helpers.pictures import drawing, encode

SIDE = 64
TYPES = ("home", "city")
FEW = RenderOptions(grids=("canonical", "single"), values=3, objects=2)
SMALL = SceneOptions(image_size=SIDE, supersampling=1)


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


def rendered(
    folder: Path | str,
    *sizes: int,
    options: RenderOptions = FEW,
    scene: SceneOptions = SMALL,
    renderer: str | None = None,
    change: Callable[[Mesh], Mesh] | None = None,
) -> RenderedSource:
    """The pictures of so many objects of each class; `change` is made to the first object."""
    meshes, backgrounds = map(str, make_catalogues(folder, *sizes, change=change))
    catalogues = Catalogues(meshes, backgrounds)
    return catalogues.source(options, scene, renderer)


def make_catalogues(folder: Path | str, *sizes: int, change: Callable[[Mesh], Mesh] | None = None) -> tuple[str, str]:
    """So many objects of each class and two photographs of each type, as prepared catalogues; their addresses."""
    meshes, backgrounds = open_storage(f"{folder}/meshes"), open_storage(f"{folder}/backgrounds")
    listed = []
    for label, size in enumerate(sizes, 1):
        for number in range(size):
            wnid, object_id = f"n{label:08d}", f"object{number}"
            mesh = triangle(100 * label + number)
            content = write_mesh(change(mesh) if change and not listed else mesh)
            path = f"{wnid}/{object_id}.mesh"
            meshes.write(path, content)
            facts = {"license": "CC-BY-4.0", "author": "A. Maker"}
            listed.append(MeshObject(wnid=wnid, object_id=object_id, path=path, sha256=digest(content), **facts))
    write_listing(meshes, listed, ())
    photos = []
    for number, name in enumerate(f"{kind}/{n}" for kind in TYPES for n in range(2)):
        content = encode(drawing(number), "JPEG", quality=90)
        backgrounds.write(f"{name}.jpg", content)
        photos.append(
            Photo(
                name=name,
                type=name.split("/")[0],
                path=f"{name}.jpg",
                sha256=digest(content),
                license="CC0-1.0",
                author=None,
                source=None,
                width=64,
                height=48,
            )
        )
    backgrounds.write("backgrounds.csv", write_catalogue(photos))
    return meshes.url, backgrounds.url
