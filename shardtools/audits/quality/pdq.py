"""PDQ: a 256-bit perceptual hash of a picture, its mirror image's, and how much the picture gives to hash.

Owns the hash as Meta describes it ("The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", 2019,
section "PDQ"): luma, two box filters that reach over one cell of a 64 x 64 grid, a cosine transform of which the
16 x 16 lowest frequencies but the constant are kept, and one bit for each that is above their median. Two things are
otherwise: the picture comes at `SIDE` x `SIDE` pixels instead of its own size, and cells are sampled at their very
centre, where Meta's filters are half a pixel off, so that a mirrored picture has exactly the mirrored hash. The price:
beside hashes of Meta's program some 10 bits of 256 differ on photographs (31 is its bound for "the same picture"), so
lists of hashes from elsewhere want a wider radius.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from shardtools.arrays import UInt8s

GRID = 64
SIDE = 3 * GRID
"""Pixels of a side: three a cell, of which the middle one is the cell's centre, whatever way the picture is turned."""
HASH_BYTES = 32

_FREQUENCIES = 16
_WEIGHTS = (1, 2, 1)
_GRADIENT_PER_QUALITY = 90
_MAX_QUALITY = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerceptualHashes:
    """Hashes of a batch.

    Attributes:
        hashes: uint8 [N, 32], in the order of Meta's hexadecimal text: the highest frequencies first.
        mirrored: Those of the pictures mirrored left to right, uint8 [N, 32].
        quality: 0 to 100: how much the grid's neighbours differ; see `MIN_QUALITY`. uint8 [N].
    """

    hashes: UInt8s
    mirrored: UInt8s
    quality: UInt8s


def perceptual_hashes(luma: UInt8s) -> PerceptualHashes:
    """Hashes of grey pictures.

    Args:
        luma: uint8 [N, 192, 192], the whole pictures whatever their shape.
    """
    grid = _reduced(luma)
    rows = _cosines()
    frequencies = rows @ grid @ rows.T
    # Mirrored, a cosine of odd order changes its sign and one of even order stays; the orders are 1 to 16.
    signs = np.where(np.arange(_FREQUENCIES) % 2 == 0, -1.0, 1.0)
    return PerceptualHashes(
        hashes=_bits(frequencies), mirrored=_bits(frequencies * signs[None, None, :]), quality=_quality(grid)
    )


def _reduced(luma: UInt8s) -> npt.NDArray[np.float64]:
    """The 64 x 64 grid, [N, 64, 64], 0 to 255: two boxes of two pixels, one after the other, at each cell's centre."""
    outer, inner, _ = _WEIGHTS
    rows = luma[:, ::3].astype(np.uint16) * outer + luma[:, 1::3].astype(np.uint16) * inner + luma[:, 2::3]
    cells = rows[:, :, ::3] + inner * rows[:, :, 1::3] + rows[:, :, 2::3]
    return np.asarray(cells / float(sum(_WEIGHTS) ** 2), np.float64)


@cache
def _cosines() -> npt.NDArray[np.float64]:
    """The first 16 rows after the constant of an orthonormal cosine transform of 64 points, [16, 64]."""
    order = np.arange(1, _FREQUENCIES + 1)[:, None]
    place = 2 * np.arange(GRID)[None, :] + 1
    return np.asarray(np.sqrt(2 / GRID) * np.cos(np.pi / (2 * GRID) * order * place))


def _bits(frequencies: npt.NDArray[np.float64]) -> UInt8s:
    flat = frequencies.reshape(len(frequencies), -1)
    # The lower of the two middle values, as the reference takes it.
    middle = np.partition(flat, flat.shape[1] // 2 - 1, axis=1)[:, flat.shape[1] // 2 - 1]
    return np.packbits((flat > middle[:, None])[:, ::-1], axis=1)


def _quality(grid: npt.NDArray[np.float64]) -> UInt8s:
    """The sum of the neighbours' differences in whole hundredths of the range, 90 of them a point."""
    total = np.zeros(len(grid), np.int64)
    for axis in (1, 2):
        hundredths = np.abs(np.diff(grid, axis=axis)) * (100 / 255)
        total += hundredths.astype(np.int64).sum(axis=(1, 2))
    return np.minimum(total // _GRADIENT_PER_QUALITY, _MAX_QUALITY).astype(np.uint8)
