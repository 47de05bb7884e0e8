"""What the columns of an MDS or LitData sample mean: which one is the image, the label, the key, and what the rest is.

Owns the names that are looked for, and how values become an image, a label and members. Values are taken apart here
and never by another library's decoder, so no pickle is ever loaded; the price is that arrays are no images.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardtools.errors import SourceError
from shardtools.sources.chunks.files import Column, Values
from shardtools.sources.image.check import IMAGE_EXTENSIONS, Rejection
from shardtools.sources.image.png import encode_gray_png, encode_rgb_png
from shardtools.sources.tars.labels import label_members

IMAGE_NAMES = ("image", "img", "x", "jpg", "jpeg", "png", "webp", "picture", "image_bytes", "pixels", "bytes")
LABEL_NAMES = ("label", "labels", "y", "class", "target", "class_index", "cls")
KEY_NAMES = ("__key__", "key")
NO_LABEL = -1

_MAX_CLASS_INDEX = 2**31 - 1
_IMAGE_KINDS = ("image", "pixels")
_PIXEL_BYTES = {"L": 1, "LA": 2, "P": 1, "RGB": 3, "RGBA": 4, "I;16": 2}
"""Pillow's modes that a PNG holds without loss -> bytes a pixel; "1" packs eight pixels into a byte."""

_BAD_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Positions of the columns.

    Attributes:
        image: The image.
        label: The integer label; `None` for a dataset without one.
        key: The text that names a sample; `None` where positions name them.
        extras: (position, name of the member) of all others.
    """

    image: int
    label: int | None
    key: int | None
    extras: tuple[tuple[int, str], ...]


def find_roles(columns: Sequence[Column], *, where: str) -> Roles:
    """Says what the columns are.

    Raises:
        SourceError: None can be the image, the label is no integer, or a name cannot be a member's.
    """
    image = _find_image(columns, where)
    label = _find_label(columns, image, where)
    key = next(
        (number for number, one in enumerate(columns) if _last(one) in KEY_NAMES and one.kind in ("text", "bytes")),
        None,
    )
    extras = {number: _member(one, where) for number, one in enumerate(columns) if number not in (image, label, key)}
    if len(set(extras.values())) < len(extras):
        raise SourceError(f"{where} has two columns of one name among {', '.join(extras.values())}: rename one")
    return Roles(image=image, label=label, key=key, extras=tuple(extras.items()))


def _last(column: Column) -> str:
    return column.name.rpartition(".")[2].lower()


def _find_image(columns: Sequence[Column], where: str) -> int:
    # Names before types. An array that is named as the image is taken too: each row then says why it gives none.
    for kinds in ((*_IMAGE_KINDS, "bytes"), ("array",)):
        for number, column in enumerate(columns):
            if column.kind in kinds and _last(column) in IMAGE_NAMES:
                return number
    for number, column in enumerate(columns):
        if column.kind in _IMAGE_KINDS:
            return number
    found = ", ".join(f"{one.name!r} ({one.encoding})" for one in columns[:12])
    raise SourceError(
        f"{where} has no image column: expected one with encoded images, or bytes named {', '.join(IMAGE_NAMES)}; "
        f"found {found or 'none'}"
    )


def _find_label(columns: Sequence[Column], image: int, where: str) -> int | None:
    integers = ("integer", "digits")
    named = [number for number, one in enumerate(columns) if number != image and _last(one) in LABEL_NAMES]
    for number in named:
        if columns[number].kind in integers:
            return number
    # A tuple's leaves have positions for names.
    unnamed = [number for number, one in enumerate(columns) if one.kind in integers and one.name.isdigit()]
    if len(unnamed) == 1:
        return unnamed[0]
    # A tar's .cls is text, and copied as a member.
    other = next((columns[number] for number in named if columns[number].name != "cls"), None)
    if other is not None:
        raise SourceError(
            f"{where}: expected integers in column {other.name!r}, found encoding {other.encoding!r}: write the labels "
            "as integers, or rename the column"
        )
    return None


def _member(column: Column, where: str) -> str:
    """The extension that a column's values get; one that would say "image" is put behind another."""
    name = column.name
    if not name or _BAD_NAME.search(name) or name.startswith(".") or len(name.encode()) > 40:
        raise SourceError(
            f"{where}: expected column names of at most 40 bytes without '/' or control characters, found {name!r}: "
            "rename the column"
        )
    return f"other.{name}" if name.lower() in IMAGE_EXTENSIONS else name


def member_payload(column: Column, value: bytes | memoryview | None, *, where: str) -> bytes | None:
    """A value as a member's payload: numbers as text, everything else as it lies there; `None` where it is absent.

    Raises:
        SourceError: A number has the wrong length.
    """
    if value is None or len(value) == 0 or (column.kind == "json" and bytes(value) == b"null"):
        return None
    if column.kind in ("integer", "float"):
        return str(_number(column, value, where)).encode()
    return bytes(value)


