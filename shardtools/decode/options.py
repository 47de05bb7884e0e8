"""What can be asked of a decoder: options, colour operations, and the statuses that come back.

Owns the numbers that the native core shares (`shardtools/_native/*.h`); a test compares both.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from shardtools.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Interpolation = Literal["area", "bilinear", "bicubic"]
Backend = Literal["auto", "native", "pillow"]

INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
BACKENDS: tuple[Backend, ...] = get_args(Backend)
MAX_THREADS = 1024
MAX_SIDE = 65_535
MAX_BLUR_RADIUS = 64.0


class DecodeStatus(enum.IntEnum):
    """What became of one image. Where it is not `OK`, all pixels of the image are zero."""

    OK = 0
    NOT_AN_IMAGE = 1
    TRUNCATED = 2
    CORRUPT = 3
    BAD_SIZE = 4
    """More pixels than `DecodeOptions.max_pixels`."""
    BAD_CROP = 5
    """The crop is empty or reaches out of the image."""
    UNSUPPORTED = 6
    """A kind of image that no path decodes, such as JPEG with 12 bits."""
    NO_MEMORY = 7


class ColorOperation(enum.IntEnum):
    """One step of colour augmentation and what its value means; results are those of Pillow and torchvision on Pillow.

    `BLUR` is Pillow's GaussianBlur; its radius is cut off at 64 pixels.
    """

    NOTHING = 0
    BRIGHTNESS = 1
    """Factor, 1 changes nothing."""
    CONTRAST = 2
    """Factor, 1 changes nothing."""
    SATURATION = 3
    """Factor, 1 changes nothing."""
    HUE = 4
    """Turn, -0.5 to 0.5 of the circle."""
    GRAYSCALE = 5
    """No value."""
    BLUR = 6
    """Standard deviation in pixels of the output."""
    SOLARIZE = 7
    """Threshold: values from it upwards are inverted. DINO's is 128."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How images are decoded; everything but `num_threads` and `backend` changes pixels.

    Args:
        num_threads: Threads of this decoder, 1 to 1024.
        interpolation: Filter of the antialiased resize: "area" is Pillow's BOX, "bilinear" and "bicubic" are Pillow's.
        allow_scaled: Let the inverse transform make the image at 1/2, 1/4 or 1/8 of its size while no crop gets smaller
            than its output. Faster for large photographs, and other pixels than without. Native core only.
        tolerate_damage: Deliver what libjpeg makes of a truncated or corrupt JPEG. Native core only; Pillow tolerates
            corrupt entropy codes always and truncation never.
        max_pixels: Larger images are refused; a progressive JPEG holds up to 8 bytes a pixel while it is decoded.
        backend: "auto" takes the native core where it was built, "native" insists on it, "pillow" goes without.

    Raises:
        OptionError: A value is out of range.
    """

    num_threads: int = 1
    interpolation: Interpolation = "bilinear"
    allow_scaled: bool = False
    tolerate_damage: bool = False
    max_pixels: int = 89_478_485
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.num_threads <= MAX_THREADS:
            raise OptionError(f"num_threads: expected 1 to {MAX_THREADS}, found {self.num_threads}; one a core is best")
        if self.interpolation not in INTERPOLATIONS:
            raise OptionError(
                f"interpolation: expected one of {', '.join(INTERPOLATIONS)}, found {self.interpolation!r}; choose one"
            )
        if self.backend not in get_args(Backend):
            raise OptionError(f"backend: expected {', '.join(get_args(Backend))}, found {self.backend!r}; choose one")
        if not 1 <= self.max_pixels <= MAX_SIDE**2:
            raise OptionError(f"max_pixels: expected 1 to {MAX_SIDE**2}, found {self.max_pixels}; give a size in range")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Colors:
    """Colour operations of a batch, applied to each crop in the order of the last axis, after the flip.

    Args:
        operations: uint8 [N, K, P], values of `ColorOperation`; NOTHING fills shorter lists.
        values: float64 [N, K, P], one a step.

    Raises:
        OptionError: The arrays do not fit together, or a code or a value is out of range.
    """

    operations: NDArray[np.uint8]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        import numpy as np  # not above, where the names of options would load it

        if self.operations.dtype != np.uint8 or self.values.dtype != np.float64:
            raise OptionError(
                "colors: expected operations as uint8 and values as float64, found"
                f" {self.operations.dtype} and {self.values.dtype}; convert them"
            )
        if self.operations.ndim != 3 or self.operations.shape != self.values.shape:
            raise OptionError(
                "colors: expected two arrays [images, crops, steps], found shapes"
                f" {self.operations.shape} and {self.values.shape}; give each step a value"
            )
        self._check_ranges()

    def _check_ranges(self) -> None:
        import numpy as np

        unknown = self.operations > max(ColorOperation)
        if unknown.any():
            raise OptionError(
                f"colors: expected codes of ColorOperation, found {self.operations[unknown][0]}; use its members"
            )
        is_hue = self.operations == ColorOperation.HUE
        # Not `abs > limit`, which NaN would pass.
        bad = ~(np.abs(self.values) <= np.where(is_hue, 0.5, 1e6)) | (~is_hue & (self.values < 0))
        bad &= self.operations != ColorOperation.NOTHING
        if bad.any():
            step = tuple(int(index[0]) for index in np.nonzero(bad))
            operation = ColorOperation(int(self.operations[step])).name.lower()
            raise OptionError(
                f"colors: expected {'-0.5 to 0.5' if operation == 'hue' else '0 to 1e6'} for {operation}, found"
                f" {self.values[step]} for image, crop, step {step}; draw it from a smaller range"
            )
