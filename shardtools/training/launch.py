"""A training run: the folder, the lease, the ranks, the record, the result.

Owns what is training's of a launch; the order is `execution.launch`'s. Training itself is in
`shardtools.pipelines.train.job`. The price: progress is seen only by the launcher; anyone else reads `metrics.jsonl`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from shardtools.dataset import acquire
from shardtools.errors import OptionError, RunError, ShardtoolsError, StoppedError
from shardtools.execution import CHILD_DECIDES, Child, Held, Message, Notice, Progress, ignore, run_in_child
from shardtools.extras import TRAINING, is_installed, of_encoder, require
from shardtools.storage import Storage, open_storage
from shardtools.training.classes import plan_classes
from shardtools.training.curves import draw_curves
from shardtools.training.messages import (
    AlreadyTrained,
    CheckpointWritten,
    Evaluated,
    Selected,
    StepDone,
    TrainingEnded,
    TrainingReady,
    without_counts,
)
from shardtools.training.metrics import read_metrics
from shardtools.training.options import TrainOptions, TrainResult
from shardtools.training.run_file import CURVES_FILE, read_finished, write_run_file

TRAINER = ("-m", "shardtools.pipelines.train.job")
"""What follows the interpreter on the command line of the process that trains."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def train(options: TrainOptions, *, progress: Progress | None = None) -> TrainResult:
    """Trains, or goes on with the training that the folder holds.

    Args:
        options: What to train, how, and where to.
        progress: Called with each message: `Notice` and those of `training.messages`.

    Raises:
        OptionError: The folder is not one that a run can write to.
        PlanMismatchError: The folder holds a training with other settings.
        DatasetBusyError: Another run writes to the folder.
        RunError: The run was stopped, or a process failed; the last checkpoint stays, and the same command resumes.
    """
    # Manifests are enough to say which class is which, and torch takes seconds to load.
    return run_in_child(Training(options, progress or ignore, check=lambda: plan_classes(options)))


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


def require_training_libraries(options: TrainOptions) -> None:
    """Fails early where what a training needs is not installed.

    Raises:
        RunError: A library is missing.
    """
    own = set(of_encoder(options.recipe.encoder))
    if options.decoder == "gpu" or options.recipe.policy != "none":
        own.add("torchvision")
    require("train", (*TRAINING, *sorted(own)), extra="train")
    if options.tensorboard:
        require("train --tensorboard", ("tensorboard",), extra="train", otherwise="leave it out: --no-tensorboard")
    if options.wandb is not None and not is_installed("wandb"):
        raise OptionError("wandb is not installed: pip install wandb, or leave --wandb out")


