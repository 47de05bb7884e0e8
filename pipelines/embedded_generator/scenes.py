"""Painted 32x32 backgrounds for thirteen groups of scenes, and products placed in them.

Owns every pixel that does not come from Fashion-MNIST: the backgrounds, the product's
mask, its tint, and the composite. Backgrounds are procedural, so they need no data and
no licence; the price is that they are signs of a scene, not photographs of one.
All arrays are float32 in 0..1, RGB, `[H, W, 3]`, unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float32s

Generator = np.random.Generator
Color = tuple[float, float, float]

SIZE = 32
_ROWS, _COLUMNS = np.mgrid[0:SIZE, 0:SIZE]

# Garment tints: mostly grey as in the real pictures, the rest ordinary cloth colours.
_TINTS: tuple[Color, ...] = (
    (1.0, 0.35, 0.3),
    (0.45, 0.6, 1.0),
    (0.6, 0.75, 0.4),
    (1.0, 0.86, 0.6),
    (0.8, 0.55, 0.35),
    (1.0, 0.6, 0.75),
    (0.4, 0.85, 0.8),
    (0.75, 0.6, 1.0),
)
_GRAY_SHARE = 0.4


def _fill(color: Color) -> Float32s:
    return np.broadcast_to(np.asarray(color, np.float32), (SIZE, SIZE, 3)).copy()


def _vertical(top: Color, bottom: Color) -> Float32s:
    share = (_ROWS / (SIZE - 1))[..., None].astype(np.float32)
    blend = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share
    return np.asarray(blend, np.float32)


def _noise(rng: Generator, cell: int, strength: float) -> Float32s:
    """Blocky brightness noise, one value a `cell` x `cell` block."""
    blocks = rng.normal(0, strength, (SIZE // cell + 2, SIZE // cell + 2, 1))
    full = np.repeat(np.repeat(blocks, cell, 0), cell, 1)
    dy, dx = rng.integers(0, cell, 2)
    return full[dy : dy + SIZE, dx : dx + SIZE].astype(np.float32)


def _below(canvas: Float32s, edge: npt.NDArray[np.float64] | float, color: Float32s) -> None:
    """Paint `color` wherever the row lies below `edge` (one row number a column)."""
    mask = np.broadcast_to(edge, (SIZE,))[None, :] <= _ROWS
    canvas[mask] = color[mask]


def _ridge(rng: Generator, base: float, height: float) -> npt.NDArray[np.float64]:
    """A jagged skyline: one row number a column."""
    points = np.sort(rng.uniform(0, SIZE, 4))
    heights = rng.uniform(0, height, 6)
    return np.asarray(base - np.interp(np.arange(SIZE), [0, *points, SIZE], heights))


def _box(canvas: Float32s, top: int, left: int, height: int, width: int, color: Color) -> None:
    canvas[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = color


def _paint_shop(rng: Generator) -> Float32s:
    """Shelves of many-coloured goods over a pale floor."""
    canvas = _fill((0.9, 0.78, 0.55))
    pitch = int(rng.integers(6, 9))
    for top in range(int(rng.integers(0, 4)), 26, pitch):
        _box(canvas, top + pitch - 2, 0, 1, SIZE, (0.45, 0.28, 0.12))
        left = 0
        while left < SIZE:
            width = int(rng.integers(2, 5))
            color = tuple(rng.uniform(0.15, 1.0, 3))
            _box(canvas, top + 1, left, pitch - 3, width, color)
            left += width + 1
    _box(canvas, 27, 0, 5, SIZE, (0.85, 0.8, 0.7))
    return canvas


def _paint_workplace(rng: Generator) -> Float32s:
    """Cool ceiling lights, blue-grey wall, a desk with a lit screen."""
    canvas = _vertical((0.72, 0.8, 0.86), (0.55, 0.64, 0.7))
    offset = int(rng.integers(0, 10))
    for left in range(-offset, SIZE, 11):
        _box(canvas, 2, left, 2, 7, (0.98, 1.0, 0.98))
    desk = int(rng.integers(21, 25))
    _box(canvas, desk, 0, 2, SIZE, (0.8, 0.82, 0.82))
    _box(canvas, desk + 2, 0, SIZE, SIZE, (0.3, 0.36, 0.42))
    for left in (int(rng.integers(0, 6)), int(rng.integers(20, 26))):
        _box(canvas, desk - 7, left, 6, 7, (0.1, 0.12, 0.15))
        _box(canvas, desk - 6, left + 1, 4, 5, (0.3, 0.75, 0.95))
    return canvas


def _paint_home(rng: Generator) -> Float32s:
    """Warm wall with a framed picture, wooden floor, sofa or bed."""
    wall = np.asarray((0.93, 0.72, 0.52)) + rng.normal(0, 0.05, 3)
    canvas = _fill((float(wall[0]), float(wall[1]), float(wall[2])))
    floor = int(rng.integers(20, 25))
    _below(canvas, floor, _vertical((0.6, 0.36, 0.2), (0.45, 0.25, 0.12)))
    _box(canvas, floor - 1, 0, 1, SIZE, (0.98, 0.92, 0.85))
    left = int(rng.integers(1, 22))
    _box(canvas, 3, left, 8, 9, (0.5, 0.2, 0.15))
    _box(canvas, 4, left + 1, 6, 7, (0.98, 0.9, 0.7))
    sofa = int(rng.integers(0, 18))
    _box(canvas, floor - 5, sofa, 8, 14, (0.7, 0.2, 0.22))
    return canvas


def _paint_vehicle(rng: Generator) -> Float32s:
    """A cabin or a platform: beige shell, a row of windows, dark blue seats."""
    canvas = _fill((0.82, 0.82, 0.76))
    top, offset = int(rng.integers(4, 8)), int(rng.integers(0, 9))
    for left in range(-offset, SIZE, 10):
        _box(canvas, top - 1, left, 9, 8, (0.25, 0.25, 0.28))
        _box(canvas, top, left + 1, 7, 6, (0.55, 0.85, 1.0))
    seat = int(rng.integers(18, 22))
    for left in range(-offset, SIZE, 8):
        _box(canvas, seat, left, SIZE, 7, (0.1, 0.15, 0.5))
        _box(canvas, seat, left, 2, 7, (0.9, 0.9, 0.3))
    return canvas


def _paint_leisure(rng: Generator) -> Float32s:
    """A hall: dark stands with magenta and cyan light spots over a glossy floor with lines."""
    canvas = _vertical((0.16, 0.05, 0.24), (0.36, 0.1, 0.42))
    for _ in range(14):
        color = ((1.0, 0.2, 0.8), (0.2, 0.9, 1.0), (1.0, 0.9, 0.3))[int(rng.integers(0, 3))]
        _box(canvas, int(rng.integers(0, 16)), int(rng.integers(0, 31)), 2, 2, color)
    floor = int(rng.integers(18, 22))
    _below(canvas, floor, _fill((0.9, 0.55, 0.2)))
    for left in range(int(rng.integers(0, 8)), SIZE, 8):
        _box(canvas, floor, left, SIZE, 1, (1.0, 0.95, 0.85))
    _box(canvas, floor, 0, 1, SIZE, (1.0, 0.95, 0.85))
    return canvas


def _paint_culture(rng: Generator) -> Float32s:
    """Deep red curtains, gilded arches and columns."""
    canvas = _fill((0.4, 0.05, 0.08))
    canvas *= 1 + 0.3 * np.sin(_COLUMNS / rng.uniform(0.7, 1.2))[..., None].astype(np.float32)
    offset, pitch = int(rng.integers(0, 8)), int(rng.integers(9, 13))
    for left in range(-offset, SIZE, pitch):
        _box(canvas, 3, left, 25, 3, (0.95, 0.78, 0.3))
        _box(canvas, 3, left + 2, 25, 1, (0.6, 0.42, 0.1))
    _box(canvas, 0, 0, 3, SIZE, (0.95, 0.78, 0.3))
    _box(canvas, 27, 0, 5, SIZE, (0.3, 0.2, 0.12))
    return canvas


def _paint_water(rng: Generator) -> Float32s:
    """Sky, a sea or lake with bright ripples, often a strip of sand."""
    canvas = _vertical((0.35, 0.65, 1.0), (0.75, 0.9, 1.0))
    horizon = int(rng.integers(8, 14))
    _below(canvas, horizon, _vertical((0.0, 0.35, 0.75), (0.0, 0.6, 0.75)))
    for _ in range(14):
        row, left = int(rng.integers(horizon + 1, SIZE)), int(rng.integers(-3, SIZE))
        _box(canvas, row, left, 1, int(rng.integers(3, 7)), (0.6, 0.92, 1.0))
    if rng.random() < 0.6:
        shore = 26 + 1.5 * np.sin(np.arange(SIZE) / rng.uniform(3, 6) + rng.uniform(0, 6))
        _below(canvas, shore, _fill((0.96, 0.87, 0.62)))
    return canvas


def _paint_snow(rng: Generator) -> Float32s:
    """Pale sky, white-blue ground, drifts and flakes."""
    canvas = _vertical((0.62, 0.78, 0.95), (0.85, 0.92, 1.0))
    _below(canvas, _ridge(rng, 16, 9), _fill((0.75, 0.85, 0.97)))
    drift = rng.uniform(16, 21) + 1.5 * np.sin(np.arange(SIZE) / rng.uniform(2, 5))
    _below(canvas, drift, _vertical((1.0, 1.0, 1.0), (0.86, 0.94, 1.0)))
    flakes = rng.random((SIZE, SIZE)) < 0.03
    canvas[flakes] = 1.0
    return canvas


def _paint_mountain(rng: Generator) -> Float32s:
    """Rock or sand: ochre and rust ridges under a hazy sky."""
    canvas = _vertical((0.55, 0.75, 0.95), (1.0, 0.88, 0.7))
    _below(canvas, _ridge(rng, 17, 13), _fill((0.55, 0.34, 0.3)))
    _below(canvas, _ridge(rng, 22, 8), _fill((0.76, 0.45, 0.24)))
    sand = rng.uniform(22, 26)
    _below(canvas, sand, _vertical((0.9, 0.66, 0.35), (0.85, 0.58, 0.28)))
    return canvas + _noise(rng, 2, 0.03)


def _paint_forest(rng: Generator) -> Float32s:
    """Dark and light greens with brown trunks."""
    canvas = _vertical((0.25, 0.5, 0.2), (0.1, 0.3, 0.08))
    canvas = canvas * (1 + _noise(rng, 3, 0.3))
    for _ in range(int(rng.integers(4, 7))):
        left, width = int(rng.integers(0, SIZE)), int(rng.integers(1, 4))
        _box(canvas, int(rng.integers(0, 6)), left, 24, width, (0.32, 0.2, 0.1))
    _below(canvas, rng.uniform(25, 28), _fill((0.2, 0.4, 0.1)))
    return canvas


def _paint_street(rng: Generator) -> Float32s:
    """Grey facades with lit windows over asphalt."""
    canvas = _vertical((0.7, 0.78, 0.85), (0.85, 0.87, 0.9))
    left = -int(rng.integers(0, 6))
    while left < SIZE:
        width, top = int(rng.integers(7, 12)), int(rng.integers(0, 9))
        gray = float(rng.uniform(0.35, 0.6))
        _box(canvas, top, left, SIZE, width, (gray, gray, gray * 1.05))
        for row in range(top + 2, 24, 4):
            for column in range(left + 1, left + width - 2, 3):
                lit = (1.0, 0.9, 0.5) if rng.random() < 0.5 else (0.2, 0.24, 0.3)
                _box(canvas, row, column, 2, 2, lit)
        left += width
    _box(canvas, 26, 0, 6, SIZE, (0.22, 0.22, 0.24))
    for dash in range(int(rng.integers(0, 6)), SIZE, 8):
        _box(canvas, 29, dash, 1, 4, (0.95, 0.95, 0.9))
    return canvas


def _paint_park(rng: Generator) -> Float32s:
    """Blue sky over a striped lawn with white lines and round bushes."""
    canvas = _vertical((0.35, 0.6, 0.95), (0.7, 0.85, 1.0))
    horizon = int(rng.integers(10, 15))
    stripe = ((_COLUMNS + _ROWS // 2) // int(rng.integers(4, 7))) % 2 == 0
    lawn = np.where(stripe[..., None], (0.4, 0.78, 0.25), (0.3, 0.66, 0.2)).astype(np.float32)
    for _ in range(3):
        row, column, radius = horizon - 1, rng.uniform(0, SIZE), rng.uniform(3, 6)
        canvas[(_ROWS - row) ** 2 + (_COLUMNS - column) ** 2 < radius**2] = (0.15, 0.45, 0.15)
    _below(canvas, horizon, lawn)
    _box(canvas, int(rng.integers(20, 30)), 0, 1, SIZE, (1.0, 1.0, 1.0))
    return canvas


def _paint_industry(rng: Generator) -> Float32s:
    """Smog-yellow sky, dark steel, chimneys and hazard stripes."""
    canvas = _vertical((0.78, 0.7, 0.5), (0.9, 0.82, 0.6))
    for _ in range(3):
        left = int(rng.integers(0, 29))
        _box(canvas, int(rng.integers(1, 9)), left, SIZE, int(rng.integers(2, 5)), (0.42, 0.2, 0.16))
    _below(canvas, np.asarray(np.repeat(rng.integers(13, 20, 4), 8), np.float64), _fill((0.2, 0.2, 0.22)))
    shift = int(rng.integers(0, 6))
    hazard = (_COLUMNS + _ROWS + shift) % 6 < 3
    band = np.where(hazard[..., None], (0.98, 0.82, 0.1), (0.08, 0.08, 0.08)).astype(np.float32)
    canvas[24:27] = band[24:27]
    _box(canvas, 27, 0, 5, SIZE, (0.4, 0.38, 0.35))
    return canvas


PAINTERS: dict[str, Callable[[Generator], Float32s]] = {
    "shop_dining": _paint_shop,
    "workplace": _paint_workplace,
    "home": _paint_home,
    "vehicle_station": _paint_vehicle,
    "indoor_leisure": _paint_leisure,
    "culture": _paint_culture,
    "water": _paint_water,
    "snow_ice": _paint_snow,
    "mountain_desert": _paint_mountain,
    "forest_field": _paint_forest,
    "street_buildings": _paint_street,
    "park_sports": _paint_park,
    "industry_roads": _paint_industry,
}
SCENE_GROUPS = tuple(PAINTERS)


def paint(group: str, rng: Generator) -> Float32s:
    """One background of the group, with its own light, contrast and mirror side."""
    canvas = PAINTERS[group](rng)
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1]
    light = rng.uniform(0.85, 1.1) * (1 + rng.normal(0, 0.03, 3))
    canvas = canvas * light.astype(np.float32) + _noise(rng, 4, 0.015)
    return np.clip(canvas, 0, 1).astype(np.float32)


def product_alpha(gray: Float32s) -> Float32s:
    """Opacity of products on black: `[N, H, W]` grey in 0..1 to `[N, H, W]` alpha in 0..1.

    A pixel belongs to the product when it is lit, or when lit pixels lie to its left,
    right, top and bottom (so dark cloth stays opaque). One more ring of pixels is partly
    opaque: with its black colour it is the outline.
    """
    lit = gray > 0.04
    left = np.maximum.accumulate(lit, axis=2)
    right = np.maximum.accumulate(lit[:, :, ::-1], axis=2)[:, :, ::-1]
    up = np.maximum.accumulate(lit, axis=1)
    down = np.maximum.accumulate(lit[:, ::-1], axis=1)[:, ::-1]
    inside = lit | (left & right & up & down)
    ring = inside.copy()
    ring[:, 1:] |= inside[:, :-1]
    ring[:, :-1] |= inside[:, 1:]
    ring[:, :, 1:] |= inside[:, :, :-1]
    ring[:, :, :-1] |= inside[:, :, 1:]
    return np.where(inside, 1.0, np.where(ring, 0.7, 0.0)).astype(np.float32)


def draw_tints(count: int, rng: Generator) -> Float32s:
    """`[count, 3]` multipliers: grey for `_GRAY_SHARE` of them, else a cloth colour."""
    palette = np.asarray(_TINTS, np.float32)
    tints = palette[rng.integers(0, len(palette), count)]
    tints = np.clip(tints + rng.normal(0, 0.06, tints.shape), 0.2, 1.0)
    gray = rng.random(count) < _GRAY_SHARE
    tints[gray] = 1.0
    return np.asarray(tints, np.float32)


def composite(gray: Float32s, backgrounds: Float32s, tints: Float32s) -> Float32s:
    """Tinted products over backgrounds: `[N, H, W]`, `[N, H, W, 3]`, `[N, 3]` to RGB."""
    alpha = product_alpha(gray)[..., None]
    garment = gray[..., None] * tints[:, None, None, :]
    return np.asarray(garment * alpha + backgrounds * (1 - alpha), np.float32)


def paint_bank(per_group: int, seed: int) -> tuple[Float32s, npt.NDArray[np.int64]]:
    """`per_group` backgrounds of every group, `[G * per_group, H, W, 3]`, and group indices."""
    rng = np.random.default_rng(seed)
    images = [paint(group, rng) for group in SCENE_GROUPS for _ in range(per_group)]
    groups = np.repeat(np.arange(len(SCENE_GROUPS)), per_group)
    return np.stack(images), groups
