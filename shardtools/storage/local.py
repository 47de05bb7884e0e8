"""A dataset's root as a local folder.

Owns how a file is published: written below `.tmp/` in the root, flushed to the disk, then linked (if absent) or renamed
into place, and the folder flushed too. The price of durability: two flushes a file, so write few large files. Empty
folders are removed with their last file, as object stores have none.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from shardtools.errors import AccessError, AlreadyExistsError, NoSpaceError, NotFoundError, StorageError
from shardtools.storage.base import (
    TEMPORARY_FOLDER,
    Storage,
    StoredObject,
    check_path,
    check_prefix,
    check_range,
    short_read,
)
from shardtools.storage.process import is_running, start_ticks

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)
_FOLDER_ATTEMPTS = 100
"""A folder that `delete` of another process removes between its making and its use is made again this often."""


class LocalStorage(Storage):
    """Objects are files below one folder, which is made by the first write."""

    is_local = True

    def __init__(self, root: Path, *, url: str | None = None) -> None:
        self.url = str(root) if url is None else url
        # Absolute at once: the processes that get this storage may work in another folder.
        self._root = root.absolute()

    @property
    def place(self) -> str:
        return os.path.realpath(self._root)

    # Small files are read by the million: no buffer, no `Path` and no context manager around each.

    def read(self, path: str) -> bytes:
        file = f"{self._root}/{check_path(path)}"
        try:
            with io.FileIO(file) as stream:
                return stream.readall()
        except OSError as error:
            raise _explain(error, Path(file), "read") from error

    def read_range(self, path: str, offset: int, num_bytes: int) -> bytes:
        check_range(offset, num_bytes)
        file = f"{self._root}/{check_path(path)}"
        try:
            with io.FileIO(file) as stream:
                stream.seek(offset)
                content = _read_exactly(stream, num_bytes)
        except OSError as error:
            raise _explain(error, Path(file), "read") from error
        if len(content) != num_bytes:
            raise short_read(self.object_url(path), offset, num_bytes, len(content))
        return content

    def size(self, path: str) -> int:
        file = self._file(path)
        with explained(file, "read"):
            status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise NotFoundError(f"{file} is not a file: expected a file, found a folder or a device")
        return status.st_size

    def exists(self, path: str) -> bool:
        try:
            self.size(path)
        except NotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> list[StoredObject]:
        folder_path = check_prefix(prefix)
        return sorted(self._walk(folder_path, ()), key=lambda stored: stored.path)

    def write(self, path: str, content: bytes, *, if_absent: bool = False) -> None:
        with self.writer(path, if_absent=if_absent) as stream:
            stream.write(content)

    @contextlib.contextmanager
    def writer(self, path: str, *, if_absent: bool = False) -> Iterator[BinaryIO]:
        target = self._file(path)
        temporary, stream = self._open_temporary()
        try:
            yield stream
            with explained(target, "write"):
                stream.flush()
                os.fsync(stream.fileno())
                stream.close()
                # The content is on the disk before it gets its name: after a loss of power a name never stands for
                # less.
                self._publish(temporary, target, if_absent=if_absent)
        finally:
            # After a full disk, closing tries to write again and fails again.
            with contextlib.suppress(StorageError, OSError):
                stream.close()
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                temporary.parent.rmdir()

    def open(self, path: str) -> BinaryIO:
        file = self._file(path)
        with explained(file, "read"):
            return open(file, "rb")

    def delete(self, path: str) -> None:
        file = self._file(path)
        with explained(file, "delete"):
            file.unlink(missing_ok=True)
        for folder in file.parents:
            if folder == self._root:
                break
            try:
                folder.rmdir()
            except OSError:
                break

    def local_path(self, path: str) -> Path | None:
        return self._file(path)

    def check_writable(self) -> None:
        temporary, stream = self._open_temporary()
        try:
            with stream, explained(temporary, "write"):
                stream.write(b"write check")
                stream.flush()
                os.fsync(stream.fileno())
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
                temporary.parent.rmdir()

    def clean_temporary(self) -> None:
        folder = self._root / TEMPORARY_FOLDER
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), explained(folder, "clean", not_found=False):
            for file in list(folder.iterdir()):
                if not _has_living_writer(file.name):
                    file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _file(self, path: str) -> Path:
        return self._root / check_path(path)

    def _walk(self, folder_path: str, above: tuple[tuple[int, int], ...]) -> Iterator[StoredObject]:
        folder = self._root / folder_path
        try:
            with explained(folder, "list"), os.scandir(folder) as entries:
                found = list(entries)
                opened = os.stat(folder)
        except NotFoundError:
            return
        own = (opened.st_dev, opened.st_ino)
        if own in above:
            raise StorageError(
                f"cannot list {folder}: it is a link to a folder above it, whose files would come again and again; "
                "remove the link"
            )
        for entry in found:
            entry_path = folder_path + entry.name
            if entry_path + "/" == TEMPORARY_FOLDER:
                continue
            status = _status(entry)
            if status is not None and stat.S_ISDIR(status.st_mode):
                yield from self._walk(entry_path + "/", (*above, own))
            elif status is not None and stat.S_ISREG(status.st_mode):
                yield StoredObject(entry_path, status.st_size)

    def _open_temporary(self) -> tuple[Path, BinaryIO]:
        pid = os.getpid()
        temporary = self._root / TEMPORARY_FOLDER / f"{pid}-{start_ticks(pid)}-{secrets.token_hex(8)}"
        for attempt in range(1, _FOLDER_ATTEMPTS + 1):
            with explained(temporary.parent, "write"):
                _make_folder(temporary.parent)
            try:
                return temporary, io.BufferedRandom(ExplainingFile(temporary, "x+b", shown_as=temporary))
            except FileNotFoundError:
                if attempt == _FOLDER_ATTEMPTS:
                    raise StorageError(f"cannot write {temporary}: its folder is removed again and again") from None
            except OSError as error:
                raise _explain(error, temporary, "write") from error
        raise AssertionError("unreachable")

    def _publish(self, temporary: Path, target: Path, *, if_absent: bool) -> None:
        for attempt in range(1, _FOLDER_ATTEMPTS + 1):
            _make_folder(target.parent)
            try:
                if if_absent:
                    os.link(temporary, target)
                else:
                    os.replace(temporary, target)
                _flush_folder(target.parent)
                return
            except FileExistsError:
                raise AlreadyExistsError(f"{target} exists already; another run may have written it") from None
            except FileNotFoundError:
                if attempt == _FOLDER_ATTEMPTS or not temporary.exists():
                    raise


class ExplainingFile(io.FileIO):
    """Explains its own failures to write, so that errors of the code around the writing stay what they are."""

    def __init__(self, file: Path | int, mode: str, *, shown_as: Path) -> None:
        super().__init__(file, mode)
        self._shown_as = shown_as

    def write(self, content: ReadableBuffer, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            raise _explain(error, self._shown_as, "write") from error


@contextlib.contextmanager
def explained(file: Path, action: str, *, not_found: bool = True) -> Iterator[None]:
    """Turn errors of the operating system into one-line messages; leave a missing file alone if not `not_found`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not not_found:
            raise
        raise _explain(error, file, action) from error


