"""From options and draws to what a decoder is told: crops, windows, flips and colour steps of a batch.

Owns the translation. All numbers are drawn before a pixel is decoded, so the same decoder serves training and
evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardtools.decode import MAX_SIDE, ColorOperation, Colors, center_windows, whole_crops
from shardtools.loader.augmentation import (
    CropOptions,
    MultiCropOptions,
    ViewParameters,
    multi_crop_parameters,
    view_parameters,
)
from shardtools.loader.options import CenterCropOptions, Crop
from shardtools.loader.randomness import Draws

_NUM_STEPS = 7
"""Four of the colour jitter, then grey, blur, solarise."""

_JITTERS = (
    ColorOperation.BRIGHTNESS,
    ColorOperation.CONTRAST,
    ColorOperation.SATURATION,
    ColorOperation.HUE,
)
_SOLARIZE_THRESHOLD = 128.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cropping:
    """What is to be done to each image of a batch.

    Attributes:
        crops: int32 [N, K, 4], left, top, width, height in pixels of the stored image.
        windows: int32 [N, K, 4] or `None`; see `Decoder.decode_batch`.
        flips: bool [N, K] or `None`.
        colors: Colour steps, or `None`.
    """

    crops: npt.NDArray[np.int32]
    windows: npt.NDArray[np.int32] | None
    flips: npt.NDArray[np.bool_] | None
    colors: Colors | None

    def part(self, rows: npt.NDArray[np.int64]) -> Cropping:
        """The same for some of the images."""
        colors = self.colors
        return Cropping(
            crops=self.crops[rows],
            windows=None if self.windows is None else self.windows[rows],
            flips=None if self.flips is None else self.flips[rows],
            colors=None if colors is None else Colors(operations=colors.operations[rows], values=colors.values[rows]),
        )


def draw_crops(crop: Crop, draws: Draws, sizes: npt.NDArray[np.int32]) -> Cropping:
    """Crops and colours of a batch.

    Args:
        crop: The kind of crop.
        draws: For the samples, [N].
        sizes: Width and height of each stored image in pixels, int32 [N, 2].
    """
    widths, heights = np.ascontiguousarray(sizes[:, 0]), np.ascontiguousarray(sizes[:, 1])
    if isinstance(crop, MultiCropOptions):
        return _random_cropping(multi_crop_parameters(draws, widths, heights, crop))
    if isinstance(crop, CropOptions):
        return _random_cropping([view_parameters(draws, widths, heights, crop)])
    if isinstance(crop, CenterCropOptions):
        crops, windows = center_windows(sizes, resize=crop.resize, size=crop.size)
        return Cropping(crops=crops[:, None], windows=windows[:, None], flips=None, colors=None)
    return Cropping(crops=whole_crops(sizes)[:, None], windows=None, flips=None, colors=None)


def cannot_be_cropped(crop: Crop, sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Images so thin that, resized for a centre crop, they would have more pixels than a side may have, [N]."""
    if not isinstance(crop, CenterCropOptions):
        return np.zeros(len(sizes), np.bool_)
    short, long = sizes.min(axis=1).astype(np.int64), sizes.max(axis=1).astype(np.int64)
    return np.asarray(crop.resize * long > MAX_SIDE * np.maximum(short, 1))


def output_shapes(crop: Crop, num_images: int) -> list[tuple[int, ...]]:
    """Shapes of the arrays that a batch is decoded into: [N, K, H, W, 3] each."""
    if isinstance(crop, MultiCropOptions):
        kinds = ((crop.num_global, crop.global_crop.size), (crop.num_local, crop.local_crop.size))
        return [(num_images, count, size, size, 3) for count, size in kinds if count]
    if isinstance(crop, CropOptions | CenterCropOptions):
        return [(num_images, 1, crop.size, crop.size, 3)]
    return [(num_images, 1, crop.height, crop.width, 3)]


def _random_cropping(views: Sequence[ViewParameters]) -> Cropping:
    return Cropping(
        crops=np.stack([view.rects for view in views], axis=1),
        windows=None,
        flips=np.stack([view.flips for view in views], axis=1),
        colors=_colors(views),
    )


def _colors(views: Sequence[ViewParameters]) -> Colors | None:
    """Colour steps of all views; `None` where no sample has any, which saves the decoder the looking."""
    shape = (len(views[0].flips), len(views), _NUM_STEPS)
    operations, values = np.zeros(shape, np.uint8), np.zeros(shape, np.float64)
    codes = np.array(_JITTERS, np.uint8)
    for number, view in enumerate(views):
        # The draws name the four in the order of `_JITTERS`, the decoder wants them in the order in which they are
        # applied: codes and factors are both gathered by it. The three steps behind them keep their places.
        jittered = view.jitters[:, None]
        operations[:, number, :4] = np.where(jittered, codes[view.jitter_orders], ColorOperation.NOTHING)
        values[:, number, :4] = np.take_along_axis(view.jitter_factors, view.jitter_orders.astype(np.int64), axis=1)
        operations[:, number, 4] = np.where(view.grays, ColorOperation.GRAYSCALE, ColorOperation.NOTHING)
        operations[:, number, 5] = np.where(view.blur_radii > 0, ColorOperation.BLUR, ColorOperation.NOTHING)
        values[:, number, 5] = view.blur_radii
        operations[:, number, 6] = np.where(view.solarizes, ColorOperation.SOLARIZE, ColorOperation.NOTHING)
        values[:, number, 6] = _SOLARIZE_THRESHOLD
    return Colors(operations=operations, values=values) if operations.any() else None
