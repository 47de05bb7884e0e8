"""Surfaces of an outside file become one mesh: normals where none are given, in the middle, of diameter 1.

Owns the shape. Where a file gives no normals, edges of more than 44 degrees stay sharp and others are smoothed, as
viewers of such files do it: tables have edges and bottles are round. Arrays alone, no reader.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shardtools.arrays import Float32s, Float64s, Int64s
from shardtools.errors import SourceError
from shardtools.rendering.mesh import Mesh, MeshPart

MAX_TRIANGLES = 3_000_000

_MAX_EXTENT = 1e9
_MIN_EXTENT = 1e-9
_CREASE = math.cos(math.radians(44))
# Faces at one edge that are compared with one another; more come from two-sided meshes.
_FACES_OF_EDGE = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """Triangles of one material, where they stand.

    Attributes:
        positions: [V, 3].
        normals: [V, 3]; `None`: the file gives none.
        uvs: [V, 2], v upwards; `None`: none.
        triangles: [T, 3].
        color: Red, green, blue, opacity, 0 to 1.
        picture: Encoded.
    """

    positions: Float64s
    normals: Float64s | None
    uvs: Float64s | None
    triangles: Int64s
    color: tuple[float, float, float, float]
    picture: bytes | None


def join_surfaces(name: str, surfaces: list[Surface], axes: Float64s | None = None, scale: float = 1.0) -> Mesh:
    """One mesh of all surfaces.

    Args:
        name: For messages.
        surfaces: At least one for a mesh with triangles.
        axes: Rotation to y up, +z front, [3, 3].
        scale: Diameter of the bounding sphere.

    Raises:
        SourceError: There are no triangles or too many, or their vertices are no shape.
    """
    count = sum(len(one.triangles) for one in surfaces)
    if not count:
        raise SourceError(f"{name} has no triangles")
    if count > MAX_TRIANGLES:
        raise SourceError(f"{name} has {count:,} triangles, at most {MAX_TRIANGLES:,} are read")
    for one in surfaces:
        if one.triangles.min() < 0 or one.triangles.max() >= len(one.positions):
            raise SourceError(f"{name} has a triangle of vertex {one.triangles.max()}, there are {len(one.positions)}")
    surfaces = [_used(one) for one in surfaces]
    if not all(np.isfinite(one.positions).all() for one in surfaces):
        raise SourceError(f"{name} has vertices that are no numbers (NaN or infinite)")
    finished = [one if one.normals is not None else _with_normals(one) for one in surfaces]
    textures: dict[bytes, int] = {}
    parts, rows, first = [], [], 0
    vertices = 0
    for one in finished:
        number = None if one.picture is None else textures.setdefault(one.picture, len(textures))
        parts.append(MeshPart(first=first, count=len(one.triangles), color=one.color, texture=number))
        rows.append(one.triangles + vertices)
        first, vertices = first + len(one.triangles), vertices + len(one.positions)
    turn = np.eye(3) if axes is None else axes
    uvs = [one.uvs if one.uvs is not None else np.zeros((len(one.positions), 2)) for one in finished]
    return Mesh(
        positions=_normalized(name, np.concatenate([one.positions for one in finished]), turn, scale),
        normals=_unit(np.concatenate([_given(one) for one in finished]) @ turn.T),
        uvs=np.clip(np.nan_to_num(np.concatenate(uvs)), -1e6, 1e6).astype(np.float32),
        triangles=np.concatenate(rows).astype(np.uint32),
        parts=tuple(parts),
        textures=tuple(textures),
    )


def _used(one: Surface) -> Surface:
    """Without vertices that no triangle has: a stray one far away would make the object small."""
    kept, triangles = np.unique(one.triangles, return_inverse=True)
    if len(kept) == len(one.positions):
        return one
    return _picked(one, kept, triangles.reshape(-1, 3))


def _picked(one: Surface, vertices: Int64s, triangles: Int64s, normals: Float64s | None = None) -> Surface:
    given = normals if normals is not None else (None if one.normals is None else one.normals[vertices])
    return Surface(
        positions=one.positions[vertices],
        normals=given,
        uvs=None if one.uvs is None else one.uvs[vertices],
        triangles=triangles,
        color=one.color,
        picture=one.picture,
    )


def _with_normals(one: Surface) -> Surface:
    """Normals of a surface without any: means over the faces about a vertex that are joined by smooth edges."""
    corners = one.positions[one.triangles]
    weighted = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.asarray(_unit(weighted), np.float64)
    # Files repeat a vertex for each of its places in a picture; edges are those of places in space.
    _, place = np.unique(one.positions, axis=0, return_inverse=True)
    number = np.arange(3 * len(one.triangles)).reshape(-1, 3)
    left, right = _smooth_edges(place.reshape(-1)[one.triangles], facing)
    links = coo_array(
        (np.ones(len(left), np.int8), (number.reshape(-1)[left], number.reshape(-1)[right])),
        shape=(number.size, number.size),
    )
    _, group = connected_components(links, directed=False)
    sums = np.zeros((int(group.max()) + 1, 3))
    for side in range(3):
        sums[:, side] = np.bincount(group, weights=np.repeat(weighted[:, side], 3), minlength=len(sums))
    pairs = group.astype(np.int64) * len(one.positions) + one.triangles.reshape(-1)
    kept, triangles = np.unique(pairs, return_inverse=True)
    vertices, groups = kept % len(one.positions), kept // len(one.positions)
    return _picked(one, vertices, triangles.reshape(-1, 3), sums[groups])


def _smooth_edges(triangles: Int64s, facing: Float64s) -> tuple[Int64s, Int64s]:
    """Pairs of corners (three a triangle, in order) that share a vertex and a smooth edge."""
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    face = np.tile(np.arange(len(triangles)), 3)
    corner = np.concatenate(
        [3 * np.arange(len(triangles))[:, None] + np.array(pair) for pair in ((0, 1), (1, 2), (2, 0))]
    )
    swapped = ends[:, 0] > ends[:, 1]
    ends = np.where(swapped[:, None], ends[:, ::-1], ends)
    corner = np.where(swapped[:, None], corner[:, ::-1], corner)
    order = np.lexsort((face, ends[:, 1], ends[:, 0]))
    ends, corner, face = ends[order], corner[order], face[order]
    left, right = [], []
    for step in range(1, _FACES_OF_EDGE):
        one, other = slice(None, -step), slice(step, None)
        same = (ends[one] == ends[other]).all(axis=1)
        same[same] = np.einsum("ij,ij->i", facing[face[one][same]], facing[face[other][same]]) > _CREASE
        left.append(corner[one][same].reshape(-1))
        right.append(corner[other][same].reshape(-1))
    return np.concatenate(left), np.concatenate(right)


def _given(one: Surface) -> Float64s:
    assert one.normals is not None
    return one.normals


def _unit(vectors: Float64s) -> Float32s:
    """Of length 1; a vector of no length points up."""
    finite = np.nan_to_num(vectors, posinf=0.0, neginf=0.0)
    lengths = np.linalg.norm(finite, axis=1, keepdims=True)
    unit: npt.NDArray[np.float64] = np.where(lengths > 0, finite / np.where(lengths > 0, lengths, 1), (0.0, 1.0, 0.0))
    return unit.astype(np.float32)


def _normalized(name: str, positions: Float64s, turn: Float64s, scale: float) -> Float32s:
    """Vertices with the middle of their box at the origin, in a sphere of diameter `scale`."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    extent, reach = float((high - low).max()), float(np.abs(positions).max())
    if not _MIN_EXTENT < extent < _MAX_EXTENT or reach > _MAX_EXTENT:
        raise SourceError(
            f"{name} is no shape: its vertices span {extent:.3g} and reach {reach:.3g}; from {_MIN_EXTENT:g} to "
            f"{_MAX_EXTENT:g} is read"
        )
    centered = (positions - (low + high) / 2) @ turn.T
    places: Float32s = (scale * centered / (2 * np.linalg.norm(centered, axis=1).max())).astype(np.float32)
    return places
