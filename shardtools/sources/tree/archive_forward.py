"""Compressed tars, read from front to back.

Owns the only way into them: a stream that is unpacked in memory as it is read. Nothing is written to disk; the price is
that going back means starting again, and that each process unpacks all that lies before what it wants.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from shardtools.errors import SourceError
from shardtools.storage import Storage

COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_CHUNK_BYTES = 1 << 20
_OPENERS: dict[str, Callable[[BinaryIO], Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}


class ForwardReader:
    """An open compressed tar; offsets are those of the unpacked bytes."""

    def __init__(self, storage: Storage, path: str) -> None:
        self._storage = storage
        self._path = path
        self._where = storage.object_url(path)
        self._open()

    def __reduce__(self) -> tuple[type[ForwardReader], tuple[Storage, str]]:
        # An open stream does not travel; the other process begins anew.
        return ForwardReader, (self._storage, self._path)

    @staticmethod
    def reads(path: str) -> bool:
        """Whether a file is named as a tar that has to be read forward."""
        return path.endswith(COMPRESSED_SUFFIXES)

    def _open(self) -> None:
        suffix = self._path.rpartition(".")[2]
        self._packed = self._storage.open(self._path)
        self._stream = _OPENERS["gz" if suffix == "tgz" else suffix](self._packed)
        self._position = 0

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """The bytes there, fewer where the file ends.

        Raises:
            SourceError: The compressed stream is damaged or cut off.
        """
        # There is no way back in a stream.
        if offset < self._position:
            self.close()
            self._open()
        while self._position < offset and self._read(min(_CHUNK_BYTES, offset - self._position)):
            pass
        return self._read(num_bytes) if self._position == offset else b""

    def finish(self) -> None:
        """Reads what is left: only there the stream tells whether it is intact.

        Raises:
            SourceError: It is not.
        """
        while self._read(_CHUNK_BYTES):
            pass

    def close(self) -> None:
        """Closes both streams."""
        self._stream.close()
        self._packed.close()

    def _read(self, num_bytes: int) -> bytes:
        try:
            content: bytes = self._stream.read(num_bytes)
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise SourceError(
                f"{self._where} is damaged at byte {self._position} unpacked: {error}: fetch it again"
            ) from None
        self._position += len(content)
        return content
