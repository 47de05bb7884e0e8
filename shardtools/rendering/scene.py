"""Where object, camera, light and ground are, for values of the factors: matrices alone, no OpenGL.

Owns the geometry. The object is turned about the origin, scaled, and seen by a camera that never moves; a position is
a shift of the lens, because moving the object would change its perspective too. The ground lies under the lowest point
of the object as it is turned and only catches its shadow.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np

from shardtools.arrays import Float32s, Float64s
from shardtools.rendering.factors import FactorValues
from shardtools.rendering.scene_options import SceneOptions

RENDERING_VERSION = 1
"""Raised by a change that makes other pixels; it stands in plans."""

_TOWARDS_LIGHT = np.array([0.55, 1.0, 0.75])  # upper right front
_NEAR, _FAR = 0.05, 20.0
# Of the light's box in a diameter of the bounding sphere.
_BOX_STEPS = 64
# Pixels around a window: the blur of a shadow's edge reaches that far.
_ROOM = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Matrices act on columns (x, y, z, 1); lengths are in diameters of the unscaled bounding sphere.

    Attributes:
        turn: Of the object about the origin, [3, 3].
        size: Its scale.
        to_clip: From the turned, unscaled object to clip coordinates, [4, 4].
        eye: The camera, in coordinates of the turned, unscaled object, [3].
        towards_light: Unit vector, [3].
        light_color: Red, green, blue, 0 to 1, [3].
    """

    turn: Float64s
    size: float
    to_clip: Float64s
    eye: Float64s
    towards_light: Float64s
    light_color: tuple[float, float, float]


def build_scene(options: SceneOptions, values: FactorValues) -> Scene:
    """The scene for values of the factors; the photograph has no part in it."""
    distance = camera_distance(options)
    elevation = math.radians(options.elevation)
    back = np.array([0.0, math.sin(elevation), math.cos(elevation)])
    right = np.array([1.0, 0.0, 0.0])
    view = np.eye(4)
    view[:3, :3] = [right, np.cross(back, right), back]
    view[:3, 3] = view[:3, :3] @ (-distance * back)
    scale = np.diag([values.size, values.size, values.size, 1.0])
    color = (1.0, 1.0, 1.0) if values.hue is None else colorsys.hsv_to_rgb(values.hue, options.saturation, 1.0)
    return Scene(
        turn=turn_of(options, values.pose),
        size=values.size,
        to_clip=_projection(options, values.position) @ view @ scale,
        eye=distance * back / values.size,
        towards_light=_TOWARDS_LIGHT / np.linalg.norm(_TOWARDS_LIGHT),
        light_color=color,
    )


def camera_distance(options: SceneOptions) -> float:
    """How far the camera is from the origin, so that a sphere of diameter 1 spans what is asked of the frame.

    A sphere's outline is seen under asin(radius / distance) from its center, not under atan.
    """
    half_angle = math.atan(options.span * math.tan(math.radians(options.field_of_view) / 2))
    return 0.5 / math.sin(half_angle)


def turn_of(options: SceneOptions, pose: float) -> Float64s:
    """The object's rotation for a pose in degrees, [3, 3]; a roll is counter-clockwise as the camera sees it."""
    elevation = math.radians(options.elevation)
    axis = {
        "roll": np.array([0.0, math.sin(elevation), math.cos(elevation)]),
        "pitch": np.array([1.0, 0.0, 0.0]),
        "yaw": np.array([0.0, 1.0, 0.0]),
    }[options.pose_axis]
    return _rotation(axis, pose) @ _rotation(np.array([0.0, 1.0, 0.0]), options.base_yaw)


def turned(points: Float32s, turn: Float64s) -> Float32s:
    """Points after a turn, [3, V].

    Sums in a fixed order, unlike a product of matrices, whose last bits differ between processors: what is found from
    them (ground, light box) decides on pixels.

    Args:
        points: [3, V].
        turn: [3, 3].
    """
    x, y, z = points
    rows = turn.astype(np.float32)
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in rows])


