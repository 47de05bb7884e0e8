"""Every error that shardtools raises on purpose.

    ShardtoolsError                 root; the command line prints it as one line and exits with `exit_code`
    ├── OptionError                 an option's value is out of range or two options contradict (exit 2)
    ├── TaxonomyError               unknown class, class set or synset; WordNet missing
    ├── PromptError                 unknown token, template without a class, class without a definition
    ├── PlanError                   options that make no plan
    │   └── PlanMismatchError       the target holds another plan
    ├── ModelError                  a generator that cannot be loaded
    ├── RunError                    a run that was stopped, failed or was killed, or lacks a library
    │   └── StoppedError            it was asked to stop; the same command goes on
    ├── SourceError                 an outside format that cannot be read
    ├── StorageError                a place that cannot be read or written
    │   ├── NotFoundError           nothing is there
    │   ├── AlreadyExistsError      put-if-absent found something
    │   ├── AccessError             wrong credentials or a read-only target
    │   └── NoSpaceError            the disk is full
    ├── DatasetError                a dataset whose files contradict each other
    │   ├── FormatVersionError      written by a format version this release does not know
    │   └── DatasetBusyError        another run is writing to it
    ├── ShardError                  a shard that is truncated, altered or not adjacent
    └── QueryError                  SQL or a named query that cannot run

A message says what was expected, what was found, where, and what to do next, on one line.
"""

from __future__ import annotations

import errno
import re

_MAX_LINE_CHARACTERS = 1000
_LONE_RETURN = re.compile(r"\r(?!\n)")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written|Not enough free space|No space left on device")
_NO_MEMORY_TO_LOAD = re.compile(r"[Cc]annot allocate memory|failed to map segment")


class ShardtoolsError(Exception):
    """Root of all known errors; `exit_code` is what the command line exits with."""

    exit_code = 1


class OptionError(ShardtoolsError):
    """An option's value is out of range, or two options contradict each other."""

    exit_code = 2


class TaxonomyError(ShardtoolsError):
    """An unknown class, class set or synset, or WordNet is not installed."""


class PromptError(ShardtoolsError):
    """A prompt template that cannot be filled."""


class PlanError(ShardtoolsError):
    """Options that make no plan."""


class PlanMismatchError(PlanError):
    """The target holds another plan; the message names the options that differ."""


class ModelError(ShardtoolsError):
    """A generator that cannot be found or loaded."""


class RunError(ShardtoolsError):
    """A run was stopped or lacks a library, or a process of it failed or was killed; what is committed stays."""


class StoppedError(RunError):
    """A run ended early because it was asked to; what is committed stays, and the same command goes on."""


class SourceError(ShardtoolsError):
    """An outside format that cannot be read."""


class StorageError(ShardtoolsError):
    """A place that cannot be read or written."""


class NotFoundError(StorageError):
    """Nothing is stored under that path."""


class AlreadyExistsError(StorageError):
    """Put-if-absent found an object already there."""


class AccessError(StorageError):
    """Wrong credentials, or a target that may not be written."""


class NoSpaceError(StorageError):
    """The disk is full."""


class DatasetError(ShardtoolsError):
    """A dataset whose files contradict each other."""


class FormatVersionError(DatasetError):
    """A format version that this release does not know."""


class DatasetBusyError(DatasetError):
    """Another run is writing to the same dataset."""


class ShardError(ShardtoolsError):
    """A shard that is truncated, altered, or whose members are not adjacent."""


class QueryError(ShardtoolsError):
    """SQL or a named query that cannot run."""


def first_line(error: BaseException | str) -> str:
    """The first line of what an error of another library says, for a message of one line: printable and not long.

    An error that says nothing gives the name of its type.
    """
    line = next(iter(str(error).strip().splitlines()), "")
    return "".join(filter(str.isprintable, line))[:_MAX_LINE_CHARACTERS] or type(error).__name__


def printable(text: str) -> str:
    """A text of unknown origin as a terminal may show it: what is no printable character or line break is written out.

    Names, reasons and messages come from files of other people: an escape code in one of them would recolour, clear or
    answer for the terminal, and a lone surrogate would end the program.
    """
    if text.isprintable():
        return text
    shown = "".join(one if one.isprintable() or one in "\n\r\t" else _written_out(one) for one in text)
    # Without its line feed a carriage return writes over the line.
    return _LONE_RETURN.sub(r"\\r", shown)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode()


def resource_error(error: BaseException, *, place: str | None = None) -> ShardtoolsError | None:
    """What the machine had too little of, where that is why something failed; `None` for any other error.

    Args:
        error: Of Python, NumPy, Arrow or the system.
        place: What is full, where the error names no file.
    """
    text = first_line(error)
    if isinstance(error, ShardtoolsError):
        return None
    if isinstance(error, OSError) and (error.errno in _NO_SPACE or _SHORT_WRITE.search(text)):
        where = printable(str(error.filename)) if error.filename else place or "a disk that is written to"
        return NoSpaceError(f"no space left: {where} is full: make room, or set TMPDIR to a folder with more of it")
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return RunError(f"out of memory ({text}): take fewer processes or threads, or raise the limit (ulimit -v)")
    if isinstance(error, ImportError) and _NO_MEMORY_TO_LOAD.search(text):
        return RunError(f"out of memory while loading a library ({text}): raise the limit (ulimit -v)")
    is_fork = isinstance(error, OSError) and error.errno == errno.EAGAIN and not error.filename
    if is_fork or (isinstance(error, RuntimeError) and "start new thread" in text):
        return RunError(
            f"the system starts no further process or thread ({text}): end others, take fewer processes or threads, or "
            "raise the limit (ulimit -u)"
        )
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return RunError(f"too many files are open ({text}): raise the limit (ulimit -n)")
    if isinstance(error, FileNotFoundError) and "No usable temporary directory" in text:
        return StorageError(f"there is no place for temporary files ({text}): make room, or set TMPDIR")
    return None
