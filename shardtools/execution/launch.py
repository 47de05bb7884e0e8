"""A launch of ranks that load much, once: the first one begins, all work, the first one finishes, and a stop is a stop.

Owns the order of these, for both ways in: this command starts the ranks itself, in one child that loads the libraries
and forks them (`run_in_child`); or torchrun, accelerate or Slurm started this very process as one rank of many
(`run_as_rank`). It imports no torch: what ranks need of each other is a `World`, which `shardtools.pipelines` provides.
The price of messages over a pipe: progress is seen only by the launcher; anyone else reads `shardtools status`.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from shardtools.errors import DatasetBusyError, RunError, ShardtoolsError
from shardtools.execution.children import Child, run_children
from shardtools.execution.messages import Ended, Message, Progress, TaskDone

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")
FoundT = TypeVar("FoundT", covariant=True)
ValueT = TypeVar("ValueT")


CHILD_DECIDES = 0
"""Number of ranks that leaves the choice to the child, which can count GPUs: one a GPU, or one on a CPU."""


class Held(Protocol):
    """A place that this run holds."""

    @property
    def lost(self) -> bool:
        """Whether another run took it over."""


class Launch(Protocol[JobT, FoundT]):
    """What a job does before and after its ranks' work, in one process; and who does that work."""

    @property
    def where(self) -> str:
        """The place that the run writes to."""

    def hold(self) -> contextlib.AbstractContextManager[Held]:
        """Takes the place, so that no other run writes there."""

    def begin(self) -> JobT | None:
        """What the ranks are told; `None` where nothing is left to do. The place is held."""

    def child(self, job: JobT) -> Child:
        """The process that loads the libraries and forks the ranks."""

    def hear(self, message: Message) -> None:
        """Takes a message of a rank."""

    def finish(self, *, stopped: bool) -> FoundT:
        """Commits what the ranks made, and says what it came to. The place is still held.

        Args:
            stopped: Whether a signal asked the run to end.

        Raises:
            RunError: Work is left; the line says how to go on.
        """


class World(Protocol):
    """The ranks of a run, seen from one of them."""

    @property
    def rank(self) -> int:
        """0-based number of this one."""

    @property
    def world_size(self) -> int:
        """How many there are."""

    def from_first(self, value: ValueT) -> ValueT:
        """What the first rank gave, in all of them.

        Raises:
            RunError: A rank died.
        """

    def gather(self, value: ValueT) -> list[ValueT]:
        """What each rank gave, in their order.

        Raises:
            RunError: A rank died.
        """


def run_in_child(launch: Launch[JobT, ResultT]) -> ResultT:
    """Does a job with ranks that this process starts.

    Raises:
        ShardtoolsError: The job cannot begin, or what a rank reported.
        RunError: It was stopped, or a rank was killed; what is committed stays, and the same command resumes.
    """
    with launch.hold() as held:
        job = launch.begin()
        stopped = job is not None and run_children(
            [launch.child(job)], launch.hear, where=launch.where, lost=lambda: held.lost
        )
        return launch.finish(stopped=stopped)


def run_as_rank(
    launch: Launch[JobT, ResultT], world: World, work: Callable[[JobT, Progress], None], stop: threading.Event
) -> ResultT:
    """Does a job as one rank of many that another program started; returns in all of them what the first one found.

    Args:
        launch: The job.
        world: The ranks.
        work: Does this rank's share; returns early on `stop`.
        stop: Set by SIGTERM.

    Raises:
        ShardtoolsError: In all ranks, where the first one cannot begin or finish; in one, where its work fails.
        RunError: In all ranks, where one was stopped or died and work is left.
    """
    told: list[Message] = []

    def remember(message: Message) -> None:
        if isinstance(message, TaskDone | Ended):
            told.append(message)

    is_first = world.rank == 0
    with contextlib.ExitStack() as stack:
        held: list[Held] = []

        def begin() -> JobT | None:
            held.append(stack.enter_context(launch.hold()))
            return launch.begin()

        job = _first_does(world, begin)
        if job is not None:
            work(job, launch.hear if is_first else remember)
        # Nobody finishes before everybody is here; one that was stopped stands for all.
        ends = world.gather((told, stop.is_set()))

        def finish() -> ResultT:
            if held[0].lost:
                raise DatasetBusyError(f"{launch.where}: another run took it over: run the same command again")
            for others, _ in ends[1:]:
                for message in others:
                    launch.hear(message)
            return launch.finish(stopped=any(was_stopped for _, was_stopped in ends))

        return _first_does(world, finish)


def _first_does(world: World, action: Callable[[], ValueT]) -> ValueT:
    """What the first rank's action returns or raises, in all of them."""
    outcome: tuple[Any, ShardtoolsError | None] = (None, None)
    if world.rank == 0:
        try:
            outcome = action(), None
        except ShardtoolsError as error:
            outcome = None, error
    value, refused = world.from_first(outcome)
    if refused is not None:
        raise refused
    found: ValueT = value
    return found


def launched_rank() -> int | None:
    """Rank of this process where torchrun, accelerate or Slurm started it as one of many; `None` where a user did."""
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    if "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        return int(os.environ["SLURM_PROCID"])
    return None


def translate_slurm(environment: os._Environ[str] | dict[str, str]) -> None:
    """Fills in RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT from what `srun` sets."""
    if "RANK" in environment or int(environment.get("SLURM_NTASKS", "1")) < 2 or "SLURM_PROCID" not in environment:
        return
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["WORLD_SIZE"] = environment["SLURM_NTASKS"]
    environment["LOCAL_RANK"] = environment.get("SLURM_LOCALID", "0")
    environment.setdefault("MASTER_ADDR", environment.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"))
    environment.setdefault("MASTER_PORT", str(20000 + int(environment.get("SLURM_JOB_ID", "0")) % 20000))


def ranks_on_this_machine(world_size: int) -> int:
    """Ranks of the run that share this machine's cores, as the launcher says; else all of them.

    Args:
        world_size: Ranks of the run.

    Raises:
        RunError: What the launcher says cannot be understood.
    """
    said = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_STEP_TASKS_PER_NODE") or str(world_size)
    node = 0 if os.environ.get("LOCAL_WORLD_SIZE") else int(os.environ.get("SLURM_NODEID", "0"))
    counts: list[int] = []
    for part in said.split(","):
        # Slurm counts by node, like "8(x2),4": 8, 8 and 4.
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if found is None:
            raise RunError(f"expected the number of processes on this machine, found {said!r}: set LOCAL_WORLD_SIZE")
        counts += [int(found[1])] * int(found[2] or 1)
    return max(1, counts[min(node, len(counts) - 1)])
