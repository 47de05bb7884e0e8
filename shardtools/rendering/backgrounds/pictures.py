"""Pixels of photographs: upright, cut to a square, at one size.

Owns the filter, Lanczos over all source pixels (antialiased), for the prepared file and the picture's background alike.
A picture is thus filtered twice, which costs a little sharpness and saves decoding 20 million pixels for each.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shardtools.encoding.picture import load_picture
from shardtools.errors import SourceError
from shardtools.sources import ImageFacts, Rejection, check_image, rejection_of

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]

_QUALITY = 95
_UPRIGHT = 1
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""EXIF's orientation -> what makes the stored pixels upright, in Pillow's words (CIPA DC-008, tag 0x0112)."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A square of an upright photograph, in its pixels."""

    left: int
    top: int
    side: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A photograph as it is kept.

    Attributes:
        content: A square JPEG, upright, RGB.
        side: Its pixels.
        found_side: Pixels of the square before it was made smaller.
    """

    content: bytes
    side: int
    found_side: int


def prepare(content: bytes, side: int, crop: Crop | None) -> Prepared | Rejection:
    """A photograph's square.

    A JPEG that is such a square already is kept byte by byte.

    Args:
        content: The encoded photograph.
        side: Larger squares are made smaller to this many pixels; smaller ones stay.
        crop: `None` for the largest square in the middle.
    """
    facts = check_image(content, decode=False)
    if isinstance(facts, Rejection):
        return facts
    width, height = (facts.height, facts.width) if _lies(facts) else (facts.width, facts.height)
    crop = crop or _middle(width, height)
    if min(crop.left, crop.top, crop.side - 1) < 0 or crop.left + crop.side > width or crop.top + crop.side > height:
        found = f"{crop.left} {crop.top} {crop.side}"
        return Rejection("bad-crop", f"the crop {found} (left, top, side) leaves its {width} x {height} pixels")
    # Only now are all pixels decoded, whose number the header has shown to be bearable.
    whole = check_image(content, decode=True)
    if isinstance(whole, Rejection):
        return whole
    is_kept = (facts.image_format, facts.mode, facts.exif_orientation or _UPRIGHT) == ("jpg", "RGB", _UPRIGHT)
    if is_kept and width == height == crop.side <= side:
        return Prepared(content=content, side=crop.side, found_side=crop.side)
    try:
        image = _upright(content, facts)
    except MemoryError:
        raise
    except Exception as error:
        return rejection_of(error, content)
    kept = min(side, crop.side)
    return Prepared(content=_jpeg(_resized(image, crop, kept)), side=kept, found_side=crop.side)


def pixels_of(content: bytes, size: int, where: str) -> Pixels:
    """Pixels of a prepared photograph, uint8 RGB [size, size, 3].

    Raises:
        SourceError: It cannot be decoded.
    """
    facts = check_image(content, decode=False)
    if isinstance(facts, Rejection):
        raise SourceError(f"{where} is no picture ({facts.reason}): make it again with `shardtools backgrounds`")
    try:
        image = load_picture(content).image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:
        reason = rejection_of(error, content).reason
        raise SourceError(f"{where} is damaged ({reason}): make it again with `shardtools backgrounds`") from None
    return np.asarray(_resized(image, _middle(*image.size), size))


def _lies(facts: ImageFacts) -> bool:
    """Whether the photograph is turned by a quarter (EXIF 2.32, table 6, tag 0x0112)."""
    return (facts.exif_orientation or _UPRIGHT) >= 5


def _middle(width: int, height: int) -> Crop:
    side = min(width, height)
    return Crop((width - side) // 2, (height - side) // 2, side)


def _upright(content: bytes, facts: ImageFacts) -> Image.Image:
    from PIL import Image

    image = load_picture(content).image.convert("RGB")
    turn = _TURNS.get(facts.exif_orientation or _UPRIGHT)
    return image if turn is None else image.transpose(Image.Transpose[turn])


def _resized(image: Image.Image, crop: Crop, side: int) -> Image.Image:
    from PIL import Image

    box = (crop.left, crop.top, crop.left + crop.side, crop.top + crop.side)
    if crop.side == side:
        return image.crop(box)
    return image.resize((side, side), Image.Resampling.LANCZOS, box=box)


def _jpeg(image: Image.Image) -> bytes:
    """Without metadata, chroma at full size: the picture is looked at by networks once more."""
    sink = io.BytesIO()
    clean = image.copy()
    clean.info.clear()
    clean.save(sink, "JPEG", quality=_QUALITY, subsampling="4:4:4", optimize=True)
    return sink.getvalue()
