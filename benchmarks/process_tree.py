"""Memory and CPU time of a process with all that it has started, read from /proc while they run.

Owns the sums over a tree of processes. Workers of a DataLoader are in no `getrusage` until they have ended, so the tree
is read as it stands; the price is that a process counts only while it lives, and only Linux has these files.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

_SAMPLE_SECONDS = 0.1
_CLOCK = os.sysconf("SC_CLK_TCK")


def tree() -> list[int]:
    """This process and its descendants."""
    found, unseen = [], [os.getpid()]
    while unseen:
        pid = unseen.pop()
        found.append(pid)
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            unseen += [int(child) for child in _text(path).split()]
    return found


def cpu_seconds() -> float:
    """User and system time of the tree's living processes."""
    total = 0
    for pid in tree():
        # The name, in brackets, may hold spaces.
        fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        total += sum(int(number) for number in fields[11:13])
    return total / _CLOCK


def memory_mb() -> dict[str, float]:
    """Resident memory of the tree, in MB: all of it, and without the pages of files, which the system can drop.

    Pages that several processes share count once for each.
    """
    resident = files = 0
    for pid in tree():
        for line in _text(Path(f"/proc/{pid}/status")).splitlines():
            name, _, value = line.partition(":")
            if name == "VmRSS":
                resident += int(value.split()[0])
            elif name == "RssFile":
                files += int(value.split()[0])
    return {"peak_mb": resident * 1024 / 1e6, "peak_mb_without_files": (resident - files) * 1024 / 1e6}


class MemoryPeak:
    """Samples the tree's memory in a thread, ten times a second."""

    def __init__(self) -> None:
        self.found: dict[str, float] = memory_mb()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MemoryPeak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.found = {name: max(value, self.found[name]) for name, value in memory_mb().items()}


def _text(path: Path) -> str:
    """A file's text; empty where its process has just ended."""
    try:
        return path.read_text()
    except OSError:
        return ""
