"""What the processes of a run tell their launcher.

Owns the words that all jobs share; a room with more to tell adds dataclasses of its own, in a module that is imported
and never run (`-m`), for the launcher must find them by name. They travel pickled, from processes of this run alone, so
what arrives is what was told, with its type. The price: another language cannot listen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

EndReason = Literal["done", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Anything that is told."""


Progress = Callable[[Message], None]
"""Takes the messages of a run, one at a time."""


def ignore(_message: Message) -> None:
    """A `Progress` for nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(Message):
    """What a run is about to do.

    Attributes:
        rows: Rows of the whole; `None` where nobody counted them.
        rows_to_make: Rows that this run makes; 0 where that is not known.
        num_tasks: Tasks that this run does.
        num_processes: Processes that do them.
    """

    rows: int | None = None
    rows_to_make: int
    num_tasks: int
    num_processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(Message):
    """A rank has found the others.

    Attributes:
        num_processes: All of them.
    """

    num_processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Message):
    """A process begins to work: what it needs is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Message):
    """Rows went by, some of a task; told a few times a second at most.

    Attributes:
        rows: Since the last such message.
    """

    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing(Message):
    """What a job does from now on, for a job of several steps; shown where it takes long, and not otherwise.

    Attributes:
        text: Like "comparing 300 hashes".
        total: Of what `Batch` counts from now on; `None` where nothing does.
        noun: What is counted.
    """

    text: str
    total: int | None = None
    noun: str = "steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What became of a task.

    Attributes:
        rows: Rows of a manifest or overlay.
        images: Those with an image.
        num_bytes: Of the images.
        details: What the event log says beside: JSON values.
        result: What only the launcher wants; it must travel between processes.
    """

    rows: int = 0
    images: int = 0
    num_bytes: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDone(Message):
    """A task is done, and what it made is durable.

    Attributes:
        task: Its 0-based number among the job's.
        facts: What became of it.
    """

    task: int
    facts: TaskFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Message):
    """One line for the user."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Message):
    """A process ends.

    Attributes:
        reason: "stopped" after the task in hand, because it was asked to.
        images: That this process made or read.
        seconds: From ready on.
        details: What a job measures beside.
    """

    reason: EndReason
    images: int = 0
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Message):
    """An error that ends the run; `run_children` raises it, nobody else hears of it.

    Attributes:
        kind: Name of a class of `shardtools.errors`.
        text: One line.
    """

    kind: str
    text: str
