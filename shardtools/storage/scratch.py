"""Folders for temporary files: below `$TMPDIR`, gone with the run that made them, however it ends.

Owns their making and their removal. A run that is killed removes nothing, so a shell waits beside it for its end and
does; the price is that process, and that a machine which loses power keeps the folder.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shardtools.errors import StorageError, first_line, resource_error

_PREFIX = "shardtools-"
_WAIT_AND_REMOVE = 'read -r _; rm -rf -- "$0"'
"""The shell's input ends with the process that holds the other end of its pipe."""


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of this run's own; everything in it is removed when the block ends, or the process.

    Raises:
        NoSpaceError: There is no room for temporary files.
        StorageError: There is no place for them.
    """
    with scratch_explained():
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    guard = _start_guard(folder)
    try:
        with scratch_explained(only_space=True):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if guard is not None and guard.stdin is not None:
            guard.stdin.close()
            guard.wait()


def scratch_file() -> BinaryIO:
    """A temporary file without a name, to be closed by the caller.

    Raises:
        NoSpaceError, StorageError: See `scratch_folder`.
    """
    with scratch_explained():
        return tempfile.TemporaryFile(prefix=_PREFIX)  # type: ignore[return-value]  # a BufferedRandom


@contextlib.contextmanager
def scratch_explained(*, only_space: bool = False) -> Iterator[None]:
    """The system's errors about temporary files as one line that says what to do.

    Args:
        only_space: Whether others than a full disk are left as they are: the code inside does more than write.
    """
    try:
        yield
    except OSError as error:
        known = resource_error(error, place=_place())
        if known is not None:
            raise known from None
        if only_space:
            raise
        raise StorageError(
            f"temporary files cannot be written to {_place()} ({error.strerror or first_line(error)}): make room, "
            "or set TMPDIR"
        ) from None


def _place() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "any of the usual folders"


def _start_guard(folder: Path) -> subprocess.Popen[bytes] | None:
    # A session of its own: what ends the run by its group leaves the shell to its work. Where no process can be
    # started, the run itself says so soon.
    with contextlib.suppress(OSError):
        return subprocess.Popen(
            ["/bin/sh", "-c", _WAIT_AND_REMOVE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return None
