"""What a place for datasets can do, the same for a local folder and an object store.

Owns the contract and the rules for paths. The price of one contract: only what both kinds can promise is offered, so
there is no rename, no append and no empty folder; an object appears whole under its name or not at all.
"""

from __future__ import annotations

import io
import os
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from shardtools.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
"""Nearly every path is one of these, and a regular expression is quicker than a look at each character."""

TEMPORARY_FOLDER = ".tmp/"
"""Folder below the root for what is not published yet; `list` hides it and no path may name it."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object found by `Storage.list`.

    Attributes:
        path: Relative to the storage's root, "/" between its parts.
        num_bytes: Length of its content.
    """

    path: str
    num_bytes: int


class Storage(ABC):
    """A root under which objects are read, listed and published.

    Paths are relative to the root (see `check_path`). Instances may be pickled; none holds credentials in
    its pickle, its repr or its messages.

    Attributes:
        url: The root as a user would type it, never with credentials.
        is_local: Whether objects are files that other programs can open by path.
    """

    url: str
    is_local: bool

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def place(self) -> str:
        """The root under a name that is the same however it was written: "d", "./d" and a link to it are one place."""
        return self.url

    def object_url(self, path: str) -> str:
        """Return where `path` is, for messages."""
        return f"{self.url.rstrip('/')}/{path}"

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return the whole content.

        Raises:
            NotFoundError: Nothing is stored under that path.
        """

    @abstractmethod
    def read_range(self, path: str, offset: int, num_bytes: int) -> bytes:
        """Return exactly `num_bytes` bytes from byte `offset` (0-based).

        Raises:
            NotFoundError: Nothing is stored under that path.
            StorageError: The object ends before the range does.
        """

    @abstractmethod
    def size(self, path: str) -> int:
        """Return the length in bytes.

        Raises:
            NotFoundError: Nothing is stored under that path.
        """

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Say whether an object (not a folder) has exactly this path."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[StoredObject]:
        """Return all objects below the folder `prefix`, at any depth, sorted by path; a missing folder is empty."""

    @abstractmethod
    def write(self, path: str, content: bytes, *, if_absent: bool = False) -> None:
        """Publish `content` under `path`, atomically and durably.

        Args:
            path: Where; an object already there is replaced, unless `if_absent`.
            content: All of it.
            if_absent: Publish only where nothing is; of several writers at once exactly one wins.

        Raises:
            AlreadyExistsError: `if_absent`, and something is there that this call did not write.
            AccessError: The target is read-only or the credentials are wrong.
            NoSpaceError: The disk is full.
        """

    @abstractmethod
    def writer(self, path: str, *, if_absent: bool = False) -> AbstractContextManager[BinaryIO]:
        """Return a context manager around a stream that is published when the block ends, and discarded if it raises.

        The stream can be written, sought and read back.

        Raises:
            AlreadyExistsError: When the block ends, as in `write`.
        """

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Return a seekable, buffered stream for reading with bounded memory.

        Raises:
            NotFoundError: Nothing is stored under that path.
        """

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove the object; one that is missing is fine."""

    @abstractmethod
    def local_path(self, path: str) -> Path | None:
        """Return the file that holds `path`, or `None` where objects are not files."""

    @abstractmethod
    def check_writable(self) -> None:
        """Publish and remove a tiny object, so that a long run fails before its work and not after it.

        Raises:
            AccessError: The target is read-only or the credentials are wrong.
            NotFoundError: There is no such bucket.
            NoSpaceError: The disk is full.
        """

    @abstractmethod
    def clean_temporary(self) -> None:
        """Remove what killed processes left unpublished; call it only from the run that holds the dataset's lease."""


def check_path(path: str) -> str:
    """Return `path` if it names an object below a root, on every kind of storage.

    Raises:
        StorageError: It is empty, absolute, has an empty, "." or ".." part, a backslash or a control character, is not
            encodable, or is below `TEMPORARY_FOLDER`.
    """
    if _PLAIN_PATH.fullmatch(path):
        return path
    parts = path.split("/")
    if path == "" or any(part in ("", ".", "..") for part in parts):
        raise StorageError(
            f"bad path {path!r}: expected a relative path of names joined by single '/', without '.' or '..' parts"
        )
    # Cc: control; Cs: a lone surrogate, which no storage can encode; Zl and Zp break lines in lists and messages.
    if "\\" in path or any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in path):
        raise StorageError(f"bad path {path!r}: expected no control characters, line breaks or backslashes")
    if parts[0] + "/" == TEMPORARY_FOLDER:
        raise StorageError(
            f"bad path {path!r}: {TEMPORARY_FOLDER} is reserved for unpublished files; choose another name"
        )
    return path


def check_prefix(prefix: str) -> str:
    """Return `prefix` as "" or a folder ending in "/".

    Raises:
        StorageError: See `check_path`.
    """
    if prefix == "":
        return ""
    return check_path(prefix.removesuffix("/")) + "/"


def check_range(offset: int, num_bytes: int) -> None:
    """Raise `StorageError` unless both are at least 0."""
    if offset < 0 or num_bytes < 0:
        raise StorageError(f"bad range: expected offset and num_bytes of at least 0, found {offset} and {num_bytes}")


def short_read(object_url: str, offset: int, expected: int, found: int) -> StorageError:
    """Return the error for an object that ends too early."""
    return StorageError(
        f"{object_url} is truncated: expected {expected} bytes at offset {offset}, found {found}; run shardtools verify"
    )


class RangedStream(io.RawIOBase):
    """A file of known length whose every read is one ranged read; it holds nothing open.

    Args:
        read_range: Takes an offset and a number of bytes that lie in the file, and returns all of them.
        num_bytes: The file's length.
    """

    def __init__(self, read_range: Callable[[int, int], bytes], num_bytes: int) -> None:
        self._read_range = read_range
        self._num_bytes = num_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._num_bytes}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to byte {start + offset}: expected at least 0")
        self._position = start + offset
        return self._position

    def read(self, num_bytes: int = -1, /) -> bytes:
        left = max(self._num_bytes - self._position, 0)
        wanted = left if num_bytes < 0 else min(num_bytes, left)
        content = self._read_range(self._position, wanted) if wanted else b""
        self._position += len(content)
        return content

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        content = self.read(len(view))
        view[: len(content)] = content
        return len(content)
