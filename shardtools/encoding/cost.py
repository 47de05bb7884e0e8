"""What decoding a JPEG costs on this machine.

Owns the model: seconds = a * kilobytes + b * pixels + c. Entropy decoding goes with the bytes; the inverse transform,
chroma and colours go with the pixels; opening the file is the rest. The price of three numbers: progressive files,
4:4:4 chroma and grey cost something else than the 4:2:0 baseline JPEGs that are measured here.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_REPEATS = 2
_BYTES_PER_KILOBYTE = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeCost:
    """Seconds of one core for one JPEG.

    Attributes:
        seconds_per_kilobyte: For 1000 encoded bytes, at least 0.
        seconds_per_pixel: At least 0.
        seconds_per_image: At least 0.
        relative_error: Root of the mean square of (model - measured) / measured over the timings.
        num_timings: Images whose decoding was timed.
    """

    seconds_per_kilobyte: float
    seconds_per_pixel: float
    seconds_per_image: float
    relative_error: float
    num_timings: int

    def seconds(self, num_bytes: float, num_pixels: float) -> float:
        """Seconds of one core for an image of that length and size, or for their means over many images."""
        kilobytes = num_bytes / _BYTES_PER_KILOBYTE
        return self.seconds_per_kilobyte * kilobytes + self.seconds_per_pixel * num_pixels + self.seconds_per_image


def fit_decode_cost(num_bytes: Sequence[float], num_pixels: Sequence[float], seconds: Sequence[float]) -> DecodeCost:
    """Least squares of the relative error, no coefficient below 0.

    Relative, so that a thumbnail counts as much as a large photo.

    Args:
        num_bytes: Encoded lengths, one an image; at least one.
        num_pixels: Width times height, as many.
        seconds: Measured, above 0, as many.
    """
    measured = np.asarray(seconds, dtype=np.float64)
    terms = np.column_stack(
        [
            np.asarray(num_bytes, dtype=np.float64) / _BYTES_PER_KILOBYTE,
            np.asarray(num_pixels, dtype=np.float64),
            np.ones(len(measured)),
        ]
    )
    relative = terms / measured[:, np.newaxis]
    # Columns differ by six orders of magnitude.
    scale = np.sqrt((relative**2).mean(axis=0))
    coefficients = np.zeros(3)
    used = np.flatnonzero(scale > 0)
    while len(used):
        solution = np.linalg.lstsq(relative[:, used] / scale[used], np.ones(len(measured)), rcond=None)[0]
        if (solution >= 0).all():
            coefficients[used] = solution / scale[used]
            break
        # A cost below 0 is none: the term goes, and the rest is fitted without it.
        used = np.delete(used, int(solution.argmin()))
    error = float(np.sqrt(((relative @ coefficients - 1) ** 2).mean()))
    return DecodeCost(
        seconds_per_kilobyte=float(coefficients[0]),
        seconds_per_pixel=float(coefficients[1]),
        seconds_per_image=float(coefficients[2]),
        relative_error=error,
        num_timings=len(measured),
    )


def time_decoding(content: bytes) -> tuple[Image.Image, float]:
    """An image's pixels as RGB, and the CPU seconds of this thread that they took: the least of `_REPEATS`.

    CPU time, so that other programs on the machine do not count.
    """
    from PIL import Image

    from shardtools.sources import pillow_formats

    best = float("inf")
    for _ in range(_REPEATS):
        start = time.thread_time()
        with Image.open(io.BytesIO(content), formats=pillow_formats()) as opened:
            image = opened.convert("RGB")
        best = min(best, time.thread_time() - start)
    # A clock that ticks slowly says 0.
    return image, max(best, 1e-9)
