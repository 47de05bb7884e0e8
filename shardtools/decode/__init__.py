"""Encoded images to batches of pixels: decoded, cropped, resized, flipped and recoloured into the caller's memory.

JPEGs go through the native core (`shardtools/_native`) where it was built; everything else, and everything where it was
not, goes through Pillow. Both make the same pixels.
"""

from shardtools.decode.decoder import Decoder, StageSeconds
from shardtools.decode.geometry import centre_windows, whole_crops
from shardtools.decode.options import (
    INTERPOLATIONS,
    ColourOperation,
    Colours,
    DecodeOptions,
    DecodeStatus,
    Interpolation,
)

__all__ = [
    "INTERPOLATIONS",
    "ColourOperation",
    "Colours",
    "DecodeOptions",
    "DecodeStatus",
    "Decoder",
    "Interpolation",
    "StageSeconds",
    "centre_windows",
    "whole_crops",
]
