"""Which epoch's weights a run keeps, and what they reached.

Owns the choice and its memory. Weights of the best epoch are copied to the CPU's memory at once: a network's own
`state_dict` is a view of weights that go on changing, so that whoever holds on to it keeps the last epoch under the
name of the best (as seed 003's training code does). They travel with each checkpoint, so a run that is killed goes on
with them; the price is their size once more in memory and, where a later epoch is not better, on the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from shardtools.pipelines.train.checkpoint import Checkpoint
from shardtools.pipelines.train.evaluate import Evaluation
from shardtools.training import TrainOptions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """Weights that are to be kept unless better ones come, and their evaluation.

    Attributes:
        epoch: Epochs done by then.
        step: Optimiser steps done by then.
        values: Of the evaluation, by the names that metrics have in files.
        thresholds: The score that makes each class an answer, where samples have sets of classes; `None` for a class
            that is never one.
        weights: Name -> tensor in the CPU's memory; empty for those that the network has now.
    """

    epoch: int
    step: int
    values: dict[str, float]
    thresholds: tuple[float | None, ...] | None
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """All but the weights, as JSON has them."""
        return {name: getattr(self, name) for name in ("epoch", "step", "values", "thresholds")}

    def limits(self) -> np.ndarray | None:
        """The thresholds as an array, infinite for a class that is never an answer."""
        if self.thresholds is None:
            return None
        return np.array([np.inf if one is None else one for one in self.thresholds])


class Selection:
    """The choice of one process; all processes of a run choose alike, as they have the same evaluations.

    Attributes:
        kept: What is kept so far; `None` before the first evaluation, and where nothing asks for it.
    """

    def __init__(self, options: TrainOptions) -> None:
        self._metric, self._is_best = f"val_{options.metric}", options.select == "best"
        self._is_asked_for = self._is_best or options.test_split is not None or options.recipe.head == "sigmoid"
        self.kept: Kept | None = None

    def consider(self, model: nn.Module, found: Evaluation, *, epoch: int, step: int) -> None:
        """Takes an evaluation of the weights as they are; keeps them if they are the last, or better than all before.

        Args:
            model: What was evaluated.
            found: Its evaluation.
            epoch: Epochs done.
            step: Optimiser steps done.
        """
        values = found.named("val")
        if not self._is_asked_for:
            return
        if self._is_best and self.kept is not None and not values[self._metric] > self.kept.values[self._metric]:
            return
        limits = found.thresholds
        self.kept = Kept(
            epoch=epoch,
            step=step,
            values=values,
            thresholds=None if limits is None else tuple(one if np.isfinite(one) else None for one in limits.tolist()),
            weights={name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
            if self._is_best
            else {},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint."""
        if checkpoint.kept is None or not self._is_asked_for:
            return
        facts = {**checkpoint.kept, "thresholds": _tuple_or_none(checkpoint.kept["thresholds"])}
        # Written beside the weights only where those are another epoch's.
        weights = (checkpoint.kept_model or checkpoint.model) if self._is_best else {}
        self.kept = Kept(**facts, weights=weights)

    def weights_now(self, model: nn.Module) -> Mapping[str, torch.Tensor]:
        """The weights that are kept as things stand."""
        return self.kept.weights if self.kept is not None and self.kept.weights else model.state_dict()


def _tuple_or_none(values: list[float | None] | None) -> tuple[float | None, ...] | None:
    return None if values is None else tuple(values)
