"""One image encoded in many ways, each timed when it is decoded and compared with what it was made from.

Owns the measuring of `choosing`. The price: the table's sizes and qualities of one image share its decoding and
shrinking, so these are not `encode_sample` itself but its parts, called alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shardtools.encoding.cost import time_decoding
from shardtools.encoding.encode import fit_size
from shardtools.encoding.picture import load_picture, save_jpeg, shrink

if TYPE_CHECKING:
    from PIL import Image

_LOSSLESS_DB = 100.0
"""Stands for the infinite PSNR of equal pictures, so that means stay finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEncoding:
    """One image at one size and quality.

    Attributes:
        max_side: See `TriedEncoding`.
        quality: JPEG quality.
        num_bytes: Length that is kept: the encoded one, or that of the image as it is where that is less at the same
            size.
        encoded_bytes: Length of the JPEG.
        num_pixels: Width times height.
        seconds: CPU seconds of decoding the JPEG.
        psnr: dB against the same size before encoding; `None` where the image stays as it is.
    """

    max_side: int | None
    quality: int
    num_bytes: int
    encoded_bytes: int
    num_pixels: int
    seconds: float
    psnr: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One image: its length in bytes, the CPU seconds of decoding it as it is, and its encodings."""

    num_bytes: int
    seconds: float
    encodings: tuple[TrialEncoding, ...]


def try_encodings(
    content: bytes, sides: Sequence[int | None], qualities: Sequence[int], *, raw_size: tuple[int, int] | None = None
) -> Trial:
    """Encodes an image at every side and quality.

    Args:
        content: The encoded image, or rows of RGB pixels.
        sides: Longer sides in pixels, `None` for the image's own.
        qualities: JPEG qualities, 1 to 100.
        raw_size: Width and height of raw pixels.

    Raises:
        Exception: Whatever Pillow raises for damaged bytes.
    """
    # Raw pixels need no decoding; what copying them costs is less than the clock tells.
    seconds = time_decoding(content)[1] if raw_size is None else 1e-6
    picture = load_picture(content, raw_size=raw_size)
    encodings = []
    for side in sides:
        size = fit_size(*picture.image.size, max_side=side)
        image = shrink(picture, size)
        is_same_size = image.size == picture.image.size
        for quality in qualities:
            encoded = save_jpeg(image, quality, icc_profile=picture.icc_profile)
            decoded, decoding = time_decoding(encoded)
            stays = is_same_size and len(encoded) >= len(content)
            encodings.append(
                TrialEncoding(
                    max_side=side,
                    quality=quality,
                    num_bytes=len(content) if stays else len(encoded),
                    encoded_bytes=len(encoded),
                    num_pixels=size[0] * size[1],
                    seconds=decoding,
                    psnr=None if stays else psnr(image, decoded),
                )
            )
    return Trial(num_bytes=len(content), seconds=seconds, encodings=tuple(encodings))


def psnr(image: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB of two pictures of one size as 8-bit RGB, at most 100; see `choosing`."""
    difference = np.asarray(image.convert("RGB"), np.int16) - np.asarray(other.convert("RGB"), np.int16)
    mean_square = float(np.square(difference, dtype=np.int32).mean())
    if mean_square == 0:
        return _LOSSLESS_DB
    return min(_LOSSLESS_DB, 10 * math.log10(255**2 / mean_square))
