"""What the bytes of a JPEG say about its decoding: how many scans there are, and whether each has all of its data.

Owns the two questions that Pillow does not answer: libjpeg fills missing data with grey and warns, and Pillow does not
hand the warning on. Markers are followed without decoding; whether data is missing is found by decoding twice, with
other bytes where the data ends: what changes by them was not there. The price is two decodings at an eighth of the
size, and damage that changes pixels without running out of data stays unheard; the native core hears all.

Source: ITU-T T.81, annex B.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

MAX_SCANS = 256
"""The native core has the same limits (`decode.cpp`)."""

MAX_SCANS_OF_ANY_SIZE = 24
MAX_SCAN_PIXELS = 1 << 30
"""More scans than `MAX_SCANS_OF_ANY_SIZE` may go over this many pixels together: a file of a few kilobytes can ask for
hundreds of passes over an image of any size."""

_START = b"\xff\xd8\xff"
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_SCAN = 0xDA
_END = 0xD9
_RESTARTS = range(0xD0, 0xD8)
_BARE = (0x01, 0xD8, *_RESTARTS)
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
"""Arithmetic coding leaves zeros at the end of its data away, so that missing data is no damage there."""

_PROGRESSIVE = 0xC2
_FILLER = bytes(range(1, 0xFE, 3)) * 2


def has_too_many_scans(content: bytes, num_pixels: int) -> bool:
    """Whether decoding would go over the image too often; false for what is no JPEG."""
    if not content.startswith(_START):
        return False
    num_scans = sum(marker == _SCAN for marker, _ in _markers(content))
    return num_scans > MAX_SCANS or (num_scans > MAX_SCANS_OF_ANY_SIZE and num_scans * num_pixels > MAX_SCAN_PIXELS)


def lacks_data(content: bytes) -> bool:
    """Whether a JPEG that Pillow decodes has less data than its header asks for; false for what is no JPEG."""
    if not content.startswith(_START):
        return False
    found = list(_markers(content))
    first_scan = next((place for marker, place in found if marker == _SCAN), len(content))
    ends = [place for marker, place in found if place > first_scan]
    kinds = {marker for marker, _ in found}
    if not ends or kinds.isdisjoint(_HUFFMAN_FRAMES):
        return False
    # A whole image looks at nothing behind its data; one that is cut takes the other bytes for its own.
    pieces = [content[start:stop] for start, stop in zip([0, *ends], [*ends, len(content)], strict=True)]
    is_progressive = _PROGRESSIVE in kinds
    return _pixels(content, full=is_progressive) != _pixels(_FILLER.join(pieces), full=is_progressive)


def _markers(content: bytes) -> Iterator[tuple[int, int]]:
    """Each marker up to the end of the image and where it begins; data of scans is passed over."""
    position = 2
    while match := _MARKER.search(content, position):
        marker, place = content[match.end() - 1], match.start()
        yield marker, place
        if marker == _END:
            return
        position = match.end()
        if marker not in _BARE:
            position += int.from_bytes(content[position : position + 2], "big")


def _pixels(content: bytes, *, full: bool) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=["JPEG", "MPO"]) as image:
        if not full:
            # The smallest picture holds the mean of each block, and every coefficient is read for it.
            image.draft(image.mode, (1, 1))
        return image.tobytes()
