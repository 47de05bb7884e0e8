"""Starts the generating processes on this machine, shows their progress, and commits the dataset at the end.

Owns the processes and ends them with itself. The price of a pipe: progress is seen only by the launcher; anyone else
reads `shardtools status`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from shardtools.dataset import DatasetInfo, acquire, commit_dataset
from shardtools.dataset.opening import list_parts
from shardtools.errors import GenerationError
from shardtools.generation.estimate import remember_speed
from shardtools.generation.options import GenerateOptions
from shardtools.generation.prepare import Job, Prepared, begin, prepare
from shardtools.storage import Storage, open_storage

Progress = Callable[[dict[str, Any]], None]
"""Takes {"event": "plan" | "joined" | "ready" | "batch" | "shard" | "end", ...} messages."""

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateResult:
    """What a run did.

    Attributes:
        url: The dataset.
        plan_id: Its fingerprint.
        num_rows: Rows of the whole dataset.
        num_images: Rows with an image.
        num_made: Rows made by this run.
        seconds: Wall time of this run.
        num_processes: Processes that made them (0 where nothing was left to do).
        committed: Whether the dataset is whole and committed.
    """

    url: str
    plan_id: str
    num_rows: int
    num_images: int
    num_made: int
    seconds: float
    num_processes: int
    committed: bool


def generate(options: GenerateOptions, *, progress: Progress | None = None) -> GenerateResult:
    """Makes the images that `options` ask for, and only those that are not there yet.

    Args:
        options: What to make and where.
        progress: Called with each message of each process.

    Raises:
        PlanMismatchError: The target holds another plan.
        DatasetBusyError: Another run writes to the target.
        GenerationError: A process failed; what is committed stays, and the same command resumes.
    """
    started = time.monotonic()
    show = progress or (lambda message: None)
    prepared = prepare(options)
    storage = open_storage(options.out)
    storage.check_writable()
    with acquire(storage, purpose="gen-sd") as lease:
        job = begin(prepared, storage, retry_failed=options.retry_failed)
        num_processes = min(prepared.num_processes, len(job.tasks))
        show(
            {
                "event": "plan",
                "rows": prepared.plan.num_rows,
                "tasks": len(job.tasks),
                "num_processes": num_processes,
                "rows_to_make": _rows_to_make(job),
            }
        )
        made = run_processes(job, num_processes, show, lost=lambda: lease.lost) if job.tasks else Tally()
        info = commit_if_whole(prepared, storage)
    if made.images:
        remember_speed(prepared, images=made.images, num_bytes=made.num_bytes, seconds=made.seconds)
    if made.stopped:
        raise GenerationError(
            f"stopped after {made.images} images, {storage.url} is not finished: run the same command again, it resumes"
        )
    return GenerateResult(
        url=storage.url,
        plan_id=job.plan_id,
        num_rows=info.num_rows if info else 0,
        num_images=info.num_images if info else 0,
        num_made=made.images,
        seconds=time.monotonic() - started,
        num_processes=num_processes,
        committed=info is not None,
    )


def commit_if_whole(prepared: Prepared, storage: Storage) -> DatasetInfo | None:
    """Writes `dataset.json` when every shard that was ever asked for is there."""
    paths = list_parts(storage)
    if len(paths) < prepared.plan.num_shards:
        return None
    scale = len(paths) // prepared.plan.shards_per_clone
    whole = paths[: scale * prepared.plan.shards_per_clone]
    return commit_dataset(storage, kind="generated", plan_id=prepared.plan_file.plan_id, scale=scale, part_paths=whole)


def _rows_to_make(job: Job) -> int:
    if job.retry_failed:
        return 0
    return sum(stop - start for start, stop in map(job.plan.shard_range, job.tasks))


def run_processes(job: Job, num_processes: int, show: Progress, *, lost: Callable[[], bool] = lambda: False) -> Tally:
    """Runs the job's tasks in `num_processes` processes of this machine and waits for them.

    Args:
        job: The job.
        num_processes: 1 or more.
        show: Called with each message.
        lost: Asked now and then whether the dataset was taken over by another run.

    Raises:
        GenerationError: A process failed or was killed.
    """
    return _Group(job, num_processes, show, lost).run()


@dataclass(slots=True)
class Tally:
    """What the processes made.

    Attributes:
        images: Rows.
        num_bytes: Of their images.
        seconds: From the first loaded model on.
        stopped: Whether a signal ended the run early.
    """

    images: int = 0
    num_bytes: int = 0
    seconds: float = 0.0
    stopped: bool = False


class _Group:
    """The processes of one run: one child imports torch once and forks the ranks."""

    def __init__(self, job: Job, num_processes: int, show: Progress, lost: Callable[[], bool]) -> None:
        self._job = job
        self._num_processes = num_processes
        self._show = show
        self._lost = lost
        self._tally = Tally()
        self._ready_at: float | None = None
        self._failure: str | None = None
        self._num_signals = 0
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> Tally:
        """Starts the ranks and stays until all have ended; SIGTERM and Ctrl-C let them finish the shard in hand."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if in_main_thread else ()
        handlers = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            with tempfile.TemporaryFile() as errors:
                self._process = process = self._start(errors)
                try:
                    self._pump(process)
                finally:
                    if process.poll() is None:
                        process.kill()
                    process.wait()
                self._raise_failure(process.returncode, errors)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self._ready_at is not None:
            self._tally.seconds = time.monotonic() - self._ready_at
        return self._tally

    def _start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        threads = str(self._job.plan.options.generator.threads_per_process)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
        }
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "shardtools.pipelines.generate",
                "--workers",
                str(self._num_processes),
                str(os.getpid()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            process_group=0,
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            # A child that died at once is seen by its exit code.
            pickle.dump(self._job, process.stdin)
            process.stdin.close()
        return process

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        """Reads messages until every rank has closed the pipe."""
        assert process.stdout is not None
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                if selector.select(_POLL_SECONDS):
                    content = os.read(process.stdout.fileno(), 1 << 16)
                    if not content:
                        break
                    *lines, buffer = (buffer + content).split(b"\n")
                    for line in lines:
                        self._handle(json.loads(line))
                if self._lost():
                    process.terminate()
        process.wait()

    def _handle(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "error":
            self._failure = self._failure or message["message"]
            return
        if event == "ready" and self._ready_at is None:
            self._ready_at = time.monotonic()
        elif event == "shard":
            self._tally.images += message["rows"]
            self._tally.num_bytes += message["bytes"]
        elif event == "end" and message["reason"] == "stopped":
            self._tally.stopped = True
        self._show(message)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._num_signals += 1
        if number == signal.SIGINT and self._num_signals > 1:
            raise KeyboardInterrupt
        self._tally.stopped = True
        if self._process is not None:
            self._process.terminate()

    def _raise_failure(self, code: int, errors: IO[bytes]) -> None:
        if self._lost():
            raise GenerationError(
                f"{self._job.url}: another run took the dataset over: let it finish, or run the same command again"
            )
        if code == 0:
            return
        found = self._failure or (f"killed by signal {-code}" if code < 0 else _last_line(errors))
        raise GenerationError(f"{found}: what is committed stays; mend the cause and run the same command again")


def _last_line(stream: IO[bytes]) -> str:
    stream.seek(0)
    lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "the generating process ended without a message"
