"""Zips: their central directory, and one member's bytes.

Owns the parts of APPNOTE 6.3 that image archives use: stored and deflated members, zip64, UTF-8 and code page 437
names. Python's zipfile would keep 1 KB a member in memory, for the millions of members of ImageNet's largest zip; the
price of our own reader is that other methods of compression are refused.
"""

from __future__ import annotations

import stat
import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from shardtools.errors import SourceError
from shardtools.sources.image.check import Rejection
from shardtools.storage import Storage

_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_MAX_COMMENT_BYTES = 1 << 16
_MAX_HEADER_BYTES = _LOCAL.size + 2 * (1 << 16) + 24
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 0x1, 0x800
_FULL32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One member: name, "file", "folder" or "link", and the bytes from its local header to the next one's.

    Attributes:
        name: As the zip says it.
        kind: What it is.
        offset: Byte of its local header.
        span: Bytes from there to the next header, cut to what the member can need.
        num_bytes: Length when unpacked.
        crc: CRC-32 of that.
    """

    name: str
    kind: str
    offset: int
    span: int
    num_bytes: int
    crc: int


@dataclass(frozen=True, slots=True)
class _Directory:
    """Where the central directory lies: first byte, length, members, and bytes that stand before the zip's own."""

    start: int
    num_bytes: int
    num_members: int
    shift: int


