"""What is told about a training run while it goes on: metrics.jsonl, TensorBoard, Weights & Biases, the progress bar.

Owns the clock. The first process tells; the others only keep time, so a metric costs no exchange but the loss's mean.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Protocol

import torch

from shardtools.errors import OptionError
from shardtools.execution import Notice, Progress
from shardtools.training import TrainOptions
from shardtools.training.messages import CheckpointWritten, Evaluated, Selected, StepDone, TrainingReady
from shardtools.training.metrics import MetricsLog

_REPORT_SECONDS = 0.25
_MAX_NOTICES = 20


class _Writer(Protocol):
    def add(self, values: dict[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    def __init__(self, run: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Of a run that was killed after its last checkpoint: those steps are done again.
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=first_step + 1)

    def add(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, project: str, options: TrainOptions) -> None:
        try:
            import wandb  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise OptionError("wandb is not installed: pip install wandb, or leave --wandb out") from None
        run = Path(options.out).resolve()
        # Of the whole path: folders of two runs may end in the same name.
        number = hashlib.sha256(str(run).encode()).hexdigest()[:16]
        self._run: Any = wandb.init(
            project=project, id=number, name=run.name, resume="allow", dir=str(run), config=options.result()
        )

    def add(self, values: dict[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()


class Watch:
    """The metrics of one process of a run."""

    def __init__(
        self,
        options: TrainOptions,
        report: Progress,
        *,
        is_main: bool,
        world_size: int,
        first_step: int,
        steps_per_epoch: int,
    ) -> None:
        """Opens the places where metrics go.

        Args:
            options: Where, and which.
            report: Takes the messages of the launcher.
            is_main: Whether this is the process that tells; the others report only what they alone know.
            world_size: Processes that do the same.
            first_step: Optimiser steps that are done already.
            steps_per_epoch: Optimiser steps of an epoch.
        """
        self._report, self._is_main, self._world_size = report, is_main, world_size
        self._steps_per_epoch = steps_per_epoch
        run = Path(options.out)
        self._log = MetricsLog(run) if is_main else None
        if self._log is not None:
            # Steps behind the checkpoint are taken again; their lines would come twice.
            self._log.rewind(first_step)
        self._writers: list[_Writer] = []
        if is_main and options.tensorboard:
            self._writers.append(_TensorBoard(run, first_step))
        if is_main and options.wandb is not None:
            self._writers.append(_Wandb(options.wandb, options))
        self._images, self._waited, self._since = 0, 0.0, time.perf_counter()
        self._reported_at, self._num_notices = 0.0, 0
        self._speed, self._data_wait, self._lr = 0.0, 0.0, 0.0

    def ready(self, message: TrainingReady) -> None:
        """That the first step is about to begin."""
        if self._is_main:
            self._report(message)
        self.restart_clock()

    def restart_clock(self) -> None:
        """Begins to measure anew, after something that was no training."""
        self._images, self._waited, self._since = 0, 0.0, time.perf_counter()

    def after_step(self, step: int, *, loss: float, lr: float, num_images: int, waited: float) -> None:
        """Counts a step of this process.

        Args:
            step: Optimiser steps done.
            loss: The latest that is known.
            lr: Learning rate of the step.
            num_images: Of this process.
            waited: Seconds for which the batch was waited for.
        """
        self._lr = lr
        self._images += num_images * self._world_size
        self._waited += waited
        now = time.perf_counter()
        if self._is_main and now - self._reported_at > _REPORT_SECONDS:
            self._reported_at = now
            self._measure(now)
            self._report(StepDone(step=step, loss=loss, lr=self._lr, **self._speeds()))

    def _measure(self, now: float) -> None:
        seconds = now - self._since
        if seconds > 0:
            self._speed, self._data_wait = self._images / seconds, self._waited / seconds

    def _speeds(self) -> dict[str, float]:
        return {"images_per_second": round(self._speed, 2), "data_wait": round(self._data_wait, 4)}

    def log_step(self, step: int, *, loss: float) -> None:
        """A line of metrics: means over all processes since the last one."""
        self._measure(time.perf_counter())
        values = {"loss": loss, "lr": self._lr, **self._speeds()}
        if torch.cuda.is_available():
            values["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
        self._tell("step", step, values)
        self.restart_clock()

    def evaluation(self, step: int, values: dict[str, float]) -> None:
        """The result of an evaluation."""
        self._tell("evaluation", step, values)
        if self._is_main:
            self._report(Evaluated(epoch=step // self._steps_per_epoch, values=values))

    def selected(self, step: int, best_epoch: int, values: dict[str, float]) -> None:
        """Which epoch's weights are kept at the end, and what they reach."""
        self._tell("selected", step, {"best_epoch": best_epoch, **values})
        if self._is_main:
            self._report(Selected(epoch=best_epoch, values=values))

    def checkpoint(self, step: int) -> None:
        """That a checkpoint is written."""
        if self._is_main:
            self._report(CheckpointWritten(step=step))

    def notice(self, text: str) -> None:
        """One line for the user; after many of them no more are shown."""
        self._num_notices += 1
        if self._num_notices <= _MAX_NOTICES:
            self._report(Notice(text=text))
        elif self._num_notices == _MAX_NOTICES + 1:
            self._report(Notice(text=f"more than {_MAX_NOTICES} such lines: further ones are not shown"))

    def _tell(self, kind: str, step: int, values: dict[str, float]) -> None:
        if self._log is not None:
            self._log.add(kind, step=step, epoch=step / self._steps_per_epoch, **values)
        for writer in self._writers:
            writer.add({f"{kind}/{name}": value for name, value in values.items()}, step)

    def close(self) -> None:
        """Ends what is open."""
        if self._log is not None:
            self._log.close()
        for writer in self._writers:
            writer.close()
