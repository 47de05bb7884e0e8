"""Outside files become meshes: the one module that imports trimesh.

Owns what of a file is kept: triangles, normals, colors, pictures. Files are read through a resolver that knows the
object's own files alone, so that nothing outside of its folder and nothing on a network is ever opened. The price of
trimesh: any wrong file may raise anything, so everything it raises becomes one line with the file's name.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from shardtools.arrays import Float32s, Float64s
from shardtools.errors import SourceError
from shardtools.rendering.mesh import Mesh, MeshPart

MAX_TRIANGLES = 5_000_000
MAX_TEXTURE = 1024
"""Longer sides of pictures are reduced to this: an object spans fewer pixels."""

_MAX_PIXELS = 64_000_000
_MAX_EXTENT = 1e9


def read_outside(
    name: str,
    path: str,
    files: Mapping[str, Callable[[], bytes]],
    *,
    axes: Float64s | None = None,
) -> tuple[Mesh, tuple[str, ...]]:
    """A mesh from a .glb, .gltf or .obj file.

    Args:
        name: For messages.
        path: The file, among `files`.
        files: What it may name: path -> reads its bytes.
        axes: Rotation from the file's axes to y up, +z front, [3, 3].

    Returns:
        The mesh, and names of files that it names and that are not there.

    Raises:
        SourceError: It cannot be read, has no triangles, or its numbers are no shape.
    """
    resolver = _resolver(name, posixpath.dirname(path), files)
    suffix = posixpath.splitext(path)[1].lower().removeprefix(".")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            geometries = _loaded(files[path](), suffix, resolver)
    except SourceError:
        raise
    except MemoryError:
        raise SourceError(f"{name}: {path} needs more memory than there is") from None
    except Exception as error:
        said = " ".join(str(error).split())[:120]
        raise SourceError(f"{name}: {path} cannot be read as .{suffix} ({type(error).__name__}: {said})") from None
    if not geometries:
        raise SourceError(f"{name}: {path} has no triangles")
    return _joined(name, path, geometries, axes), tuple(sorted(resolver.missing))


def _loaded(content: bytes, suffix: str, resolver: Any) -> list[Any]:
    import trimesh

    scene = trimesh.load_scene(io.BytesIO(content), file_type=suffix, resolver=resolver, process=False)
    dumped = scene.dump(concatenate=False)
    return [one for one in dumped if isinstance(one, trimesh.Trimesh) and len(one.faces)]


def _resolver(name: str, folder: str, files: Mapping[str, Callable[[], bytes]]) -> Any:
    from trimesh.resolvers import Resolver

    class OwnFiles(Resolver):  # type: ignore[misc]  # trimesh's classes are untyped
        """Reads the object's own files."""

        def __init__(self) -> None:
            self.missing: set[str] = set()

        def get(self, asked: str) -> bytes:
            place = posixpath.normpath(posixpath.join(folder, asked.replace("\\", "/").strip()))
            if place.startswith(("..", "/")):
                raise SourceError(f"{name} names a file outside of its folder: {asked[:80]!r}")
            if place not in files:
                self.missing.add(asked)
                raise FileNotFoundError(asked)
            return files[place]()

        def write(self, asked: str, data: Any) -> None:
            raise NotImplementedError

        def namespaced(self, namespace: str) -> Any:
            return self

        def keys(self) -> Any:
            return files.keys()

    return OwnFiles()


