"""FFCV's `.beton`, version 2: header, field descriptors, and how a row of the metadata is laid out.

Owns the layout as dtypes; what reads and writes files is in `reader.py`, `writer.py` and `join.py`. A file is

    header, 24 bytes | a descriptor of 1041 bytes a field | metadata, a row a sample | zeros to the next page |
    pages of payloads | allocation table, to the end of the file

Pointers are absolute. An allocation never crosses a page, and those of one sample share one, because FFCV's process
cache loads pages; the price is a gap at the end of each page and at least two pages for the smallest file. The length
of a JPEG stands in the allocation table only.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shardtools.errors import ShardError

VERSION = 2
MIN_PAGE_BYTES = 1 << 21
"""Least page size that FFCV writes; it reads smaller ones too."""

MAX_PAGE_BYTES = 1 << 31
"""The header's field for the page size has 32 bits."""

DEFAULT_PAGE_BYTES = 8 << 20
MAX_NAME_BYTES = 16
MAX_SIDE = 65_535
"""Pixels: width and height have 16 bits."""

MODE_JPEG = 0
MODE_RAW = 1

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
DESCRIPTOR = np.dtype([("type_id", "u1"), ("name", f"V{MAX_NAME_BYTES}"), ("arguments", "V1024")])
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
_ARRAY_ARGUMENTS = np.dtype([("shape", "<u8", 32), ("type_length", "<u8")])


class FieldType(enum.IntEnum):
    """FFCV's numbers for the types of its fields."""

    FLOAT = 0
    INT = 1
    IMAGE = 2
    BYTES = 3
    ARRAY = 4
    JSON = 5
    TENSOR = 6
    CUSTOM = 255


_IMAGE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("ptr", "<u8")])
_SIZED = np.dtype([("ptr", "<u8"), ("size", "<u8")])
_COLUMNS = {
    FieldType.FLOAT: np.dtype("<f8"),
    FieldType.INT: np.dtype("<i8"),
    FieldType.IMAGE: _IMAGE,
    FieldType.BYTES: _SIZED,
    FieldType.ARRAY: np.dtype("<u8"),
    FieldType.JSON: _SIZED,
    FieldType.TENSOR: np.dtype("<u8"),
}
SIZED_TYPES = frozenset({FieldType.BYTES, FieldType.JSON})
"""Types whose rows hold the payload's length too."""

ARRAY_TYPES = frozenset({FieldType.ARRAY, FieldType.TENSOR})
SCALAR_TYPES = frozenset({FieldType.FLOAT, FieldType.INT})
"""Types without a payload: the row holds the value."""


@dataclass(frozen=True, slots=True)
class BetonField:
    """One field: its name (ASCII), its type, and FFCV's arguments of the type without the zeros that end them."""

    name: str
    type: FieldType
    arguments: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BetonHeader:
    """What a file begins with.

    Attributes:
        page_bytes: Size of a page, a power of two.
        num_samples: Rows of the metadata.
        table_start: Byte offset of the allocation table.
        fields: In the order of the columns.
    """

    page_bytes: int
    num_samples: int
    table_start: int
    fields: tuple[BetonField, ...]

    @property
    def metadata_start(self) -> int:
        """Byte offset of the first row."""
        return HEADER.itemsize + len(self.fields) * DESCRIPTOR.itemsize


