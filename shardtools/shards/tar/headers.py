"""Headers of tars, one after the other, without their payloads.

Owns the 512-byte header as USTAR, GNU tar and pax write it. Python's tarfile knows more forms, but keeps an object for
every member it has met (1 GB for a million) and is slower; the price of our own parser is that sparse
files and tars over several volumes are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from shardtools.errors import ShardError

BLOCK_BYTES = 512
ReadAt: TypeAlias = Callable[[int, int], bytes]
"""(byte offset, wanted length) -> that many bytes, fewer at the end of the file; offsets are asked for in order."""

_ZEROS = bytes(BLOCK_BYTES)
_MAX_EXTENSION_BYTES = 1 << 20
_TRAILING_BYTES = 1 << 16
_KINDS = {
    **dict.fromkeys((b"0", b"\0", b"7"), "file"),
    **dict.fromkeys((b"5", b"D", b"V"), "folder"),
    **dict.fromkeys((b"1", b"2"), "link"),
}
_WITHOUT_PAYLOAD = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))
_REFUSED = {b"S": "a sparse file", b"M": "continued from another volume"}


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry: its name, "file", "folder", "link" or "other", where its payload starts and how long it is (bytes)."""

    name: str
    kind: str
    offset: int
    num_bytes: int


class _HeaderError(ValueError):
    """A block that is no header; the text says why."""


def read_entries(read_at: ReadAt, *, where: str, start: int = 0, stop: int | None = None) -> Iterator[TarEntry]:
    """Entries in file order.

    Args:
        read_at: The bytes of the file that the tar lies in.
        where: The tar's name, for messages.
        start: Byte of that file where the tar begins.
        stop: Byte where it ends at the latest; `None` where only reading tells.

    Raises:
        ShardError: Not a tar, cut off, with a damaged header or bytes behind its end; the message gives the byte.
    """
    if stop is not None:
        read_at = _up_to(read_at, stop)
    position = start
    header_start = start
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    while True:
        header = read_at(position, BLOCK_BYTES)
        if len(header) < BLOCK_BYTES or header == _ZEROS:
            break
        try:
            name, flag, num_bytes = _parse(header)
        except ValueError as error:
            # At the begin, or behind an extended header, there must be one. Elsewhere it may be the end:
            # `_check_ending` judges.
            if position == start or own:
                raise _damaged(where, position, str(error)) from None
            break
        payload = position + BLOCK_BYTES
        is_extension = flag in (b"L", b"K", b"x", b"X", b"g")
        if not is_extension:
            name, num_bytes = _apply(shared | own, name, num_bytes, where, position)
        end = payload if flag in _WITHOUT_PAYLOAD else payload + num_bytes
        # Before it is handed on: whoever reads the payload may rely on its being there.
        if stop is not None and end > stop:
            raise ShardError(
                f"{where} is cut off: member {name!r} ends at byte {end}, the file at {stop}: make or fetch the shard "
                "again"
            )
        position = end + -(end - payload) % BLOCK_BYTES
        if is_extension:
            if num_bytes > _MAX_EXTENSION_BYTES:
                raise _damaged(where, payload, f"an extended header of {num_bytes} bytes")
            content = read_at(payload, num_bytes)
            # It speaks of the entry behind it, so `header_start` stays at the first of them.
            _extend(shared if flag == b"g" else own, flag, content, where, payload)
            continue
        if flag in _REFUSED:
            raise _damaged(where, header_start, f"{name!r} is {_REFUSED[flag]}, which only GNU tar unpacks")
        kind = "folder" if flag == b"\0" and name.endswith("/") else _KINDS.get(flag, "other")
        yield TarEntry(name, kind, payload, end - payload)
        header_start, own = position, {}
    if own:
        raise _damaged(where, header_start, "missing or bad subsequent header")
    if position == start and len(header) < BLOCK_BYTES:
        raise _damaged(where, start, "empty file" if not header else "truncated header")
    _check_ending(read_at, where, position, header, stop)


def _up_to(read_at: ReadAt, stop: int) -> ReadAt:
    """The same bytes, but none behind `stop`: what follows an inner tar is not its own."""
    return lambda offset, num_bytes: read_at(offset, min(num_bytes, max(0, stop - offset)))


def _check_ending(read_at: ReadAt, where: str, position: int, header: bytes, stop: int | None) -> None:
    """A tar ends in zero blocks: anything else after the last member was a damaged header."""
    second = read_at(position + BLOCK_BYTES, BLOCK_BYTES)
    if header != _ZEROS or second.strip(b"\0"):
        size = "" if stop is None else f" of {stop}"
        raise ShardError(
            f"{where} has no end mark at byte {position}{size}: it is cut off or damaged: make or fetch the shard again"
        )
    if read_at(position + 2 * BLOCK_BYTES, _TRAILING_BYTES).strip(b"\0"):
        raise ShardError(
            f"{where} goes on behind its end mark at byte {position}: are these tars joined into one? Unpack it with "
            "tar --ignore-zeros and pack it anew"
        )


def _parse(header: bytes) -> tuple[str, bytes, int]:
    """Name, type flag and length.

    Raises:
        ValueError: It is no header.
    """
    # Some old tars summed the bytes as signed ones.
    expected = _number(header[148:156])
    found = sum(header) - sum(header[148:156]) + 8 * 32
    if found != expected and found - 256 * sum(byte > 127 for byte in header[:148] + header[156:]) != expected:
        raise _HeaderError("bad checksum")
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0]
    if prefix and header[257:263] == b"ustar\0":
        name = prefix + b"/" + name
    return name.decode(errors="surrogateescape"), header[156:157], _number(header[124:136])


def _number(field: bytes) -> int:
    """Octal digits, or bytes after a first one of 0x80 (GNU tar's form for more than 8 GiB)."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise _HeaderError("invalid header: a negative or huge number")
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    if digits.strip(b"01234567"):
        raise _HeaderError("invalid header: no octal number")
    return int(digits or b"0", 8)


def _extend(facts: dict[str, str], flag: bytes, content: bytes, where: str, position: int) -> None:
    """Adds what an extended header says of the entry behind it, or of all entries."""
    if flag == b"L":
        facts["path"] = content.partition(b"\0")[0].decode(errors="surrogateescape")
        return
    if flag == b"K":
        facts["linkpath"] = ""
        return
    facts["extended"] = ""
    start, end = 0, len(content.rstrip(b"\0"))
    while start < end:
        space = content.find(b" ", start, start + 8)
        digits = content[start : max(space, start)]
        length = int(digits) if digits.isdigit() else 0
        record = content[space + 1 : start + length]
        keyword, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not equals or not record.endswith(b"\n") or start + length > len(content):
            raise _damaged(where, position, "invalid pax header")
        facts[keyword.decode(errors="surrogateescape")] = value.decode(errors="surrogateescape")
        start += length


def _apply(facts: dict[str, str], name: str, num_bytes: int, where: str, position: int) -> tuple[str, int]:
    """Name and length with the extended headers' words for them."""
    if any(keyword.startswith("GNU.sparse.") for keyword in facts):
        raise _damaged(where, position, f"{name!r} is {_REFUSED[b'S']}, which only GNU tar unpacks")
    size = facts.get("size")
    if size is not None:
        if not (size.isascii() and size.isdigit() and len(size) < 20):
            raise _damaged(where, position, f"a pax header says {size[:40]!r} for the length")
        num_bytes = int(size)
    return facts.get("path", name), num_bytes


def _damaged(where: str, position: int, why: str) -> ShardError:
    return ShardError(f"{where} is no intact tar at byte {position}: {why}: make or fetch the shard again")