def _joined(name: str, path: str, geometries: list[Any], axes: Float64s | None) -> Mesh:
    count = sum(len(one.faces) for one in geometries)
    if count > MAX_TRIANGLES:
        raise SourceError(f"{name}: {path} has {count:,} triangles, at most {MAX_TRIANGLES:,} are read")
    positions: list[Float64s] = []
    normals: list[Float64s] = []
    uvs: list[Float64s] = []
    triangles: list[Any] = []
    parts: list[MeshPart] = []
    textures: dict[bytes, int] = {}
    vertices = rows = 0
    for one in geometries:
        positions.append(np.asarray(one.vertices, np.float64))
        normals.append(np.asarray(one.vertex_normals, np.float64))
        triangles.append(np.asarray(one.faces, np.uint32) + np.uint32(vertices))
        uv = getattr(one.visual, "uv", None)
        has_uv = uv is not None and np.shape(uv) == (len(one.vertices), 2)
        uvs.append(np.asarray(uv, np.float64) if has_uv else np.zeros((len(one.vertices), 2)))
        color, picture = _material(one.visual)
        number = None
        if picture is not None and has_uv:
            number = textures.setdefault(_encoded(name, picture), len(textures))
        parts.append(MeshPart(first=rows, count=len(one.faces), color=color, texture=number))
        vertices, rows = vertices + len(one.vertices), rows + len(one.faces)
    places = _normalized(name, path, np.concatenate(positions), axes)
    facing = np.nan_to_num(np.concatenate(normals) @ (np.eye(3) if axes is None else axes.T))
    lengths = np.linalg.norm(facing, axis=1, keepdims=True)
    return Mesh(
        positions=places,
        normals=(facing / np.where(lengths > 0, lengths, 1)).astype(np.float32),
        uvs=np.nan_to_num(np.concatenate(uvs)).astype(np.float32),
        triangles=np.concatenate(triangles),
        parts=tuple(parts),
        textures=tuple(textures),
    )


def _normalized(name: str, path: str, positions: Float64s, axes: Float64s | None) -> Float32s:
    """Vertices with the middle of their box at the origin, in a sphere of diameter 1."""
    if not np.isfinite(positions).all():
        raise SourceError(f"{name}: {path} has vertices that are no numbers (NaN or infinite)")
    low, high = positions.min(axis=0), positions.max(axis=0)
    extent = float((high - low).max())
    if not extent > 0 or float(np.abs(positions).max()) > _MAX_EXTENT:
        raise SourceError(f"{name}: {path} is no shape: its vertices span {extent:.3g} at most")
    centered = positions - (low + high) / 2
    if axes is not None:
        centered = centered @ axes.T
    return (centered / (2 * np.linalg.norm(centered, axis=1).max())).astype(np.float32)


def _material(visual: Any) -> tuple[tuple[float, float, float, float], Any]:
    """A material's color, and its picture if it has one."""
    material = getattr(visual, "material", None)
    picture = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    color = getattr(material, "baseColorFactor", None)
    if color is None and hasattr(material, "diffuse"):
        color = material.diffuse
    if color is None and material is None:
        color = getattr(visual, "main_color", None)
    values = np.ones(4) if color is None else _unit(np.asarray(color))
    # In .mtl files a picture replaces the color where the color is black.
    if picture is not None and values[:3].max() <= 0:
        values[:3] = 1
    red, green, blue, opacity = np.clip(values, 0, 1).tolist()
    return (red, green, blue, opacity), picture


def _unit(color: Any) -> Float64s:
    scaled = color.astype(np.float64) / (255 if color.dtype.kind in "ui" else 1)
    return np.concatenate([scaled, np.ones(4)])[:4] if len(scaled) >= 4 else np.append(scaled[:3], 1.0)


def _encoded(name: str, picture: Any) -> bytes:
    """A picture as PNG, its longer side at most `MAX_TEXTURE`."""
    width, height = picture.size
    if width * height > _MAX_PIXELS:
        raise SourceError(f"{name} has a picture of {width} x {height} pixels, at most {_MAX_PIXELS:,} are read")
    sink = io.BytesIO()
    with contextlib.suppress(AttributeError):
        picture.load()
    image = picture.convert("RGBA")
    image.thumbnail((MAX_TEXTURE, MAX_TEXTURE), Image.Resampling.LANCZOS)
    if image.getextrema()[3][0] == 255:
        image = image.convert("RGB")
    image.save(sink, "PNG", compress_level=1)
    return sink.getvalue()