def round_up(offset: int, multiple: int) -> int:
    """The next multiple at or after `offset`."""
    return -(-offset // multiple) * multiple


def row_dtype(fields: Sequence[BetonField], row_bytes: int | None = None) -> np.dtype[np.void]:
    """Layout of a metadata row: columns "f0", "f1", ..., aligned as FFCV does.

    Args:
        fields: None of a custom type.
        row_bytes: Length of a row, where custom fields follow these; `None` for what these fields need.
    """
    columns = [(f"f{number}", _COLUMNS[one.type]) for number, one in enumerate(fields)]
    aligned = np.dtype(columns, align=True)
    if row_bytes is None:
        return aligned
    names = [name for name, _ in columns]
    offsets = [aligned.fields[name][1] for name in names] if aligned.fields else []
    return np.dtype(
        {"names": names, "formats": [column for _, column in columns], "offsets": offsets, "itemsize": row_bytes}
    )


def row_end(fields: Sequence[BetonField]) -> int:
    """Bytes from the start of a row to the end of its last column, without the padding behind it."""
    aligned = row_dtype(fields)
    return max((offset + column.itemsize for column, offset, *_ in (aligned.fields or {}).values()), default=0)


def pointers(rows: npt.NDArray[np.void], number: int, field_type: FieldType) -> npt.NDArray[np.uint64]:
    """A view of the pointers of a column that has payloads."""
    column = rows[f"f{number}"]
    found: npt.NDArray[np.uint64] = column if field_type in ARRAY_TYPES else column["ptr"]
    return found


def encode_header(header: BetonHeader) -> bytes:
    """Header and descriptors: all bytes before the metadata."""
    numbers = (VERSION, len(header.fields), header.page_bytes, header.num_samples, header.table_start)
    beginning = np.array([numbers], HEADER).tobytes()
    return beginning + b"".join(
        bytes([one.type]) + one.name.encode("ascii").ljust(MAX_NAME_BYTES, b"\0") + one.arguments.ljust(1024, b"\0")
        for one in header.fields
    )


def decode_numbers(content: bytes, *, where: str, num_bytes: int) -> tuple[int, int, int, int]:
    """Number of fields, page size, number of samples and start of the allocation table.

    Args:
        content: The first 24 bytes of the file, or all of it where it has fewer.
        where: The file, for messages.
        num_bytes: Length of the file.

    Raises:
        ShardError: It is no finished .beton of version 2, or cut off.
    """
    if len(content) < HEADER.itemsize:
        raise ShardError(f"{where} ends at byte {num_bytes}, within the header of a .beton (24 bytes): fetch it again")
    version, num_fields, page_bytes, num_samples, table_start = np.frombuffer(content, HEADER, 1)[0].tolist()
    if version != VERSION:
        raise ShardError(
            f"{where}, byte 0: expected version {VERSION} of .beton, found {version}: write it with FFCV 1.0 or later"
        )
    # Before the lengths: such a file is as long as its writer got, and to fetch it again would not help.
    if table_start == 0:
        raise ShardError(
            f"{where}, byte 16: no allocation table, its writer was interrupted (FFCV notes the table last): write it "
            "again"
        )
    if not 0 < page_bytes <= MAX_PAGE_BYTES or page_bytes & (page_bytes - 1):
        raise ShardError(f"{where}, byte 4: expected a page size that is a power of two, found {page_bytes}")
    if table_start > num_bytes:
        raise ShardError(
            f"{where} is cut off: its allocation table begins at byte {table_start}, the file ends at {num_bytes}: "
            "fetch it again"
        )
    if (num_bytes - table_start) % ALLOCATION.itemsize:
        raise ShardError(
            f"{where} is cut off: its allocation table from byte {table_start} to {num_bytes} is no multiple of "
            f"{ALLOCATION.itemsize} bytes: fetch it again"
        )
    if num_fields == 0 or HEADER.itemsize + num_fields * DESCRIPTOR.itemsize > table_start:
        raise ShardError(
            f"{where}, byte 2: expected field descriptors before the allocation table at byte {table_start}, found a "
            f"number of {num_fields} fields: fetch it again"
        )
    return num_fields, page_bytes, num_samples, table_start


def decode_fields(content: bytes, *, where: str) -> tuple[BetonField, ...]:
    """The fields from their descriptors.

    Raises:
        ShardError: A type is unknown, a name is no ASCII or empty, or two fields have one name.
    """
    fields: list[BetonField] = []
    for number, descriptor in enumerate(np.frombuffer(content, DESCRIPTOR)):
        place = f"{where}, byte {HEADER.itemsize + number * DESCRIPTOR.itemsize}"
        name = bytes(descriptor["name"]).partition(b"\0")[0]
        if not name or not name.isascii() or not name.decode("ascii").isprintable():
            raise ShardError(f"{place}: expected a field name of printable ASCII, found {name!r}: write it again")
        try:
            field_type = FieldType(int(descriptor["type_id"]))
        except ValueError:
            raise ShardError(
                f"{place}: field {name.decode('ascii')!r} has type {descriptor['type_id']}, expected 0 to 6 or 255: "
                "fetch the file again"
            ) from None
        fields.append(BetonField(name.decode("ascii"), field_type, bytes(descriptor["arguments"]).rstrip(b"\0")))
    if len({one.name for one in fields}) < len(fields):
        raise ShardError(f"{where}: two fields have one name ({', '.join(one.name for one in fields)}): write it again")
    return tuple(fields)


def array_form(one: BetonField) -> tuple[np.dtype[np.generic], tuple[int, ...]] | None:
    """Element type and shape of an array field; `None` where its arguments do not say them."""
    arguments = one.arguments.ljust(1024, b"\0")
    beginning = np.frombuffer(arguments, _ARRAY_ARGUMENTS, 1)[0]
    length = int(beginning["type_length"])
    text = arguments[_ARRAY_ARGUMENTS.itemsize :][:length]
    # FFCV has room for 32 sides and fills it with zeros.
    sides = beginning["shape"].tolist()
    shape = tuple(sides[: sides.index(0)] if 0 in sides else sides)
    try:
        ((_, kind),) = json.loads(text)
        dtype = np.dtype(kind)
    except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError):
        return None
    is_sound = (
        dtype.itemsize > 0 and not dtype.hasobject and dtype.subdtype is None and math.prod(shape) <= MAX_PAGE_BYTES
    )
    return (dtype, shape) if is_sound else None
