"""Encoded images to batches of pixels: decoded, cropped, resized, flipped and recoloured into the caller's memory.

JPEGs go through the native core (`shardtools/_native`) where it was built; everything else, and everything where it was
not, goes through Pillow. Both make the same pixels.
"""

from typing import TYPE_CHECKING

from shardtools.decode.options import (
    BACKENDS,
    INTERPOLATIONS,
    ColorOperation,
    Colors,
    DecodeOptions,
    DecodeStatus,
    Interpolation,
)
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.decode.decoder import Decoder, StageSeconds
    from shardtools.decode.geometry import center_windows, whole_crops
    from shardtools.decode.options import MAX_SIDE
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "BACKENDS",
    "INTERPOLATIONS",
    "MAX_SIDE",
    "ColorOperation",
    "Colors",
    "DecodeOptions",
    "DecodeStatus",
    "Decoder",
    "Interpolation",
    "StageSeconds",
    "center_windows",
    "whole_crops",
]
