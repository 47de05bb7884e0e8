"""Small real image files in all the ways that people's files go wrong, and tars made without this project's code."""

from __future__ import annotations

import functools
import gzip
import io
import struct
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

FASHION = Path("/usr/share/datasets/fashion-mnist")


@functools.cache
def fashion_pixels(count: int) -> np.ndarray:
    """The first real test images of Fashion-MNIST: [count, 28, 28] uint8."""
    with gzip.open(FASHION / "t10k-images-idx3-ubyte.gz") as stream:
        return np.frombuffer(stream.read(16 + count * 784)[16:], np.uint8).reshape(count, 28, 28)


def fashion_labels(count: int) -> bytes:
    """The labels of the same images."""
    with gzip.open(FASHION / "t10k-labels-idx1-ubyte.gz") as stream:
        return stream.read()[8 : 8 + count]


def drawing(number: int = 0, size: tuple[int, int] = (48, 36)) -> Image.Image:
    """A coloured picture that no other number gives."""
    image = Image.new("RGB", size, (number * 37 % 256, number * 101 % 256, 90))
    pencil = ImageDraw.Draw(image)
    pencil.ellipse((4, 4, 10 + number % 25, 30), fill=(200, number % 256, 10))
    pencil.line((0, number % size[1], size[0], 5), fill=(255, 255, number // 256 % 256), width=2)
    return image


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


@functools.cache
def jpeg(number: int = 0) -> bytes:
    return encode(drawing(number), "JPEG", quality=90)


def fashion_jpeg(number: int) -> bytes:
    return encode(Image.fromarray(fashion_pixels(number + 1)[number]), "JPEG")


def rotated_jpeg() -> bytes:
    """A JPEG that EXIF says to turn by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(drawing(3), "JPEG", exif=exif)


def huge_png() -> bytes:
    """A PNG whose header promises 100,000 x 100,000 pixels."""
    content = bytearray(encode(Image.new("L", (1, 1)), "PNG"))
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    import zlib

    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


def idx_images(pixels: np.ndarray) -> bytes:
    return struct.pack(">IIII", 0x803, *pixels.shape) + pixels.tobytes()


def idx_labels(labels: bytes) -> bytes:
    return struct.pack(">II", 0x801, len(labels)) + labels


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """A tar by Python's own tarfile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    """Files by path below a root."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root
