"""Attacks in this process, as ranks one after the other: without the seconds that a fork of torch takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from shardtools.evaluation.attacks import Attacking, AttackOptions, AttackResult
from shardtools.execution import Ended, Message, ignore
from shardtools.pipelines.evaluate.attack_job import run_rank
from shardtools.pipelines.ranks import Rank


@dataclass(frozen=True, slots=True, kw_only=True)
class _InTurn(Rank):
    """A rank whose turn comes after that of the first: what that one gave is remembered."""

    given: list[Any]

    def from_first(self, value: Any) -> Any:
        """What the first rank gave at this place."""
        if self.rank == 0:
            self.given.append(value)
            return value
        return self.given.pop(0)


class AttackHere:
    """A run of one or several ranks, up to the commit.

    Attributes:
        messages: What the ranks told.
        launch: Of the run.
    """

    def __init__(
        self,
        wanted: AttackOptions,
        num_ranks: int = 1,
        *,
        stop_at: Callable[[Message], bool] = lambda message: False,
    ) -> None:
        """Runs to the end, or until the batch after a message for which `stop_at` is true."""
        torch.set_num_threads(1)
        self.messages: list[Message] = []
        self.launch = Attacking(wanted, ignore)
        given: list[Any] = []
        for rank in range(num_ranks):
            stop = threading.Event()

            def hear(message: Message, stop: threading.Event = stop) -> None:
                self.messages.append(message)
                self.launch.hear(message)
                if stop_at(message):
                    stop.set()

            own = given if rank == 0 else list(given)
            run_rank(
                wanted, _InTurn(rank=rank, world_size=num_ranks, device=torch.device("cpu"), given=own), hear, stop
            )

    @property
    def images(self) -> int:
        """Rows that were made in this run."""
        return sum(message.images for message in self.messages if isinstance(message, Ended))

    def done(self) -> AttackResult:
        """Commits."""
        return self.launch.finish(stopped=False)

    def files(self) -> dict[str, bytes]:
        """Content of all files of the results."""
        storage = self.launch.storage
        return {stored.path: storage.read(stored.path) for stored in storage.list() if "lease" not in stored.path}
