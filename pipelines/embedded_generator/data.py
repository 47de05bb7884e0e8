"""Fashion-MNIST as arrays: reading the idx files, padding, and training pictures in scenes.

The ten labels keep the data set's order. Pictures are `[N, 32, 32]` float32 in 0..1, the
28x28 originals with two black pixels on every side.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float32s, Int64s
from shardtools.pipelines.embedded_generator.scenes import composite, draw_tints

_SPLITS = {"train": "train", "test": "t10k"}


def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """One gzipped idx file of unsigned bytes (magic 0x000008NN, NN dimensions)."""
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the Fashion-MNIST file {path}: install the Debian package "
            "dataset-fashion-mnist or pass --data DIR with the four gzipped idx files"
        )
    raw = gzip.decompress(path.read_bytes())
    magic = struct.unpack(">I", raw[:4])[0]
    rank = magic & 0xFF
    if magic >> 8 != 0x08:
        raise ValueError(f"{path}: expected an idx file of unsigned bytes, found magic {magic:#010x}")
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load_split(folder: Path, split: str) -> tuple[Float32s, Int64s]:
    """Pictures `[N, 32, 32]` in 0..1 and labels `[N]` of the split `train` or `test`."""
    stem = _SPLITS[split]
    pixels = _read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
    labels = _read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
    padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    return padded.astype(np.float32) / 255.0, labels.astype(np.int64)


def to_rgb(gray: Float32s) -> Float32s:
    """`[N, H, W]` to `[N, H, W, 3]`."""
    return np.repeat(gray[..., None], 3, axis=3)


def place_in_scenes(gray: Float32s, backgrounds: Float32s, rng: np.random.Generator) -> Float32s:
    """Products in front of given backgrounds with random tints, both `[N, ...]`, to RGB."""
    return composite(gray, backgrounds, draw_tints(len(gray), rng))
