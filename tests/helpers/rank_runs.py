"""Ranks of a job in processes that import torch once a test file, and can be killed."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self, TypeVar

from shardtools.execution import Ended, Failed, Message, run_forks, stop_on_sigterm
from shardtools.execution.channel import pack, unpack

MessageT = TypeVar("MessageT", bound=Message)

_PATIENCE_SECONDS = 120.0


class RankRun:
    """A run on its way, in processes of this machine."""

    def __init__(self, module: str, job: Any, log_folder: Path, num_processes: int = 1) -> None:
        """Starts it.

        Args:
            module: With a `run_fork`; imported once for all runs.
            job: Handed to it.
            log_folder: Of the messages.
            num_processes: Ranks.
        """
        self._log = log_folder / f"messages-{time.monotonic_ns()}"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([module])
        self.process: ForkServerProcess = context.Process(
            target=_run, args=(module, job, num_processes, str(self._log), dict(os.environ))
        )
        self.process.start()

    def of(self, kind: type[MessageT]) -> list[MessageT]:
        """Messages of one kind that were told in full."""
        if not self._log.exists():
            return []
        return [message for message in unpack(bytearray(self._log.read_bytes())) if isinstance(message, kind)]

    def wait_for(self, is_there: Callable[[Self], bool]) -> None:
        """Waits until something was told."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not is_there(self):
            if time.monotonic() > end or (not self.process.is_alive() and not is_there(self)):
                raise AssertionError(f"not told: {self.of(Failed) or self.of(Ended)}")
            time.sleep(0.002)

    def kill(self) -> None:
        """As a power cut would: the ranks die with their parent."""
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        """Asks it to end."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGTERM)

    def end(self) -> Self:
        """Waits for it."""
        self.process.join(_PATIENCE_SECONDS)
        assert self.process.exitcode is not None
        return self

    def error(self) -> Failed:
        """Waits for it to fail with one line."""
        errors = self.end().of(Failed)
        assert errors and self.process.exitcode == 1
        return errors[0]


def _run(module: str, job: Any, num_processes: int, log: str, environment: dict[str, str]) -> None:
    """In a fork of the server that has imported torch."""
    run_fork = importlib.import_module(module).run_fork
    os.environ.update(environment)
    stop: threading.Event = stop_on_sigterm()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def report(message: Message) -> None:
        os.write(file, pack(message))

    sys.exit(run_forks(job, num_processes, run_fork, report, stop, 20.0))
