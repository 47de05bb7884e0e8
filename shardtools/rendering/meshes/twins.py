"""Near-duplicates among meshes: one mesh in two versions, which must not stand on both sides of a split.

Owns the likeness. A mesh is described by distances between pairs of points of its surface (D2 of Osada et al., "Shape
Distributions", 2002), their heights, distances from the middle and from the axis, after its box is stretched to a cube:
so a turn by quarters, another color and another width change nothing. Measured on Debian's 820 models: two versions of
one car or palm differ by .002 to .006, a sofa for two and for three by .008, the closest of others by .008 and more.
The price of histograms: two boxes that differ in their fronts alone are twins too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float64s
from shardtools.rendering.mesh import Mesh

TWIN_DISTANCE = 0.005
"""Nearer shapes are twins."""

ALIKE_DISTANCE = 0.008
"""Nearer shapes are twins where their numbers of triangles differ by a tenth at most."""

BENT_DISTANCE = 0.05
"""Nearer shapes are twins where their numbers of triangles are equal: a mesh in another pose."""

_POINTS = 4096
_PAIRS = 65536
_BINS = 48
# With fewer triangles equal numbers say nothing: all boxes have 12.
_TELLING_TRIANGLES = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """What is compared.

    Attributes:
        histograms: Cumulative, each from 0 to 1, [4, `_BINS`].
        num_triangles: Of the mesh.
    """

    histograms: Float64s
    num_triangles: int


def describe_shape(mesh: Mesh) -> Shape:
    """A mesh's shape; the same mesh gives the same numbers."""
    random = np.random.Generator(np.random.PCG64(0))
    points = _surface_points(_stretched(mesh), mesh.triangles, random)
    first, second = random.integers(0, _POINTS, (2, _PAIRS))
    pairs = np.linalg.norm(points[first] - points[second], axis=1)
    middle = points - (points.min(axis=0) + points.max(axis=0)) / 2
    flat = np.hypot(middle[:, 0], middle[:, 2])
    measures = (pairs, np.linalg.norm(middle, axis=1), middle[:, 1] + 0.5, flat)
    return Shape(histograms=np.stack([_cumulative(values) for values in measures]), num_triangles=len(mesh.triangles))


def shape_distance(one: Shape, other: Shape) -> float:
    """Mean area between cumulative histograms: 0 for the same shape, up to 1."""
    return float(np.abs(one.histograms - other.histograms).mean(axis=1).max())


def find_twins(shapes: Sequence[tuple[str, str, Shape]]) -> tuple[tuple[str, str], ...]:
    """Pairs of objects of one class that are probably one mesh in two versions.

    Args:
        shapes: Class, name, shape of each object.

    Returns:
        Pairs of names in the order given.
    """
    classes: dict[str, list[tuple[str, Shape]]] = {}
    for wnid, name, shape in shapes:
        classes.setdefault(wnid, []).append((name, shape))
    found = []
    for members in classes.values():
        table = np.stack([shape.histograms for _, shape in members])
        for number, (name, shape) in enumerate(members[:-1]):
            distances = np.abs(table[number + 1 :] - shape.histograms).mean(axis=2).max(axis=1)
            for (other, candidate), distance in zip(members[number + 1 :], distances.tolist(), strict=True):
                if distance < _allowed(shape.num_triangles, candidate.num_triangles):
                    found.append((name, other))
    return tuple(found)


def _allowed(one: int, other: int) -> float:
    """The distance under which meshes of so many triangles are twins."""
    if min(one, other) < _TELLING_TRIANGLES:
        return TWIN_DISTANCE
    if one == other:
        return BENT_DISTANCE
    return ALIKE_DISTANCE if max(one, other) < 1.1 * min(one, other) else TWIN_DISTANCE


def _stretched(mesh: Mesh) -> Float64s:
    """Vertices with their box stretched to a cube whose diagonal is 1; what is flat stays flat."""
    extents = np.ptp(mesh.positions, axis=0).astype(np.float64)
    return mesh.positions / np.maximum(extents, 1e-2 * extents.max()) / np.sqrt(3)


def _surface_points(positions: Float64s, triangles: npt.NDArray[np.uint32], random: np.random.Generator) -> Float64s:
    """Points spread evenly over the surface, [`_POINTS`, 3]."""
    corners = positions[triangles]
    sides = corners[:, 1:] - corners[:, :1]
    areas = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    if areas.sum() <= 0:
        areas = np.ones(len(corners))
    # Evenly spaced places on the summed area, not draws: less noise for as many points.
    places = (np.arange(_POINTS) + random.random(_POINTS)) / _POINTS * areas.sum()
    chosen = np.minimum(np.searchsorted(np.cumsum(areas), places), len(corners) - 1)
    along, across = random.random((2, _POINTS, 1))
    folded = along + across > 1
    along, across = np.where(folded, 1 - along, along), np.where(folded, 1 - across, across)
    points: Float64s = corners[chosen, 0] + along * sides[chosen, 0] + across * sides[chosen, 1]
    return points


def _cumulative(values: Float64s) -> Float64s:
    counts, _ = np.histogram(np.clip(values, 0, 1), bins=_BINS, range=(0, 1))
    return np.asarray(np.cumsum(counts) / len(values), np.float64)
