"""The way from a process of a run to its launcher: pickled messages on what was its standard output.

Owns both ends: how a message becomes bytes, where messages go, and how an error becomes one. It imports neither torch
nor accelerate, so a process can report before it loads them. The price: whatever else a process prints is found on the
standard error output.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
import traceback
from collections.abc import Iterator
from typing import NoReturn

from shardtools.errors import ShardtoolsError, first_line
from shardtools.execution.messages import Failed, Message, Notice, Progress

_LONGEST_LINE = 3000
"""Bytes of an error's or notice's text. Such a message stays below PIPE_BUF, so forks may share the pipe."""

_LENGTH = struct.Struct(">I")


def pack(message: Message) -> bytes:
    """A message as it travels: its length in 4 bytes, then itself."""
    content = pickle.dumps(message)
    return _LENGTH.pack(len(content)) + content


def unpack(buffer: bytearray) -> Iterator[Message]:
    """The whole messages at the beginning of a buffer, which are taken out of it; the rest waits for more bytes."""
    while len(buffer) >= _LENGTH.size:
        [length] = _LENGTH.unpack_from(buffer)
        end = _LENGTH.size + length
        if len(buffer) < end:
            return
        message: Message = pickle.loads(buffer[_LENGTH.size : end])
        del buffer[:end]
        yield message


def open_channel() -> Progress:
    """Takes the standard output for messages; what is printed from now on, here and in forks, goes to standard error.

    Returns:
        Sends one message; threads may call it, and forks too, whose messages must be short.
    """
    channel = os.dup(1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def report(message: Message) -> None:
        if isinstance(message, Notice):
            message = Notice(text=_cut(message.text))
        content = memoryview(pack(message))
        with lock:
            # A result may be longer than the pipe takes at once.
            while content:
                content = content[os.write(channel, content) :]

    return report


def failure(error: BaseException) -> Failed:
    """The message that makes the launcher raise an error.

    Args:
        error: A `ShardtoolsError` is raised again as what it is; another becomes a `RunError` that names its type.
    """
    line, kind = _cut(first_line(error)), type(error).__name__
    if isinstance(error, ShardtoolsError):
        return Failed(kind=kind, text=line)
    return Failed(kind="RunError", text=kind if line == kind else f"{kind}: {line}")


def _cut(text: str) -> str:
    return text.encode(errors="replace")[:_LONGEST_LINE].decode(errors="ignore")


def end_with_error(error: BaseException, report: Progress) -> NoReturn:
    """Reports an error and ends this process with exit code 1, without the interpreter's teardown.

    Args:
        error: Where nobody expected it its trace goes to the standard error output.
        report: Of `open_channel`.
    """
    if not isinstance(error, ShardtoolsError):
        traceback.print_exception(error)
    report(failure(error))
    os._exit(1)
