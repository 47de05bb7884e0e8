"""Stochastic gradient descent as a solver of probes: the settings of a batch are trained together.

Owns the bridge from a probe's parts and settings to `train_wide`. The price: a run that is to stop ends its epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
import torch

from shardtools.errors import RunError
from shardtools.evaluation.probes import Linear, Part, Settings
from shardtools.execution import Batch, Progress
from shardtools.pipelines.probes.rows import Features
from shardtools.pipelines.probes.wide import WideResult, train_wide


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
            show: Told of trials that are done.
            is_stopped: Whether the run is to end.
        """
        self._epochs, self._device, self._precision = epochs, device, precision
        self._show, self._is_stopped = show, is_stopped

    def accuracies(
        self, train: Part, validation: Part, num_classes: int, settings: Settings, *, seed: int
    ) -> list[float]:
        """See `Solver`."""
        result = self._train(train, num_classes, settings, seed=seed)
        found = result.accuracies(_features(validation), validation.labels)
        self._show(Batch(rows=len(settings)))
        return [float("nan") if diverged else float(one) for one, diverged in zip(found, result.diverged, strict=True)]

    def fit(self, train: Part, num_classes: int, settings: Mapping[str, float], *, seed: int) -> Linear | None:
        """See `Solver`."""
        result = self._train(train, num_classes, [settings], seed=seed)
        self._show(Batch(rows=1))
        if result.diverged[0]:
            return None
        weights, biases = (one[0].to("cpu", torch.float32).numpy() for one in (result.weights, result.biases))
        return Linear(weights=np.ascontiguousarray(weights), intercept=biases)

    def _train(
        self, train: Part, num_classes: int, settings: Sequence[Mapping[str, float]], *, seed: int
    ) -> WideResult:
        if self._is_stopped():
            raise RunError("stopped")
        return train_wide(
            _features(train),
            train.labels,
            num_classes,
            rates=[one["rate"] for one in settings],
            decays=[one["decay"] for one in settings],
            epochs=self._epochs,
            seed=seed,
            device=self._device,
            precision=self._precision,
            normalize=train.l2,
        )


def _features(part: Part) -> Features:
    # Rows that stay on the disk are no array; they are asked for what `Rows` asks an array.
    return cast(Features, part.stored())
