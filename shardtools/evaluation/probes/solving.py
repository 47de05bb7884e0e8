"""How a classifier is found: the seam between the search and what trains.

Owns the contract, and the solver that needs no process of its own. The price of a plain one: L-BFGS starts every
setting from nothing, so that a search that was killed goes on with the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shardtools.arrays import Float32s, Int64s
from shardtools.evaluation.probes.logistic import Linear, fit

MAX_ITERATIONS = 2000
"""Of L-BFGS, as naver/trex has it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Images to fit to or to judge on.

    Attributes:
        features: float32 [N, D].
        labels: From 0, int64 [N].
    """

    features: Float32s
    labels: Int64s


class Solver(Protocol):
    """Fits linear classifiers."""

    def accuracies(
        self, train: Part, validation: Part, num_classes: int, settings: Sequence[Mapping[str, float]], *, seed: int
    ) -> list[float | None]:
        """Top-1 on `validation` of a classifier a setting, fitted to `train`; `None` of one that diverged."""

    def fit(self, train: Part, num_classes: int, settings: Mapping[str, float], *, seed: int) -> Linear | None:
        """The classifier of one setting; `None` where it diverged."""


class LbfgsSolver:
    """L-BFGS to the minimum; its one setting is C, and no seed changes anything."""

    def accuracies(
        self, train: Part, validation: Part, num_classes: int, settings: Sequence[Mapping[str, float]], *, seed: int
    ) -> list[float | None]:
        """See `Solver`."""
        found: list[float | None] = []
        for one in settings:
            classifier = fit(train.features, train.labels, num_classes, one["C"], max_iterations=MAX_ITERATIONS)
            found.append(float((classifier.predict(validation.features) == validation.labels).mean()))
        return found

    def fit(self, train: Part, num_classes: int, settings: Mapping[str, float], *, seed: int) -> Linear | None:
        """See `Solver`."""
        return fit(train.features, train.labels, num_classes, settings["C"], max_iterations=MAX_ITERATIONS)
