"""Scenes become pixels: the one module that knows OpenGL.

Owns the context, the shaders and what is kept between pictures: the mesh on the device, the shadow map of its last
turn, and the last layer (object and shadow before nothing), so that another photograph behind the same object costs a
blend. Colors are display values (sRGB) throughout, as .mtl files mean them, and light multiplies them: the hue of a
grey object is then the light's. The price: light falls off a little faster than it would in linear values.

Pictures are the same, bit by bit, for the same GL_RENDERER and GL_VERSION, in any order and any process.
"""

from __future__ import annotations

import io
import os
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from shardtools.arrays import Float32s, UInt8s
from shardtools.errors import RunError
from shardtools.extras import require
from shardtools.rendering.factors import FactorValues
from shardtools.rendering.mesh import Mesh
from shardtools.rendering.scene import Scene, build_scene, light_box, shadow_corners
from shardtools.rendering.scene_options import SceneOptions
from shardtools.rendering.shaders import DEPTH_SHADERS, GROUND_SHADERS, OBJECT_SHADERS

_SHADOW_MAP = 512
_OPAQUE = 0.999
# Parts more transparent than this cast no shadow.
_CASTS_SHADOW = 0.5
_DEBIAN_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri"


def require_renderer() -> None:
    """Fails early where nothing can be drawn here; opens no context.

    Raises:
        RunError: moderngl is not installed.
    """
    require("render", ("moderngl",), extra="render")


