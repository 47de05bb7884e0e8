"""What a command prints, as a terminal may show it.

Owns the way out: names, reasons and messages come out of files of other people, and all of them leave through the two
streams that are guarded here. Rows as CSV that go to a file or another program keep their bytes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from shardtools.errors import printable


class _Guarded:
    """A text stream that writes out what no terminal should get; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        self.unguarded.write(printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


@contextlib.contextmanager
def guarded_output() -> Iterator[None]:
    """Guards the standard output and the standard error."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Guarded(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def data_output() -> TextIO:
    """The standard output for rows that a program reads; guarded where it is a terminal."""
    return sys.stdout if sys.stdout.isatty() else unguarded(sys.stdout)


def unguarded(stream: TextIO) -> TextIO:
    """The stream itself, for bars, which move the cursor."""
    return cast(TextIO, getattr(stream, "unguarded", stream))
