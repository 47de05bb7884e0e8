"""Pieces of shards on a local disk, so that the next epoch does not ask the object store again.

Owns one folder, `shardtools-cache`, below the one it is given, and in it only files with names of its own form; nothing
else is ever counted or deleted. Pieces are named by the digest of their shard, so another version never finds them, and
are checked by a CRC when they are first read. Space is reserved under a lock before a piece is written, so that any
number of processes keep the limit together; the price is a locked moment for each piece written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import secrets
import stat
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from shardtools.errors import StorageError
from shardtools.loader.reading.local import MappedFile
from shardtools.storage import explained, is_running, this_process

FOLDER_NAME = "shardtools-cache"
_ABOUT = {"format": "shardtools-cache", "version": 1}
_ABOUT_FILE = "about.json"
_LOCK_FILE = "lock"
_PIECE_NAME = re.compile(r"[0-9a-f]{64}-[0-9]{10}-[0-9]{10}\.piece")
_TEMPORARY_NAME = re.compile(r"([0-9a-f]{32})-([0-9]+)-([0-9]+|None)-[0-9a-f]{16}\.tmp")
_TOTAL = struct.Struct("<q")
_TRAILER = struct.Struct("<I")
_EVICTED_SHARE = 0.1
"""Of the limit, freed at a time: looking through all files for the oldest is what costs."""
_ABANDONED_SECONDS = 3600.0
"""Unfinished files of other machines (a shared folder) are removed after so long."""
_CHECKED_KEPT = 200_000

_logger = logging.getLogger(__name__)


class DiskCache:
    """Pieces by (digest of the shard, number, length). Safe for several threads and processes.

    Attributes:
        folder: The cache's own.
        max_bytes: What its files never exceed together.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int) -> None:
        """Makes the cache's folder, or finds it.

        Raises:
            StorageError: It cannot be made, or is somebody else's.
        """
        self.folder = Path(folder).absolute() / FOLDER_NAME
        self.max_bytes = max_bytes
        self._checked: dict[str, None] = {}
        self._has_given_up = False
        self._thread_lock = threading.Lock()
        with explained(self.folder, "write"):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._mark()
            for number in range(256):
                (self.folder / f"{number:02x}").mkdir(exist_ok=True)
        with self._locked() as lock_file:
            # Another limit, or a process that died: count anew.
            self._make_room(lock_file, 0)

    def find(self, digest: str, number: int, num_bytes: int) -> memoryview | None:
        """A piece, mapped; `None` if it is not there, or damaged (then it is removed)."""
        name = _name(digest, number, num_bytes)
        # The usual answer in a first epoch, so it should not cost an exception.
        if not self._path(name).exists():
            return None
        try:
            file = MappedFile(self._path(name))
        except StorageError:
            return None
        if len(file) != num_bytes + _TRAILER.size or not self._is_intact(name, file):
            self.drop(digest, number, num_bytes)
            return None
        with contextlib.suppress(OSError):
            # The time of the last use: what was not used for longest makes room for others.
            os.utime(file.path)
        return file.content[:num_bytes]

    def store(self, digest: str, number: int, content: memoryview) -> bool:
        """Keeps a piece, in place of those that were not used for longest; says whether there was room."""
        if self._has_given_up or len(content) + _TRAILER.size > self.max_bytes:
            return False
        name = _name(digest, number, len(content))
        temporary: Path | None = None
        try:
            with self._locked() as lock_file:
                # Room first, under the lock, as a file that has its length already; the bytes then come without the
                # lock.
                temporary = self._reserve(lock_file, len(content) + _TRAILER.size)
            if temporary is None:
                return False
            with temporary.open("r+b") as stream:
                stream.write(content)
                stream.write(_TRAILER.pack(zlib.crc32(content)))
            # Under the lock, so that nobody who counts sees it under both names.
            with self._locked():
                temporary.rename(self._path(name))
            return True
        except (OSError, StorageError) as error:
            # Reading goes on without: a cache is there to help.
            _logger.warning("cannot keep pieces in %s any more: %s", self.folder, error)
            self._has_given_up = True
            return False
        finally:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def drop(self, digest: str, number: int, num_bytes: int) -> None:
        """Removes a piece."""
        name = _name(digest, number, num_bytes)
        self._checked.pop(name, None)
        with contextlib.suppress(OSError):
            self._path(name).unlink(missing_ok=True)

    def total_bytes(self) -> int:
        """Bytes of all files that the cache made, unfinished ones included."""
        with self._locked():
            return sum(num_bytes for _, num_bytes, _ in self._files())

    def _mark(self) -> None:
        if self._is_marked():
            return
        strangers = [entry.name for entry in os.scandir(self.folder) if not entry.name.startswith(_ABOUT_FILE)]
        # Another process may have made the cache between the two looks.
        if strangers and not self._is_marked():
            raise StorageError(
                f"{self.folder} holds {strangers[0]!r} and is no cache of version {_ABOUT['version']}: choose another "
                "cache_folder, or remove it"
            )
        temporary = self.folder / f"{_ABOUT_FILE}-{secrets.token_hex(8)}"
        temporary.write_text(json.dumps(_ABOUT))
        temporary.rename(self.folder / _ABOUT_FILE)

    def _is_marked(self) -> bool:
        try:
            return bool(json.loads((self.folder / _ABOUT_FILE).read_bytes()) == _ABOUT)
        except (FileNotFoundError, ValueError):
            return False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        # One lock for threads and one for processes: the system's belongs to the open file, not to the thread.
        with self._thread_lock, explained(self.folder / _LOCK_FILE, "write"):
            descriptor = os.open(self.folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield descriptor
            finally:
                os.close(descriptor)

    def _reserve(self, lock_file: int, num_bytes: int) -> Path | None:
        """An empty file of that length, which counts from now on; `None` if the limit has no room for it."""
        # A sum that is too high at worst: pieces that were dropped, or written twice, are still in it. Where it leaves
        # no room all files are counted, and only then is anything removed.
        written = os.pread(lock_file, _TOTAL.size, 0)
        total = _TOTAL.unpack(written)[0] if len(written) == _TOTAL.size else self.max_bytes
        if not 0 <= total <= self.max_bytes - num_bytes:
            total = self._make_room(lock_file, num_bytes)
            if total > self.max_bytes - num_bytes:
                return None
        process = this_process()
        name = f"{process.machine}-{process.pid}-{process.start_ticks}-{secrets.token_hex(8)}.tmp"
        temporary = self.folder / name
        with temporary.open("xb") as stream:
            stream.truncate(num_bytes)
        os.pwrite(lock_file, _TOTAL.pack(total + num_bytes), 0)
        return temporary

    def _make_room(self, lock_file: int, num_bytes: int) -> int:
        """Removes what was not used for longest until so many bytes fit, and writes down what is left."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        if total > self.max_bytes - num_bytes:
            wanted = max(int(self.max_bytes * (1 - _EVICTED_SHARE)) - num_bytes, 0)
            for _, size, path in files:
                if total <= wanted:
                    break
                # Unfinished files count, but they are somebody's work: they stay.
                if path.parent != self.folder:
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)
                    total -= size
        os.pwrite(lock_file, _TOTAL.pack(total), 0)
        return total

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Last use, length and path of every file of the cache; unfinished ones of dead processes are removed."""
        for folder, form in ((self.folder, _TEMPORARY_NAME), *((entry, _PIECE_NAME) for entry in self._folders())):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    named = form.fullmatch(entry.name)
                    # Other processes remove files meanwhile.
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if named is None or not stat.S_ISREG(status.st_mode):
                            continue
                        if form is _TEMPORARY_NAME and _is_abandoned(named, status.st_mtime):
                            os.unlink(entry.path)
                            continue
                        yield status.st_mtime_ns, status.st_size, Path(entry.path)

    def _folders(self) -> list[Path]:
        return [self.folder / f"{number:02x}" for number in range(256)]

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _is_intact(self, name: str, file: MappedFile) -> bool:
        if name in self._checked:
            return True
        content, expected = file.content[: -_TRAILER.size], file.content[-_TRAILER.size :]
        if _TRAILER.pack(zlib.crc32(content)) != expected:
            return False
        with self._thread_lock:
            self._checked[name] = None
            while len(self._checked) > _CHECKED_KEPT:
                del self._checked[next(iter(self._checked))]
        return True


def _name(digest: str, number: int, num_bytes: int) -> str:
    return f"{digest}-{number:010d}-{num_bytes:010d}.piece"


def _is_abandoned(named: re.Match[str], modified: float) -> bool:
    machine, pid, ticks = named.groups()
    if machine == this_process().machine:
        return not is_running(int(pid), None if ticks == "None" else int(ticks))
    return time.time() - modified > _ABANDONED_SECONDS
