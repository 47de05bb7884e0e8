"""ImageNet-P's videos: how many frames one has, and its frames as lossless PNGs.

Owns the one decoder of videos. Frames are counted from the container's tables, without a decoder, so that listing is
quick and every frame has a position; decoding needs OpenCV, which is no dependency of this package. The price of PNGs:
they hold what the decoder of one machine made of the video, and FFmpeg does not promise the same pixels everywhere.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from shardtools.errors import SourceError
from shardtools.extras import is_installed
from shardtools.sources.image.check import Rejection

_MAX_FRAMES = 100_000
_MAX_PIXELS = 1 << 26
_PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl"))


def require_opencv(where: str) -> None:
    """Fails early where videos cannot be decoded.

    Raises:
        SourceError: OpenCV is not installed.
    """
    if not is_installed("cv2"):
        raise SourceError(
            f"{where}: reading .mp4 needs OpenCV: pip install opencv-python-headless, which 'shardtools[video]' brings"
        )


def count_frames(content: bytes) -> int:
    """Number of coded frames of an .mp4's video track (ISO 14496-12: stsz of the track whose handler is vide).

    0 for bytes that are no such file.
    """
    handler = b""
    for name, start, stop in _boxes(content, 0, len(content)):
        if name == b"trak":
            handler = b""
        elif name == b"hdlr":
            handler = content[start + 8 : start + 12]
        # A track of sound has sizes too; its handler, which stands before them, tells.
        elif name == b"stsz" and handler == b"vide" and stop - start >= 12:
            size, count = struct.unpack_from(">II", content, start + 4)
            is_whole = size != 0 or 4 * count <= stop - start - 12
            return count if is_whole and count <= _MAX_FRAMES else 0
    return 0


def _boxes(content: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, one past the last byte) of boxes and of the boxes in them, in order."""
    while start + 8 <= stop:
        size, name = struct.unpack_from(">I4s", content, start)
        head = 8
        if size == 1 and start + 16 <= stop:
            size, head = struct.unpack_from(">Q", content, start + 8)[0], 16
        end = stop if size == 0 else start + size
        if (size != 0 and size < head) or end > stop:
            return
        yield name, start + head, end
        if name in _PARENTS:
            yield from _boxes(content, start + head, end)
        start = end


def decode_frames(content: bytes, frames: Sequence[int]) -> list[bytes | Rejection]:
    """Frames of a video as 8-bit RGB PNGs.

    Args:
        content: An .mp4 file.
        frames: 0-based positions, ascending.
    """
    import cv2

    # A file in memory: OpenCV before 5 reads from names only.
    descriptor = os.memfd_create("shardtools-video")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            stream.write(content)
        capture = cv2.VideoCapture(f"/proc/self/fd/{descriptor}", cv2.CAP_FFMPEG)
        try:
            return _take(capture, frames)
        finally:
            capture.release()
    finally:
        os.close(descriptor)


def _take(capture: Any, frames: Sequence[int]) -> list[bytes | Rejection]:
    import cv2

    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if not capture.isOpened() or not 0 < width * height <= _MAX_PIXELS:
        return [Rejection("undecodable", "OpenCV finds no video of a sensible size in it") for _ in frames]
    found: list[bytes | Rejection] = []
    position = -1
    for frame in frames:
        is_there = True
        # Grabbing passes frames without turning them into pixels; only the wanted one is retrieved.
        while is_there and position < frame:
            is_there = capture.grab()
            position += is_there
        pixels = capture.retrieve()[1] if is_there else None
        if pixels is not None:
            found.append(_encode_png(pixels[:, :, ::-1]))
        else:
            found.append(Rejection("undecodable", f"the video ends or is damaged before frame {frame}"))
    return found


def _encode_png(pixels: Any) -> bytes:
    """A PNG of [H, W, 3] uint8 RGB."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
