"""A progress bar over all processes of a run; plain lines where the standard error is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import click

_LINE_SECONDS = 10.0


class RunProgress:
    """Shows the messages of `generation.generate` or `writing.write_dataset` on the standard error."""

    def __init__(self, *, noun: str, before: str) -> None:
        """Says what is counted ("images") and what happens before the first one ("loading the model")."""
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

    def __call__(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "plan":
            self._begin(message["rows_to_make"], message["tasks"], message["num_processes"])
        elif event == "ready" and self._started is None:
            self._started = self._shown_at = time.monotonic()
            if self._bar is not None:
                self._bar.reset(self._task, total=self._total or None, description=self._noun)
        elif event == "batch":
            self._advance(message["images"])

    def _begin(self, total: int, shards: int, processes: int) -> None:
        self._total = total
        if not shards:
            return
        where = f"{shards} shard{'s' if shards > 1 else ''}"
        whom = f"{processes} process{'es' if processes > 1 else ''}"
        text = f"{total or 'failed'} {self._noun} in {where} on {whom}: {self._before}"
        if not sys.stderr.isatty():
            click.echo(text, err=True)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(text, total=None, speed="")
        self._bar.start()

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
