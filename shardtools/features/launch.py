"""An extraction: the folder, the lease, what is left to do, the ranks, the commit.

Owns what is features' of a launch; the order is `execution.launch`'s. The work is in
`shardtools.pipelines.features.job`. The price: the plan is made there, because only torch can tell the digest of
the weights.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass

from shardtools.dataset import acquire, open_dataset
from shardtools.errors import RunError
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
from shardtools.features.features_file import FEATURES_FILE, PLAN_FILE, FeaturePlan, FeaturesInfo
from shardtools.features.options import FeatureOptions, FeatureResult
from shardtools.features.writer import clear_features, commit_features, features_storage, parts_done
from shardtools.storage import Storage
from shardtools.words import counted

EXTRACTOR = ("-m", "shardtools.pipelines.features.job")
"""What follows the interpreter on the command line of the process that extracts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the processes of a run are told.

    Attributes:
        options: What was asked for.
        done: Parts that were written before; all processes deal out the same others.
    """

    options: FeatureOptions
    done: frozenset[int] = frozenset()


def extract_features(options: FeatureOptions, *, progress: Progress | None = None) -> FeatureResult:
    """Extracts features, or goes on with those that a run left unfinished.

    Args:
        options: What, by what, and where to.
        progress: Called with each message: `Planned`, `Ready`, `Batch`, `TaskDone`, `Notice`, `Ended`.

    Raises:
        DatasetError: The dataset is not finished, or a feature is not finite.
        PlanMismatchError: The folder holds features of another encoder or dataset version.
        DatasetBusyError: Another run writes to the folder.
        RunError: The run was stopped, or a process failed; parts stay, and the same command resumes.
    """
    return run_in_child(Extraction(options, progress or ignore))


_FOLDERS = ("clip:", "transformers:")


def require_feature_libraries(options: FeatureOptions) -> None:
    """Fails early where what an encoder needs is not installed.

    Raises:
        RunError: A library is missing.
    """
    encoder = options.encoder
    own: tuple[str, ...] = ()
    if not encoder.startswith(_FOLDERS) and not os.path.isdir(encoder):
        own = of_encoder(encoder)
    require(f"features --encoder {encoder}", (*ENCODING, *own), extra="audit")


class Extraction:
    """A run of `extract_features`, for ranks of any launcher; an `execution.Launch`.

    Attributes:
        storage: The folder of the features.
    """

    def __init__(self, options: FeatureOptions, show: Progress) -> None:
        """Opens the dataset; writes nothing.

        Raises:
            DatasetError: There is none.
            RunError: A library is missing.
        """
        require_feature_libraries(options)
        self._options, self._show = options, show
        self.storage = features_storage(open_dataset(options.dataset), options.features_name, options.out)
        self._images, self._seconds, self._stopped = 0, 0.0, False

    @property
    def where(self) -> str:
        """The folder of the features."""
        return self.storage.url

    def hold(self) -> contextlib.AbstractContextManager[Held]:
        """Takes the folder's lease.

        Raises:
            AccessError: It cannot be written.
        """
        self.storage.check_writable()
        return acquire(self.storage, purpose="features")

    def begin(self) -> Job:
        """What is done already."""
        # Parts without a plan are of another one, whose removal was killed halfway: no later run may go on with them.
        is_rest = not self.storage.exists(PLAN_FILE) and not self.storage.exists(FEATURES_FILE)
        if self._options.replace or is_rest:
            clear_features(self.storage)
        done = parts_done(self.storage) if self.storage.exists(PLAN_FILE) else frozenset()
        return Job(options=self._options, done=done)

    def child(self, job: Job) -> Child:
        """The process that imports torch and forks the ranks."""
        options = job.options
        num_ranks = options.num_processes or (os.cpu_count() or 1 if options.device == "cpu" else CHILD_DECIDES)
        return Child(
            arguments=EXTRACTOR,
            job=(job, num_ranks, os.getpid()),
            environment=network_environment(options.compute_threads),
        )

    def hear(self, message: Message) -> None:
        """Counts what a rank read."""
        if isinstance(message, Ended):
            self._images += message.images
            self._seconds = max(self._seconds, message.seconds)
            self._stopped |= message.reason == "stopped"
        self._show(message)

    def finish(self, *, stopped: bool) -> FeatureResult:
        """Commits the parts if all are there."""
        # Three ends: no plan, so nothing was begun; parts missing, so it stopped on the way; all there: the commit.
        if not self.storage.exists(PLAN_FILE):
            raise RunError(f"stopped before the first part in {self.where}: run the same command again")
        info = commit_features(self.storage, source=self._options.source)
        if info is None:
            raise RunError(_unfinished(self.storage, stopped=stopped or self._stopped))
        return self._result(info)

    def _result(self, info: FeaturesInfo) -> FeatureResult:
        return FeatureResult(
            url=self.where,
            name=info.plan.name,
            encoder=asdict(info.encoder),
            num_rows=info.num_rows,
            num_skipped=len(info.skipped),
            images=self._images,
            seconds=round(self._seconds, 3),
        )


def _unfinished(storage: Storage, *, stopped: bool) -> str:
    plan = FeaturePlan.from_json(storage.read(PLAN_FILE), where=storage.object_url(PLAN_FILE))
    how = "stopped" if stopped else "ended"
    return (
        f"{how} with {len(parts_done(storage))} of {counted(plan.num_parts, 'part')} in {storage.url}: run the "
        "same command "
        "again, it resumes"
    )
