"""Whether an image is one that a `Decoder` delivers: asked where images are taken in, and where they are verified.

Owns the one judgement, so that no image is recorded as sound that training then leaves out. The native core judges
JPEGs where it was built, and hears what libjpeg only warns of; elsewhere Pillow judges, and the data of JPEGs is
looked at once more (`jpeg.py`). The price: an install without the core accepts a JPEG whose damage runs out of no data.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from shardtools.decode.decoder import Decoder
from shardtools.decode.jpeg import has_too_many_scans, lacks_data
from shardtools.decode.options import DecodeOptions, DecodeStatus

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = DecodeOptions().max_pixels
"""Larger images are never decoded."""

_UNREAD_MODES = ("I", "F")
_JPEGS = ("JPEG", "MPO")
_LACKS_DATA = "the JPEG ends before its last row: it was cut, or its header promises more than there is"
_WORDS = {
    DecodeStatus.TRUNCATED: _LACKS_DATA,
    DecodeStatus.CORRUPT: "the JPEG's data is damaged: libjpeg would fill the rest of the picture with grey",
    DecodeStatus.NO_MEMORY: "decoding it takes more memory than an image of its size may have",
}


def judge_header(image: Image.Image, content: bytes) -> str | None:
    """Why an opened image would not be delivered, by its header alone; `None` where nothing speaks against it."""
    num_pixels = image.width * image.height
    if num_pixels > MAX_PIXELS:
        return f"{image.width} x {image.height} pixels, at most {MAX_PIXELS} in all are decoded"
    if image.mode in _UNREAD_MODES:
        return f"pixels of 32 bits (mode {image.mode}), which say no brightness: store 8 or 16 bits a channel"
    if image.format in _JPEGS and has_too_many_scans(content, num_pixels):
        return f"a JPEG of {len(content)} bytes that goes over its {image.width} x {image.height} pixels too often"
    return None


def judge_jpeg(image: Image.Image, content: bytes) -> str | None:
    """Why an opened JPEG would not be delivered, by all of its data; `None` where it would.

    Raises:
        Exception: Pillow cannot decode it, in its own words.
    """
    status = _native_status(image, content)
    if status == DecodeStatus.OK:
        return None
    # Pillow says more of what is wrong, where it sees it.
    image.draft(image.mode, (1, 1))
    image.load()
    if status is not None:
        return _WORDS.get(status, f"the JPEG cannot be decoded ({status.name.lower().replace('_', ' ')})")
    return _LACKS_DATA if lacks_data(content) else None


def _native_status(image: Image.Image, content: bytes) -> DecodeStatus | None:
    """What a decoder with the native core says; `None` where it was not built."""
    decoder = _decoder()
    if not decoder.is_native:
        return None
    crop = np.array([[0, 0, image.width, image.height]], np.int32)
    out = np.empty((1, 1, 1, 3), np.uint8)
    return DecodeStatus(int(decoder.decode_batch([content], crop, None, out)[0]))


@functools.cache
def _decoder() -> Decoder:
    # At an eighth of the size all of the data is read, and little else is done.
    return Decoder(DecodeOptions(allow_scaled=True, interpolation="area"))
