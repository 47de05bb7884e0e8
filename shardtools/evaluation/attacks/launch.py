"""A run of an attack: the folder, its lease, the ranks, the attacked images, the commit.

Owns what is an attack's of a launch; the order is `execution.launch`'s. The work is in
`shardtools.pipelines.evaluate.attack_job`. Attacked images become their dataset before the overlay is committed, so
that a run which was killed in between writes them again; the price is that they wait on the disk until then.
"""

from __future__ import annotations

import contextlib
import os

from shardtools.dataset import acquire, open_dataset
from shardtools.errors import DatasetError, NotFoundError, RunError
from shardtools.evaluation.attacks.images import write_attacked
from shardtools.evaluation.attacks.options import AttackOptions, AttackResult
from shardtools.evaluation.attacks.plan import AttackPlan
from shardtools.evaluation.attacks.rows import figures_of
from shardtools.evaluation.predictions import is_committed, predictions_storage, read_plan, unfinished, written
from shardtools.execution import (
    CHILD_DECIDES,
    Child,
    Doing,
    Ended,
    Held,
    Message,
    Progress,
    ignore,
    network_environment,
    run_in_child,
)
from shardtools.extras import ENCODING, require
from shardtools.overlays import open_overlay_at
from shardtools.words import counted

ATTACKER = ("-m", "shardtools.pipelines.evaluate.attack_job")
"""What follows the interpreter on the command line of the process that attacks."""


def attack(options: AttackOptions, *, progress: Progress | None = None) -> AttackResult:
    """Attacks a model with a dataset's images, or goes on with a run that was left unfinished.

    Args:
        options: What, by what, and where to.
        progress: Called with each message: `Planned`, `Ready`, `Batch`, `TaskDone`, `Notice`, `Doing`, `Ended`.

    Raises:
        DatasetError: The dataset is not finished, or has no labels.
        PlanMismatchError: The folder holds results of another attack, model or dataset version, or classes do not fit.
        DatasetBusyError: Another run writes to the folder.
        RunError: The run was stopped, or a process failed, or a logit is not finite; batches stay, and the same command
            resumes.
    """
    return run_in_child(Attacking(options, progress or ignore))


def require_attack_libraries(options: AttackOptions) -> None:
    """Fails early where what every attack needs is not installed.

    Raises:
        RunError: A library is missing.
        OptionError: The model is a path to nothing.
    """
    options.model.check_path()
    require(f"eval attack {options.model.model}", ENCODING, extra="eval")


class Attacking:
    """A run of `attack`, for ranks of any launcher; an `execution.Launch`.

    Attributes:
        storage: The folder of the results.
    """

    def __init__(self, options: AttackOptions, show: Progress) -> None:
        """Opens the dataset; writes nothing.

        Raises:
            DatasetError: There is none.
            RunError: A library is missing.
        """
        require_attack_libraries(options)
        self._options, self._show = options, show
        self.storage = predictions_storage(open_dataset(options.dataset), options.overlay_name)
        self._images, self._seconds, self._stopped = 0, 0.0, False

    @property
    def where(self) -> str:
        """The folder of the results."""
        return self.storage.url

    def hold(self) -> contextlib.AbstractContextManager[Held]:
        """Takes the folder's lease.

        Raises:
            AccessError: It cannot be written.
        """
        self.storage.check_writable()
        return acquire(self.storage, purpose="attack")

    def begin(self) -> AttackOptions:
        """What was asked for; what is done already is found out by the first rank."""
        return self._options

    def child(self, job: AttackOptions) -> Child:
        """The process that imports torch and forks the ranks."""
        num_ranks = job.num_processes or (os.cpu_count() or 1 if job.device == "cpu" else CHILD_DECIDES)
        return Child(
            arguments=ATTACKER,
            job=(job, num_ranks, os.getpid()),
            environment=network_environment(job.compute_threads),
        )

    def hear(self, message: Message) -> None:
        """Counts what a rank attacked."""
        if isinstance(message, Ended):
            self._images += message.images
            self._seconds = max(self._seconds, message.seconds)
            self._stopped |= message.reason == "stopped"
        self._show(message)

    def finish(self, *, stopped: bool) -> AttackResult:
        """Writes the attacked images and commits the parts, if all are there."""
        plan, out = read_plan(self.storage, AttackPlan), self._options.out
        # Images first: the commit removes what they wait in.
        if plan is not None and out is not None and not written(self.storage).parts_left(plan):
            self._show(Doing(text=f"writing the attacked images to {out}"))
            out = write_attacked(self.storage, plan, open_dataset(self._options.dataset), out)
        if not is_committed(self.storage, AttackPlan):
            raise RunError(unfinished(self.storage, AttackPlan, stopped=stopped or self._stopped))
        if out is not None and plan is None:
            _check_written(out)
        return self._result(out)

    def _result(self, out: str | None) -> AttackResult:
        overlay = open_overlay_at(self.storage.url)
        plan = AttackPlan.of_overlay(overlay.info, where=overlay.url)
        figures, given = figures_of(overlay.read()), plan.attack
        aim = "" if given.target == "none" else f", {given.target} target"
        return AttackResult(
            url=self.storage.url,
            name=plan.name,
            model=plan.model.name,
            source=(plan.source or plan.model).name,
            attack=f"{given.attack}, eps {given.eps:.4g}, {counted(given.num_steps, 'step')} of {given.step:.4g}{aim}",
            num_rows=overlay.info.num_rows,
            num_attacked=figures.num_attacked,
            clean_accuracy=figures.clean_accuracy,
            accuracy=figures.accuracy,
            success=figures.success,
            max_linf=figures.max_linf,
            images=self._images,
            seconds=round(self._seconds, 3),
            out=out,
        )


def _check_written(out: str) -> None:
    """Of a run that found its results committed: the attacked images went with them."""
    try:
        open_dataset(out)
    except (DatasetError, NotFoundError):
        raise RunError(
            f"the attack is done and its images are not kept any more, expected their dataset in {out}, found none: "
            "attack again with --replace"
        ) from None