@dataclass(frozen=True, slots=True)
class _Record:
    """An entry of the central directory, as it stands."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    num_bytes: int
    mode: int
    offset: int


def read_directory(storage: Storage, path: str) -> Iterator[ZipMember]:
    """Members in the order of the central directory.

    Raises:
        SourceError: No zip, a damaged one, or one with encrypted or otherwise compressed members.
    """
    where = storage.object_url(path)
    size = storage.size(path)
    with storage.open(path) as stream:
        directory = _find_directory(stream, size, where)
        # Twice through the directory: a member's span ends where the next one begins, and the directory may have any
        # order.
        offsets = array("q", (record.offset for record in _records(stream, directory, where)))
        starts = np.unique(np.append(np.frombuffer(offsets, np.int64), directory.start))
        for record in _records(stream, directory, where):
            _check(record, where)
            following = int(starts[np.searchsorted(starts, record.offset, side="right")])
            name = _name(record, where)
            kind = "folder" if name.endswith("/") else "link" if stat.S_ISLNK(record.mode) else "file"
            span = min(following - record.offset, record.packed + _MAX_HEADER_BYTES)
            yield ZipMember(name, kind, record.offset, span, record.num_bytes, record.crc)


def _find_directory(stream: BinaryIO, size: int, where: str) -> _Directory:
    tail_start = max(0, size - _END.size - _MAX_COMMENT_BYTES)
    stream.seek(tail_start)
    tail = stream.read(size - tail_start)
    position = tail.rfind(b"PK\5\6")
    if position < 0 or len(tail) - position < _END.size:
        raise SourceError(
            f"{where} has no central directory in its last bytes: it is no zip or cut off, fetch it again"
        )
    _, _, _, _, num_members, num_bytes, offset, _ = _END.unpack_from(tail, position)
    end = tail_start + position
    # In a zip64 the record above may hold placeholders; the locator stands right before it.
    if end >= _END64_LOCATOR.size + _END64.size:
        stream.seek(end - _END64_LOCATOR.size)
        signature, _, end64, _ = _END64_LOCATOR.unpack(stream.read(_END64_LOCATOR.size))
        if signature == b"PK\6\7":
            stream.seek(min(end64, size))
            record = stream.read(_END64.size)
            if len(record) < _END64.size or record[:4] != b"PK\6\6":
                raise SourceError(f"{where} has no zip64 record at byte {end64}: it is damaged, fetch it again")
            *_, num_members, num_bytes, offset = _END64.unpack(record)
            end = end64
    # Offsets count from the zip's own begin, which need not be the file's: something may stand before it.
    shift = end - num_bytes - offset
    if shift < 0:
        raise SourceError(
            f"{where} has {end} bytes before its end record, its directory of {num_bytes} bytes should begin at byte "
            f"{offset}: it is cut off, fetch it again"
        )
    return _Directory(offset + shift, num_bytes, num_members, shift)


def _records(stream: BinaryIO, directory: _Directory, where: str) -> Iterator[_Record]:
    position, end, count = directory.start, directory.start + directory.num_bytes, 0
    stream.seek(position)
    while position < end:
        header = stream.read(_ENTRY.size)
        if len(header) < _ENTRY.size or header[:4] != b"PK\1\2":
            raise SourceError(f"{where} has no directory entry at byte {position}: it is damaged, fetch it again")
        (_, _, _, flags, method, _, _, crc, packed, num_bytes, *lengths, _, _, attributes, offset) = _ENTRY.unpack(
            header
        )
        name, extra = stream.read(lengths[0]), stream.read(lengths[1])
        stream.seek(lengths[2], 1)
        num_bytes, packed, offset = _widen(extra, num_bytes, packed, offset, f"{where}, byte {position}")
        position += _ENTRY.size + sum(lengths)
        count += 1
        offset += directory.shift
        if offset + _LOCAL.size > directory.start:
            raise SourceError(
                f"{where} has a member at byte {offset}, behind its directory: it is damaged, fetch it again"
            )
        yield _Record(name, flags, method, crc, packed, num_bytes, attributes >> 16, offset)
    if count != directory.num_members or position != end:
        raise SourceError(
            f"{where} has {count} members in its directory, its end record says {directory.num_members}: damaged, "
            "fetch it again"
        )


def _widen(extra: bytes, num_bytes: int, packed: int, offset: int, where: str) -> tuple[int, int, int]:
    """The three numbers, those that do not fit into 32 bits from the zip64 field."""
    numbers = [num_bytes, packed, offset]
    while len(extra) >= 4 and _FULL32 in numbers:
        # The field holds only those numbers that have a placeholder, in this order.
        tag, length = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if tag != 1:
            continue
        for index, number in enumerate(numbers):
            if number == _FULL32:
                if len(field) < 8:
                    raise SourceError(f"{where}: the zip64 field is too short: the zip is damaged, fetch it again")
                numbers[index] = int.from_bytes(field[:8], "little")
                field = field[8:]
        break
    return numbers[0], numbers[1], numbers[2]


def _check(record: _Record, where: str) -> None:
    place = f"{where}, byte {record.offset}: {record.raw_name!r}"
    if record.flags & _ENCRYPTED:
        raise SourceError(f"{place} is encrypted: unpack the zip with its password and pack it without one")
    if record.method not in (_STORED, _DEFLATED):
        raise SourceError(f"{place} is compressed by method {record.method}, expected 0 or 8: pack it by plain zip")


def _name(record: _Record, where: str) -> str:
    try:
        return record.raw_name.decode("utf-8" if record.flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise SourceError(
            f"{where}, byte {record.offset}: expected a name in UTF-8, found {record.raw_name!r}: pack the zip anew"
        ) from None


def unpack(piece: bytes, num_bytes: int, crc: int) -> bytes | Rejection:
    """The content of a member.

    Never more than `num_bytes` are unpacked, whatever the packed bytes hold.

    Args:
        piece: The zip from the member's local header on.
        num_bytes: Its length as the directory says.
        crc: Its CRC-32 as the directory says.
    """
    if len(piece) < _LOCAL.size or piece[:4] != b"PK\3\4":
        return Rejection("undecodable", "the zip has no header where its directory says it is")
    _, _, _, method, _, _, _, _, _, name_bytes, extra_bytes = _LOCAL.unpack_from(piece)
    packed = memoryview(piece)[_LOCAL.size + name_bytes + extra_bytes :]
    if method == _STORED:
        content = bytes(packed[:num_bytes])
    elif method == _DEFLATED:
        try:
            # One byte more than expected: it tells too long a member without unpacking all of a bomb.
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, num_bytes + 1)
        except zlib.error as error:
            return Rejection("undecodable", f"the zip's packed bytes are damaged: {error}")
    else:
        return Rejection("undecodable", f"the zip's header says compression {method}, its directory another one")
    if len(content) != num_bytes:
        found = f"more than {num_bytes}" if len(content) > num_bytes else str(len(content))
        return Rejection("undecodable", f"the zip's packed bytes hold {found} bytes, its directory says {num_bytes}")
    if zlib.crc32(content) != crc:
        return Rejection("undecodable", "its bytes do not have the checksum that the zip says")
    return content
