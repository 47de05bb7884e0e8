"""What a training run tells while it goes on, beside the words that all jobs share.

Owns these messages. `ready` facts also stand in the run file, under the names of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shardtools.execution import EndReason, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReady(Message):
    """The first step is about to begin.

    Attributes:
        steps_per_epoch: Optimizer steps of an epoch.
        epochs: Of the whole run.
        first_step: Steps that are done already.
        images_per_step: Samples of a step, over all processes.
        num_processes: Processes that train.
        classes: Outputs of the classifier.
        samples: Samples of an epoch.
        resumed_from: Step of the checkpoint that it goes on from; `None` for a fresh start.
        decoder: Where images are decoded: "cpu" or "gpu".
        device: Of the first process.
    """

    steps_per_epoch: int
    epochs: int
    first_step: int
    images_per_step: int
    num_processes: int
    classes: int
    samples: int
    resumed_from: int | None
    decoder: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone(Message):
    """A step, told a few times a second at most.

    Attributes:
        step: Steps done.
        loss: The latest that is known.
        lr: Learning rate of the step.
        images_per_second: Over all processes.
        data_wait: Share of the time that steps wait for data, 0 to 1.
    """

    step: int
    loss: float
    lr: float
    images_per_second: float
    data_wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated(Message):
    """The result of an evaluation.

    Attributes:
        epoch: Epochs done.
        values: By the names that metrics have in files: "val_top1" and "val_top5" in percent, "val_loss", "val_images"
            (how many), and the run's own metric, "val_kappa", as it is.
    """

    epoch: int
    values: dict[str, float]

    def metrics(self) -> dict[str, float]:
        """All but the number of images."""
        return without_counts(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected(Message):
    """Which epoch's weights the run keeps, once all are done.

    Attributes:
        epoch: Epochs done by then, from 1 on.
        values: What these weights reach, by the names that metrics have in files: those of the evaluation where the
            best epoch was looked for, and "test_top1", ... where a split to test on was given.
    """

    epoch: int
    values: dict[str, float]

    def metrics(self) -> dict[str, float]:
        """All but the numbers of images, with the epoch as "best_epoch"."""
        return {**without_counts(self.values), "best_epoch": self.epoch}


def without_counts(values: Mapping[str, float]) -> dict[str, float]:
    """What was measured, without how many images there were."""
    return {name: value for name, value in values.items() if not name.endswith("_images")}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointWritten(Message):
    """A checkpoint is durable."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEnded(Message):
    """The end of the run.

    Attributes:
        reason: "stopped" after the step in hand, because it was asked to.
        epochs: Whole epochs done, of all runs.
        steps: Steps done, of all runs.
        images: Samples of this run, over all processes.
        seconds: Of this run.
    """

    reason: EndReason
    epochs: int
    steps: int
    images: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyTrained(Message):
    """Nothing was left to do."""

    epochs: int
    steps: int
