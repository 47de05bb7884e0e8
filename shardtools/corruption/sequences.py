"""Sequences of frames of one image, each a little different from the last: ImageNet-P, but for its videos.

Owns the parameters of every frame; the native core makes the pixels. The published frames went through H.264, which
these do not: a model sees them as they were before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shardtools.arrays import Float64s, UInt8s, UInt64s
from shardtools.corruption.native import check_images, load_core
from shardtools.corruption.perturbations import LEVELS, PERTURBATIONS, Perturbation
from shardtools.corruption.seeds import sample_seed
from shardtools.errors import OptionError

_SIZE = 224
_MOTION = (10.0, 3.0)
_SNOW = (0.05, 0.3, 3.0, 0.5, 14.0, 4.0, 0.85)
_WATER = (0.65, 0.27, 3.7, 0.69, 0.6, 0.0)
_BLUR_REACH = 6.0


def perturb(
    image: UInt8s, perturbation: str, *, seed: int, level: int = 1, clean: bool = False, size: int | None = _SIZE
) -> UInt8s:
    """The frames of one image.

    Args:
        image: RGB, uint8 [H, W, 3], at least `size` high and wide. As published, its shorter side is 256 pixels: what
            turns or moves brings in what lies around the center.
        perturbation: A name of `PERTURBATIONS`.
        seed: 0 to 2**64 - 1 (`sample_seed`).
        level: 1 to 3 for noise, else 1.
        clean: Whether values are rounded, where the published program cuts fractions off.
        size: Side of the center that is cut out; `None` leaves frames as large as the image.

    Returns:
        uint8 [num_frames, size, size, 3], or [num_frames, H, W, 3].

    Raises:
        OptionError: There is no such perturbation or level, or the image has another type, or is too small.
        RunError: The native core was not built.
    """
    found = find_perturbation(perturbation)
    if level not in LEVELS:
        raise OptionError(f"level of {perturbation}: expected a whole number from 1 to 3, found {level!r}")
    if level != 1 and not found.is_noise:
        raise OptionError(
            f"level of {perturbation}: expected 1, found {level}: take every {'second' if level == 2 else 'third'} "
            "frame of level 1, from each of the first ones on"
        )
    check_images(image)
    height, width = image.shape[:2] if size is None else (size, size)
    if image.ndim != 3 or height < 1 or height > image.shape[0] or width > image.shape[1]:
        raise OptionError(
            f"image: expected uint8 [H, W, 3] of at least {height} x {width} pixels, found {list(image.shape)}: resize "
            "it first, or ask for another size"
        )
    if not 0 <= seed < 2**64:
        raise OptionError(f"seed: expected a number from 0 to 2**64 - 1, found {seed}")
    # Halves are rounded to even, as torchvision's CenterCrop does.
    top, left = round((image.shape[0] - height) / 2), round((image.shape[1] - width) / 2)
    window = _Window(top, left, height, width)
    return _MAKERS[perturbation](_Request(np.ascontiguousarray(image), window, seed, level, clean, found))


def find_perturbation(name: str) -> Perturbation:
    """The perturbation of that name.

    Raises:
        OptionError: There is none.
    """
    if name not in PERTURBATIONS:
        raise OptionError(f"perturbation {name!r}: expected one of {', '.join(PERTURBATIONS)}")
    return PERTURBATIONS[name]


class _Window(NamedTuple):
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class _Request:
    image: UInt8s
    window: _Window
    seed: int
    level: int
    clean: bool
    perturbation: Perturbation

    @property
    def center(self) -> UInt8s:
        """What is cut out, [1, height, width, 3]."""
        return np.ascontiguousarray(_cut(self.image, self.window)[None])

    def empty(self) -> UInt8s:
        return np.empty((self.perturbation.num_frames, self.window.height, self.window.width, 3), np.uint8)

    def made_by(self, function: str, parameters: Callable[[int], tuple[float, ...]]) -> UInt8s:
        """Each frame of the center by a function of the native core, all with the seed's draws."""
        frames, center = self.empty(), self.center
        seeds = np.array([self.seed], np.uint64)
        for i in range(len(frames)):
            load_core().corrupt(function, parameters(i), center, frames[i : i + 1], seeds, self.clean, 1)
        return frames

    def warped(self, kind: str, matrices: Float64s) -> UInt8s:
        """Each frame by the matrix, [F, 3, 3], that takes a place in the whole frame to one in the image."""
        frames = self.empty()
        flat = np.ascontiguousarray(matrices.reshape(len(frames), 9))
        load_core().warp(kind, self.image[None], flat, frames, self.window.top, self.window.left, self.clean)
        return frames

    def affine(self, place: Callable[[int], tuple[float, float, float]]) -> UInt8s:
        """Each frame by (angle, factor, shear), as an early torchvision has them."""
        places = [place(i) for i in range(self.perturbation.num_frames)]
        return self.warped("affine", np.stack([_affine_matrix(self.image.shape, *one) for one in places]))


