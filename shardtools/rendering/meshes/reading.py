"""Outside files become meshes: the one module that imports trimesh.

Owns what is asked of trimesh and what it is kept from. Files are read through a resolver that knows the object's own
files alone, so nothing outside of its folder and nothing on a network is ever opened. The price of trimesh: a wrong
file may raise anything, and some of what is raised inside is swallowed there, so the resolver keeps its own notes, and
everything that comes out becomes one line with the object's name.
"""

from __future__ import annotations

import io
import posixpath
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np

from shardtools.arrays import Float64s
from shardtools.errors import ShardtoolsError, SourceError
from shardtools.rendering.mesh import Mesh
from shardtools.rendering.meshes.gltf import check_gltf
from shardtools.rendering.meshes.materials import is_picture, material_of, picture_problem
from shardtools.rendering.meshes.outside import MAX_BYTES
from shardtools.rendering.meshes.shaping import MAX_TRIANGLES, Surface, join_surfaces

# A drive's letter (C:) is no scheme: such a name is of the machine that wrote the file, and is missing here.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
# Of one face at least: "f 1 2 3".
_FACE = b"\nf"


def read_outside(
    name: str,
    path: str,
    files: Mapping[str, Callable[[], bytes]],
    *,
    axes: Float64s | None = None,
    scale: float = 1.0,
) -> tuple[Mesh, tuple[str, ...]]:
    """A mesh from a .glb, .gltf or .obj file.

    Args:
        name: For messages.
        path: The file, among `files`.
        files: What it may name: path -> reads its bytes.
        axes: Rotation from the file's axes to y up, +z front, [3, 3].
        scale: Diameter of the bounding sphere, more than 0 and at most 1.

    Returns:
        The mesh, and what it lacks: names of files that it names and that are not there or are no pictures.

    Raises:
        SourceError: It cannot be read, has no triangles, its numbers are no shape, or it is larger than is read.
        StorageError: The place where it lies cannot be read.
    """
    suffix = posixpath.splitext(path)[1].lower().removeprefix(".")
    resolver = _resolver(name, posixpath.dirname(path), files)
    try:
        with warnings.catch_warnings():
            # trimesh and NumPy warn of what the checks below refuse with a line.
            warnings.simplefilter("ignore")
            content = resolver.own(path)
            surfaces = _surfaces(name, content, suffix, resolver)
            if resolver.refused is not None:
                raise resolver.refused
            mesh = join_surfaces(f"{name}: {path}", surfaces, axes, scale)
    except ShardtoolsError:
        raise
    except MemoryError:
        raise SourceError(f"{name}: {path} needs more memory than there is") from None
    except Exception as error:
        # What trimesh swallowed on its way to this error is the reason that helps.
        if resolver.refused is not None:
            raise resolver.refused from None
        said = " ".join(str(error).split())[:120]
        raise SourceError(f"{name}: {path} cannot be read as .{suffix} ({type(error).__name__}: {said})") from None
    return mesh, tuple(sorted(resolver.missing))


def _surfaces(name: str, content: bytes, suffix: str, resolver: Any) -> list[Surface]:
    """Every instance of every geometry of a file, moved to where it stands."""
    import trimesh

    if suffix == "obj":
        count = content.count(_FACE)
        if count > MAX_TRIANGLES:
            raise SourceError(f"{name} has {count:,} faces, at most {MAX_TRIANGLES:,} are read")
    else:
        check_gltf(name, content)
    scene = trimesh.load_scene(io.BytesIO(content), file_type=suffix, resolver=resolver, process=False)
    surfaces = []
    materials: dict[int, Any] = {}
    for node in scene.graph.nodes_geometry:
        transform, geometry_name = scene.graph[node]
        geometry = scene.geometry[geometry_name]
        if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
            continue
        if id(geometry) not in materials:
            materials[id(geometry)] = material_of(name, geometry.visual, resolver.missing)
        surfaces.append(_placed(geometry, np.asarray(transform, np.float64), materials[id(geometry)]))
    return surfaces


def _placed(geometry: Any, transform: Float64s, material: Any) -> Surface:
    linear = transform[:3, :3]
    faces = np.asarray(geometry.faces, np.int64)
    if np.linalg.det(linear) < 0:
        # A mirrored instance is seen from its other side.
        faces = faces[:, ::-1]
    normals = None
    # trimesh computes normals that a file lacks; those that the file gave lie in its cache after loading.
    if "vertex_normals" in geometry._cache:
        normals = np.asarray(geometry.vertex_normals, np.float64) @ _of_normals(linear)
    uv = getattr(geometry.visual, "uv", None)
    has_uv = uv is not None and np.shape(uv) == (len(geometry.vertices), 2)
    return Surface(
        positions=np.asarray(geometry.vertices, np.float64) @ linear.T + transform[:3, 3],
        normals=normals,
        uvs=np.asarray(uv, np.float64) if has_uv else None,
        triangles=faces,
        color=material.color,
        picture=material.picture if has_uv else None,
    )


def _of_normals(linear: Float64s) -> Float64s:
    """What rows of normals are multiplied by, for vertices that `linear` moves: also right for uneven scales."""
    columns = linear.T
    return np.stack([np.cross(columns[(i + 1) % 3], columns[(i + 2) % 3]) for i in range(3)])


def _resolver(name: str, folder: str, files: Mapping[str, Callable[[], bytes]]) -> Any:
    from trimesh.resolvers import Resolver

    class OwnFiles(Resolver):
        """Reads the object's own files, `MAX_BYTES` together; notes what is refused and what is missing."""

        def __init__(self) -> None:
            self.missing: set[str] = set()
            self.refused: ShardtoolsError | None = None
            self._left = MAX_BYTES

        def own(self, place: str) -> bytes:
            try:
                content = files[place]()
                self._left -= len(content)
                if self._left < 0:
                    raise SourceError(f"{name}: its files have more than {MAX_BYTES:,} bytes")
            except ShardtoolsError as error:
                self.refused = self.refused or error
                raise
            return content

        def get(self, asked: str) -> bytes:
            place = _place(folder, asked, files)
            if place is None:
                self.refused = self.refused or SourceError(f"{name} names a file outside of its folder: {asked[:80]!r}")
                raise self.refused
            if place not in files:
                self.missing.add(asked)
                raise FileNotFoundError(asked)
            content = self.own(place)
            problem = picture_problem(content) if is_picture(place) else None
            if problem:
                self.missing.add(f"{asked} ({problem})")
                raise FileNotFoundError(asked)
            return content

        def write(self, asked: str, data: Any) -> None:
            raise NotImplementedError

        def namespaced(self, namespace: str) -> Any:
            return self

        def keys(self) -> Any:
            return files.keys()

    return OwnFiles()


def _place(folder: str, asked: str, files: Mapping[str, Any]) -> str | None:
    """The file that a name in a mesh stands for; `None` where it leaves the object's folder."""
    written = asked.replace("\\", "/").strip()
    # .mtl files may scale a picture before they name it ("-s 2 2 1 wood.jpg"); addresses in .gltf are quoted.
    candidates = [written, unquote(written), *([written.split()[-1]] if written.startswith("-") else [])]
    places = [posixpath.normpath(posixpath.join(folder, candidate)) for candidate in candidates]
    for candidate, place in zip(candidates, places, strict=True):
        if _SCHEME.match(candidate) or place.startswith("/") or place.split("/")[0] == "..":
            return None
    return next((place for place in places if place in files), places[-1])