def light_box(points: Float32s, towards_light: Float64s) -> Float64s:
    """From the turned object to the box that light sees it in, coordinates 0 to 1, [4, 4].

    Args:
        points: Of the turned object, [3, V].
        towards_light: Unit vector, [3].
    """
    right = np.cross([0.0, 1.0, 0.0], towards_light)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(towards_light, right), -towards_light])
    seen = turned(points, axes)
    # A margin, so that the outline's blur stays inside; to whole steps, so that no last bit moves the box.
    low = np.floor(seen.min(axis=1) * _BOX_STEPS - 1.5).astype(np.float64) / _BOX_STEPS
    high = np.ceil(seen.max(axis=1) * _BOX_STEPS + 1.5).astype(np.float64) / _BOX_STEPS
    matrix = np.eye(4)
    matrix[:3, :3] = axes / (high - low)[:, None]
    matrix[:3, 3] = -low / (high - low)
    return matrix


def to_clip_of_light(to_light: Float64s) -> Float64s:
    """The same box in clip coordinates, -1 to 1, [4, 4]."""
    matrix = 2 * to_light
    matrix[:3, 3] -= 1
    matrix[3] = to_light[3]
    return matrix


def shadow_of(points: Float32s, towards_light: Float64s, ground: float) -> Float32s:
    """Where points cast their shadow on the ground, [3, V]."""
    x, y, z = points
    steps = (y - np.float32(ground)) / np.float32(towards_light[1])
    along = towards_light.astype(np.float32)
    return np.stack([x - steps * along[0], np.full_like(y, ground), z - steps * along[2]])


def window_of(options: SceneOptions, to_clip: Float64s, points: Float32s) -> tuple[slice, slice] | None:
    """Rows and columns of the picture that points can touch; `None` where they are out of the frame.

    Args:
        options: The picture.
        to_clip: Of the scene.
        points: Of the turned object or of its shadow, [3, V].
    """
    side = options.image_size
    x, y, _, w = to_clip.astype(np.float32)
    depth = w[0] * points[0] + w[1] * points[1] + w[2] * points[2] + w[3]
    if depth.min() <= _NEAR:
        return slice(0, side), slice(0, side)
    across = (x[0] * points[0] + x[1] * points[1] + x[2] * points[2] + x[3]) / depth
    up = (y[0] * points[0] + y[1] * points[1] + y[2] * points[2] + y[3]) / depth
    left, right = ((float(value) + 1) / 2 * side for value in (across.min(), across.max()))
    top, bottom = ((1 - float(value)) / 2 * side for value in (up.max(), up.min()))
    rows = slice(max(0, math.floor(top) - _ROOM), min(side, math.ceil(bottom) + _ROOM))
    columns = slice(max(0, math.floor(left) - _ROOM), min(side, math.ceil(right) + _ROOM))
    return None if rows.start >= rows.stop or columns.start >= columns.stop else (rows, columns)


def _projection(options: SceneOptions, position: float) -> Float64s:
    focal = 1 / math.tan(math.radians(options.field_of_view) / 2)
    matrix = np.zeros((4, 4))
    matrix[0, 0] = matrix[1, 1] = focal
    # In front of the camera w is -z: what is added to x is then the same part of the frame at any depth.
    matrix[0, 2] = -position
    matrix[2, 2] = (_FAR + _NEAR) / (_NEAR - _FAR)
    matrix[2, 3] = 2 * _FAR * _NEAR / (_NEAR - _FAR)
    matrix[3, 2] = -1
    return matrix


def _rotation(axis: Float64s, degrees: float) -> Float64s:
    """Rodrigues' formula, right-handed, [3, 3]; `axis` is a unit vector."""
    # Of whole quarter turns sine and cosine are exact, so that -180 and 180 are the same turn.
    turns = math.fmod(degrees, 360.0)
    quarter = {0.0: (0.0, 1.0), 90.0: (1.0, 0.0), 180.0: (0.0, -1.0), 270.0: (-1.0, 0.0)}.get(turns % 360.0)
    sine, cosine = quarter or (math.sin(math.radians(turns)), math.cos(math.radians(turns)))
    x, y, z = axis.tolist()
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return cosine * np.eye(3) + sine * cross + (1 - cosine) * np.outer(axis, axis)
