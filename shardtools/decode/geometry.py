"""Where crops lie that nothing random decides: pure arithmetic on sizes, for a whole batch at a time.

Owns the formulas of torchvision's Resize and CenterCrop (0.29, transforms/transforms.py), so that a model is judged
here by the pixels it would see there. A crop is (left, top, width, height) in pixels of the stored image; EXIF
orientation is not applied.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shardtools.decode.options import MAX_SIDE
from shardtools.errors import OptionError


def center_windows(
    sizes: NDArray[np.integer], *, resize: int, size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Crops and windows of "resize the shorter side, cut out the centre", as torchvision's Resize and CenterCrop do.

    Args:
        sizes: Width and height of each image in pixels, [N, 2].
        resize: Length in pixels that the shorter side gets.
        size: Side of the centre, at most `resize`.

    Returns:
        Crops (the whole images; the middle of those that are too thin for any side) and windows for
        `Decoder.decode_batch`, int32 [N, 4] each. Only the pixels that the centre is made of are decoded.

    Raises:
        OptionError: The centre is larger than the resized image, or shapes are wrong.
    """
    if not 1 <= size <= resize:
        raise OptionError(f"size: expected 1 to {resize} (resize), found {size}; resize to more or cut out less")
    width, height = _columns(sizes)
    shorter = np.minimum(width, height)
    # An image so thin that its longer side would have more pixels than a side may have gives its middle alone: as many
    # pixels less at either end, so that the centre stays where it was.
    excess = np.maximum(np.maximum(width, height) - MAX_SIDE * shorter // resize, 0)
    cut = (excess + 1) // 2
    corner = np.stack([np.where(width > height, cut, 0), np.where(height > width, cut, 0)], axis=1)
    width, height = width - 2 * corner[:, 0], height - 2 * corner[:, 1]
    # The longer side is cut to whole pixels and the corner rounded, halves to even: one pixel off would be another
    # crop.
    full_width = np.where(width == shorter, resize, (resize * width / shorter).astype(np.int64))
    full_height = np.where(height == shorter, resize, (resize * height / shorter).astype(np.int64))
    left = np.rint((full_width - size) / 2.0).astype(np.int64)
    top = np.rint((full_height - size) / 2.0).astype(np.int64)
    crops = np.concatenate([corner, np.stack([width, height], axis=1)], axis=1)
    return crops.astype(np.int32), np.stack([full_width, full_height, left, top], axis=1).astype(np.int32)


def whole_crops(sizes: NDArray[np.integer]) -> NDArray[np.int32]:
    """Crops that are the whole images, int32 [N, 4]."""
    width, height = _columns(sizes)
    nothing = np.zeros_like(width)
    return np.stack([nothing, nothing, width, height], axis=1).astype(np.int32)


def _columns(sizes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if sizes.ndim != 2 or sizes.shape[1] != 2 or (len(sizes) and sizes.min() < 1):
        raise OptionError(f"sizes: expected widths and heights of 1 or more, [N, 2], found {sizes.shape}; check them")
    return sizes[:, 0].astype(np.int64), sizes[:, 1].astype(np.int64)
