"""How a classifier is found: the seam between the search and what trains.

Owns the contract, and the solver that needs no process of its own. The price of a plain one: L-BFGS starts every
setting from nothing, so that a search that was killed goes on with the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float32s, Int64s
from shardtools.evaluation.probes.logistic import Linear, fit
from shardtools.evaluation.probes.reading import Images
from shardtools.evaluation.probes.stored_rows import StoredRows, fits_in_memory
from shardtools.execution import Batch, Progress

MAX_ITERATIONS, TOLERANCE = 2000, 1e-4
"""Of L-BFGS, as naver/trex has them: the tolerance is scikit-learn's own."""

Settings = Sequence[Mapping[str, float]]


class Part:
    """Some images, to fit to or to judge on."""

    def __init__(self, images: Images, rows: Int64s) -> None:
        self._images, self._rows = images, rows
        self._normalized: Float32s | None = None
        self._stored: npt.NDArray[np.floating[Any]] | StoredRows | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def l2(self) -> bool:
        """Whether features are to get length 1."""
        return self._images.l2

    @property
    def labels(self) -> Int64s:
        """From 0, int64 [N]."""
        return self._images.labels[self._rows]

    def ready(self) -> Float32s:
        """Features as they are learnt from, of length 1 where that is asked for, float32 [N, D]."""
        if self._normalized is None:
            self._normalized = self._images.take(self._rows)
        return self._normalized

    def stored(self) -> npt.NDArray[np.floating[Any]] | StoredRows:
        """Features as they are stored: in memory where they fit, else fetched when they are asked for."""
        if self._stored is None:
            rows = StoredRows(self._images.store, self._images.places[self._rows])
            self._stored = rows[:] if fits_in_memory(rows) else rows
        return self._stored


class Solver(Protocol):
    """Fits linear classifiers; a loss that is not finite makes an accuracy of NaN, and no classifier."""

    def accuracies(
        self, train: Part, validation: Part, num_classes: int, settings: Settings, *, seed: int
    ) -> list[float]:
        """Top-1 on `validation` of a classifier a setting, fitted to `train`."""

    def fit(self, train: Part, num_classes: int, settings: Mapping[str, float], *, seed: int) -> Linear | None:
        """The classifier of one setting."""


class LbfgsSolver:
    """L-BFGS to the minimum; its one setting is C, and no seed changes anything."""

    def __init__(self, show: Progress) -> None:
        """Tells of every classifier."""
        self._show = show

    def accuracies(
        self, train: Part, validation: Part, num_classes: int, settings: Settings, *, seed: int
    ) -> list[float]:
        """See `Solver`."""
        found = []
        for one in settings:
            classifier = self.fit(train, num_classes, one, seed=seed)
            found.append(float((classifier.predict(validation.ready()) == validation.labels).mean()))
        return found

    def fit(self, train: Part, num_classes: int, settings: Mapping[str, float], *, seed: int) -> Linear:
        """See `Solver`."""
        found = fit(
            train.ready(),
            train.labels,
            num_classes,
            settings["C"],
            max_iterations=MAX_ITERATIONS,
            tolerance=TOLERANCE,
        )
        self._show(Batch(rows=1))
        return found