class Renderer:
    """Draws pictures in this process. A context manager; make it after a process is forked, one a process."""

    def __init__(self, options: SceneOptions) -> None:
        """Opens a context.

        Raises:
            RunError: There is no moderngl, or no OpenGL without a screen.
        """
        require_renderer()
        # One core a worker: llvmpipe would start a thread for every core.
        os.environ.setdefault("LP_NUM_THREADS", "0")
        import moderngl

        try:
            self._context = moderngl.create_context(standalone=True, backend="egl", require=330)
        except Exception as error:  # glcontext raises bare Exceptions
            raise RunError(
                f"render found no OpenGL that draws without a screen ({error}): install EGL with a driver (Debian: "
                f"apt-get install {_DEBIAN_PACKAGES})"
            ) from None
        self._gl = moderngl
        self._options = options
        self._side = options.image_size * options.supersampling
        context = self._context
        self._object = context.program(**OBJECT_SHADERS)
        self._ground = context.program(**GROUND_SHADERS)
        self._depth = context.program(**DEPTH_SHADERS)
        self._target = context.framebuffer(
            color_attachments=[context.renderbuffer((self._side, self._side), 4)],
            depth_attachment=context.depth_renderbuffer((self._side, self._side)),
        )
        self._shadow_texture = context.depth_texture((_SHADOW_MAP, _SHADOW_MAP))
        self._shadow_texture.compare_func = "<="
        self._shadow_texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._shadow_texture.repeat_x = self._shadow_texture.repeat_y = False
        self._shadow_target = context.framebuffer(depth_attachment=self._shadow_texture)
        self._white = context.texture((1, 1), 4, b"\xff\xff\xff\xff")
        self._corners = context.buffer(reserve=4 * 3 * 4, dynamic=True)
        self._ground_array = context.vertex_array(self._ground, [(self._corners, "3f", "in_position")])
        self._mesh: _DeviceMesh | None = None
        self._turned: tuple[float, Float32s] | None = None
        self._layer: tuple[tuple[float, ...], UInt8s] | None = None

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the context and all that lies on the device."""
        if self._mesh is not None:
            self._mesh.release()
            self._mesh = None
        self._context.release()

    @property
    def description(self) -> str:
        """GL_RENDERER and GL_VERSION."""
        info = self._context.info
        return f"{info['GL_RENDERER']}; {info['GL_VERSION']}"

    def render(self, mesh: Mesh, values: FactorValues, photo: UInt8s) -> UInt8s:
        """A picture of a mesh before a photograph.

        Args:
            mesh: The object; the same one again is not sent to the device again.
            values: Of the factors; `background` is not read, the photograph is given.
            photo: uint8 [S, S, 3], where S is the picture's side.

        Returns:
            uint8 [S, S, 3]; where there is neither object nor shadow, the photograph's own pixels.
        """
        layer = self.layer(mesh, values)
        return _over(layer, photo)

    def layer(self, mesh: Mesh, values: FactorValues) -> UInt8s:
        """Object and shadow before nothing: color times opacity, and opacity, uint8 [S, S, 4]."""
        if self._mesh is None or self._mesh.mesh is not mesh:
            if self._mesh is not None:
                self._mesh.release()
            self._mesh = _DeviceMesh(self._context, self._gl, self._object, self._depth, mesh)
            self._turned = self._layer = None
        named = (values.pose, values.size, values.position, -1.0 if values.hue is None else values.hue)
        if self._layer is None or self._layer[0] != named:
            self._layer = (named, self._drawn(self._mesh, values))
        return self._layer[1]

    def _drawn(self, mesh: _DeviceMesh, values: FactorValues) -> UInt8s:
        scene = build_scene(self._options, values)
        if self._turned is None or self._turned[0] != values.pose:
            turned = mesh.mesh.positions @ scene.turn.T.astype(np.float32)
            self._draw_shadow_map(mesh, scene, turned)
            self._turned = (values.pose, turned)
        turned = self._turned[1]
        ground = float(turned[:, 1].min())
        to_light = light_box(turned, scene.towards_light)
        corners = shadow_corners(to_light, scene.towards_light, ground)
        self._target.use()
        window = self._window(scene, turned, corners)
        if window is None:
            return np.zeros((self._options.image_size, self._options.image_size, 4), np.uint8)
        self._target.scissor = window
        self._target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self._draw_object(mesh, scene, to_light, corners)
        return self._read(window)

    def _draw_shadow_map(self, mesh: _DeviceMesh, scene: Scene, turned: Float32s) -> None:
        gl = self._gl
        self._shadow_target.use()
        self._shadow_target.clear(depth=1.0)
        self._context.enable_only(gl.DEPTH_TEST)
        to_light = light_box(turned, scene.towards_light)
        _set_matrix(self._depth, "to_light", to_light @ _of_turn(scene))
        for part in mesh.parts:
            if part.opacity >= _CASTS_SHADOW:
                part.texture.use(0)
                part.depth_array.render(gl.TRIANGLES)

    def _draw_object(self, mesh: _DeviceMesh, scene: Scene, to_light: np.ndarray, corners: Float32s) -> None:
        gl = self._gl
        program = self._object
        _set_matrix(program, "to_clip", scene.to_clip)
        _set_matrix(program, "to_light", to_light)
        program["turn"].write(scene.turn.T.astype("f4").tobytes())
        program["eye"].value = tuple(scene.eye.tolist())
        program["towards_light"].value = tuple(scene.towards_light.tolist())
        program["light_color"].value = scene.light_color
        program["ambient"].value = self._options.ambient
        program["shadow_map"].value = 1
        self._shadow_texture.use(1)
        self._context.enable_only(gl.DEPTH_TEST)
        for part in mesh.parts:
            if part.opacity >= _OPAQUE:
                part.draw(program, gl)
        self._context.enable(gl.BLEND)
        self._context.blend_func = (gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
        self._target.depth_mask = False
        self._draw_ground(scene, to_light, corners)
        glass = [part for part in mesh.parts if part.opacity < _OPAQUE]
        # From far to near, by the middles of parts.
        glass.sort(key=lambda part: -float(np.sum((scene.turn @ part.middle - scene.eye) ** 2)))
        for part in glass:
            part.draw(program, gl)
        self._target.depth_mask = True

    def _draw_ground(self, scene: Scene, to_light: np.ndarray, corners: Float32s) -> None:
        self._corners.write(corners.tobytes())
        _set_matrix(self._ground, "to_clip", scene.to_clip)
        _set_matrix(self._ground, "to_light", to_light)
        self._ground["opacity"].value = self._options.shadow
        self._ground["shadow_map"].value = 1
        self._ground_array.render(self._gl.TRIANGLE_STRIP)

    def _window(self, scene: Scene, turned: Float32s, corners: Float32s) -> tuple[int, int, int, int] | None:
        """The part of the target that object and shadow can touch: x, y, width, height in samples, from below.

        `None` where they are out of the frame.
        """
        points = np.concatenate([turned, corners])
        clip = points @ scene.to_clip[:, :3].T.astype(np.float32) + scene.to_clip[:, 3].astype(np.float32)
        step = self._options.supersampling
        if (clip[:, 3] <= 0.01).any():
            return (0, 0, self._side, self._side)
        places = (clip[:, :2] / clip[:, 3:] + 1) / 2 * self._options.image_size
        low = np.clip(np.floor(places.min(axis=0)) - 1, 0, self._options.image_size).astype(int)
        high = np.clip(np.ceil(places.max(axis=0)) + 1, 0, self._options.image_size).astype(int)
        width, height = (high - low).tolist()
        if width <= 0 or height <= 0:
            return None
        return (int(low[0]) * step, int(low[1]) * step, width * step, height * step)

    def _read(self, window: tuple[int, int, int, int]) -> UInt8s:
        """The window's samples, averaged to pixels, in a whole layer."""
        x, y, width, height = window
        samples = np.frombuffer(self._target.read(window, components=4, alignment=1), np.uint8)
        samples = samples.reshape(height, width, 4)[::-1]
        step, side = self._options.supersampling, self._options.image_size
        layer = np.zeros((side, side, 4), np.uint8)
        top, left = side - (y + height) // step, x // step
        layer[top : top + height // step, left : left + width // step] = _averaged(samples, step)
        return layer


class _DevicePart:
    """Triangles of one material on the device."""

    def __init__(self, color: tuple[float, ...], texture: Any, middle: np.ndarray, arrays: tuple[Any, Any]) -> None:
        self.color = color
        self.opacity = color[3]
        self.texture = texture
        self.middle = middle
        self.array, self.depth_array = arrays

    def draw(self, program: Any, gl: Any) -> None:
        program["color"].value = self.color
        self.texture.use(0)
        self.array.render(gl.TRIANGLES)


class _DeviceMesh:
    """A mesh on the device."""

    def __init__(self, context: Any, gl: Any, program: Any, depth: Any, mesh: Mesh) -> None:
        self.mesh = mesh
        vertices = np.concatenate([mesh.positions, mesh.normals, mesh.uvs], axis=1).astype("f4")
        self._vertices = context.buffer(np.ascontiguousarray(vertices).tobytes())
        self._textures = [_texture(context, gl, content) for content in mesh.textures]
        self._plain = context.texture((1, 1), 4, b"\xff\xff\xff\xff")
        self._owned: list[Any] = [self._vertices, self._plain, *self._textures]
        self.parts: list[_DevicePart] = []
        for part in mesh.parts:
            rows = mesh.triangles[part.first : part.first + part.count]
            if not len(rows):
                continue
            indices = context.buffer(np.ascontiguousarray(rows, np.uint32).tobytes())
            array = context.vertex_array(
                program, [(self._vertices, "3f 3f 2f", "in_position", "in_normal", "in_uv")], indices
            )
            shadow = context.vertex_array(depth, [(self._vertices, "3f 12x 2f", "in_position", "in_uv")], indices)
            self._owned += [array, shadow, indices]
            texture = self._plain if part.texture is None else self._textures[part.texture]
            middle = mesh.positions[rows.ravel()].mean(axis=0)
            self.parts.append(_DevicePart(part.color, texture, middle, (array, shadow)))

    def release(self) -> None:
        for owned in self._owned:
            owned.release()


def _texture(context: Any, gl: Any, content: bytes) -> Any:
    image = Image.open(io.BytesIO(content)).convert("RGBA").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    texture = context.texture(image.size, 4, image.tobytes())
    texture.build_mipmaps()
    texture.filter = (gl.LINEAR_MIPMAP_LINEAR, gl.LINEAR)
    return texture


def _of_turn(scene: Scene) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = scene.turn
    return matrix


def _set_matrix(program: Any, name: str, matrix: np.ndarray) -> None:
    program[name].write(np.ascontiguousarray(matrix.T, "f4").tobytes())


def _averaged(samples: UInt8s, step: int) -> UInt8s:
    """Means over squares of samples, rounded; [H * step, W * step, 4] -> [H, W, 4]."""
    if step == 1:
        return samples
    total = np.zeros((samples.shape[0] // step, samples.shape[1] // step, 4), np.uint16)
    for y in range(step):
        for x in range(step):
            total += samples[y::step, x::step]
    count = step * step
    return ((total + count // 2) // count).astype(np.uint8)


def _over(layer: UInt8s, photo: UInt8s) -> UInt8s:
    """A layer over a photograph, in display values."""
    through = 255 - layer[..., 3:].astype(np.uint16)
    # Exact division by 255 with rounding; where opacity is 0 the photograph's value comes back.
    behind = photo * through + 128
    behind = (behind + (behind >> 8)) >> 8
    return np.minimum(behind + layer[..., :3], 255).astype(np.uint8)
