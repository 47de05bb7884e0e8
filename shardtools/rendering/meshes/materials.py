"""Colors and pictures of outside materials, as display values and encoded pictures.

Owns which formats of pictures are opened. Pillow knows some that start programs (EPS), so there is a list.
"""

from __future__ import annotations

import io
import posixpath
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from shardtools.arrays import Float64s
from shardtools.errors import SourceError

MAX_TEXTURE = 1024
"""Longer sides of pictures are reduced to this: an object spans fewer pixels."""

_MAX_PIXELS = 64_000_000
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TGA", "TIFF", "WEBP", "PPM")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tga", ".tif", ".tiff", ".webp", ".ppm", ".eps", ".ps", ".dds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Red, green, blue, opacity as display values, 0 to 1, and an encoded picture that they multiply."""

    color: tuple[float, float, float, float]
    picture: bytes | None


def is_picture(path: str) -> bool:
    """Whether a file's name is one of a picture."""
    return posixpath.splitext(path)[1].lower() in _SUFFIXES


def picture_problem(content: bytes) -> str | None:
    """Why a picture is not used, in a few words; `None` where it is."""
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > _MAX_PIXELS:
                return f"{width} x {height} pixels, at most {_MAX_PIXELS:,} are read"
            picture.load()
    except Exception as error:  # damaged files raise nearly anything
        return f"no picture that is read: {type(error).__name__}"
    return None


def material_of(name: str, visual: Any, missing: set[str]) -> Material:
    """What trimesh says of a surface.

    Args:
        name: The object, for messages.
        visual: trimesh's visual.
        missing: Takes the names of pictures that cannot be used.

    Raises:
        SourceError: A picture has more pixels than are read.
    """
    material: Any = getattr(visual, "material", None)
    picture = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    linear = hasattr(material, "baseColorFactor")
    color = getattr(material, "baseColorFactor" if linear else "diffuse", None)
    if color is None and material is None:
        color = getattr(visual, "main_color", None)
    values = np.ones(4) if color is None else _unit(np.asarray(color))
    if linear:
        # .mtl files mean display values, glTF linear ones (glTF 2.0, section 3.9.2).
        values[:3] = _display(values[:3])
    # In .mtl files a picture replaces the color where the color is black.
    if picture is not None and values[:3].max() <= 0:
        values[:3] = 1
    opaque = linear and (getattr(material, "alphaMode", None) or "OPAQUE") == "OPAQUE"
    if opaque:
        values[3] = 1
    red, green, blue, opacity = np.clip(np.nan_to_num(values), 0, 1).tolist()
    encoded = None if picture is None else _encoded(name, picture, missing, opaque=opaque)
    return Material(color=(red, green, blue, opacity), picture=encoded)


def _unit(color: Any) -> Float64s:
    scaled = color.astype(np.float64) / (255 if color.dtype.kind in "ui" else 1)
    return np.concatenate([scaled, np.ones(4)])[:4] if len(scaled) >= 4 else np.append(scaled[:3], 1.0)


def _display(linear: Float64s) -> Float64s:
    """Linear light as sRGB display values (IEC 61966-2-1)."""
    inside = np.clip(linear, 0, 1)
    return np.where(inside <= 0.0031308, 12.92 * inside, 1.055 * inside ** (1 / 2.4) - 0.055)


def _encoded(name: str, picture: Any, missing: set[str], *, opaque: bool) -> bytes | None:
    """A picture, its longer side at most `MAX_TEXTURE`: a JPEG as it came where it is small enough, else a PNG."""
    width, height = picture.size
    if width * height > _MAX_PIXELS:
        raise SourceError(f"{name} has a picture of {width} x {height} pixels, at most {_MAX_PIXELS:,} are read")
    stream = getattr(picture, "fp", None)
    as_it_came = stream.getvalue() if picture.format == "JPEG" and isinstance(stream, io.BytesIO) else None
    if picture.format is not None and picture.format not in _FORMATS:
        missing.add(f"a picture in the format {picture.format}")
        return None
    try:
        picture.load()
        image = picture.convert("RGBA")
    except Exception as error:  # damaged files raise nearly anything
        missing.add(f"a picture ({type(error).__name__})")
        return None
    if as_it_came is not None and picture.mode == "RGB" and max(width, height) <= MAX_TEXTURE:
        return as_it_came
    image.thumbnail((MAX_TEXTURE, MAX_TEXTURE), Image.Resampling.LANCZOS)
    if opaque or image.getextrema()[3][0] == 255:
        image = image.convert("RGB")
    sink = io.BytesIO()
    image.save(sink, "PNG", compress_level=6)
    return sink.getvalue()
