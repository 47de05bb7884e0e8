"""A progress bar over all writing processes; plain lines where the standard error is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import click

_LINE_SECONDS = 10.0


class WriteProgress:
    """Shows the messages of `writing.write_dataset` on the standard error."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._total = 0
        self._written = 0
        self._started = time.monotonic()
        self._shown_at = 0.0

    def __enter__(self) -> WriteProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, message: dict[str, Any]) -> None:
        if message["event"] == "plan":
            self._begin(message["rows_to_make"], message["tasks"], message["num_processes"])
        elif message["event"] == "batch":
            self._advance(message["images"])

    def _begin(self, rows: int, shards: int, processes: int) -> None:
        if not shards:
            return
        self._total = rows
        self._started = self._shown_at = time.monotonic()
        if not sys.stderr.isatty():
            plural = "es" if processes > 1 else ""
            click.echo(f"{rows} samples to write in {shards} shards on {processes} process{plural}", err=True)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("samples"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=rows, speed="")
        self._bar.start()

    def _advance(self, samples: int) -> None:
        self._written += samples
        now = time.monotonic()
        speed = self._written / max(now - self._started, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, advance=samples, speed=f"{speed:.0f} samples/s")
        elif now - self._shown_at > _LINE_SECONDS:
            self._shown_at = now
            left = (self._total - self._written) / speed
            click.echo(f"{self._written} of {self._total} samples, {speed:.0f} samples/s, {left:.0f} s left", err=True)
