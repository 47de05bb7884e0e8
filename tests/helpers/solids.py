"""Meshes made here, with what tests of pictures need: a sphere, a crooked thing with every kind of part."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from shardtools.rendering.mesh import Mesh, MeshPart

GREY = (0.6, 0.6, 0.6, 1.0)


def sphere(color: tuple[float, float, float, float] = GREY, rings: int = 32) -> Mesh:
    """The bounding sphere itself, of diameter 1."""
    down, around = np.meshgrid(
        np.linspace(0, math.pi, rings + 1), np.linspace(0, 2 * math.pi, 2 * rings + 1), indexing="ij"
    )
    normals = np.stack([np.sin(down) * np.cos(around), np.cos(down), np.sin(down) * np.sin(around)], axis=-1)
    width = 2 * rings + 1
    first = (np.arange(rings)[:, None] * width + np.arange(2 * rings)[None, :]).ravel()
    triangles = np.concatenate(
        [np.stack([first, first + 1, first + width], 1), np.stack([first + 1, first + width + 1, first + width], 1)]
    )
    flat = normals.reshape(-1, 3).astype(np.float32)
    return _mesh(flat / 2, flat, triangles, (MeshPart(first=0, count=len(triangles), color=color),))


def boxes(seed: int = 0) -> Mesh:
    """A crooked thing of boxes: colored, textured, cut out of its picture, transparent; no pose looks like another."""
    rng = np.random.default_rng(seed)
    centers = np.array([[-0.2, -0.1, 0.0], [0.1, 0.0, 0.05], [0.0, 0.2, -0.1], [0.2, -0.2, 0.1]])
    halves = np.array([[0.1, 0.2, 0.08], [0.12, 0.06, 0.2], [0.2, 0.05, 0.1], [0.06, 0.08, 0.06]])
    halves = halves * rng.uniform(0.7, 1.2, halves.shape)
    positions, normals, uvs, triangles = [], [], [], []
    for center, half in zip(centers, halves, strict=True):
        for axis in range(3):
            for side in (-1.0, 1.0):
                normal = np.eye(3)[axis] * side
                one, other = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
                start = 4 * len(positions)
                corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
                positions.append(center + half * (normal + corners[:, :1] * one + corners[:, 1:] * other))
                normals.append(np.tile(normal, (4, 1)))
                uvs.append((corners + 1) / 2)
                triangles.append(np.array([[0, 1, 2], [0, 2, 3]]) + start)
    colors = [(0.9, 0.3, 0.2, 1.0), (1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0), (0.3, 0.4, 0.9, 0.3)]
    parts = tuple(
        MeshPart(first=12 * number, count=12, color=color, texture=texture)
        for number, (color, texture) in enumerate(zip(colors, [None, 0, 1, None], strict=True))
    )
    places = np.concatenate(positions)
    places /= 2 * np.linalg.norm(places, axis=1).max()
    checks = np.kron(rng.integers(0, 2, (8, 8)), np.ones((8, 8))).astype(np.uint8)
    solid = np.stack([checks * 255, 255 - checks * 255, checks * 100], axis=-1)
    holes = np.concatenate([solid, checks[..., None] * 255], axis=-1)
    return Mesh(
        positions=places.astype(np.float32),
        normals=np.concatenate(normals).astype(np.float32),
        uvs=np.concatenate(uvs).astype(np.float32),
        triangles=np.concatenate(triangles).astype(np.uint32),
        parts=parts,
        textures=(_png(solid), _png(holes)),
    )


def _mesh(positions: np.ndarray, normals: np.ndarray, triangles: np.ndarray, parts: tuple[MeshPart, ...]) -> Mesh:
    return Mesh(
        positions=positions.astype(np.float32),
        normals=normals,
        uvs=np.zeros((len(positions), 2), np.float32),
        triangles=triangles.astype(np.uint32),
        parts=parts,
    )


def _png(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "png")
    return sink.getvalue()
