"""A training run on this machine: the folder, the lease, the process, the result.

Owns the order of these. Training itself is in `shardtools.pipelines.train`, in a process of its own that imports torch
and forks one more for each further rank. The price: progress is seen only by the launcher; anyone else reads
`metrics.jsonl`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shardtools.dataset import acquire
from shardtools.errors import OptionError, RunError, ShardtoolsError
from shardtools.processes import Child, Progress, run_children
from shardtools.storage import Storage, open_storage
from shardtools.training.curves import draw_curves
from shardtools.training.metrics import read_metrics
from shardtools.training.options import TrainOptions, TrainResult
from shardtools.training.record import CURVES_FILE, read_finished, write_record

CHILD_DECIDES = 0
"""Number of processes that leaves the choice to the child, which can count GPUs: one a GPU, or one on a CPU."""

TRAINER = ("-m", "shardtools.pipelines.train")
"""What follows the interpreter on the command line of the process that trains."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_METRICS = ("val_top1", "val_top5", "val_loss")


def train(options: TrainOptions, *, progress: Progress | None = None) -> TrainResult:
    """Trains, or goes on with the training that the folder holds.

    Args:
        options: What to train, how, and where to.
        progress: Called with each message: "ready", "step", "notice", "evaluation", "checkpoint", "end"; "finished"
            where nothing was left to do.

    Raises:
        OptionError: The folder is not one that a run can write to.
        PlanMismatchError: The folder holds a training with other settings.
        DatasetBusyError: Another run writes to the folder.
        RunError: The run was stopped, or a process failed; the last checkpoint stays, and the same command resumes.
    """
    show = progress or (lambda message: None)
    storage = open_run(options)
    with acquire(storage, purpose="train") as lease:
        finished = read_finished(storage, options)
        if finished is not None:
            show({"event": "finished", "epochs": finished.epochs, "steps": finished.steps})
            return finished
        return run_child(options, storage, show, lost=lambda: lease.lost)


def open_run(options: TrainOptions) -> Storage:
    """The run's folder, made if there is none.

    Raises:
        OptionError: It is not on this machine, holds a dataset, or is a file.
        AccessError: It cannot be written.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", options.out):
        raise OptionError(
            f"out is a folder of this machine, found {options.out}: checkpoints are written in place; copy the run "
            "there when it is done"
        )
    storage = open_storage(options.out)
    storage.check_writable()
    if storage.exists("dataset.json") or storage.exists("plan.json"):
        raise OptionError(f"out is a folder of its own for the run, found the dataset {options.out}: give another out")
    return storage


def processes_to_ask(options: TrainOptions) -> int:
    """Processes that the child is told to make; `CHILD_DECIDES` where only torch can know."""
    if options.num_processes is not None:
        return options.num_processes
    return 1 if options.device == "cpu" else CHILD_DECIDES


@dataclass(slots=True)
class Story:
    """What the processes of a run told, and what of it is written down.

    Attributes:
        options: What was asked for.
        storage: The run's folder.
        show: Called with each message.
        ready: The first message, without the event's name; empty before.
        step: The last step heard of.
        saved: Step of the last checkpoint; `None` before the first.
        metrics: The last evaluation.
        end: The last message; empty while it runs.
    """

    options: TrainOptions
    storage: Storage
    show: Progress
    ready: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    saved: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)

    def hear(self, message: dict[str, Any]) -> None:
        """Takes a message."""
        event = message["event"]
        if event == "ready":
            self.ready = {name: value for name, value in message.items() if name != "event"}
            self.step = message["first_step"]
            self.saved = message["resumed_from"]
            # Not before: a run that refuses these options must not leave them as the folder's.
            write_record(self.storage, self.options, self.ready)
        elif event == "step":
            self.step = message["step"]
        elif event == "checkpoint":
            self.saved = message["step"]
        elif event == "evaluation":
            self.metrics = {name: message[name] for name in _METRICS if message.get(name) is not None}
        elif event == "end":
            self.end = message
        self.show(message)

    def finish(self, *, stopped: bool = False) -> TrainResult:
        """What the run ended with, written down.

        Args:
            stopped: Whether a signal asked for the end.

        Raises:
            RunError: It was stopped, or ended without a word.
        """
        if self.end.get("reason") != "done":
            raise RunError(self._unfinished(stopped=stopped or self.end.get("reason") == "stopped"))
        numbers = {name: self.end[name] for name in ("epochs", "steps", "images", "seconds")}
        result = TrainResult(out=self.storage.url, metrics=self.metrics or self._earlier_metrics(), **numbers)
        write_record(self.storage, self.options, self.ready, result)
        self._draw()
        return result

    def _unfinished(self, *, stopped: bool) -> str:
        kept = "before the first checkpoint" if self.saved is None else f"with a checkpoint of step {self.saved}"
        if not stopped:
            return (
                f"expected the end of the training in {self.storage.url}, found a process that ended at step "
                f"{self.step} {kept} and gave no reason: run the same command again"
            )
        again = "it begins anew" if self.saved is None else "it resumes"
        return f"stopped at step {self.step}, {self.storage.url} is left {kept}: run the same command again, {again}"

    def _earlier_metrics(self) -> dict[str, float]:
        """The last evaluation of a run that was killed after it and had nothing left but to write its weights."""
        if self.options.val is None:
            return {}
        columns = read_metrics(self.storage.url)["evaluation"]
        # One of earlier weights is not what the run came to.
        if self.end["steps"] not in columns["step"][-1:]:
            return {}
        return {name: float(columns[name][-1]) for name in _METRICS if name in columns}

    def _draw(self) -> None:
        """Draws the run's curves; training that is done does not fail for a plot."""
        try:
            draw_curves([self.storage.url], self.storage.object_url(CURVES_FILE))
        except ShardtoolsError as error:
            self.show({"event": "notice", "text": f"no {CURVES_FILE}: {error}"})


def run_child(
    options: TrainOptions,
    storage: Storage,
    show: Progress,
    *,
    lost: Callable[[], bool] = lambda: False,
    program: tuple[str, ...] = TRAINER,
) -> TrainResult:
    """Runs the process that trains and waits for it.

    Args:
        options: What to train.
        storage: The run's folder, held by this process.
        show: Called with each message.
        lost: Asked now and then whether another run took the folder over.
        program: What trains; it takes pickled `TrainOptions` on its standard input and reports as
            `shardtools.pipelines.train` does.

    Raises:
        ShardtoolsError: What the child reported.
        RunError: The child was stopped, killed, or ended without a word.
    """
    story = Story(options, storage, show)
    threads = options.compute_threads
    child = Child(
        arguments=(*program, "--workers", str(processes_to_ask(options)), str(os.getpid())),
        job=options,
        # Where nothing is asked for the child shares the cores itself, once it knows how many processes there are.
        environment={} if threads is None else {name: str(threads) for name in _THREAD_VARIABLES},
    )
    return story.finish(stopped=run_children([child], story.hear, where=storage.url, lost=lost))
