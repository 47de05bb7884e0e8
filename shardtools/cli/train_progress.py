"""How far a training run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import click

from shardtools.cli.progress import Watch, open_bar
from shardtools.errors import printable
from shardtools.execution import Message, Notice
from shardtools.training.messages import Evaluated, Selected, StepDone, TrainingEnded, TrainingReady
from shardtools.words import counted, duration

_LINE_SECONDS = 10.0
_WORDS = (
    ("top1", "top-1", 1, " %"),
    ("top5", "top-5", 1, " %"),
    ("kappa", "kappa", 3, ""),
    ("macro_f1", "macro F1", 3, ""),
    ("roc_auc", "ROC AUC", 4, ""),
    ("loss", "loss", 3, ""),
)
"""Name of a metric, what people call it, digits, unit."""


class TrainProgress:
    """Shows the messages of `training.train` on the standard error."""

    def __init__(self) -> None:
        """Begins with nothing shown; the bar appears with the message "ready"."""
        self._bar: Any = None
        self._task: Any = None
        self._steps_per_epoch = 1
        self._epochs = 1
        self._first = 0
        self._began = self._started = 0.0
        self._shown_at = 0.0
        self._doing = "loading torch and reading the manifest"
        self._watch = Watch(self._remind)

    def __enter__(self) -> TrainProgress:
        self._began = time.monotonic()
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.stop()
        self._end_bar()

    def __call__(self, message: Message) -> None:
        with self._watch.lock:
            self._take(message)

    def _take(self, message: Message) -> None:
        if isinstance(message, TrainingReady):
            self._begin(message)
        elif isinstance(message, StepDone):
            self._step(message)
        elif isinstance(message, Evaluated):
            self._say(evaluation_line(message))
        elif isinstance(message, Selected):
            self._say(f"kept are the weights of epoch {message.epoch}: {evaluation_words(message.metrics())}")
        elif isinstance(message, Notice):
            self._say(message.text)
        elif isinstance(message, TrainingEnded):
            self._end_bar()

    @property
    def _total(self) -> int:
        return self._steps_per_epoch * self._epochs

    def _remind(self) -> None:
        if self._bar is None:
            self._say(f"{self._doing}: {duration(time.monotonic() - self._began)} so far")

    def _begin(self, message: TrainingReady) -> None:
        self._steps_per_epoch, self._epochs = max(1, message.steps_per_epoch), message.epochs
        self._first = message.first_step
        self._started = self._shown_at = time.monotonic()
        self._say(ready_line(message))
        self._doing = "the first step"
        if not sys.stderr.isatty():
            return
        self._bar = open_bar()
        self._task = self._bar.add_task(self._epoch(self._first), total=self._total, completed=self._first, speed="")
        self._bar.start()

    def _step(self, message: StepDone) -> None:
        step = message.step
        self._doing = f"{self._epoch(step - 1)}, step {step} of {self._total} is done"
        speed = (
            f"{message.images_per_second:.0f} images/s, waits for data {message.data_wait:.1%}, loss {message.loss:.3f}"
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=self._epoch(step - 1), speed=speed)
            return
        now = time.monotonic()
        if now - self._shown_at > _LINE_SECONDS:
            self._shown_at = now
            seconds = (self._total - step) * (now - self._started) / max(1, step - self._first)
            self._say(f"{self._epoch(step - 1)}, step {step} of {self._total}: {speed}, {duration(seconds)} left")

    def _epoch(self, step: int) -> str:
        """The epoch that a 0-based step belongs to, as people count."""
        return f"epoch {min(step // self._steps_per_epoch + 1, self._epochs)} of {self._epochs}"

    def _say(self, line: str) -> None:
        if self._bar is None:
            click.echo(line, err=True)
            self._watch.said()
        else:
            # Above the bar, and as it is: a path in brackets is no markup.
            self._bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def ready_line(message: TrainingReady) -> str:
    """What is about to run."""
    steps = message.steps_per_epoch * message.epochs
    resumed = f"; goes on after step {message.resumed_from}" if message.resumed_from is not None else ""
    return (
        f"{counted(message.samples, 'image')} of {counted(message.classes, 'class', 'classes')}, "
        f"{counted(message.epochs, 'epoch')}, {counted(steps, 'step')} of "
        f"{message.images_per_step} images on {counted(message.num_processes, 'process', 'processes')} "
        f"({message.device}, decoding on the {message.decoder}){resumed}"
    )


def evaluation_line(message: Evaluated) -> str:
    """What an evaluation found, after how many epochs."""
    return f"after epoch {message.epoch}: {evaluation_words(message.metrics())}"


def evaluation_words(metrics: dict[str, Any], *, test: str = "test") -> str:
    """What was measured, like "top-1 71.2 %, loss 1.10; test: top-1 70.8 %"; what was not is left out.

    Args:
        metrics: By the names that they have in files.
        test: What the split to test on is called.
    """
    found = []
    for prefix, title in (("val_", ""), ("test_", f"{test}: ")):
        words = [
            f"{label} {metrics[prefix + name]:.{digits}f}{unit}"
            for name, label, digits, unit in _WORDS
            if metrics.get(prefix + name) is not None
        ]
        if words:
            found.append(title + ", ".join(words))
    return "; ".join(found)
