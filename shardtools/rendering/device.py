"""A mesh on the device: its buffers and pictures, drawn part by part.

Owns what one mesh takes there and gives all of it back. It is handed a context and imports no OpenGL.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from shardtools.arrays import Float32s, UInt8s
from shardtools.errors import SourceError
from shardtools.rendering.mesh import Mesh, MeshPart

OPAQUE = 0.999
"""Parts of at least this opacity hide what is behind them."""

# Parts more transparent than this cast no shadow.
_CASTS_SHADOW = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Compiled shaders (moderngl's `Program`)."""

    object: Any
    solid_depth: Any
    cut_depth: Any


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DevicePart:
    """Triangles of one material.

    Attributes:
        color: Red, green, blue, opacity, 0 to 1.
        middle: Mean of its corners, [3].
        texture: The picture on it.
        array: What draws it.
    """

    color: tuple[float, float, float, float]
    middle: Float32s
    texture: Any
    array: Any

    @property
    def is_opaque(self) -> bool:
        """Whether it hides what is behind it."""
        return self.color[3] >= OPAQUE

    def draw(self, program: Any) -> None:
        """Draws it; its uniforms are set, the others must be."""
        program["color"].value = self.color
        self.texture.use(0)
        self.array.render()


class DeviceMesh:
    """A mesh on the device. `release` it: nothing there is collected by itself."""

    def __init__(self, context: Any, programs: Programs, mesh: Mesh) -> None:
        self.mesh = mesh
        self._context = context
        self._owned: list[Any] = []
        used = np.zeros(len(mesh.positions), bool)
        used[mesh.triangles.ravel()] = True
        self.points: Float32s = np.ascontiguousarray(mesh.positions[used].T, np.float32)
        """Corners of triangles, [3, V]: rows of one coordinate, so that extents are found at the speed of memory."""
        vertices = np.concatenate([mesh.positions, mesh.normals, mesh.uvs], axis=1, dtype=np.float32)
        self._vertices = self._own(context.buffer(vertices.tobytes()))
        pictures = [_decoded(content) for content in mesh.textures]
        textures = [self._texture(picture) for picture in pictures]
        plain = self._own(context.texture((1, 1), 4, b"\xff\xff\xff\xff"))
        has_holes = [bool(picture[..., 3].min() < 128) for picture in pictures]
        self.parts: list[DevicePart] = []
        self._cut: list[tuple[Any, Any]] = []
        solid: list[np.ndarray] = []
        for part in mesh.parts:
            rows = mesh.triangles[part.first : part.first + part.count]
            if not len(rows):
                continue
            indices = self._own(context.buffer(np.ascontiguousarray(rows, np.uint32).tobytes()))
            texture = plain if part.texture is None else textures[part.texture]
            self.parts.append(self._part(programs, part, rows, indices, texture))
            if part.color[3] < _CASTS_SHADOW:
                continue
            if part.texture is not None and has_holes[part.texture]:
                layout = (self._vertices, "3f 12x 2f", "in_position", "in_uv")
                self._cut.append((texture, self._own(context.vertex_array(programs.cut_depth, [layout], indices))))
            else:
                solid.append(rows)
        self._solid = self._solid_array(programs, solid) if solid else None

    def draw_depth(self) -> None:
        """Draws all that casts a shadow with the programs of depth."""
        if self._solid is not None:
            self._solid.render()
        for texture, array in self._cut:
            texture.use(0)
            array.render()

    def release(self) -> None:
        """Frees all that it holds on the device."""
        while self._owned:
            self._owned.pop().release()

    def _own(self, held: Any) -> Any:
        self._owned.append(held)
        return held

    def _part(self, programs: Programs, part: MeshPart, rows: np.ndarray, indices: Any, texture: Any) -> DevicePart:
        layout = (self._vertices, "3f 3f 2f", "in_position", "in_normal", "in_uv")
        return DevicePart(
            color=part.color,
            middle=self.mesh.positions[rows.ravel()].mean(axis=0),
            texture=texture,
            array=self._own(self._context.vertex_array(programs.object, [layout], indices)),
        )

    def _solid_array(self, programs: Programs, solid: list[np.ndarray]) -> Any:
        # One call for all materials: the light sees no color.
        indices = self._own(self._context.buffer(np.concatenate(solid, dtype=np.uint32).tobytes()))
        layout = (self._vertices, "3f 20x", "in_position")
        return self._own(self._context.vertex_array(programs.solid_depth, [layout], indices))

    def _texture(self, picture: UInt8s) -> Any:
        height, width = picture.shape[:2]
        texture = self._own(self._context.texture((width, height), 4, picture.tobytes()))
        texture.build_mipmaps()
        texture.filter = (self._context.LINEAR_MIPMAP_LINEAR, self._context.LINEAR)
        return texture


def _decoded(content: bytes) -> UInt8s:
    """A texture as OpenGL takes it, the lowest row first, [H, W, 4].

    Raises:
        SourceError: It is no picture.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            return np.ascontiguousarray(np.asarray(image.convert("RGBA"))[::-1])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow's words name a place in memory, and the reason of a row must be the same in every run.
        raise SourceError(f"a texture is no picture that can be read ({type(error).__name__})") from None
