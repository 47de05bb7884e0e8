"""Writing FFCV's `.beton` with the images' own bytes: FFCV's writer encodes every image anew, this one copies.

Owns the placing of payloads. They go to the file at once; the rows of the metadata follow in batches into the room
left for `max_samples` of them, and the allocation table waits in a temporary file once it outgrows memory. The price:
rows that never come leave a gap, which no reader sees, because pointers are absolute.
"""

from __future__ import annotations

import tempfile
import weakref
from array import array
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError, ShardError
from shardtools.shards.beton import format as beton_format
from shardtools.shards.beton.format import (
    ALLOCATION,
    DEFAULT_PAGE_BYTES,
    MAX_NAME_BYTES,
    MAX_PAGE_BYTES,
    MAX_SIDE,
    MODE_JPEG,
    MODE_RAW,
    BetonField,
    BetonHeader,
    FieldType,
    encode_header,
    round_up,
    row_dtype,
)
from shardtools.shards.encoder import ShardEncoder, ShardSample
from shardtools.storage import explained

IMAGE_FIELD = "image"
LABEL_FIELD = "label"
KEY_FIELD = "key"
JSON_FIELD = "json"
NO_LABEL = -1
"""Label of a sample without one: an Int field has no null."""

NO_JSON = b"null"
"""JSON of a sample without: FFCV's JSONField.unpack would take the sample before it in its buffer for an empty one."""

