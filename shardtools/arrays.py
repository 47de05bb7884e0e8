"""Names for NumPy's arrays by type, and Arrow columns as such arrays and back, in place.

Owns the one place that looks into Arrow's buffers. Arrow's own conversions, of scalars too, import pandas where it is
installed, which takes seconds before the first batch; the price is that only plain types are handled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bools = npt.NDArray[np.bool_]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt8s = npt.NDArray[np.uint8]
UInt64s = npt.NDArray[np.uint64]

_TYPES: dict[pa.DataType, Any] = {
    pa.int8(): np.int8,
    pa.int32(): np.int32,
    pa.int64(): np.int64,
    pa.float16(): np.float16,
    pa.float32(): np.float32,
    pa.float64(): np.float64,
}
_ARROW_TYPES = {np.dtype(kind): arrow_type for arrow_type, kind in _TYPES.items()}


def to_numpy(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """The values of a column of one of `_TYPES` without nulls; read-only, in place where it is one piece."""
    if column.null_count:
        raise ValueError(f"a column without nulls has values, found {column.null_count} nulls")
    if isinstance(column, pa.ChunkedArray):
        pieces = [to_numpy(chunk) for chunk in column.chunks]
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, _TYPES[column.type]), *pieces])
    if len(column) == 0:
        return np.empty(0, _TYPES[column.type])
    found: npt.NDArray[Any] = np.frombuffer(column.buffers()[1], _TYPES[column.type], len(column), _start(column))
    return found


def filled(column: pa.Array | pa.ChunkedArray, null: float) -> npt.NDArray[Any]:
    """The values of a column of one of `_TYPES` as memory of the caller's own, with `null` for a null."""
    pieces = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return np.concatenate([np.empty(0, _TYPES[column.type]), *(_filled(piece, null) for piece in pieces)])


def _filled(column: pa.Array, null: float) -> npt.NDArray[Any]:
    if len(column) == 0:
        return np.empty(0, _TYPES[column.type])
    valid, content = column.buffers()
    found: npt.NDArray[Any] = np.frombuffer(content, _TYPES[column.type], len(column), _start(column)).copy()
    if valid is not None:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
        found[bits[column.offset : column.offset + len(column)] == 0] = null
    return found


def from_numbers(values: npt.NDArray[Any], is_valid: Bools | None = None) -> pa.Array:
    """Numbers of one of `_TYPES` as an Arrow column, with nulls where they are not valid."""
    bits = None
    if is_valid is not None and not is_valid.all():
        bits = pa.py_buffer(np.packbits(is_valid, bitorder="little"))
    content = np.ascontiguousarray(values)
    return pa.Array.from_buffers(_ARROW_TYPES[content.dtype], len(content), [bits, pa.py_buffer(content)])


def from_rows(values: npt.NDArray[Any], is_valid: Bools | None = None) -> pa.Array:
    """Rows of numbers [N, M] as N lists of M, null where they are not valid."""
    width, bits = values.shape[1], None
    if is_valid is None or is_valid.all():
        is_valid, kept = np.ones(len(values), np.bool_), values
    else:
        bits, kept = pa.py_buffer(np.packbits(is_valid, bitorder="little")), values[is_valid]
    ends = np.concatenate(([0], np.cumsum(np.where(is_valid, width, 0)))).astype(np.int32)
    content = from_numbers(kept.reshape(-1))
    kind = pa.list_(content.type)
    return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(ends)], children=[content])


def to_rows(column: pa.Array | pa.ChunkedArray, width: int) -> npt.NDArray[Any]:
    """Lists of one length as rows [N, width]; nulls are left out."""
    pieces = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    empty = np.empty((0, width), _TYPES[column.type.value_type])
    return np.concatenate([empty, *(to_numpy(piece.flatten()).reshape(-1, width) for piece in pieces)])


def _start(column: pa.Array) -> int:
    return int(column.offset) * int(np.dtype(_TYPES[column.type]).itemsize)


def from_int64(values: Int64s) -> pa.Array:
    """Row numbers for Arrow's `take`."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def from_texts(texts: Sequence[str]) -> pa.Array:
    """Strings as an Arrow column."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def text_parts(texts: pa.Array) -> tuple[Int64s, UInt8s]:
    """Where each string ends in the bytes of all of them (first a 0), [N + 1], and those bytes.

    Args:
        texts: Strings without nulls.
    """
    large = texts.cast(pa.large_string())
    if len(large) == 0:
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    _, offset_buffer, content_buffer = large.buffers()
    ends = np.frombuffer(offset_buffer, np.int64, len(large) + 1, int(large.offset) * 8)
    # A slice shares the buffers of its whole: its first text need not begin at 0.
    first, last = int(ends[0]), int(ends[-1])
    content = np.frombuffer(content_buffer, np.uint8, last - first, first) if last > first else np.empty(0, np.uint8)
    return ends - first, content
