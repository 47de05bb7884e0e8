"""Stochastic gradient descent as a solver of probes: the settings of a batch are trained together.

Owns the bridge from a probe's parts and settings to `train_wide`. The price: a run that is to stop ends its epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from shardtools.errors import StoppedError
from shardtools.evaluation.probes import Linear, Part, Settings
from shardtools.execution import Batch, Progress
from shardtools.pipelines.probes.wide import WideResult, train_wide

_SECONDS = 0.3


class WideSolver:
    """A `Solver` of the settings "rate" and "decay"."""

    def __init__(
        self,
        *,
        epochs: int,
        device: torch.device,
        precision: str,
        show: Progress,
        is_stopped: Callable[[], bool],
    ) -> None:
        """Trains nothing yet.

        Args:
            epochs: How often all rows are seen.
            device: That computes.
            precision: See `train_wide`.
            show: Told of every epoch, as often as it has trials.
            is_stopped: Whether the run is to end.
        """
        self._epochs, self._device, self._precision = epochs, device, precision
        self._show, self._is_stopped = show, is_stopped

    def accuracies(
        self, train: Part, validation: Part, num_classes: int, settings: Settings, *, seed: int
    ) -> list[float]:
        """See `Solver`."""
        result = self._train(train, num_classes, settings, seed=seed)
        found = result.accuracies(validation.stored(), validation.labels)
        return [float("nan") if diverged else float(one) for one, diverged in zip(found, result.diverged, strict=True)]

    def fit(self, train: Part, num_classes: int, settings: Mapping[str, float], *, seed: int) -> Linear | None:
        """See `Solver`."""
        result = self._train(train, num_classes, [settings], seed=seed)
        if result.diverged[0]:
            return None
        weights, biases = (one[0].to("cpu", torch.float32).numpy() for one in (result.weights, result.biases))
        return Linear(weights=np.ascontiguousarray(weights), intercept=biases)

    def _train(
        self, train: Part, num_classes: int, settings: Sequence[Mapping[str, float]], *, seed: int
    ) -> WideResult:
        counter = _Counter(self._show, len(settings))

        def tell(epoch: int) -> None:
            counter.epoch()
            if self._is_stopped():
                raise StoppedError(f"stopped after epoch {epoch + 1}: run the same command again")

        result = train_wide(
            train.stored(),
            train.labels,
            num_classes,
            rates=[one["rate"] for one in settings],
            decays=[one["decay"] for one in settings],
            epochs=self._epochs,
            seed=seed,
            device=self._device,
            precision=self._precision,
            normalize=train.l2,
            on_epoch=tell,
        )
        # Where all have diverged there are no more epochs.
        counter.end(self._epochs)
        return result


class _Counter:
    """Tells of epochs a few times a second; those of small sets take a millisecond."""

    def __init__(self, show: Progress, num_trials: int) -> None:
        self._show, self._num_trials = show, num_trials
        self._done = self._told = 0
        self._due = time.monotonic() + _SECONDS

    def epoch(self) -> None:
        self._done += 1
        if time.monotonic() >= self._due:
            self._tell(self._done)

    def end(self, epochs: int) -> None:
        self._tell(epochs)

    def _tell(self, done: int) -> None:
        self._show(Batch(rows=self._num_trials * (done - self._told)))
        self._told, self._due = done, time.monotonic() + _SECONDS