_JPEG_FORMATS = frozenset({"jpg", "jpeg"})
_SAMPLES_TOGETHER = 4096
_TABLE_BYTES_IN_MEMORY = 32 << 20
_COPY_BYTES = 8 << 20
_PLAIN_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Start-of-frame markers of Huffman and arithmetic coded JPEGs, sequential or progressive (ITU T.81, table B.1)."""

_OTHER_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF})


class BetonEncoder(ShardEncoder):
    """Writes a `.beton` that FFCV reads: fields image, label, then `fields` in their order.

    "json" becomes a JSON field, all others Bytes fields: "key" the sample's key in UTF-8, any other extension that
    member's payload, empty where a sample lacks it. The label is -1 where there is none.

    Args:
        stream: See `ShardEncoder`.
        max_samples: See `ShardEncoder`.
        fields: See `ShardEncoder`; names of at most 16 ASCII bytes.
        page_bytes: Page size to begin with, a power of two from 2 MiB to 2 GiB. A sample that exceeds it makes the
            pages larger from there on: pages already written lie within larger ones, so nothing moves, and FFCV's
            process cache (`os_cache=False`) then takes more memory.

    Raises:
        ShardError: FFCV has no room for a field's name.
        OptionError: The page size is none.
    """

    def __init__(
        self, stream: BinaryIO, *, max_samples: int, fields: tuple[str, ...], page_bytes: int = DEFAULT_PAGE_BYTES
    ) -> None:
        if not beton_format.MIN_PAGE_BYTES <= page_bytes <= MAX_PAGE_BYTES or page_bytes & (page_bytes - 1):
            raise OptionError(
                f"the page size of a .beton is a power of two from {beton_format.MIN_PAGE_BYTES} to {MAX_PAGE_BYTES} "
                f"bytes, found {page_bytes}"
            )
        self._stream = stream
        self._members = fields
        self._fields = _layout(fields)
        self._dtype = row_dtype(self._fields)
        self._max_samples = max_samples
        self._page_bytes = page_bytes
        self._num_samples = 0
        self._rows = array("q")
        self._allocations = array("Q")
        # Not a `with` block: the file goes with the encoder, finished or not.
        self._table = tempfile.SpooledTemporaryFile(max_size=_TABLE_BYTES_IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._table.close)
        self._metadata_start = self._header(0).metadata_start
        self._num_rows_stored = 0
        self._end = round_up(self._metadata_start + max_samples * self._dtype.itemsize, page_bytes)
        self._stream_offset = 0

    def add(self, sample: ShardSample) -> int:
        if self._num_samples == self._max_samples:
            raise ValueError(f"sample {sample.key!r} is one more than the {self._max_samples} that were announced")
        mode = _image_mode(sample)
        payloads = [sample.image_bytes, *(self._payload(sample, name) for name in self._members)]
        # Each payload has an address of its own, an empty one too: FFCV finds lengths by address.
        room = [max(len(payload), 1) for payload in payloads]
        offset = image_offset = self._place(sample.key, sum(room))
        label = NO_LABEL if sample.class_index is None else sample.class_index
        self._rows.extend((mode, sample.width, sample.height, offset, label))
        for number, payload in enumerate(payloads):
            if payload:
                self._write_at(offset, payload)
            if number:
                self._rows.extend((offset, len(payload)))
            self._allocations.extend((self._num_samples, offset, len(payload)))
            offset += room[number]
        self._end = offset
        self._num_samples += 1
        if self._num_samples % _SAMPLES_TOGETHER == 0:
            self._store_tables()
        return image_offset

    def finish(self) -> int:
        self._store_tables()
        table_start = round_up(self._end, self._page_bytes) if self._num_samples else self._metadata_start
        self._table.seek(0)
        offset = table_start
        while piece := self._table.read(_COPY_BYTES):
            self._write_at(offset, piece)
            offset += len(piece)
        # The header last: without the place of its table a file is told for unfinished.
        self._write_at(0, encode_header(self._header(table_start)))
        self._table.close()
        return offset

    def _header(self, table_start: int) -> BetonHeader:
        return BetonHeader(
            page_bytes=self._page_bytes,
            num_samples=self._num_samples,
            table_start=table_start,
            fields=self._fields,
        )

    def _payload(self, sample: ShardSample, name: str) -> bytes:
        if name == KEY_FIELD:
            return sample.key.encode()
        if name == JSON_FIELD:
            return sample.members.get(name, NO_JSON) + b"\0"
        return sample.members.get(name, b"")

    def _place(self, key: str, num_bytes: int) -> int:
        """Where the next `num_bytes` go, so that they lie in one page."""
        if num_bytes > MAX_PAGE_BYTES:
            raise ShardError(
                f"key {key!r} has {num_bytes} bytes, a page of a .beton holds at most {MAX_PAGE_BYTES} and a sample "
                "lies in one: leave it out or encode it smaller"
            )
        # A smaller page lies within a larger one, so what is written already stays right.
        while num_bytes > self._page_bytes:
            self._page_bytes *= 2
        page_end = round_up(self._end, self._page_bytes)
        return self._end if self._end + num_bytes <= page_end else page_end

    def _write_at(self, offset: int, content: bytes | npt.NDArray[np.void]) -> None:
        """Writes; what is jumped over reads as zeros."""
        if offset != self._stream_offset:
            self._stream.seek(offset)
        self._stream_offset = offset + self._stream.write(
            content.tobytes() if not isinstance(content, bytes) else content
        )

    def _store_tables(self) -> None:
        """Moves the rows and allocations since the last time to where they wait for the end."""
        count = self._num_samples - self._num_rows_stored
        if not count:
            return
        values = np.frombuffer(self._rows, np.int64).reshape(count, -1).T
        rows = np.zeros(count, self._dtype)
        for name, column in zip(("mode", "width", "height", "ptr"), values, strict=False):
            rows["f0"][name] = column
        rows["f1"] = values[4]
        for number in range(2, len(self._fields)):
            rows[f"f{number}"]["ptr"], rows[f"f{number}"]["size"] = values[2 * number + 1 : 2 * number + 3]
        self._write_at(self._metadata_start + self._num_rows_stored * self._dtype.itemsize, rows)
        self._num_rows_stored = self._num_samples
        self._rows = array("q")
        table = np.frombuffer(self._allocations, np.uint64).reshape(-1, 3).astype("<u8")
        with explained(Path(tempfile.gettempdir()), "write"):
            self._table.write(table.view(ALLOCATION).tobytes())
        self._allocations = array("Q")


def _layout(names: tuple[str, ...]) -> tuple[BetonField, ...]:
    fields = [BetonField(IMAGE_FIELD, FieldType.IMAGE), BetonField(LABEL_FIELD, FieldType.INT)]
    for name in names:
        if not name.isascii() or not name.isprintable() or not 0 < len(name) <= MAX_NAME_BYTES:
            raise ShardError(
                f"a field of a .beton is named by 1 to {MAX_NAME_BYTES} ASCII characters, found {name!r}: leave that "
                "member out, or write tars"
            )
        if any(name == one.name for one in fields):
            raise ShardError(f"a .beton names each field once, found {name!r} again: leave that member out")
        fields.append(BetonField(name, FieldType.JSON if name == JSON_FIELD else FieldType.BYTES))
    return tuple(fields)


def _image_mode(sample: ShardSample) -> int:
    """Checks the image and says how it is stored."""
    if not 0 < sample.width <= MAX_SIDE or not 0 < sample.height <= MAX_SIDE:
        raise ShardError(
            f"key {sample.key!r} has {sample.width} x {sample.height} pixels, a side in a .beton has 1 to {MAX_SIDE}: "
            "give --max-side, or write tars"
        )
    if sample.image_format == "raw":
        expected = sample.width * sample.height * 3
        if len(sample.image_bytes) != expected:
            raise ShardError(
                f"key {sample.key!r}: expected {expected} bytes for {sample.width} x {sample.height} RGB pixels, found "
                f"{len(sample.image_bytes)}"
            )
        return MODE_RAW
    if sample.image_format not in _JPEG_FORMATS:
        raise ShardError(
            f"key {sample.key!r}, found {sample.image_format}, expected jpg or raw: give --write-mode raw (or jpg) to "
            "encode it, or write tars"
        )
    obstacle = jpeg_obstacle(sample.image_bytes, sample.width, sample.height)
    if obstacle is not None:
        raise ShardError(
            f"key {sample.key!r}: {obstacle}, FFCV would return pixels of another image for it: give --write-mode raw "
            "(or jpg) to encode it, or write tars"
        )
    return MODE_JPEG


def jpeg_obstacle(image_bytes: bytes, width: int, height: int) -> str | None:
    """Why FFCV cannot decode a JPEG to RGB; `None` where its header gives no reason.

    FFCV calls libjpeg-turbo and ignores what it returns: for a JPEG that cannot become 8-bit RGB (CMYK or YCCK, 12-bit,
    lossless) the caller gets whatever the buffer held. Grey, progressive and RGB JPEGs are fine.

    Args:
        image_bytes: The JPEG.
        width: Pixels that the metadata will say.
        height: Pixels that the metadata will say.
    """
    frame = _find_frame(image_bytes)
    if frame is None:
        return "found no frame header, the bytes are no intact JPEG"
    marker, precision, frame_height, frame_width, num_components = frame
    if marker not in _PLAIN_FRAMES:
        return f"found a lossless or hierarchical JPEG (marker ff {marker:02x})"
    if precision != 8:
        return f"found a JPEG of {precision} bits a colour, expected 8"
    if num_components not in (1, 3):
        return f"found a JPEG of {num_components} colours (CMYK), expected 1 or 3"
    if (frame_width, frame_height) != (width, height):
        return f"found a JPEG of {frame_width} x {frame_height} pixels, expected {width} x {height}"
    return None


def _find_frame(image_bytes: bytes) -> tuple[int, int, int, int, int] | None:
    """Marker, bits, height, width and colours of the frame header, reached over the segments before it."""
    if image_bytes[:2] != b"\xff\xd8":
        return None
    at = 2
    while True:
        # A segment may follow any number of bytes ff, and libjpeg skips what is no marker.
        at = image_bytes.find(b"\xff", at)
        if at < 0 or at + 10 > len(image_bytes):
            return None
        marker = image_bytes[at + 1]
        if marker in _PLAIN_FRAMES or marker in _OTHER_FRAMES:
            height = int.from_bytes(image_bytes[at + 5 : at + 7], "big")
            width = int.from_bytes(image_bytes[at + 7 : at + 9], "big")
            return marker, image_bytes[at + 4], height, width, image_bytes[at + 9]
        if marker == 0xDA:
            return None
        has_length = 0xC0 <= marker <= 0xFE and not 0xD0 <= marker <= 0xD9
        at += 2 + int.from_bytes(image_bytes[at + 2 : at + 4], "big") if has_length else 1
