"""Random crops, flips and colours: what is to be done to each sample, drawn before any pixel is read.

Owns the parameters and the protocols they come from; the pixels are the decoder's. Every number is a function of (seed,
epoch, key, operation), so the same sample looks the same whatever batch, thread or rank it comes in. The price: the
numbers follow torchvision's distributions, not its random stream, so a run cannot be matched crop by crop with one
of torchvision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Bools, Float32s, Int32s, Int64s
from shardtools.decode import INTERPOLATIONS
from shardtools.errors import OptionError
from shardtools.loader.randomness import Draws

DEFAULT_SCALE = (0.08, 1.0)
DEFAULT_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10
"""Of RandomResizedCrop, before it falls back to a central crop (torchvision)."""


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise OptionError(f"{name} is 0 to 1, found {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorJitterOptions:
    """torchvision's ColorJitter behind a RandomApply.

    Attributes:
        probability: Of any jitter at all, 0 to 1.
        brightness: The factor is uniform in 1 - brightness (at least 0) to 1 + brightness.
        contrast: As brightness.
        saturation: As brightness.
        hue: The shift is uniform in -hue to hue, in turns of the colour circle, at most 0.5.

    Raises:
        OptionError: A value is out of range.
    """

    probability: float
    brightness: float
    contrast: float
    saturation: float
    hue: float

    def __post_init__(self) -> None:
        _check_probability("color_jitter.probability", self.probability)
        for name in ("brightness", "contrast", "saturation", "hue"):
            highest = 0.5 if name == "hue" else math.inf
            if not 0 <= getattr(self, name) <= highest:
                raise OptionError(f"color_jitter.{name} is 0 to {highest}, found {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CropOptions:
    """One random view of a sample; a value of 0 or `None` leaves an operation out.

    The operations follow each other as their attributes do.

    Attributes:
        size: Pixels of the square that the crop is resized to, at least 1.
        scale: Least and greatest area of the crop, as a share of the image's.
        ratio: Least and greatest width / height of the crop.
        interpolation: One of `decode.INTERPOLATIONS`.
        flip_probability: Of mirroring left and right.
        color_jitter: Changes of brightness, contrast, saturation and hue, in random order.
        grayscale_probability: Of turning grey.
        blur_probability: Of a Gaussian blur.
        blur_radius: Least and greatest radius of the blur in pixels of the resized crop, as Pillow's GaussianBlur
            takes it (its standard deviation).
        solarize_probability: Of inverting all values of at least 128.

    Raises:
        OptionError: A value is out of range.
    """

    size: int
    scale: tuple[float, float] = DEFAULT_SCALE
    ratio: tuple[float, float] = DEFAULT_RATIO
    interpolation: str = "bilinear"
    flip_probability: float = 0.5
    color_jitter: ColorJitterOptions | None = None
    grayscale_probability: float = 0.0
    blur_probability: float = 0.0
    blur_radius: tuple[float, float] = (0.1, 2.0)
    solarize_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise OptionError(f"a crop's size is at least 1 pixel, found {self.size}")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise OptionError(f"a crop's scale is two shares of the area, 0 < low <= high <= 1, found {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise OptionError(f"a crop's ratio is two numbers, 0 < low <= high, found {self.ratio}")
        if self.interpolation not in INTERPOLATIONS:
            raise OptionError(f"interpolation is one of {', '.join(INTERPOLATIONS)}, found {self.interpolation!r}")
        if not 0 <= self.blur_radius[0] <= self.blur_radius[1] < math.inf:
            raise OptionError(f"blur_radius is two numbers of pixels, 0 <= low <= high, found {self.blur_radius}")
        for name in ("flip", "grayscale", "blur", "solarize"):
            _check_probability(f"{name}_probability", getattr(self, f"{name}_probability"))


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiCropOptions:
    """Several random views of each sample.

    Attributes:
        num_global: Views of the first kind, at least 0.
        num_local: Views of the second kind, at least 0; one of either kind at least.
        global_crop: The first kind.
        local_crop: The second kind.

    Raises:
        OptionError: A number is out of range.
    """

    num_global: int
    num_local: int
    global_crop: CropOptions
    local_crop: CropOptions

    def __post_init__(self) -> None:
        if min(self.num_global, self.num_local) < 0 or self.num_global + self.num_local < 1:
            raise OptionError(f"multi-crop has at least one view, found {self.num_global} and {self.num_local}")


DINO_COLOR_JITTER = ColorJitterOptions(probability=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
"""Of DINO (Caron et al., "Emerging properties in self-supervised vision transformers", 2021), in t-ReX's code."""


