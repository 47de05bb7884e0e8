"""Scenes become pixels: the one module that knows OpenGL.

Owns the context, the shaders and what is kept between pictures: the mesh on the device, the shadow map of its last
turn, and the last drawing (object and shadow before nothing, under each light alone), so that another photograph
behind the same object costs a blend, and another hue a sum. Colors are display values (sRGB) throughout, as .mtl
files mean them, samples are averaged in them, and light multiplies them: the hue of a grey object is then the
light's. The price: light falls off a little faster than it would in linear values.

Pictures are the same, bit by bit, for the same GL_RENDERER and GL_VERSION, in any order and any process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from shardtools.arrays import Float32s, Float64s, UInt8s
from shardtools.errors import RunError
from shardtools.extras import require
from shardtools.rendering.device import DeviceMesh, Programs
from shardtools.rendering.factors import FactorValues
from shardtools.rendering.mesh import Mesh
from shardtools.rendering.scene import (
    Scene,
    build_scene,
    light_box,
    shadow_of,
    to_clip_of_light,
    turned,
    window_of,
)
from shardtools.rendering.scene_options import SceneOptions
from shardtools.rendering.shaders import CUT_DEPTH_SHADERS, GROUND_SHADERS, OBJECT_SHADERS, SOLID_DEPTH_SHADERS

_SHADOW_MAP = 384
# Where the ground reaches: it is drawn as a square, and cut to the shadow's window.
_GROUND_REACH = 8.0
_DEBIAN_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Turned:
    """What depends on the object and its pose alone."""

    pose: float
    points: Float32s
    shadow: Float32s
    ground: float
    to_light: Float64s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drawing:
    """Object and shadow before nothing: color times opacity and opacity, as far as they reach.

    Attributes:
        named: Pose, size, position.
        window: Rows and columns of the picture; `None`: out of the frame.
        plain: Under the light from everywhere, uint8 [h, w, 4].
        keyed: Under a white key light alone, uint8 [h, w, 3].
    """

    named: tuple[float, float, float]
    window: tuple[slice, slice] | None
    plain: UInt8s
    keyed: UInt8s


class Renderer:
    """Draws pictures in this process. A context manager; make it after a process is forked, one a process."""

    def __init__(self, options: SceneOptions) -> None:
        """Opens a context: on the first EGL device, or that of GLCONTEXT_DEVICE_INDEX.

        Raises:
            RunError: There is no moderngl, or no OpenGL without a screen.
        """
        self._context = context = _open_context()
        # Asked now: it is the current context that answers, and another renderer may make its own.
        self.description: str = f"{context.info['GL_RENDERER']}; {context.info['GL_VERSION']}"
        """GL_RENDERER and GL_VERSION."""
        self._options = options
        self._programs = Programs(
            object=context.program(**OBJECT_SHADERS),
            solid_depth=context.program(**SOLID_DEPTH_SHADERS),
            cut_depth=context.program(**CUT_DEPTH_SHADERS),
        )
        self._ground = context.program(**GROUND_SHADERS)
        side = options.image_size * options.supersampling
        self._target = context.framebuffer(
            color_attachments=[context.renderbuffer((side, side), 4) for _ in range(2)],
            depth_attachment=context.depth_renderbuffer((side, side)),
        )
        self._shadow_texture = context.depth_texture((_SHADOW_MAP, _SHADOW_MAP))
        self._shadow_texture.compare_func = "<="
        self._shadow_texture.filter = (context.LINEAR, context.LINEAR)
        self._shadow_texture.repeat_x = self._shadow_texture.repeat_y = False
        self._shadow_target = context.framebuffer(depth_attachment=self._shadow_texture)
        corners = np.array([[x, z] for x in (-1, 1) for z in (-1, 1)], np.float32) * _GROUND_REACH
        self._ground_array = context.vertex_array(
            self._ground, [(context.buffer(corners.tobytes()), "2f", "in_place")], mode=context.TRIANGLE_STRIP
        )
        self._mesh: DeviceMesh | None = None
        self._turned: _Turned | None = None
        self._drawing: _Drawing | None = None

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the context and all that lies on the device."""
        with self._context:
            self._forget()
        self._context.release()

    def render(self, mesh: Mesh, values: FactorValues, photo: UInt8s) -> UInt8s:
        """A picture of a mesh before a photograph.

        Args:
            mesh: The object; the same one again is not sent to the device again.
            values: Of the factors; `background` is not read, the photograph is given.
            photo: uint8 [S, S, 3], where S is the picture's side.

        Returns:
            uint8 [S, S, 3]; where there is neither object nor shadow, the photograph's own pixels.
        """
        scene = build_scene(self._options, values)
        drawing = self._drawn(mesh, values, scene)
        picture = photo.copy()
        if drawing.window is not None:
            color = _under_both_lights(drawing, scene.light_color)
            picture[drawing.window] = _over(color, drawing.plain[..., 3:], photo[drawing.window])
        return picture

    def _drawn(self, mesh: Mesh, values: FactorValues, scene: Scene) -> _Drawing:
        named = (values.pose, values.size, values.position)
        if self._mesh is not None and self._mesh.mesh is mesh and self._drawing and self._drawing.named == named:
            return self._drawing
        # Another renderer of this process may have drawn last.
        with self._context:
            if self._mesh is None or self._mesh.mesh is not mesh:
                self._forget()
                self._mesh = DeviceMesh(self._context, self._programs, mesh)
            if self._turned is None or self._turned.pose != values.pose:
                self._turned = self._turn(self._mesh, values.pose, scene)
            self._drawing = self._draw(self._mesh, self._turned, named, scene)
        return self._drawing

    def _forget(self) -> None:
        if self._mesh is not None:
            self._mesh.release()
        self._mesh = self._turned = self._drawing = None

    def _turn(self, mesh: DeviceMesh, pose: float, scene: Scene) -> _Turned:
        """Turns the object on the processor, for its extents, and draws what the light sees of it."""
        points = turned(mesh.points, scene.turn)
        to_light = light_box(points, scene.towards_light)
        self._shadow_target.use()
        self._shadow_target.clear(depth=1.0)
        context = self._context
        context.enable_only(context.DEPTH_TEST)
        turn = np.eye(4)
        turn[:3, :3] = scene.turn
        for program in (self._programs.solid_depth, self._programs.cut_depth):
            _set(program, "to_light", to_clip_of_light(to_light) @ turn)
        mesh.draw_depth()
        ground = float(points[1].min())
        shadow = shadow_of(points, scene.towards_light, ground)
        return _Turned(pose=pose, points=points, shadow=shadow, ground=ground, to_light=to_light)

    def _draw(self, mesh: DeviceMesh, pose: _Turned, named: tuple[float, float, float], scene: Scene) -> _Drawing:
        windows = [window_of(self._options, scene.to_clip, points) for points in (pose.points, pose.shadow)]
        window = _around(windows[0], windows[1])
        if window is None:
            nothing = np.zeros((0, 0, 4), np.uint8)
            return _Drawing(named=named, window=None, plain=nothing, keyed=nothing[..., :3])
        rows, columns = window
        step, side = self._options.supersampling, self._options.image_size
        # OpenGL counts rows from below.
        box = (columns.start, side - rows.stop, columns.stop - columns.start, rows.stop - rows.start)
        left, below, width, height = (value * step for value in box)
        samples = (left, below, width, height)
        self._target.use()
        self._target.scissor = samples
        self._target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self._draw_object(mesh, pose, scene)
        plain, keyed = (self._read(samples, attachment) for attachment in (0, 1))
        return _Drawing(named=named, window=window, plain=plain, keyed=keyed[..., :3])

    def _draw_object(self, mesh: DeviceMesh, pose: _Turned, scene: Scene) -> None:
        context, program = self._context, self._programs.object
        _set(program, "to_clip", scene.to_clip)
        _set(program, "to_light", pose.to_light)
        _set(program, "turn", scene.turn)
        program["eye"].value = tuple(scene.eye.tolist())
        program["towards_light"].value = tuple(scene.towards_light.tolist())
        program["ambient"].value = self._options.ambient
        program["shadow_map"].value = 1
        self._shadow_texture.use(1)
        context.enable_only(context.DEPTH_TEST)
        for part in mesh.parts:
            if part.is_opaque:
                part.draw(program)
        context.enable(context.BLEND)
        context.blend_func = (context.ONE, context.ONE_MINUS_SRC_ALPHA)
        self._target.depth_mask = False
        self._draw_ground(pose, scene)
        # From far to near, by the middles of parts.
        glass = [part for part in mesh.parts if not part.is_opaque]
        for part in sorted(glass, key=lambda part: -float(np.sum((scene.turn @ part.middle - scene.eye) ** 2))):
            part.draw(program)
        self._target.depth_mask = True

    def _draw_ground(self, pose: _Turned, scene: Scene) -> None:
        program = self._ground
        _set(program, "to_clip", scene.to_clip)
        _set(program, "to_light", pose.to_light)
        program["height"].value = pose.ground
        program["opacity"].value = self._options.shadow
        program["shadow_map"].value = 1
        self._ground_array.render()

    def _read(self, samples: tuple[int, int, int, int], attachment: int) -> UInt8s:
        """One picture's samples, averaged to pixels, uint8 [h, w, 4]."""
        content = self._target.read(samples, components=4, attachment=attachment, alignment=1)
        # Four bands without a meaning: Pillow would divide those of RGBA by opacity.
        image = Image.frombuffer("CMYK", (samples[2], samples[3]), content, "raw", "CMYK", 0, -1)
        return np.asarray(image.reduce(self._options.supersampling))


