"""Extractions of features in processes that import torch once a test file, and can be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from shardtools.features import FeatureOptions, Job
from shardtools.features.launch import begin, open_target
from shardtools.features.writer import commit_features

_PATIENCE_SECONDS = 120.0


class Extraction:
    """A run on its way, in processes of this machine; `finish` does what the launcher does after them."""

    def __init__(self, wanted: FeatureOptions, log_folder: Path, num_processes: int = 1) -> None:
        self.wanted, self.storage = wanted, open_target(wanted)
        job = begin(wanted, self.storage)
        self._log = log_folder / f"messages-{time.monotonic_ns()}"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["shardtools.pipelines.extract_features"])
        self.process: ForkServerProcess = context.Process(
            target=_run, args=(job, num_processes, str(self._log), dict(os.environ))
        )
        self.process.start()

    def of(self, event: str) -> list[dict[str, Any]]:
        """Messages of one kind that were told in full."""
        if not self._log.exists():
            return []
        messages = [json.loads(line) for line in self._log.read_bytes().split(b"\n")[:-1]]
        return [message for message in messages if message["event"] == event]

    def wait_for(self, is_there: Callable[[Extraction], bool]) -> None:
        """Waits until something was told."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not is_there(self):
            if time.monotonic() > end or (not self.process.is_alive() and not is_there(self)):
                raise AssertionError(f"not told: {self.of('error') or self.of('end')}")
            time.sleep(0.002)

    def kill(self) -> None:
        """As a power cut would: the ranks die with their parent."""
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        """Asks it to end."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGTERM)

    def end(self) -> Extraction:
        """Waits for it."""
        self.process.join(_PATIENCE_SECONDS)
        assert self.process.exitcode is not None
        return self

    def done(self) -> Extraction:
        """Waits for it to end well, and commits."""
        assert self.end().of("error") == []
        assert commit_features(self.storage, source=self.wanted.source) is not None
        return self

    def error(self) -> dict[str, Any]:
        """Waits for it to fail with one line."""
        errors = self.end().of("error")
        assert errors and self.process.exitcode == 1
        return errors[0]

    def files(self) -> dict[str, bytes]:
        """Content of all files of the features."""
        return {
            stored.path: self.storage.read(stored.path)
            for stored in self.storage.list()
            if stored.path.startswith(("part-", "plan", "features"))
        }


def _run(job: Job, num_processes: int, log: str, environment: dict[str, str]) -> None:
    """In a fork of the server that has imported torch."""
    from shardtools.pipelines.common import fork_ranks
    from shardtools.pipelines.extract_features import run_worker
    from shardtools.processes import stop_on_sigterm

    os.environ.update(environment)
    stop: threading.Event = stop_on_sigterm()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def report(message: dict[str, Any]) -> None:
        os.write(file, (json.dumps(message) + "\n").encode())

    sys.exit(fork_ranks(num_processes, lambda rank: run_worker(job, num_processes, report, stop), report, stop, 20.0))
