"""The ranks of a job that loads torch: which one am I, how many threads, what do we exchange, when do we stop.

Owns process set-up. The job runs the same under the launcher of this package, `accelerate launch`, `torchrun` and
`srun`; the price is that Slurm's variables are translated by hand, because accelerate does not read them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState

from shardtools.errors import OptionError, RunError, first_line
from shardtools.execution import CHILD_DECIDES, translate_slurm

ValueT = TypeVar("ValueT")

_COLLECTIVE_TIMEOUT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One process of a job: its 0-based number, how many there are, and its device; an `execution.World`."""

    rank: int
    world_size: int
    device: torch.device

    def from_first(self, value: ValueT) -> ValueT:
        """What the first rank gave."""
        from accelerate.utils import broadcast_object_list

        values = [value]
        if self.world_size > 1:
            _exchange(lambda: broadcast_object_list(values))
        return values[0]

    def gather(self, value: ValueT) -> list[ValueT]:
        """What each rank gave."""
        from accelerate.utils import gather_object

        if self.world_size == 1:
            return [value]
        gathered: list[ValueT] = _exchange(lambda: gather_object([value]))
        return gathered

    def leave(self) -> None:
        """Ends the group; nothing is exchanged after it."""
        if self.world_size > 1:
            PartialState().destroy_process_group()


def _exchange(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except RuntimeError as error:
        raise RunError(f"another process of the run died ({first_line(error)}): run the same command again") from None


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


def join_run(device: str, num_threads: int, world_size: int, *, is_exact: bool = True) -> Rank:
    """`join_world`, of as many processes as were counted on.

    Raises:
        RunError: There are more or fewer.
    """
    world = join_world(device, num_threads, is_exact=is_exact)
    if world.world_size != world_size:
        raise RunError(f"expected {world_size} processes, found {world.world_size}: start them with one launcher")
    return world


def launched_world_size() -> int:
    """Ranks that the launcher of this one started."""
    translate_slurm(os.environ)
    return int(os.environ.get("WORLD_SIZE", "1"))


def device_type(device: str) -> str:
    """What a user's "auto", "cpu" or "cuda" comes to here: "cpu" or "cuda".

    Raises:
        OptionError: CUDA is asked for, and there is none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("device 'cuda' was asked for, found no CUDA device that torch can use: take --device cpu")
    return device


def count_ranks(asked: int, device: str) -> int:
    """How many ranks a child forks: as asked, or one a GPU, or one on a CPU.

    Counting GPUs does not start CUDA, which a fork would not survive.
    """
    if asked != CHILD_DECIDES:
        return asked
    return max(1, torch.cuda.device_count()) if device != "cpu" else 1
