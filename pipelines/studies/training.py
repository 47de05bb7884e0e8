"""How studies train: small networks, each on one core, so that a run is the same bits on any machine of a kind."""

from __future__ import annotations

from typing import Any

from shardtools.errors import RunError
from shardtools.training import TrainOptions, train

ONE_CORE: dict[str, Any] = {
    "num_processes": 1,
    "threads": 1,
    "compute_threads": 1,
    "device": "cpu",
    "tensorboard": False,
}
"""Options of a training."""


def train_whole(options: TrainOptions, name: str) -> None:
    """Trains, or goes on with it.

    Args:
        options: The training.
        name: What the study calls it.

    Raises:
        RunError: It was stopped; the same command goes on.
    """
    if not train(options).finished:
        raise RunError(f"stopped before {name} was finished: run the same command again, it goes on")
