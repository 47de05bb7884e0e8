"""Predictions in this process, as ranks one after the other: without the seconds that a fork of torch takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from shardtools.evaluation.predictions import Prediction, PredictOptions
from shardtools.execution import Ended, Message, ignore
from shardtools.pipelines.evaluate.job import run_rank
from shardtools.pipelines.ranks import Rank
from tests.helpers.prediction_files import files

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn(Rank):
    """A rank whose turn comes after that of the first: what that one gave is remembered."""

    given: list[Any]

    def from_first(self, value: Any) -> Any:
        """What the first rank gave at this place."""
        if self.rank == 0:
            self.given.append(value)
            return value
        return self.given.pop(0)


class Here:
    """A run of one or several ranks, up to the commit.

    Attributes:
        messages: What the ranks told.
        launch: Of the run.
    """

    def __init__(
        self,
        wanted: PredictOptions,
        num_ranks: int = 1,
        *,
        stop_at: Callable[[Message], bool] = lambda message: False,
    ) -> None:
        """Runs to the end, or until the batch after a message for which `stop_at` is true."""
        torch.set_num_threads(1)
        self.messages: list[Message] = []
        self.launch = Prediction(wanted, ignore)
        given: list[list[Any]] = [[]]
        for rank in range(num_ranks):
            stop = threading.Event()

            def hear(message: Message, stop: threading.Event = stop) -> None:
                self.messages.append(message)
                if stop_at(message):
                    stop.set()

            own = given[0] if rank == 0 else list(given[0])
            world = _Turn(rank=rank, world_size=num_ranks, device=torch.device("cpu"), given=own)
            run_rank(wanted, world, hear, stop)

    def of(self, kind: type[MessageT]) -> list[MessageT]:
        """Messages of one kind."""
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def images(self) -> int:
        """Rows that went through the network."""
        return sum(message.images for message in self.of(Ended))

    def done(self) -> Here:
        """Commits."""
        self.launch.finish(stopped=False)
        return self

    def files(self) -> dict[str, bytes]:
        """Content of all files of the first dataset's predictions."""
        return files(self.launch.storages[0])
