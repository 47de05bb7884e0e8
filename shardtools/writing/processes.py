"""The processes of one run: started, listened to, and ended with it.

Owns them. They are fresh interpreters and no forks, because object stores' clients have threads; the price is about
half a second to start.
"""

from __future__ import annotations

import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import shardtools.errors
from shardtools.errors import DatasetBusyError, DatasetError, ShardtoolsError
from shardtools.writing.job import Job

Progress = Callable[[dict[str, Any]], None]
"""Takes {"event": "plan" | "ready" | "batch" | "shard" | "end", ...} messages."""

_POLL_SECONDS = 0.5


@dataclass(slots=True)
class Tally:
    """What the processes made: rows, and whether a signal ended the run early."""

    rows: int = 0
    stopped: bool = False


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    buffer: bytes = b""
    failure: ShardtoolsError | None = None


def run_processes(job: Job, num_processes: int, show: Progress, *, lost: Callable[[], bool]) -> Tally:
    """Runs the job's tasks in `num_processes` processes of this machine and waits for them.

    Args:
        job: The job.
        num_processes: 1 or more.
        show: Called with each message.
        lost: Asked now and then whether the dataset was taken over by another run.

    Raises:
        ShardtoolsError: What the first process that failed raised.
        DatasetError: A process was killed.
        DatasetBusyError: The dataset was taken over.
    """
    return _Group(job, num_processes, show, lost).run()


class _Group:
    def __init__(self, job: Job, num_processes: int, show: Progress, lost: Callable[[], bool]) -> None:
        self._job = job
        self._num_processes = num_processes
        self._show = show
        self._lost = lost
        self._tally = Tally()
        self._workers: list[_Worker] = []
        self._num_signals = 0

    def run(self) -> Tally:
        """Stays until all processes have ended; SIGTERM and Ctrl-C let them finish the shard in hand."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if in_main_thread else ()
        handlers = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            for rank in range(self._num_processes):
                self._workers.append(self._start(rank))
            if self._num_signals:
                self._stop_all()
            self._pump()
        finally:
            for worker in self._workers:
                if worker.process.poll() is None:
                    worker.process.kill()
                worker.process.wait()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        try:
            self._raise_failures()
        finally:
            for worker in self._workers:
                worker.errors.close()
                if worker.process.stdout is not None:
                    worker.process.stdout.close()
        return self._tally

    def _start(self, rank: int) -> _Worker:
        errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the run ends
        process = subprocess.Popen(
            [sys.executable, "-m", "shardtools.writing.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if process.stdin is not None:
            try:
                pickle.dump((self._job, rank, self._num_processes), process.stdin)
                process.stdin.close()
            except BrokenPipeError:
                # The process died at once; its exit code and last words are read at the end.
                pass
        return _Worker(process, errors)

    def _pump(self) -> None:
        """Reads messages until every process has closed its pipe."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                if worker.process.stdout is not None:
                    selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            while selector.get_map():
                for key, _ in selector.select(_POLL_SECONDS):
                    content = os.read(key.fd, 1 << 16)
                    if not content:
                        selector.unregister(key.fileobj)
                        if key.data.process.wait() != 0:
                            self._stop_all()
                        continue
                    *lines, key.data.buffer = (key.data.buffer + content).split(b"\n")
                    for line in lines:
                        self._handle(key.data, json.loads(line))
                if self._lost():
                    self._stop_all()

    def _handle(self, worker: _Worker, message: dict[str, Any]) -> None:
        if message["event"] == "error":
            worker.failure = getattr(shardtools.errors, message["kind"])(message["message"])
            return
        if message["event"] == "shard":
            self._tally.rows += message["rows"]
        if message["event"] == "end" and message["reason"] == "stopped":
            self._tally.stopped = True
        self._show(message)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._num_signals += 1
        if number == signal.SIGINT and self._num_signals > 1:
            raise KeyboardInterrupt
        self._tally.stopped = True
        self._stop_all()

    def _stop_all(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.terminate()

    def _raise_failures(self) -> None:
        if self._lost():
            raise DatasetBusyError(
                f"{self._job.url}: another run took the dataset over: let it finish, or run the same command again"
            )
        for rank, worker in enumerate(self._workers):
            if worker.failure is not None:
                raise worker.failure
            code = worker.process.returncode
            if code != 0:
                what = f"killed by signal {-code}" if code < 0 else f"exit code {code}: {_last_line(worker.errors)}"
                raise DatasetError(
                    f"process {rank} of {self._num_processes} failed ({what}), {self._job.url} is not finished: run "
                    "the same "
                    "command again, it resumes"
                )


def _last_line(stream: IO[bytes]) -> str:
    stream.seek(0)
    lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"
