"""Ranks as forks of one process: what is imported before is imported once.

Owns the process that a `Launch` starts, and what becomes of its forks. Importing torch and diffusers costs seconds of
CPU a process, and forked ranks share it; the price is that no thread may have been started before the fork.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from shardtools.execution.channel import end_with_error, open_channel
from shardtools.execution.lifetime import die_with_parent, stop_on_sigterm
from shardtools.execution.messages import Failed, Progress

GRACE_SECONDS = 20.0
"""What ranks get to end once one has died, where they may wait for it in an exchange that never comes."""


def serve(
    run: Callable[[Any, int, Progress, threading.Event], None],
    count: Callable[[Any, int], int],
    *,
    grace_seconds: float | None = None,
) -> NoReturn:
    """Body of the child that a `Launch` starts: its job from the standard input, as many forks, messages out.

    Args:
        run: Does the share of the fork it is called in: the job, the number of ranks, a channel, and what SIGTERM sets.
        count: Number of ranks to make: of the job, and the number that was asked for. What it imports is imported
            once, before the fork.
        grace_seconds: As in `fork_ranks`.
    """
    stop = stop_on_sigterm()
    report = open_channel()
    try:
        job, asked, parent_pid = pickle.load(sys.stdin.buffer)
        die_with_parent(parent_pid)
        with importing():
            num_ranks = count(job, asked)
    except BaseException as error:
        end_with_error(error, report)

    sys.exit(run_forks(job, num_ranks, run, report, stop, grace_seconds))


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Imports of large libraries without the garbage collector.

    It looks at each new object again and again and finds hardly anything: a seventh of the CPU that torch and diffusers
    take to load.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def run_forks(
    job: Any,
    num_ranks: int,
    run: Callable[[Any, int, Progress, threading.Event], None],
    report: Progress,
    stop: threading.Event,
    grace_seconds: float | None = None,
) -> int:
    """Runs a job in so many forks; an error in one of them is reported and ends it with exit code 1.

    Args:
        job: Handed to `run`.
        num_ranks: 1 or more.
        run: Does the share of the fork it is called in.
        report: Called with messages, in the forks too.
        stop: Set by SIGTERM.
        grace_seconds: As in `fork_ranks`.

    Returns:
        0 if every rank ended well, 1 otherwise.
    """

    def work(_rank: int) -> None:
        try:
            run(job, num_ranks, report, stop)
        except BaseException as error:
            end_with_error(error, report)

    return fork_ranks(num_ranks, work, report, stop, grace_seconds)


def fork_ranks(
    world_size: int,
    run: Callable[[int], None],
    report: Progress,
    stop: threading.Event,
    grace_seconds: float | None = None,
) -> int:
    """Runs `run(rank)` in `world_size` forked processes and waits for them: what is imported by now is imported once.

    No thread may have been started before. When a rank dies the others end after their shard in hand.

    Args:
        world_size: 1 or more.
        run: Called in each fork.
        report: Called with an error message for a rank that died.
        stop: Set by SIGTERM, here and (inherited) in the forks; SIGTERM is passed on to them.
        grace_seconds: After a rank has died the others are killed in this time; `None` waits for them.

    Returns:
        0 if every rank ended well, 1 otherwise; each failure without a message of its own is reported.
    """
    port = _free_port()
    parent_pid = os.getpid()
    pids: dict[int, int] = {}
    for rank in range(world_size):
        pid = os.fork()
        if pid == 0:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world_size),
                "LOCAL_WORLD_SIZE": str(world_size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            die_with_parent(parent_pid)
            run(rank)
            # Skips the interpreter's teardown: torch's threads may outlive it, and everything is written.
            os._exit(0)
        pids[pid] = rank

    def stop_ranks(*_: object) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)

    def kill_ranks(*_: object) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, stop_ranks)
    signal.signal(signal.SIGALRM, kill_ranks)
    # One that came between the first fork and here was heard by this process alone.
    if stop.is_set():
        stop_ranks()
    failed = 0
    while pids:
        pid, status = os.wait()
        rank = pids.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if code:
            failed = 1
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            line = f"process {rank} of {world_size} {how}: what is committed stays, run the same command again"
            report(Failed(kind="RunError", text=line))
            stop_ranks()
            if grace_seconds is not None:
                signal.setitimer(signal.ITIMER_REAL, grace_seconds)
    return failed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
