"""A mesh as it is rendered: triangles in a unit sphere, colors, pictures on them; and its file.

Owns the prepared form, which needs no reader of outside formats: `shardtools meshes` makes it once. Files are
uncompressed .npz without pickles, and the same mesh has the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float32s
from shardtools.errors import SourceError

MESH_VERSION = 1
_ARRAYS = ("positions", "normals", "uvs", "triangles")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshPart:
    """Triangles of one material.

    Attributes:
        first: The first triangle.
        count: Triangles.
        color: Red, green, blue, opacity, 0 to 1; display values (sRGB), as in .mtl files. It multiplies the texture.
        texture: Index into `Mesh.textures`; `None`: the color alone.
    """

    first: int
    count: int
    color: tuple[float, float, float, float]
    texture: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mesh:
    """An object, y up, front to +z, its bounding sphere of diameter 1 about the origin.

    Attributes:
        positions: [V, 3].
        normals: Unit vectors, [V, 3].
        uvs: Places in the texture, [V, 2]; v grows upwards, as in OBJ. Zeros without textures.
        triangles: Rows of the vertices, uint32 [T, 3].
        parts: Cover all triangles, in order, without overlap.
        textures: Encoded pictures (JPEG or PNG), each decoded and checked when the mesh was prepared.
    """

    positions: Float32s
    normals: Float32s
    uvs: Float32s
    triangles: npt.NDArray[np.uint32]
    parts: tuple[MeshPart, ...]
    textures: tuple[bytes, ...] = ()


def write_mesh(mesh: Mesh) -> bytes:
    """A mesh's file; equal meshes give equal bytes."""
    sink = io.BytesIO()
    table = {"version": MESH_VERSION, "parts": [asdict(part) for part in mesh.parts], "textures": len(mesh.textures)}
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("mesh.json"), json.dumps(table, sort_keys=True))
        for name in _ARRAYS:
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(getattr(mesh, name)), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
        for number, texture in enumerate(mesh.textures):
            archive.writestr(zipfile.ZipInfo(f"texture{number}"), texture)
    return sink.getvalue()


def read_mesh(content: bytes, name: str) -> Mesh:
    """A mesh from the bytes of its file.

    Args:
        content: What `write_mesh` made.
        name: The file, for messages.

    Raises:
        SourceError: It is damaged, or of another version.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            table = json.loads(archive.read("mesh.json"))
            if table["version"] != MESH_VERSION:
                raise SourceError(f"{name} has version {table['version']} of meshes, expected {MESH_VERSION}")
            arrays = {
                array: np.lib.format.read_array(io.BytesIO(archive.read(f"{array}.npy")), allow_pickle=False)
                for array in _ARRAYS
            }
            textures = tuple(archive.read(f"texture{number}") for number in range(table["textures"]))
        parts = tuple(MeshPart(**{**part, "color": tuple(part["color"])}) for part in table["parts"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError) as error:
        raise SourceError(
            f"{name} is no prepared mesh ({error}): make the catalogue anew with `shardtools meshes`"
        ) from None
    problem = _problem(arrays, parts, len(textures))
    if problem:
        raise SourceError(f"{name} is no prepared mesh ({problem}): make the catalogue anew with `shardtools meshes`")
    return Mesh(**arrays, parts=parts, textures=textures)


def _problem(arrays: dict[str, npt.NDArray[Any]], parts: tuple[MeshPart, ...], num_textures: int) -> str | None:
    """What of a mesh cannot be drawn; OpenGL would read beyond its buffers."""
    num_vertices, num_triangles = len(arrays["positions"]), len(arrays["triangles"])
    wanted = {
        "positions": (np.float32, (num_vertices, 3)),
        "normals": (np.float32, (num_vertices, 3)),
        "uvs": (np.float32, (num_vertices, 2)),
        "triangles": (np.uint32, (num_triangles, 3)),
    }
    for name, (dtype, shape) in wanted.items():
        if arrays[name].dtype != dtype or arrays[name].shape != shape:
            return f"{name} are {arrays[name].dtype} {arrays[name].shape}, expected {np.dtype(dtype)} {shape}"
        if dtype is np.float32 and not np.isfinite(arrays[name]).all():
            return f"{name} are not all finite"
    if not num_triangles or int(arrays["triangles"].max()) >= num_vertices:
        return "triangles name vertices that are not there"
    ends = [0]
    for part in parts:
        if part.first != ends[-1] or part.count < 0 or part.texture not in (None, *range(num_textures)):
            return "parts do not follow each other, or name textures that are not there"
        ends.append(part.first + part.count)
    return None if ends[-1] == num_triangles else "parts do not cover the triangles"
