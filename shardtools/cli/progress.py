"""How far a job is: a bar on a terminal, plain lines where the standard error is none.

Owns when something is said. A job shorter than two seconds says nothing of itself; a longer one says what it does, and
from then on how far it is, also where it sends no message for long: a thread watches. The price: that thread.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import click

from shardtools.cli.terminal import unguarded
from shardtools.errors import printable
from shardtools.execution import Batch, Doing, Message, Notice, Planned, Ready
from shardtools.words import counted, duration

FIRST_SECONDS = 2.0
"""From the start of a job until it says something at all."""

_LINE_SECONDS = 10.0
_LOOK_SECONDS = 0.1


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


class Watch:
    """Calls a function where nothing was said for long: two seconds at first, ten from then on."""

    def __init__(self, remind: Callable[[], None]) -> None:
        """Waits for `start`.

        Args:
            remind: Says something; called in a thread, with `lock` held.
        """
        self.lock = threading.RLock()
        """Held by whoever says something."""
        self._remind = remind
        self._due = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """From now on."""
        self._due = time.monotonic() + FIRST_SECONDS
        self._thread.start()

    def said(self) -> None:
        """Something was said."""
        self._due = time.monotonic() + _LINE_SECONDS

    def stop(self) -> None:
        """No word from the thread any more."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            with self.lock:
                if time.monotonic() >= self._due and not self._is_over.is_set():
                    self._remind()
                    self.said()


class RunProgress:
    """Shows the messages of a job on the standard error."""

    def __init__(self, *, noun: str, before: str | None = None, doing: str = "starting") -> None:
        """Shows nothing yet.

        Args:
            noun: What is counted: "images".
            before: What happens between `Planned` and the first one ("loading the model"), which is said at once;
                `None` for a job that begins at once, of which nothing is left to see when it is done.
            doing: What happens until a message says more; said where it takes long.
        """
        self._noun = noun
        self._before = before
        self._doing = doing
        self._bar: Any = None
        self._task: Any = None
        self._total = 0
        self._done = 0
        self._began = self._started = 0.0
        self._is_ready = False
        self._watch = Watch(self._remind)

    def __enter__(self) -> RunProgress:
        self._began = self._started = time.monotonic()
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.stop()
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, message: Message) -> None:
        with self._watch.lock:
            if isinstance(message, Planned):
                self._begin(message.rows_to_make, message.num_tasks, message.num_processes)
            elif isinstance(message, Ready):
                self._start()
            elif isinstance(message, Batch):
                self._advance(message.rows)
            elif isinstance(message, Doing):
                self._turn_to(message)
            elif isinstance(message, Notice):
                self._say(message.text)

    def step(self, line: str) -> None:
        """Says what a job does from now on, whether it takes long or not."""
        with self._watch.lock:
            self._say(line)
            self._turn_to(Doing(text=line))

    def _say(self, line: str) -> None:
        if self._bar is None:
            click.echo(line, err=True)
            self._watch.said()
        else:
            # Above the bar, and as it is: a path in brackets is no markup.
            self._bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def _begin(self, total: int, shards: int, processes: int) -> None:
        self._total = total
        if not shards:
            return
        whom = f"{counted(shards, 'shard')} on {counted(processes, 'process', 'processes')}"
        what = counted(total, self._noun.removesuffix("s"), self._noun) if total else f"failed {self._noun}"
        self._doing = self._before or self._doing
        text = f"{what} in {whom}: {self._before or 'starting'}"
        if sys.stderr.isatty():
            self._open_bar(text)
        elif self._before is not None:
            self._say(text)
        if self._before is None:
            self._start()

    def _start(self) -> None:
        """The first of what is counted is under way."""
        if self._is_ready:
            return
        self._is_ready = True
        self._started = time.monotonic()
        self._doing = f"the first {self._noun}"
        if self._bar is not None:
            self._bar.reset(self._task, total=self._total or None, description=self._noun)

    def _turn_to(self, message: Doing) -> None:
        self._doing, self._total, self._done = message.text, message.total or 0, 0
        self._started = time.monotonic()
        if message.total:
            self._noun = message.noun
        if self._bar is not None:
            self._bar.reset(self._task, total=message.total, description=message.text)

    def _advance(self, count: int) -> None:
        self._done += count
        if self._bar is not None:
            self._bar.update(self._task, advance=count, speed=self._speed())

    def _open_bar(self, text: str, *, total: int | None = None, done: int = 0) -> None:
        if self._bar is None:
            self._bar = open_bar(transient=self._before is None)
            self._task = self._bar.add_task(text, total=total, completed=done, speed="")
            self._bar.start()
        else:
            self._bar.reset(self._task, total=None, description=text)

    def _remind(self) -> None:
        if self._bar is not None:
            return
        if sys.stderr.isatty():
            self._open_bar(self._doing, total=self._total or None, done=self._done)
            return
        seconds = time.monotonic() - self._began
        if not self._done:
            self._say(f"{self._doing}: {duration(seconds)} so far")
            return
        left = (self._total - self._done) * (time.monotonic() - self._started) / self._done
        self._say(
            f"{self._done} of {self._total or '?'} {self._noun}, {self._speed()}"
            + (f", {duration(left)} left" if self._total else "")
        )

    def _speed(self) -> str:
        return f"{self._done / max(time.monotonic() - self._started, 1e-9):.1f} {self._noun}/s"