def _explain(error: OSError, file: Path, action: str) -> StorageError:
    where = f"cannot {action} {file}"
    blocking = next((folder for folder in (file, *file.parents) if folder.is_file()), None)
    if error.errno in _NO_SPACE:
        return NoSpaceError(
            f"{where}: no space left ({error.strerror}); free some space, then start the same command again"
        )
    if error.errno in _NO_ACCESS:
        return AccessError(f"{where}: {error.strerror}; choose a target you may write to, or change its permissions")
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"{where}: there is no such file or folder; check the path")
    if isinstance(error, NotADirectoryError | FileExistsError) and blocking is not None:
        return StorageError(
            f"{where}: expected a folder, found a file at {blocking}; choose another target or move the file"
        )
    if isinstance(error, IsADirectoryError):
        kind = NotFoundError if action == "read" else StorageError
        return kind(f"{where}: expected a file, found a folder; choose another name or move the folder")
    return StorageError(f"{where}: {error.strerror or error}")


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What an entry leads to; `None` for a link to nothing, or to itself, and for a file that vanished meanwhile."""
    try:
        return entry.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise _explain(error, Path(entry.path), "list") from error


def _read_exactly(stream: io.FileIO, num_bytes: int) -> bytes:
    """The next bytes, fewer only at the file's end: one call of the system reads at most 2 GiB."""
    content = stream.read(num_bytes)
    if len(content) == num_bytes or not content:
        return content
    pieces = [content]
    while (missing := num_bytes - sum(map(len, pieces))) and (content := stream.read(missing)):
        pieces.append(content)
    return b"".join(pieces)


def _make_folder(folder: Path) -> None:
    missing = []
    for ancestor in (folder, *folder.parents):
        if ancestor.is_dir():
            break
        missing.append(ancestor)
    for ancestor in reversed(missing):
        # Two processes may make the same folder; what is in the way may also be a file, which mkdir then names.
        ancestor.mkdir(exist_ok=True)
        _flush_folder(ancestor.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder; they make names durable on their own terms.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _has_living_writer(name: str) -> bool:
    pid, _, rest = name.partition("-")
    ticks = rest.partition("-")[0]
    if not pid.isdigit():
        return False
    return is_running(int(pid), int(ticks) if ticks.isdigit() else None)
