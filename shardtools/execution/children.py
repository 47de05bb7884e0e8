"""The child processes of one run: started, listened to, and ended with it.

Owns them. A child is a fresh interpreter that takes a pickled job on its standard input and reports messages by
`channel`; the price over a fork is the time to start, and what it buys is that no lock or thread of the parent is
inherited. A child may fork ranks of its own before it starts a thread.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

import shardtools.errors
from shardtools.errors import DatasetBusyError, RunError, ShardtoolsError, first_line
from shardtools.execution.channel import INSTALL_AGAIN, unpack
from shardtools.execution.messages import Failed, Message, Progress
from shardtools.storage import scratch_file

_POLL_SECONDS = 0.5
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(4 << 30)}
"""glibc maps tensors of 32 MB and more anew each time, and the kernel zeroes them: a quarter of the CPU time of a
network on a CPU. Kept on the heap they are used again."""


def network_environment(num_threads: int) -> dict[str, str]:
    """Environment of a child that sends batches through a network on so many CPU threads."""
    return {**{name: str(num_threads) for name in _THREAD_VARIABLES}, **_KEPT_MEMORY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process to start.

    Attributes:
        arguments: What follows the interpreter on the command line.
        job: Pickled to the standard input.
        environment: Added to this process's.
    """

    arguments: tuple[str, ...]
    job: object
    environment: Mapping[str, str]


@dataclass(slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    buffer: bytearray = field(default_factory=bytearray)
    was_stopped: bool = False


def run_children(
    children: Sequence[Child], handle: Progress, *, where: str, lost: Callable[[], bool] = lambda: False
) -> bool:
    """Runs the processes to their end; SIGTERM and Ctrl-C ask them to end after the shard in hand.

    Args:
        children: What to start.
        handle: Called with each message of each process, but for errors.
        where: The dataset, for messages.
        lost: Asked now and then whether the dataset was taken over by another run.

    Returns:
        Whether a signal asked the run to stop.

    Raises:
        ShardtoolsError: The first error that a process reported.
        RunError: A process died without reporting one.
        DatasetBusyError: The dataset was taken over.
    """
    return _Group(children, handle, where, lost).run()


@dataclass(slots=True)
class _Group:
    children: Sequence[Child]
    handle: Progress
    where: str
    lost: Callable[[], bool]
    running: list[_Running] = field(default_factory=list)
    failure: ShardtoolsError | None = None
    num_signals: int = 0

    def run(self) -> bool:
        in_main_thread = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if in_main_thread else ()
        handlers = {number: signal.signal(number, self._on_signal) for number in numbers}
        with contextlib.ExitStack() as files:
            try:
                for child in self.children:
                    self.running.append(self._start(child, files))
                if self.num_signals:
                    self._stop_all()
                self._pump()
            finally:
                for one in self.running:
                    if one.process.poll() is None:
                        one.process.kill()
                    one.process.wait()
                for number, handler in handlers.items():
                    signal.signal(number, handler)
            self._raise_failure()
        return self.num_signals > 0

    def _start(self, child: Child, files: contextlib.ExitStack) -> _Running:
        errors = files.enter_context(scratch_file())
        process = subprocess.Popen(
            [sys.executable, *child.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **child.environment},
            # Ctrl-C reaches this process alone, which passes it on as a wish to stop.
            process_group=0,
        )
        assert process.stdin is not None and process.stdout is not None
        files.enter_context(process.stdout)
        with contextlib.suppress(BrokenPipeError):
            # A process that died at once is seen by its exit code.
            pickle.dump(child.job, process.stdin)
            process.stdin.close()
        return _Running(process, errors)

    def _pump(self) -> None:
        """Reads messages until every process has closed its pipe."""
        with selectors.DefaultSelector() as selector:
            for one in self.running:
                assert one.process.stdout is not None
                selector.register(one.process.stdout, selectors.EVENT_READ, one)
            while selector.get_map():
                for key, _ in selector.select(_POLL_SECONDS):
                    content = os.read(key.fd, 1 << 16)
                    if not content:
                        selector.unregister(key.fileobj)
                        if key.data.process.wait() != 0:
                            self._stop_all()
                        continue
                    key.data.buffer += content
                    for message in unpack(key.data.buffer):
                        self._take(message)
                if self.lost():
                    self._stop_all()

    def _take(self, message: Message) -> None:
        if not isinstance(message, Failed):
            self.handle(message)
        elif self.failure is None:
            self.failure = getattr(shardtools.errors, message.kind)(message.text)

    def _on_signal(self, number: int, _frame: object) -> None:
        self.num_signals += 1
        if number == signal.SIGINT and self.num_signals > 1:
            raise KeyboardInterrupt
        self._stop_all()

    def _stop_all(self) -> None:
        for one in self.running:
            if one.process.poll() is None:
                one.was_stopped = True
                one.process.terminate()

    def _raise_failure(self) -> None:
        if self.lost():
            raise DatasetBusyError(
                f"{self.where}: another run took the dataset over: let it finish, or run the same command again"
            )
        if self.failure is not None:
            raise self.failure
        for number, one in enumerate(self.running):
            code = one.process.returncode
            # One that was asked to end before it could answer is not what went wrong.
            stopped_at_once = code == -signal.SIGTERM and one.was_stopped
            if code and not stopped_at_once:
                said = _last_line(one.errors)
                how = f"was killed by signal {-code}" if code < 0 else f"failed: {said}"
                # The same command would fail in the same way.
                cannot_load = code > 0 and said.startswith(("ImportError", "ModuleNotFoundError"))
                raise RunError(
                    f"process {number} of {len(self.running)} {how}: what is committed in {self.where} stays, "
                    + (INSTALL_AGAIN if cannot_load else "run the same command again")
                )


def _last_line(stream: IO[bytes]) -> str:
    stream.seek(0)
    lines = stream.read().decode(errors="replace").strip().splitlines()
    return first_line(lines[-1]) if lines else "no message"