def dino_multi_crop(
    global_scale: tuple[float, float] = (0.4, 1.0), local_scale: tuple[float, float] = (0.05, 0.4)
) -> MultiCropOptions:
    """One global crop of 224 and eight local ones of 96 pixels, as t-ReX and ImageNet-SD train with.

    The numbers are those of t-ReX's released code (Sariyildiz et al., "No reason for no supervision", 2023) and of
    table C.1 of Sariyildiz's thesis: the scales given here as defaults are DINO's, and the table's for all models, so
    also ImageNet-SD's (chapter 5) and t-ReX*'s; t-ReX alone takes (0.25, 1.0) and (0.05, 0.25). Unlike DINO, which has
    two global views of two kinds, they have one, blurred and solarised with probability 0.2 each.
    """
    return MultiCropOptions(
        num_global=1,
        num_local=8,
        global_crop=CropOptions(
            size=224,
            scale=global_scale,
            interpolation="bicubic",
            color_jitter=DINO_COLOR_JITTER,
            grayscale_probability=0.2,
            blur_probability=0.2,
            solarize_probability=0.2,
        ),
        local_crop=CropOptions(
            size=96,
            scale=local_scale,
            interpolation="bicubic",
            color_jitter=DINO_COLOR_JITTER,
            grayscale_probability=0.2,
            blur_probability=0.5,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewParameters:
    """What to do to each sample of a batch, in the order of the attributes.

    Attributes:
        rects: Left, top, width, height of the crop in pixels of the image, int32 [N, 4].
        flips: Whether the resized crop is mirrored, bool [N].
        jitters: Whether its colours change, bool [N].
        jitter_factors: Factors of brightness, contrast and saturation, and the shift of hue, float32 [N, 4].
        jitter_orders: Numbers of the four in the order in which they are applied, uint8 [N, 4].
        grays: Whether it turns grey, bool [N].
        blur_radii: Pixels; 0 where it is not blurred, float32 [N].
        solarizes: Whether values of at least 128 are inverted, bool [N].
    """

    rects: Int32s
    flips: Bools
    jitters: Bools
    jitter_factors: Float32s
    jitter_orders: npt.NDArray[np.uint8]
    grays: Bools
    blur_radii: Float32s
    solarizes: Bools

    def part(self, start: int, stop: int) -> ViewParameters:
        """The parameters of some neighbouring samples, in place."""
        return ViewParameters(**{field.name: getattr(self, field.name)[start:stop] for field in fields(self)})


def multi_crop_parameters(
    draws: Draws, widths: Int32s, heights: Int32s, options: MultiCropOptions
) -> list[ViewParameters]:
    """Parameters of each view, the global ones first; views are named "global0", "local0", ... for `Draws`."""
    views = []
    kinds = (("global", options.num_global, options.global_crop), ("local", options.num_local, options.local_crop))
    for kind, count, crop in kinds:
        # All views of a kind in one go: eight short arrays cost nearly eight times as much as one.
        names = [f"{kind}{number}" for number in range(count)]
        found = view_parameters(draws.for_views(names), np.tile(widths, count), np.tile(heights, count), crop)
        views += [found.part(number * len(widths), (number + 1) * len(widths)) for number in range(count)]
    return views


def view_parameters(draws: Draws, widths: Int32s, heights: Int32s, options: CropOptions) -> ViewParameters:
    """Parameters of one view of each sample.

    Args:
        draws: For the samples, [N].
        widths: Pixels, at least 1, [N].
        heights: Pixels, at least 1, [N].
        options: The kind of view.
    """
    jitters, factors, orders = color_jitter(draws, options.color_jitter)
    low, high = options.blur_radius
    blurs = draws.uniform("blur", 2)
    return ViewParameters(
        rects=random_resized_crop(draws, widths, heights, scale=options.scale, ratio=options.ratio),
        flips=_happens(draws, "flip", options.flip_probability),
        jitters=jitters,
        jitter_factors=factors,
        jitter_orders=orders,
        grays=_happens(draws, "grayscale", options.grayscale_probability),
        blur_radii=np.where(blurs[:, 0] < options.blur_probability, low + (high - low) * blurs[:, 1], 0.0).astype(
            np.float32
        ),
        solarizes=_happens(draws, "solarize", options.solarize_probability),
    )


def random_resized_crop(
    draws: Draws,
    widths: Int32s,
    heights: Int32s,
    *,
    scale: tuple[float, float] = DEFAULT_SCALE,
    ratio: tuple[float, float] = DEFAULT_RATIO,
) -> Int32s:
    """Crops as torchvision's RandomResizedCrop draws them: int32 [N, 4], left, top, width, height.

    Area uniform in `scale`, the logarithm of width / height uniform in that of `ratio`, ten attempts; then the largest
    central crop whose ratio is allowed.

    Args:
        draws: For the samples, [N].
        widths: Pixels of the image, at least 1, [N].
        heights: Pixels of the image, at least 1, [N].
        scale: Least and greatest share of the image's area.
        ratio: Least and greatest width / height.
    """
    width, height = widths.astype(np.int64), heights.astype(np.int64)
    rects = _central_crops(width, height, ratio)
    open_rows = np.arange(len(width))
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    # Nearly all samples end with the first attempt, so the other draws are made for the few that need them.
    for first, stop in ((0, 1), (1, _ATTEMPTS)):
        if not open_rows.size:
            break
        # More draws do not change the first ones, so the second pass makes the first attempt again and leaves it out.
        numbers = draws.for_rows(open_rows).uniform("crop", 4 * stop).reshape(-1, stop, 4)[:, first:]
        full_width, full_height = width[open_rows, None], height[open_rows, None]
        area = (full_width * full_height) * (scale[0] + (scale[1] - scale[0]) * numbers[:, :, 0])
        aspect = np.exp(log_low + (log_high - log_low) * numbers[:, :, 1])
        # rint rounds halves to even, as Python's round does in torchvision.
        crop_width = np.rint(np.sqrt(area * aspect)).astype(np.int64)
        crop_height = np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (crop_width > 0) & (crop_width <= full_width) & (crop_height > 0) & (crop_height <= full_height)
        left = np.floor(numbers[:, :, 2] * (full_width - crop_width + 1)).astype(np.int64)
        top = np.floor(numbers[:, :, 3] * (full_height - crop_height + 1)).astype(np.int64)
        found = np.stack([left, top, crop_width, crop_height], axis=2)
        done = fits.any(axis=1)
        rects[open_rows[done]] = found[done, fits[done].argmax(axis=1)]
        open_rows = open_rows[~done]
    return rects.astype(np.int32)


def _central_crops(width: Int64s, height: Int64s, ratio: tuple[float, float]) -> Int64s:
    image_ratio = width / height
    crop_width = np.where(image_ratio > ratio[1], np.rint(height * ratio[1]).astype(np.int64), width)
    crop_height = np.where(image_ratio < ratio[0], np.rint(width / ratio[0]).astype(np.int64), height)
    # An image of one by two pixels would round to more than it has.
    crop_width, crop_height = np.clip(crop_width, 1, width), np.clip(crop_height, 1, height)
    return np.stack([(width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height], axis=1)


def color_jitter(draws: Draws, options: ColorJitterOptions | None) -> tuple[Bools, Float32s, npt.NDArray[np.uint8]]:
    """Whether colours change, the factors and their order: see `ViewParameters`; without options none change."""
    num_samples = len(draws.keys)
    if options is None:
        neutral = np.tile(np.array([1, 1, 1, 0], np.float32), (num_samples, 1))
        return np.zeros(num_samples, np.bool_), neutral, np.tile(np.arange(4, dtype=np.uint8), (num_samples, 1))
    numbers = draws.uniform("jitter", 9)
    spans = [(max(0.0, 1 - value), 1 + value) for value in (options.brightness, options.contrast, options.saturation)]
    lows, highs = np.array([*spans, (-options.hue, options.hue)]).T
    factors = (lows + (highs - lows) * numbers[:, 1:5]).astype(np.float32)
    return numbers[:, 0] < options.probability, factors, numbers[:, 5:].argsort(axis=1).astype(np.uint8)


def _happens(draws: Draws, operation: str, probability: float) -> Bools:
    return draws.uniform(operation, 1)[:, 0] < probability