def _number(column: Column, value: bytes | memoryview, where: str) -> int | float:
    dtype = np.dtype(column.dtype)
    if len(value) != dtype.itemsize:
        raise SourceError(
            f"{where}: expected {dtype.itemsize} bytes in column {column.name!r}, found {len(value)}: fetch or make it "
            "again"
        )
    number: int | float = np.frombuffer(value, dtype)[0].item()
    return number


def read_label(column: Column, value: bytes | memoryview | None, *, last: int, where: str) -> int | None:
    """A class index; `None` for null and for -1, which stands for "no label".

    Args:
        column: The label's.
        value: As it is encoded.
        last: The largest class index.
        where: File and row, for messages.

    Raises:
        SourceError: It is no integer in that range.
    """
    if value is None:
        return None
    found: object = bytes(value[:40])
    if column.kind == "integer":
        found = _number(column, value, where)
    elif re.fullmatch(rb"-?[0-9]{1,18}", bytes(value)):
        found = int(bytes(value))
    if found == NO_LABEL:
        return None
    if not isinstance(found, int) or not 0 <= found <= last:
        raise SourceError(
            f"{where}: expected a label from 0 to {last} (or -1 for none) in column {column.name!r}, found {found!r}: "
            "set it right, or give the --classes it belongs to"
        )
    return found


def sample_labels(
    columns: Sequence[Column],
    roles: Roles,
    values: Values,
    members: dict[str, bytes],
    wnids: Sequence[str] | None,
    *,
    where: str,
) -> dict[str, Any]:
    """Fields of `Sample` that say what an image is, from its label column and its members `json` and `cls`.

    Raises:
        SourceError: See `read_label` and `label_members`, or the label contradicts `cls`.
    """
    known: dict[str, bytes] = {name: payload for name, payload in members.items() if name in ("cls", "json")}
    if roles.label is None:
        return label_members(known, wnids, where=where)
    last = len(wnids) - 1 if wnids is not None else _MAX_CLASS_INDEX
    class_index = read_label(columns[roles.label], values[roles.label], last=last, where=where)
    if class_index is None:
        return label_members(known, wnids, where=where)
    stated = known.get("cls", b"").strip()
    if stated and stated != b"%d" % class_index:
        raise SourceError(
            f"{where}: column {columns[roles.label].name!r} says {class_index}, cls says {stated[:40]!r}: set one right"
        )
    labels = label_members(known | {"cls": b"%d" % class_index}, wnids, where=where)
    return labels | {"label_source": "label"}


def read_image(column: Column, value: bytes | memoryview | None) -> tuple[bytes | Rejection, dict[str, Any]]:
    """The encoded image, or why there is none; and what `Sample.provenance` says of an image that was encoded here."""
    if value is None or len(value) == 0:
        return Rejection("undecodable", "there are no bytes"), {}
    if column.kind == "array":
        return Rejection("not-an-image", f"an array ({column.encoding}), not an encoded image"), {}
    if column.kind != "pixels":
        return bytes(value), {}
    return _encode_pixels(bytes(value))


def _encode_pixels(content: bytes) -> tuple[bytes | Rejection, dict[str, Any]]:
    """MDS's and LitData's `pil`: u32 width, u32 height, u32 length of the mode, the mode, raw pixels."""
    if len(content) < 12:
        return Rejection("undecodable", f"raw pixels of {len(content)} bytes without a header"), {}
    width, height, mode_bytes = struct.unpack_from("<III", content)
    mode = content[12 : 12 + min(mode_bytes, 16)].decode("ascii", errors="replace")
    # `mode_bytes` may be anything: past the end there are no pixels, and the count below refuses it.
    pixels = memoryview(content)[12 + mode_bytes :]
    if mode != "1" and mode not in _PIXEL_BYTES:
        return Rejection("undecodable", f"raw pixels of mode {mode!r}, which a PNG does not hold without loss"), {}
    row_bytes = (width + 7) // 8 if mode == "1" else width * _PIXEL_BYTES[mode]
    if not width or not height or len(pixels) != row_bytes * height:
        return Rejection("undecodable", f"{len(pixels)} bytes of raw pixels, {width}x{height} {mode} was expected"), {}
    facts = {
        "source_sha256": hashlib.sha256(content).hexdigest(),
        "source_num_bytes": len(content),
        "source_width": width,
        "source_height": height,
    }
    # Without its palette, which is not there, a picture of indexes is grey.
    if mode in ("L", "P"):
        return encode_gray_png(bytes(pixels), width, height), facts
    if mode == "RGB":
        return encode_rgb_png(bytes(pixels), width, height), facts
    return _pillow_png(mode, width, height, bytes(pixels)), facts


def _pillow_png(mode: str, width: int, height: int, pixels: bytes) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.frombytes(mode, (width, height), pixels).save(stream, "PNG")
    return stream.getvalue()
