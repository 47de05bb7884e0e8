"""The way from a worker process to its launcher: JSON lines on what was its standard output.

Owns the worker's side of `shardtools.processes.run_children`: where messages go, and how an error becomes one. It
imports neither torch nor accelerate, so a worker can report before it loads them. The price: whatever else a worker
prints is found on the standard error output.
"""

from __future__ import annotations

import json
import os
import traceback
from typing import Any, NoReturn

from shardtools.errors import ShardtoolsError
from shardtools.processes import Progress

_LONGEST_LINE = 1000
"""Characters of an error's text. A message stays below PIPE_BUF, so forked processes may share the pipe."""


def open_channel() -> Progress:
    """Takes the standard output for messages; what is printed from now on, here and in forks, goes to standard error.

    Returns:
        Writes one message as a line; forks may call it too.
    """
    channel = os.dup(1)
    os.dup2(2, 1)

    def report(message: dict[str, Any]) -> None:
        os.write(channel, (json.dumps(message) + "\n").encode())

    return report


def error_message(error: BaseException) -> dict[str, Any]:
    """The message that makes the launcher raise an error.

    Args:
        error: A `ShardtoolsError` is raised again as what it is; another becomes a `RunError` that names its type.
    """
    line = (str(error).strip().splitlines() or [""])[0][:_LONGEST_LINE]
    kind = type(error).__name__
    if isinstance(error, ShardtoolsError):
        return {"event": "error", "kind": kind, "message": line}
    return {"event": "error", "kind": "RunError", "message": f"{kind}: {line}"}


def end_with_error(error: BaseException, report: Progress) -> NoReturn:
    """Reports an error and ends this process with exit code 1, without the interpreter's teardown.

    Args:
        error: Where nobody expected it its trace goes to the standard error output.
        report: Of `open_channel`.
    """
    if not isinstance(error, ShardtoolsError):
        traceback.print_exception(error)
    report(error_message(error))
    os._exit(1)
