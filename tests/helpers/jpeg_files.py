"""JPEGs of every kind for the decoder's tests, some of which Pillow cannot write."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

Sampling = tuple[tuple[int, int], ...]
"""Horizontal and vertical sampling factor of each component."""


def photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Something with gradients, edges and noise, [height, width, 3] uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x * a + y * b + c) for a, b, c in rng.uniform(0.02, 0.4, (3, 3))]
    image = np.stack(waves, axis=2) * 80 + 128 + rng.normal(0, 12, (height, width, 3))
    image[(x // 17 + y // 23) % 3 == 0] *= 0.5
    return np.clip(image, 0, 255).astype(np.uint8)


def save(image: np.ndarray | Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, image_format, **options)
    return stream.getvalue()


def pillow_kinds(width: int, height: int) -> dict[str, bytes]:
    """What Pillow writes, by name."""
    image = photo(width, height)
    inverted = Image.fromarray(255 - image).convert("CMYK")
    return {
        "444": save(image, subsampling=0, quality=92),
        "422": save(image, subsampling=1, quality=85),
        "420": save(image, subsampling=2, quality=75),
        "progressive 420": save(image, subsampling=2, progressive=True),
        "progressive 444": save(image, subsampling=0, progressive=True),
        "restarts": save(image, subsampling=2, restart_marker_blocks=3),
        "optimized": save(image, optimize=True),
        "grey": save(image[..., 1]),
        "progressive grey": save(image[..., 1], progressive=True),
        "rgb": save(image, keep_rgb=True),
        "cmyk": save(inverted),
    }


def odd_kinds(width: int, height: int) -> dict[str, bytes]:
    """Sampling that Pillow does not write, by name."""
    samplings: dict[str, Sampling] = {
        "440": ((1, 2), (1, 1), (1, 1)),
        "411": ((4, 1), (1, 1), (1, 1)),
        "410": ((4, 2), (1, 1), (1, 1)),
        "441": ((1, 4), (1, 1), (1, 1)),
        "420 with finer blue": ((2, 2), (2, 1), (1, 1)),
        "chroma finer than luma": ((1, 1), (2, 2), (1, 2)),
        "444 in 1x2": ((1, 2), (1, 2), (1, 2)),
        "grey in 2x2": ((2, 2),),
        "four components": ((2, 2), (1, 1), (1, 1), (2, 2)),
    }
    return {name: write_baseline(width, height, sampling) for name, sampling in samplings.items()}


def write_baseline(width: int, height: int, sampling: Sampling, seed: int = 1) -> bytes:
    """A baseline JPEG of random smooth blocks in any sampling.

    Each Huffman code has the same length, so the tables are lists of symbols and the coder is a few lines.
    """
    num_components = len(sampling)
    h_max, v_max = max(h for h, _ in sampling), max(v for _, v in sampling)
    frame = struct.pack(">BHHB", 8, height, width, num_components)
    frame += b"".join(bytes([i + 1, h * 16 + v, 0]) for i, (h, v) in enumerate(sampling))
    scan = bytes([num_components]) + b"".join(bytes([i + 1, 0]) for i in range(num_components)) + b"\0\x3f\0"
    dc_symbols = bytes(range(12))
    ac_symbols = bytes([0, *(run * 16 + size for run in range(16) for size in range(1, 11)), 0xF0])
    return (
        b"\xff\xd8"
        + _segment(0xDB, b"\0" + bytes([6] * 64))
        + _segment(0xC0, frame)
        + _segment(0xC4, b"\x00" + bytes([0] * 3 + [12] + [0] * 12) + dc_symbols)
        + _segment(0xC4, b"\x10" + bytes([0] * 7 + [162] + [0] * 8) + ac_symbols)
        + _segment(0xDA, scan)
        + _entropy(width, height, sampling, h_max, v_max, ac_symbols, seed)
        + b"\xff\xd9"
    )


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _entropy(
    width: int, height: int, sampling: Sampling, h_max: int, v_max: int, ac_symbols: bytes, seed: int
) -> bytes:
    rng = np.random.default_rng(seed)
    code_of = {symbol: format(code, "08b") for code, symbol in enumerate(ac_symbols)}
    if len(sampling) == 1:
        # A scan of one component has one block a unit, whatever its factors say.
        columns, rows, units = -(-width // 8), -(-height // 8), [1]
    else:
        columns, rows = -(-width // (8 * h_max)), -(-height // (8 * v_max))
        units = [h * v for h, v in sampling]
    bits: list[str] = []
    last = [0] * len(units)
    for _ in range(columns * rows):
        for component, count in enumerate(units):
            for _ in range(count):
                level = int(rng.integers(-120, 120))
                difference, last[component] = level - last[component], level
                bits += [format(abs(difference).bit_length(), "04b"), _magnitude(difference)]
                for value in rng.integers(-15, 16, int(rng.integers(0, 8))).tolist():
                    bits += [code_of[abs(value).bit_length()], _magnitude(value)] if value else []
                bits.append(code_of[0])
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    coded = int(text, 2).to_bytes(len(text) // 8, "big")
    return coded.replace(b"\xff", b"\xff\0")


def _magnitude(value: int) -> str:
    size = abs(value).bit_length()
    return format(value if value >= 0 else value + (1 << size) - 1, f"0{size}b") if size else ""
