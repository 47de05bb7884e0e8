"""WebDataset tars: a writer whose bytes depend on its input alone, and a reader that says what is wrong and where.

Owns the tar bytes. The writer makes plain USTAR with fixed owner, mode and time, so that the same samples give the same
file on any machine; the price is that no file times are kept (the manifest and the event log know them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from shardtools.errors import ShardError
from shardtools.shards.names import MAX_MEMBER_NAME_BYTES
from shardtools.shards.tar.headers import BLOCK_BYTES, read_entries

_MAX_PAYLOAD_BYTES = 8**11 - 1


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a tar: its name, where its payload starts, and how long it is (bytes)."""

    name: str
    offset: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class TarSample:
    """Adjacent members with one key: `members` maps a lower-case extension ("jpg", "seg.png") to its member."""

    key: str
    members: Mapping[str, Member]


def _header(name: str, num_bytes: int) -> bytes:
    """The 512-byte USTAR header of a regular file: mode 0444, owner 0, time 0 (POSIX.1-1988)."""
    encoded = name.encode()
    if len(encoded) > MAX_MEMBER_NAME_BYTES:
        raise ShardError(f"a member name has at most {MAX_MEMBER_NAME_BYTES} bytes, found {len(encoded)} in {name!r}")
    if num_bytes > _MAX_PAYLOAD_BYTES:
        raise ShardError(f"a member has at most 8 GiB, found {num_bytes} bytes for {name!r}")
    fields = (
        encoded.ljust(100, b"\0"),
        b"0000444\0" + b"0000000\0" * 2,
        b"%011o\0" % num_bytes,
        b"00000000000\0",
        b" " * 8,
        b"0" + b"\0" * 100,
        b"ustar\00000",
        b"\0" * 64,
        b"0000000\0" * 2,
    )
    header = b"".join(fields).ljust(BLOCK_BYTES, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


class TarWriter:
    """Writes samples, members adjacent and extensions in order, to a binary stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.num_bytes = 0

    def write_sample(self, key: str, members: Mapping[str, bytes]) -> dict[str, int]:
        """Appends one sample.

        Args:
            key: Checked by `check_key` before.
            members: Extension -> payload; written in sorted order.

        Returns:
            Extension -> byte offset of its payload in the tar.
        """
        offsets: dict[str, int] = {}
        pieces: list[bytes] = []
        for extension in sorted(members):
            payload = members[extension]
            padding = b"\0" * (-len(payload) % BLOCK_BYTES)
            pieces += (_header(f"{key}.{extension}", len(payload)), payload, padding)
            offsets[extension] = self.num_bytes + BLOCK_BYTES
            self.num_bytes += BLOCK_BYTES + len(payload) + len(padding)
        # One write a sample: each costs a call of the digest and of the file, copying costs next to nothing.
        self._stream.write(b"".join(pieces))
        return offsets

    def finish(self) -> None:
        """Writes the two zero blocks that end a tar."""
        self._stream.write(b"\0" * (2 * BLOCK_BYTES))
        self.num_bytes += 2 * BLOCK_BYTES


def read_members(stream: BinaryIO, *, where: str) -> Iterator[Member]:
    """Members of a tar in file order; payloads are not read.

    Args:
        stream: Seekable.
        where: The tar's name, for messages.

    Raises:
        ShardError: Not a tar, cut off, or with a damaged header; the message gives the byte offset.
    """
    size = stream.seek(0, 2)

    def read_at(offset: int, num_bytes: int) -> bytes:
        stream.seek(offset)
        return stream.read(num_bytes)

    for entry in read_entries(read_at, where=where, stop=size):
        if entry.kind == "file":
            yield Member(entry.name, entry.offset, entry.num_bytes)


def split_member_name(name: str) -> tuple[str, str] | None:
    """Key and lower-case extension of a member, by WebDataset's rule; `None` for members that it skips."""
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    if not dot or not stem or (base.startswith("__") and base.endswith("__")):
        return None
    return folder + slash + stem, extension.lower()


def read_samples(members: Iterable[Member], *, where: str) -> Iterator[TarSample]:
    """Groups adjacent members by key.

    Raises:
        ShardError: A key comes back after another one, or an extension comes twice.
    """
    seen: set[str] = set()
    key: str | None = None
    group: dict[str, Member] = {}
    for member in members:
        parts = split_member_name(member.name)
        if parts is None:
            continue
        # Samples are told by neighbours: a key that comes back would be a second sample for every reader.
        if parts[0] != key:
            if key is not None:
                yield TarSample(key, group)
            key, group = parts[0], {}
            if key in seen:
                raise ShardError(
                    f"members of key {key!r} are not adjacent in {where} (byte {member.offset}): readers see two "
                    "samples"
                )
            seen.add(key)
        if parts[1] in group:
            raise ShardError(
                f"key {key!r} has two members with extension {parts[1]!r} in {where} (byte {member.offset})"
            )
        group[parts[1]] = member
    if key is not None:
        yield TarSample(key, group)
