"""What every accelerate-launched job shares: which rank am I, how many threads, when to stop.

Owns process set-up. The job runs the same under the launcher of this package, `accelerate launch`, `torchrun` and
`srun`; the price is that Slurm's variables are translated by hand, because accelerate does not read them.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import torch
from accelerate import PartialState

from shardtools.processes import Progress, die_with_parent

_COLLECTIVE_TIMEOUT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One process of a job: its 0-based number, how many there are, and its device."""

    rank: int
    world_size: int
    device: torch.device


def join_world(device: str, num_threads: int, *, is_exact: bool = True) -> Rank:
    """Sets up this process: threads, determinism and its place among the others.

    Args:
        device: "cpu" or "cuda".
        num_threads: CPU threads of torch in this process.
        is_exact: Whether a GPU takes only operations that give the same bits each time, instead of the fastest.
    """
    translate_slurm(os.environ)
    torch.set_num_threads(num_threads)
    torch.backends.cudnn.benchmark = not is_exact
    torch.backends.cudnn.deterministic = is_exact
    arguments = {"timeout": _COLLECTIVE_TIMEOUT} if int(os.environ.get("WORLD_SIZE", "1")) > 1 else {}
    state = PartialState(cpu=device == "cpu", **arguments)
    return Rank(rank=state.process_index, world_size=state.num_processes, device=state.device)


def translate_slurm(environment: os._Environ[str] | dict[str, str]) -> None:
    """Fills in RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT from what `srun` sets."""
    if "RANK" in environment or int(environment.get("SLURM_NTASKS", "1")) < 2 or "SLURM_PROCID" not in environment:
        return
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["WORLD_SIZE"] = environment["SLURM_NTASKS"]
    environment["LOCAL_RANK"] = environment.get("SLURM_LOCALID", "0")
    environment.setdefault("MASTER_ADDR", environment.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"))
    environment.setdefault("MASTER_PORT", str(20000 + int(environment.get("SLURM_JOB_ID", "0")) % 20000))


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
            report({"event": "error", "kind": "RunError", "message": line})
            stop_ranks()
            if grace_seconds is not None:
                signal.setitimer(signal.ITIMER_REAL, grace_seconds)
    return failed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
