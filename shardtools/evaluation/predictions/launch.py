"""A run of predictions: the folders, their leases, the ranks, the commits.

Owns what is predictions' of a launch; the order is `execution.launch`'s. The work is in
`shardtools.pipelines.evaluate.job`. The price: plans are made there, because only torch can tell the digest of the
weights; so a model that does not fit a dataset is found out after it is loaded.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from shardtools.arrays import filled
from shardtools.dataset import acquire, open_dataset
from shardtools.errors import RunError
from shardtools.evaluation.predictions.options import PredictOptions, PredictResult
from shardtools.evaluation.predictions.plan import PredictionPlan
from shardtools.evaluation.predictions.writer import is_committed, predictions_storage, unfinished
from shardtools.execution import (
    CHILD_DECIDES,
    Child,
    Ended,
    Held,
    Message,
    Progress,
    ignore,
    network_environment,
    run_in_child,
)
from shardtools.extras import ENCODING, of_encoder, require
from shardtools.overlays import open_overlay_at
from shardtools.storage import Storage

PREDICTOR = ("-m", "shardtools.pipelines.evaluate.job")
"""What follows the interpreter on the command line of the process that predicts."""


def predict(options: PredictOptions, *, progress: Progress | None = None) -> tuple[PredictResult, ...]:
    """Writes predictions of a model for datasets, or goes on with those that a run left unfinished.

    Args:
        options: What, by what, and where to.
        progress: Called with each message: `Planned`, `Ready`, `Batch`, `TaskDone`, `Notice`, `Ended`.

    Returns:
        What each dataset came to, in their order.

    Raises:
        DatasetError: A dataset is not finished, or a logit is not finite.
        PlanMismatchError: A folder holds predictions of another model or dataset version, or classes do not fit.
        DatasetBusyError: Another run writes to a folder.
        RunError: The run was stopped, or a process failed; batches stay, and the same command resumes.
    """
    return run_in_child(Prediction(options, progress or ignore))


def require_prediction_libraries(options: PredictOptions) -> None:
    """Fails early where what every model needs is not installed.

    Raises:
        RunError: A library is missing.
        OptionError: The model is a path to nothing.
    """
    options.model.check_path()
    model = options.model.model
    # What a folder or a file needs beyond that is said when it is read.
    is_here = os.path.exists(model) or model.startswith(("clip:", "transformers:"))
    require(f"predict {model}", (*ENCODING, *(() if is_here else of_encoder(model))), extra="eval")


@dataclass(frozen=True, slots=True)
class _HeldTogether:
    """Several leases as one."""

    each: tuple[Held, ...]

    @property
    def lost(self) -> bool:
        """Whether another run took one of them over."""
        return any(one.lost for one in self.each)


class Prediction:
    """A run of `predict`, for ranks of any launcher; an `execution.Launch`.

    Attributes:
        storages: The folder of each dataset's predictions.
    """

    def __init__(self, options: PredictOptions, show: Progress) -> None:
        """Opens the datasets; writes nothing.

        Raises:
            DatasetError: There is none.
            RunError: A library is missing.
        """
        require_prediction_libraries(options)
        self._options, self._show = options, show
        self.storages = tuple(
            predictions_storage(open_dataset(url), options.overlay_name, options.out) for url in options.datasets
        )
        self._images, self._seconds, self._stopped = 0, 0.0, False

    @property
    def where(self) -> str:
        """The folder of the first dataset's predictions."""
        return self.storages[0].url

    @contextlib.contextmanager
    def hold(self) -> Iterator[Held]:
        """Takes the leases of all folders.

        Raises:
            AccessError: One cannot be written.
        """
        with contextlib.ExitStack() as stack:
            for storage in self.storages:
                storage.check_writable()
            yield _HeldTogether(
                tuple(stack.enter_context(acquire(storage, purpose="predict")) for storage in self.storages)
            )

    def begin(self) -> PredictOptions:
        """What was asked for; what is done already is found out by the first rank."""
        return self._options

    def child(self, job: PredictOptions) -> Child:
        """The process that imports torch and forks the ranks."""
        num_ranks = job.num_processes or (os.cpu_count() or 1 if job.device == "cpu" else CHILD_DECIDES)
        return Child(
            arguments=PREDICTOR,
            job=(job, num_ranks, os.getpid()),
            environment=network_environment(job.compute_threads),
        )

    def hear(self, message: Message) -> None:
        """Counts what a rank read."""
        if isinstance(message, Ended):
            self._images += message.images
            self._seconds = max(self._seconds, message.seconds)
            self._stopped |= message.reason == "stopped"
        self._show(message)

    def finish(self, *, stopped: bool) -> tuple[PredictResult, ...]:
        """Commits each dataset's parts if all are there."""
        left = [storage for storage in self.storages if not is_committed(storage, PredictionPlan)]
        if left:
            raise RunError(unfinished(left[0], PredictionPlan, stopped=stopped or self._stopped))
        return tuple(map(self._result, self._options.datasets, self.storages))

    def _result(self, dataset: str, storage: Storage) -> PredictResult:
        overlay = open_overlay_at(storage.url)
        plan = PredictionPlan.of_overlay(overlay.info, where=overlay.url)
        num_unread = num_labeled = num_top1 = 0
        # A part at a time: of every corruption of ImageNet's training set there are a hundred million rows.
        for batch in overlay.batches(["rank", "reason"]):
            ranks, reasons = batch.column("rank"), batch.column("reason")
            num_unread += len(reasons) - reasons.null_count
            num_labeled += len(ranks) - ranks.null_count
            num_top1 += int((filled(ranks, 0) == 1).sum())
        return PredictResult(
            dataset=dataset,
            url=storage.url,
            name=overlay.info.name,
            model=plan.model.name,
            fingerprint=plan.model.fingerprint,
            num_rows=overlay.info.num_rows,
            num_unread=num_unread,
            num_labeled=num_labeled,
            num_top1=num_top1,
            keeps_all=plan.keeps_all,
            num_bytes=sum(part.num_bytes for part in overlay.info.parts),
            images=self._images,
            seconds=round(self._seconds, 3),
        )
