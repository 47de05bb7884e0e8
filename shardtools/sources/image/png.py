"""Lossless PNGs of pixels that have no encoded bytes of their own.

Owns the encoding: no filter, no metadata, so that the same pixels give the same bytes with the same zlib. The price is
files some tenths larger than with adaptive filters.
"""

from __future__ import annotations

import struct
import zlib

_GRAY, _RGB, _RGBA = 0, 2, 6


def encode_gray_png(pixels: bytes, width: int, height: int) -> bytes:
    """An 8-bit grey PNG.

    Args:
        pixels: Rows from top to bottom, one byte a pixel.
        width: Pixels, 1 or more.
        height: Pixels, 1 or more.
    """
    return _encode(pixels, width, height, 1, _GRAY)


def encode_rgb_png(pixels: bytes, width: int, height: int) -> bytes:
    """An 8-bit RGB PNG.

    Args:
        pixels: Rows from top to bottom, three bytes a pixel.
        width: Pixels, 1 or more.
        height: Pixels, 1 or more.
    """
    return _encode(pixels, width, height, 3, _RGB)


def encode_rgba_png(pixels: bytes, width: int, height: int) -> bytes:
    """An 8-bit RGBA PNG.

    Args:
        pixels: Rows from top to bottom, four bytes a pixel.
        width: Pixels, 1 or more.
        height: Pixels, 1 or more.
    """
    return _encode(pixels, width, height, 4, _RGBA)


def _encode(pixels: bytes, width: int, height: int, channels: int, color_type: int) -> bytes:
    row_bytes = width * channels
    rows = b"".join(b"\0" + pixels[start : start + row_bytes] for start in range(0, row_bytes * height, row_bytes))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 6)),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    # The signature, then each chunk with its length and checksum (PNG specification, section 5).
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
