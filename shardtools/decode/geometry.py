"""Where crops lie: pure arithmetic on sizes and uniform numbers, for a whole batch at a time.

Owns the formulas of torchvision's RandomResizedCrop, Resize and CenterCrop (0.29, transforms/transforms.py), so that a
model trained here sees the distribution it would see there. Numbers come in from outside: who draws them decides what
they depend on. A crop is (left, top, width, height) in pixels of the stored image; EXIF orientation is not applied.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shardtools.errors import OptionError

NUM_ATTEMPTS = 10
NUM_UNIFORMS = 2 * NUM_ATTEMPTS + 2
"""Uniform numbers that one random crop takes: area and ratio of each attempt, then left and top."""


def random_resized_crops(
    sizes: NDArray[np.integer],
    uniforms: NDArray[np.float64],
    *,
    area: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> NDArray[np.int32]:
    """Crops as torchvision's RandomResizedCrop draws them.

    Args:
        sizes: Width and height of each image in pixels, [N, 2].
        uniforms: Numbers in [0, 1), [N, NUM_UNIFORMS]; a crop depends on its row alone.
        area: Smallest and largest part of the image's area.
        ratio: Smallest and largest width divided by height, drawn evenly in the logarithm.

    Returns:
        int32 [N, 4]; the first attempt that fits, else the largest centred crop within `ratio`.

    Raises:
        OptionError: Shapes or ranges are wrong.
    """
    _check_range("area", area)
    _check_range("ratio", ratio)
    width, height = _columns(sizes)
    if uniforms.shape != (len(sizes), NUM_UNIFORMS):
        raise OptionError(f"uniforms: expected [{len(sizes)}, {NUM_UNIFORMS}], found {uniforms.shape}; draw that many")
    crop_width, crop_height = _largest_in_ratio(width, height, ratio)
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    is_open = np.ones(len(sizes), np.bool_)
    log_low, log_high = np.log(ratio[0]), np.log(ratio[1])
    for attempt in range(NUM_ATTEMPTS):
        target = width * height * (area[0] + (area[1] - area[0]) * uniforms[:, 2 * attempt])
        aspect = np.exp(log_low + (log_high - log_low) * uniforms[:, 2 * attempt + 1])
        wide = np.rint(np.sqrt(target * aspect)).astype(np.int64)
        high = np.rint(np.sqrt(target / aspect)).astype(np.int64)
        fits = is_open & (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
        is_open &= ~fits
        crop_width, crop_height = np.where(fits, wide, crop_width), np.where(fits, high, crop_height)
        left = np.where(fits, _position(uniforms[:, -2], width - wide), left)
        top = np.where(fits, _position(uniforms[:, -1], height - high), top)
    return np.stack([left, top, crop_width, crop_height], axis=1).astype(np.int32)


def centre_windows(
    sizes: NDArray[np.integer], *, resize: int, size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Crops and windows of "resize the shorter side, cut out the centre", as torchvision's Resize and CenterCrop do.

    Args:
        sizes: Width and height of each image in pixels, [N, 2].
        resize: Length in pixels that the shorter side gets.
        size: Side of the centre, at most `resize`.

    Returns:
        Crops (the whole images) and windows for `Decoder.decode_batch`, int32 [N, 4] each. Only the pixels that the
        centre is made of are decoded.

    Raises:
        OptionError: The centre is larger than the resized image, or shapes are wrong.
    """
    if not 1 <= size <= resize:
        raise OptionError(f"size: expected 1 to {resize} (resize), found {size}; resize to more or cut out less")
    width, height = _columns(sizes)
    shorter = np.minimum(width, height)
    full_width = np.where(width == shorter, resize, (resize * width / shorter).astype(np.int64))
    full_height = np.where(height == shorter, resize, (resize * height / shorter).astype(np.int64))
    left = np.rint((full_width - size) / 2.0).astype(np.int64)
    top = np.rint((full_height - size) / 2.0).astype(np.int64)
    return whole_crops(sizes), np.stack([full_width, full_height, left, top], axis=1).astype(np.int32)


def whole_crops(sizes: NDArray[np.integer]) -> NDArray[np.int32]:
    """Crops that are the whole images, int32 [N, 4]."""
    width, height = _columns(sizes)
    nothing = np.zeros_like(width)
    return np.stack([nothing, nothing, width, height], axis=1).astype(np.int32)


def _columns(sizes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if sizes.ndim != 2 or sizes.shape[1] != 2 or (len(sizes) and sizes.min() < 1):
        raise OptionError(f"sizes: expected widths and heights of 1 or more, [N, 2], found {sizes.shape}; check them")
    return sizes[:, 0].astype(np.int64), sizes[:, 1].astype(np.int64)


def _check_range(name: str, values: tuple[float, float]) -> None:
    if not 0 < values[0] <= values[1]:
        raise OptionError(f"{name}: expected 0 < smallest <= largest, found {values}; turn them round")


def _position(uniform: NDArray[np.float64], room: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.floor(uniform * (room + 1)).astype(np.int64)


def _largest_in_ratio(
    width: NDArray[np.int64], height: NDArray[np.int64], ratio: tuple[float, float]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    found = width / height
    wide = np.where(found > ratio[1], np.rint(height * ratio[1]).astype(np.int64), width)
    high = np.where(found < ratio[0], np.rint(width / ratio[0]).astype(np.int64), height)
    return np.maximum(wide, 1), np.maximum(high, 1)