class Training:
    """A run of `train`, for ranks of any launcher; an `execution.Launch`."""

    def __init__(
        self,
        options: TrainOptions,
        show: Progress,
        *,
        program: tuple[str, ...] = TRAINER,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        """Looks for the libraries only.

        Args:
            options: What to train.
            show: Called with each message.
            program: What trains; it takes `(TrainOptions, ranks, parent's pid)` pickled on its standard input and
                reports as `shardtools.pipelines.train.job` does.
            check: Called before the child is started, if there is anything to do; raises what forbids it.

        Raises:
            RunError: A library is missing.
        """
        require_training_libraries(options)
        self._options, self._show, self._program, self._check = options, show, program, check
        self._storage = open_storage(options.out)
        self._finished: TrainResult | None = None
        self._told = _Told()

    @property
    def where(self) -> str:
        """The run's folder."""
        return self._storage.url

    def hold(self) -> contextlib.AbstractContextManager[Held]:
        """Takes the folder's lease.

        Raises:
            OptionError: The folder is not one that a run can write to.
        """
        return acquire(open_run(self._options), purpose="train")

    def begin(self) -> TrainOptions | None:
        """The options; `None` where the training is done.

        Raises:
            ShardtoolsError: What `check` raises.
        """
        self._finished = read_finished(self._storage, self._options)
        if self._finished is None:
            self._check()
            return self._options
        self._show(AlreadyTrained(epochs=self._finished.epochs, steps=self._finished.steps))
        return None

    def child(self, job: TrainOptions) -> Child:
        """The process that imports torch and forks the ranks."""
        threads = job.compute_threads
        return Child(
            arguments=self._program,
            job=(job, processes_to_ask(job), os.getpid()),
            # Where nothing is asked for the child shares the cores itself, once it knows how many processes there are.
            environment={} if threads is None else {name: str(threads) for name in _THREAD_VARIABLES},
        )

    def hear(self, message: Message) -> None:
        """Takes a message of the first rank, and writes down what a record keeps."""
        self._told.hear(message)
        if isinstance(message, TrainingReady):
            # Not before: a run that refuses these options must not leave them as the folder's.
            write_run_file(self._storage, self._options, asdict(message))
        self._show(message)

    def finish(self, *, stopped: bool) -> TrainResult:
        """What the run ended with, written down."""
        if self._finished is not None:
            return self._finished
        told, end = self._told, self._told.end
        if end is None or told.ready is None or end.reason != "done":
            was_stopped = stopped or (end is not None and end.reason == "stopped")
            kind = StoppedError if was_stopped else RunError
            raise kind(told.unfinished(self.where, stopped=was_stopped))
        metrics = {**(told.metrics or self._earlier_metrics(end.steps)), **told.selected}
        result = TrainResult(
            out=self.where,
            metrics=metrics,
            epochs=end.epochs,
            steps=end.steps,
            images=end.images,
            seconds=end.seconds,
        )
        write_run_file(self._storage, self._options, asdict(told.ready), result)
        self._draw()
        return result

    def _earlier_metrics(self, steps: int) -> dict[str, float]:
        """The last evaluation of a run that was killed after it and had nothing left but to write its weights."""
        if self._options.val is None:
            return {}
        columns = read_metrics(self.where)["evaluation"]
        # One of earlier weights is not what the run came to.
        if steps not in columns["step"][-1:]:
            return {}
        last = {name: float(column[-1]) for name, column in columns.items() if name.startswith("val_")}
        return without_counts({name: value for name, value in last.items() if math.isfinite(value)})

    def _draw(self) -> None:
        """Draws the run's curves; training that is done does not fail for a plot."""
        try:
            draw_curves([self.where], self._storage.object_url(CURVES_FILE))
        except ShardtoolsError as error:
            self._show(Notice(text=f"no {CURVES_FILE}: {error}"))


@dataclass(slots=True)
class _Told:
    """What the ranks told so far.

    Attributes:
        ready: The first message; `None` before.
        step: The last step heard of.
        saved: Step of the last checkpoint; `None` before the first.
        metrics: The last evaluation.
        selected: What the weights that were kept reach, where they were chosen or tested.
        end: The last message; `None` while it runs.
    """

    ready: TrainingReady | None = None
    step: int = 0
    saved: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    selected: dict[str, float] = field(default_factory=dict)
    end: TrainingEnded | None = None

    def hear(self, message: Message) -> None:
        if isinstance(message, TrainingReady):
            self.ready = message
            self.step = message.first_step
            self.saved = message.resumed_from
        elif isinstance(message, StepDone):
            self.step = message.step
        elif isinstance(message, CheckpointWritten):
            self.saved = message.step
        elif isinstance(message, Evaluated):
            self.metrics = message.metrics()
        elif isinstance(message, Selected):
            self.selected = message.metrics()
        elif isinstance(message, TrainingEnded):
            self.end = message

    def unfinished(self, where: str, *, stopped: bool) -> str:
        """The line about a run that did not come to its end."""
        kept = "before the first checkpoint" if self.saved is None else f"with a checkpoint of step {self.saved}"
        if not stopped:
            return (
                f"expected the end of the training in {where}, found a process that ended at step {self.step} {kept} "
                "and gave no reason: run the same command again"
            )
        again = "it begins anew" if self.saved is None else "it resumes"
        return f"stopped at step {self.step}, {where} is left {kept}: run the same command again, {again}"
