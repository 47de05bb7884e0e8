"""A progress bar over all processes of a run; plain lines where the standard error is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import click

from shardtools.cli.terminal import unguarded
from shardtools.errors import printable
from shardtools.execution import Batch, Message, Notice, Planned, Ready

_LINE_SECONDS = 10.0


def open_bar(*, transient: bool = False) -> Any:
    """A bar of `rich` on the standard error, not started yet; its tasks have a field "speed"."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True),
        console=Console(file=unguarded(sys.stderr)),
        transient=transient,
    )


class RunProgress:
    """Shows the messages of a job on the standard error."""

    def __init__(self, *, noun: str, before: str | None = None) -> None:
        """Shows nothing yet.

        Args:
            noun: What is counted: "images".
            before: What happens before the first one ("loading the model"); `None` for a job that begins at once, of
                which nothing is left to see when it is done.
        """
        self._noun = noun
        self._before = before
        self._bar: Any = None
        self._task: Any = None
        self._total = 0
        self._done = 0
        self._started: float | None = None
        self._shown_at = 0.0

    def __enter__(self) -> RunProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, message: Message) -> None:
        if isinstance(message, Planned):
            self._begin(message.rows_to_make, message.num_tasks, message.num_processes)
        elif isinstance(message, Ready):
            self._start()
        elif isinstance(message, Batch):
            self._advance(message.rows)
        elif isinstance(message, Notice):
            self._say(message.text)

    def _say(self, line: str) -> None:
        if self._bar is None:
            click.echo(line, err=True)
        else:
            # Above the bar, and as it is: a path in brackets is no markup.
            self._bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def _begin(self, total: int, shards: int, processes: int) -> None:
        self._total = total
        if not shards:
            return
        where = f"{shards} shard{'s' if shards > 1 else ''}"
        whom = f"{processes} process{'es' if processes > 1 else ''}"
        text = f"{total or 'failed'} {self._noun} in {where} on {whom}: {self._before or 'starting'}"
        if sys.stderr.isatty():
            self._bar = open_bar(transient=self._before is None)
            self._task = self._bar.add_task(text, total=None, speed="")
            self._bar.start()
        elif self._before is not None:
            click.echo(text, err=True)
        if self._before is None:
            self._start()

    def _start(self) -> None:
        if self._started is not None:
            return
        self._started = self._shown_at = time.monotonic()
        if self._bar is not None:
            self._bar.reset(self._task, total=self._total or None, description=self._noun)

    def _advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        speed = self._done / max(now - (self._started or now), 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, advance=count, speed=f"{speed:.1f} {self._noun}/s")
        elif now - self._shown_at > _LINE_SECONDS:
            self._shown_at = now
            left = f", {(self._total - self._done) / speed:.0f} s left" if self._total else ""
            click.echo(f"{self._done} of {self._total or '?'} {self._noun}, {speed:.1f} {self._noun}/s{left}", err=True)
