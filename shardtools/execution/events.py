"""The event log: what happened when, as JSON lines, beside the dataset but outside of its promises.

Owns times: rows and shards carry none, so that two runs of one plan give the same bytes. Object stores cannot append,
so a log is a run of small files, each rewritten until it is full; the price is that the last seconds before a kill
are lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shardtools.documents import FieldError, build, read_json
from shardtools.errors import DatasetError, first_line
from shardtools.storage import Storage

EVENTS_FOLDER = "events/"
_EVENTS_PER_FILE = 500
_FLUSH_SECONDS = 5.0
_MAX_TIME = 253_402_300_800.0
"""The year 10000, behind which no calendar of Python's goes."""


class EventLog:
    """One writer's log; `name` tells it apart from the other ranks and runs."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._segment = 0
        self._lines: list[str] = []
        self._flushed_at = 0.0

    def add(self, event: str, **facts: Any) -> None:
        """Appends one line: the time (Unix seconds), the event's name and its facts; written out every 5 seconds."""
        self._lines.append(json.dumps({"time": round(time.time(), 3), "event": event, "log": self._name, **facts}))
        if time.monotonic() - self._flushed_at > _FLUSH_SECONDS or len(self._lines) >= _EVENTS_PER_FILE:
            self.flush()

    def flush(self) -> None:
        """Writes what is in memory."""
        if not self._lines:
            return
        path = f"{EVENTS_FOLDER}{self._name}-{self._segment:04d}.jsonl"
        self._storage.write(path, ("\n".join(self._lines) + "\n").encode())
        self._flushed_at = time.monotonic()
        # A full file is never written again; until then each flush writes the whole file, as there is no appending.
        if len(self._lines) >= _EVENTS_PER_FILE:
            self._segment += 1
            self._lines = []


def read_events(storage: Storage) -> Iterator[dict[str, Any]]:
    """All events of all logs, a log at a time, in the order they were written.

    Raises:
        DatasetError: A line of a log is no event.
    """
    for stored in storage.list(EVENTS_FOLDER):
        for number, line in enumerate(storage.read(stored.path).splitlines(), start=1):
            try:
                found = read_json(line)
                build(_Event, found, others=True)
            except (FieldError, ValueError) as error:
                raise DatasetError(
                    f"{storage.object_url(stored.path)}, line {number}, is no event ({first_line(error)}): delete the "
                    "file, nothing else depends on it"
                ) from None
            yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What is looked at of every event; the ranks add more."""

    time: float
    event: str
    log: str
    num_processes: int = 1
    images_per_second: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.time < _MAX_TIME:
            raise FieldError(f"time is 0 to {_MAX_TIME:.0f} seconds, found {self.time}")
