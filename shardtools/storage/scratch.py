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
from typing import IO, BinaryIO

from shardtools.errors import StorageError, first_line, resource_error

_PREFIX = "shardtools-"
_WAIT_AND_REMOVE = 'exec 3<&0; (read -r _ <&3; rm -rf -- "$0") & exit 0'
"""The shell's input ends with the process that holds the other end of its pipe.

It waits in the background, so that it is no child of the run, which counts its own.
"""


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
        if guard is not None:
            guard.close()


def scratch_file() -> BinaryIO:
    """A temporary file without a name, to be closed by the caller.

    Raises:
        NoSpaceError, StorageError: See `scratch_folder`.
    """
    with scratch_explained():
        return tempfile.TemporaryFile(prefix=_PREFIX)


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
        reason = error.strerror or first_line(error)
        raise StorageError(
            f"the run needs a place for temporary files, {_place()} failed: {reason}: make room there, or set TMPDIR"
        ) from None


def _place() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "any of the usual folders"


def _start_guard(folder: Path) -> IO[bytes] | None:
    """Starts the shell; gives the end of its pipe that is held while the run lives."""
    # A session of its own: what ends the run by its group leaves the shell to its work. Where no process can be
    # started, the run itself says so soon.
    with contextlib.suppress(OSError):
        process = subprocess.Popen(
            ["/bin/sh", "-c", _WAIT_AND_REMOVE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        process.wait()
        return process.stdin
    return None
