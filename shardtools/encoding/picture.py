"""Pixels in and out: any image as 8-bit grey or RGB, made smaller, saved as JPEG.

Owns how a picture that no JPEG can hold becomes one that it can. Grey stays grey. CMYK (and YCCK) becomes RGB by
Pillow's plain formula, inverted as Adobe writes it, which is what a training script that reads the original with Pillow
sees; its ICC profile is left out, because it describes inks. Transparency is laid over white. 16 bits become the upper
8, rounded. Of several frames the first is taken.

The price of one filter for all: Lanczos over all source pixels (antialiased) is the slowest of Pillow's, and the
sharpest; ImageNet's small copies are made with it or with area averages, never without antialiasing.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_REDUCING_GAP = 3.0
"""A JPEG is decoded at a fraction of its size where that leaves three times the wanted one, and boxes of pixels are
averaged down to that before Lanczos: as good as Lanczos alone to the eye, in far less time (Pillow's handbook)."""

_SUBSAMPLING = "4:2:0"
_MAX_ICC_BYTES = 1 << 20
_ICC_SPACES = {"L": b"GRAY", "RGB": b"RGB "}
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_GRAY_MODES = ("1", "L", "LA", "La")
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Decoded pixels.

    Attributes:
        image: Mode "L" or "RGB".
        box: Left, top, right, bottom of the picture in it, in pixels: a JPEG that was decoded at a fraction of its size
            ends within its last row and column.
        icc_profile: The image's own, where it describes colours of that mode.
    """

    image: Image.Image
    box: tuple[float, float, float, float]
    icc_profile: bytes | None


def load_picture(
    content: bytes, *, size: tuple[int, int] | None = None, raw_size: tuple[int, int] | None = None
) -> Picture:
    """Decodes an image.

    Args:
        content: The encoded image, or rows of RGB pixels.
        size: Width and height that the picture is made smaller to afterwards; lets a much larger JPEG be decoded at a
            fraction of its size. `None` decodes all pixels.
        raw_size: Width and height of raw pixels; `None` for an encoded image.

    Raises:
        Exception: Whatever Pillow raises for damaged bytes.
    """
    from PIL import Image

    from shardtools.sources import pillow_formats

    if raw_size is not None:
        return Picture(image=Image.frombytes("RGB", raw_size, content), box=(0, 0, *raw_size), icc_profile=None)
    with Image.open(io.BytesIO(content), formats=pillow_formats()) as opened:
        drafted = None
        if size is not None:
            drafted = opened.draft(None, (round(_REDUCING_GAP * size[0]), round(_REDUCING_GAP * size[1])))
        opened.load()
        image = _to_gray_or_rgb(opened)
        profile = opened.info.get("icc_profile")
    box = drafted[1] if drafted is not None else (0.0, 0.0, float(image.width), float(image.height))
    return Picture(image=image, box=box, icc_profile=profile if _fits(profile, image.mode) else None)


def shrink(picture: Picture, size: tuple[int, int]) -> Image.Image:
    """The picture at that width and height, at most its own; the image itself where that is its size."""
    from PIL import Image

    if picture.image.size == size:
        return picture.image
    return picture.image.resize(size, Image.Resampling.LANCZOS, box=picture.box, reducing_gap=_REDUCING_GAP)


def save_jpeg(
    image: Image.Image, quality: int, *, orientation: int | None = None, icc_profile: bytes | None = None
) -> bytes:
    """A baseline JPEG with Huffman tables of its own and, whatever its source had, 4:2:0 chroma.

    Half the chroma is what cameras write and decodes fastest. Of the source's metadata only the orientation and the
    profile are written.

    Args:
        image: Mode "L" or "RGB".
        quality: 1 to 100.
        orientation: EXIF's, 1 to 8.
        icc_profile: One of the image's colours.
    """
    from PIL import Image

    exif = Image.Exif()
    if orientation is not None:
        exif[_ORIENTATION_TAG] = orientation
    stream = io.BytesIO()
    image.save(
        stream,
        "JPEG",
        quality=quality,
        subsampling=_SUBSAMPLING,
        optimize=True,
        exif=exif.tobytes() if orientation is not None else b"",
        icc_profile=icc_profile,
        comment=b"",
    )
    return stream.getvalue()


def raw_pixels(image: Image.Image) -> bytes:
    """Rows of RGB pixels, H * W * 3 bytes; grey gives three equal channels."""
    return image.convert("RGB").tobytes()


def _to_gray_or_rgb(image: Image.Image) -> Image.Image:
    mode = "L" if image.mode in _GRAY_MODES else "RGB"
    # First, as Pillow's own conversions below would clip what has 16 bits.
    if image.mode.startswith("I"):
        return _from_sixteen_bits(image)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        from PIL import Image as ImageModule

        layer = image.convert("RGBA")
        white = ImageModule.new("RGBA", image.size, (255, 255, 255, 255))
        return ImageModule.alpha_composite(white, layer).convert(mode)
    if image.mode == "F":
        return image.convert("L")
    return image.convert(mode)


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits (Pillow's own conversion would clip all above 255)."""
    import numpy as np
    from PIL import Image

    values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _fits(profile: object, mode: str) -> bool:
    """Whether an ICC profile is one, and of these colours (ICC.1, section 7.2: colour space at 16, mark at 36)."""
    return (
        isinstance(profile, bytes)
        and 128 <= len(profile) <= _MAX_ICC_BYTES
        and profile[36:40] == b"acsp"
        and profile[16:20] == _ICC_SPACES[mode]
    )