def _affine_matrix(shape: tuple[int, ...], angle: float, factor: float, shear: float) -> Float64s:
    """From the frame back to the image, about the middle of the image and half a pixel, as torchvision 0.2 had it."""
    turned, sheared = math.radians(angle), math.radians(angle + shear)
    part = np.array([[math.cos(sheared), math.sin(sheared)], [-math.sin(turned), math.cos(turned)]])
    part /= factor * (math.cos(sheared) * math.cos(turned) + math.sin(sheared) * math.sin(turned))
    middle = np.array([shape[1] / 2 + 0.5, shape[0] / 2 + 0.5])
    matrix = np.eye(3)
    matrix[:2, :2] = part
    matrix[:2, 2] = middle - part @ middle
    return matrix


def _tilt_matrix(shape: tuple[int, ...], degrees: float) -> Float64s:
    """From the frame back to the image: turned about both axes through the middle, seen from a diagonal away."""
    height, width = shape[:2]
    distance = math.hypot(width, height)
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    # As the published program has it, the image begins one unit before the axes.
    to_space = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1], [0, 0, 1]])
    about_x = np.array([[1, 0, 0, 0], [0, cosine, -sine, 0], [0, sine, cosine, 0], [0, 0, 0, 1]])
    about_y = np.array([[cosine, 0, -sine, 0], [0, 1, 0, 0], [sine, 0, cosine, 0], [0, 0, 0, 1]])
    away = np.eye(4)
    away[2, 3] = distance
    to_frame = np.array([[distance, 0, width / 2, 0], [0, distance, height / 2, 0], [0, 0, 1, 0]])
    return np.asarray(np.linalg.inv(to_frame @ away @ about_x @ about_y @ to_space))


def _noise(request: _Request) -> UInt8s:
    frames = np.repeat(request.center, request.perturbation.num_frames, axis=0)
    name, strength = request.perturbation.name, request.perturbation.strengths[request.level - 1]
    seeds = _frame_seeds(request.seed, name, len(frames) - 1)
    noisy = np.empty_like(frames[1:])
    load_core().corrupt(name, (strength,), frames[1:], noisy, seeds, request.clean, 1)
    frames[1:] = noisy
    return frames


def _frame_seeds(seed: int, name: str, count: int) -> UInt64s:
    return np.array([sample_seed(seed, f"frame {i}", name, 1) for i in range(1, count + 1)], np.uint64)


def _zoom_blur(request: _Request) -> UInt8s:
    frames = request.affine(lambda i: (0, 1 + 0.004 * i, 0))
    frames[0] = request.center[0]
    sums = np.zeros(frames.shape[1:], np.uint16)
    for i, frame in enumerate(frames):
        sums += frame
        frame[:] = (sums + (i + 1) // 2 if request.clean else sums) // (i + 1)
    return frames


def _translate(request: _Request) -> UInt8s:
    frames = request.empty()
    # Black comes in from the sides, where the image ends.
    padded = np.pad(request.image, ((0, 0), (20, 20), (0, 0)))
    for i, frame in enumerate(frames):
        frame[:] = _cut(padded, request.window._replace(left=request.window.left + 20 - (i - 20)))
    return frames


def _cut(image: UInt8s, window: _Window) -> UInt8s:
    return image[window.top : window.top + window.height, window.left : window.left + window.width]


_MAKERS: dict[str, Callable[[_Request], UInt8s]] = {
    "gaussian_noise": _noise,
    "shot_noise": _noise,
    "motion_blur": lambda request: request.made_by("motion_blur_toward", lambda i: (*_MOTION, (i - 30) * 4)),
    "zoom_blur": _zoom_blur,
    "snow": lambda request: request.made_by("snow_toward", lambda i: (*_SNOW, i * 4 - 150)),
    "brightness": lambda request: request.made_by("brightness", lambda i: ((i - 15) * 2 / 100,)),
    "translate": _translate,
    "rotate": lambda request: request.affine(lambda i: (i - 15, 1, 0)),
    "tilt": lambda request: request.warped(
        "perspective", np.stack([_tilt_matrix(request.image.shape, i - 15) for i in range(31)])
    ),
    "scale": lambda request: request.affine(lambda i: (0, (i * 2.5 + 40) / 100, 0)),
    "speckle_noise": _noise,
    "gaussian_blur": lambda request: request.made_by("gaussian_blur_within", lambda i: (0.25 + 0.035 * i, _BLUR_REACH)),
    "spatter": lambda request: request.made_by("spatter_after", lambda i: (*_WATER, i)),
    "shear": lambda request: request.affine(lambda i: (0, 1, i - 15)),
}
