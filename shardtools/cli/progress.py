"""A progress bar over all generating processes; plain lines where the output is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import click

_LINE_SECONDS = 10.0


class GenerationProgress:
    """Shows the messages of `generation.generate` on standard error."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._total = 0
        self._made = 0
        self._started = 0.0
        self._shown_at = 0.0

    def __enter__(self) -> GenerationProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "plan":
            self._begin(message)
        elif event == "ready" and not self._started:
            self._started = time.monotonic()
            if self._bar is not None:
                self._bar.reset(self._task, total=self._total or None, description="images")
        elif event == "batch":
            self._advance(message["images"])

    def _begin(self, message: dict[str, Any]) -> None:
        self._total = message["rows_to_make"]
        if not message["tasks"]:
            return
        processes = message["num_processes"]
        text = f"{message['tasks']} shards to make on {processes} process{'es' if processes > 1 else ''}"
        if not sys.stderr.isatty():
            click.echo(f"{text}; loading the model", err=True)
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
        self._task = self._bar.add_task(f"{text}; loading the model", total=None, speed="")
        self._bar.start()

    def _advance(self, images: int) -> None:
        self._made += images
        elapsed = time.monotonic() - self._started
        speed = self._made / elapsed if elapsed > 0 else 0.0
        if self._bar is not None:
            self._bar.update(self._task, advance=images, speed=f"{speed:.1f} images/s")
        elif time.monotonic() - self._shown_at > _LINE_SECONDS:
            self._shown_at = time.monotonic()
            left = f", {(self._total - self._made) / speed:.0f} s left" if self._total and speed else ""
            click.echo(f"{self._made} of {self._total or '?'} images, {speed:.1f} images/s{left}", err=True)
