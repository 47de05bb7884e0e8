"""Numbers about pictures, for a batch at a time: light, contrast, detail, information, colour.

Owns the measures and their units. Everything is measured on the whole picture at `pdq.SIDE` x `pdq.SIDE` pixels, which
is about what a network is shown and makes pictures of all sizes comparable; the price is that blur finer than that is
not seen. Nothing here says what is too dark or too blurred: thresholds belong to the question (queries/).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float32s, UInt8s
from shardtools.audits.quality.pdq import SIDE, PerceptualHashes, perceptual_hashes

DARK_BELOW = 32
BRIGHT_FROM = 224
"""Luma, of 0 to 255, of pixels that count as dark and as bright."""

_LEVELS = 256
_TILES = 4
_COLOR_STEP = 3
_MAX_STEP = SIDE // 4
# ITU-R BT.601 in 256ths.
_RED, _GREEN, _BLUE = 77, 150, 29


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measures:
    """What is measured of a batch; all but `hashes` are float32 [N].

    Attributes:
        brightness: Mean luma, 0 to 1.
        dark_share: Share of pixels with a luma below `DARK_BELOW`.
        bright_share: Share of pixels with a luma of `BRIGHT_FROM` or more.
        contrast: Standard deviation of luma, 0 to 0.5.
        sharpness: Root mean square of the Laplacian of luma over the standard deviation of luma (both in levels, one
            added to the latter); blur lowers it, contrast does not change it.
        sharpest: The same for the sharpest of 4 x 4 tiles: low where nothing is in focus, high for a sharp subject
            before a soft background.
        entropy: Of the histogram of luma, in bits, 0 to 8.
        saturation: Mean difference between the largest and the smallest of R, G and B, 0 to 1; 0 for grey.
        color_spread: Root mean square distance of the pixels from the mean colour, 0 to 1; 0 for one colour.
        hashes: Perceptual hashes.
    """

    brightness: Float32s
    dark_share: Float32s
    bright_share: Float32s
    contrast: Float32s
    sharpness: Float32s
    sharpest: Float32s
    entropy: Float32s
    saturation: Float32s
    color_spread: Float32s
    hashes: PerceptualHashes


def measure(images: UInt8s, sizes: npt.NDArray[np.integer]) -> Measures:
    """Measures a batch.

    Args:
        images: uint8 RGB [N, 192, 192, 3], the whole pictures whatever their shape.
        sizes: Width and height of the stored images in pixels, [N, 2]; 0 where they are not known. Detail of smaller
            ones is measured from stored pixel to stored pixel, or enlarging would count as blur.
    """
    luma = _luma(images)
    shares = _histograms(luma)
    levels = np.arange(_LEVELS)
    mean = shares @ levels
    deviation = np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0))
    sharpness, sharpest = _detail(luma, sizes, deviation)
    saturation, color_spread = _color(images)
    logarithms = np.log2(shares, where=shares > 0, out=np.zeros_like(shares))
    numbers = {
        "brightness": mean / 255,
        "dark_share": shares[:, :DARK_BELOW].sum(axis=1),
        "bright_share": shares[:, BRIGHT_FROM:].sum(axis=1),
        "contrast": deviation / 255,
        "sharpness": sharpness,
        "sharpest": sharpest,
        "entropy": np.maximum(-(shares * logarithms).sum(axis=1), 0),
        "saturation": saturation,
        "color_spread": color_spread,
    }
    return Measures(
        **{name: values.astype(np.float32) for name, values in numbers.items()}, hashes=perceptual_hashes(luma)
    )


def _luma(images: UInt8s) -> UInt8s:
    total = images[..., 0] * np.uint16(_RED)
    total += images[..., 1] * np.uint16(_GREEN)
    total += images[..., 2] * np.uint16(_BLUE)
    total += np.uint16(_LEVELS // 2)
    total >>= np.uint16(8)
    return total.astype(np.uint8)


def _histograms(luma: UInt8s) -> npt.NDArray[np.float64]:
    """Share of the pixels at each level, [N, 256]."""
    counts = [np.bincount(picture, minlength=_LEVELS) for picture in luma.reshape(len(luma), -1)]
    shares = np.array(counts, np.float64).reshape(-1, _LEVELS)
    shares /= luma.shape[1] * luma.shape[2]
    return shares


def _detail(
    luma: UInt8s, sizes: npt.NDArray[np.integer], deviation: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """`sharpness` and `sharpest`, [N] each."""
    squares = np.zeros((len(luma), _TILES, _TILES))
    # Pixels of the working size from one stored pixel to the next: 1 for all photographs, 7 for 28 x 28.
    steps = np.clip(np.rint(SIDE / np.maximum(np.where(sizes < 1, SIDE, sizes), 1)), 1, _MAX_STEP).astype(np.int64)
    # Most batches have one step and go through whole; mixed ones are measured group by group.
    for across, down in np.unique(steps, axis=0).tolist():
        rows = np.flatnonzero((steps == (across, down)).all(axis=1))
        chosen = luma if len(rows) == len(luma) else luma[rows]
        squares[rows] = _laplacian_squares(chosen, across, down)
    above = deviation + 1
    return np.sqrt(squares.mean(axis=(1, 2))) / above, np.sqrt(squares.max(axis=(1, 2))) / above


def _laplacian_squares(luma: UInt8s, across: int, down: int) -> npt.NDArray[np.float64]:
    """Mean squared Laplacian of each tile, [N, 4, 4]; pixels at the border, which lack a neighbour, count as 0."""
    gray = luma.astype(np.int16)
    laplacian = np.zeros(gray.shape, np.float32)
    inner = laplacian[:, down:-down, across:-across]
    center = gray[:, down:-down, across:-across]
    total = gray[:, : -2 * down, across:-across] + gray[:, 2 * down :, across:-across]
    total += gray[:, down:-down, : -2 * across]
    total += gray[:, down:-down, 2 * across :]
    total -= 4 * center
    inner[...] = total
    laplacian *= laplacian
    side = SIDE // _TILES
    by_row = laplacian.reshape(-1, _TILES, side, SIDE).sum(axis=2)
    return np.asarray(by_row.reshape(-1, _TILES, _TILES, side).sum(axis=3) / side**2, np.float64)


def _color(images: UInt8s) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """`saturation` and `color_spread`, [N] each, of every third pixel both ways, which is one of nine."""
    some = np.ascontiguousarray(images[:, 1::_COLOR_STEP, 1::_COLOR_STEP])
    red, green, blue = some[..., 0], some[..., 1], some[..., 2]
    largest = np.maximum(np.maximum(red, green), blue)
    smallest = np.minimum(np.minimum(red, green), blue)
    saturation = (largest - smallest).mean(axis=(1, 2), dtype=np.float64) / 255
    variances = [np.var(channel, axis=(1, 2), dtype=np.float32) for channel in (red, green, blue)]
    spread = np.sqrt(np.sum(variances, axis=0, dtype=np.float64)) / (255 * math.sqrt(3))
    return saturation, spread