def _open_context() -> Any:
    require("render", ("moderngl",), extra="render")
    # One core a worker: llvmpipe would start a thread for every core. It reads this when a context is made.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    import moderngl

    make: Any = moderngl.create_context  # its annotations know no backend
    try:
        return make(standalone=True, backend="egl", require=330)
    except Exception as error:  # glcontext raises bare Exceptions
        raise RunError(
            f"render found no OpenGL that draws without a screen ({error}): install EGL and a driver (Debian: "
            f"apt-get install {_DEBIAN_PACKAGES})"
        ) from None


def _set(program: Any, name: str, matrix: Float64s) -> None:
    program[name].write(np.ascontiguousarray(matrix.T, np.float32).tobytes())


def _around(one: tuple[slice, slice] | None, other: tuple[slice, slice] | None) -> tuple[slice, slice] | None:
    """The smallest window that holds both."""
    if one is None or other is None:
        return one or other
    rows, columns = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return rows, columns


def _under_both_lights(drawing: _Drawing, color: tuple[float, float, float]) -> UInt8s:
    """Color times opacity, uint16 [h, w, 3]."""
    if color == (1.0, 1.0, 1.0):
        return drawing.plain[..., :3].astype(np.uint16) + drawing.keyed
    parts = np.round(np.array(color) * 256).astype(np.uint16)
    # At most 255 * 256 + 128: it fits.
    return drawing.plain[..., :3] + ((drawing.keyed * parts + np.uint16(128)) >> 8)


def _over(color: np.ndarray, opacity: UInt8s, photo: UInt8s) -> UInt8s:
    """A drawing over a photograph, in display values.

    Args:
        color: Times opacity, uint16 [h, w, 3].
        opacity: [h, w, 1].
        photo: [h, w, 3].
    """
    # Exact division by 255 with rounding; where opacity is 0 the photograph's value comes back.
    behind = photo * (255 - opacity.astype(np.uint16)) + np.uint16(128)
    over: UInt8s = np.minimum(((behind + (behind >> 8)) >> 8) + color, 255).astype(np.uint8)
    return over
