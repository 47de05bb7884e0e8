"""An extraction on this machine: the folder, the lease, the process, the commit.

Owns the order of these. The work is in `shardtools.pipelines.extract_features`, in a process that imports torch and
forks one more for each further rank. The price: the plan is made there, because only torch can tell the digest of the
weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from shardtools.dataset import acquire, open_dataset
from shardtools.errors import RunError
from shardtools.features.layout import PLAN_FILE, FeaturePlan, FeaturesInfo
from shardtools.features.options import FeatureOptions, FeatureResult
from shardtools.features.writer import clear_features, commit_features, features_storage, parts_done
from shardtools.processes import Child, Progress, run_children
from shardtools.storage import Storage

EXTRACTOR = ("-m", "shardtools.pipelines.extract_features")
"""What follows the interpreter on the command line of the process that extracts."""

CHILD_DECIDES = 0
"""Number of processes that leaves the choice to the child, which can count GPUs."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(4 << 30)}
"""glibc maps tensors of 32 MB and more anew each time, and the kernel zeroes them: a quarter of the CPU time of a
network on a CPU. Kept on the heap they are used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the processes of a run are told.

    Attributes:
        options: What was asked for.
        done: Parts that were written before; all processes deal out the same others.
    """

    options: FeatureOptions
    done: frozenset[int] = frozenset()


@dataclass(slots=True)
class Tally:
    """What the processes of a run told, added up."""

    show: Progress
    images: int = 0
    seconds: float = 0.0
    stopped: bool = field(default=False)

    def hear(self, message: dict[str, Any]) -> None:
        """Takes a message."""
        if message["event"] == "batch":
            self.images += message["images"]
        elif message["event"] == "end":
            self.seconds = max(self.seconds, message["seconds"])
            self.stopped |= message["reason"] == "stopped"
        self.show(message)


def extract_features(options: FeatureOptions, *, progress: Progress | None = None) -> FeatureResult:
    """Extracts features, or goes on with those that a run left unfinished.

    Args:
        options: What, by what, and where to.
        progress: Called with each message: "plan", "ready", "batch", "part", "notice", "end".

    Raises:
        DatasetError: The dataset is not finished, or a feature is not finite.
        PlanMismatchError: The folder holds features of another encoder or dataset version.
        DatasetBusyError: Another run writes to the folder.
        RunError: The run was stopped, or a process failed; parts stay, and the same command resumes.
    """
    storage = open_target(options)
    tally = Tally(progress or (lambda message: None))
    with acquire(storage, purpose="features") as lease:
        job = begin(options, storage)
        stopped = _run_child(job, storage, tally, lambda: lease.lost)
        return finish(options, storage, tally, stopped=stopped)


def open_target(options: FeatureOptions) -> Storage:
    """The folder of the features, which can be written.

    Raises:
        AccessError: It cannot.
    """
    storage = features_storage(open_dataset(options.dataset), options.features_name, options.out)
    storage.check_writable()
    return storage


def begin(options: FeatureOptions, storage: Storage) -> Job:
    """What is left to do in a folder that this process holds."""
    if options.replace:
        clear_features(storage)
    return Job(options=options, done=parts_done(storage) if storage.exists(PLAN_FILE) else frozenset())


def finish(options: FeatureOptions, storage: Storage, tally: Tally, *, stopped: bool) -> FeatureResult:
    """Commits the parts and says what they came to.

    Raises:
        RunError: Parts are missing: the run was stopped.
    """
    # Three ends: no plan, so nothing was begun; parts missing, so it stopped on the way; all there, and that is the
    # commit.
    if not storage.exists(PLAN_FILE):
        raise RunError(f"stopped before the first part in {storage.url}: run the same command again")
    info = commit_features(storage, source=options.source)
    if info is None:
        raise RunError(_unfinished(storage, stopped=stopped or tally.stopped))
    return _result(info, storage, tally)


def _unfinished(storage: Storage, *, stopped: bool) -> str:
    plan = FeaturePlan.from_json(storage.read(PLAN_FILE), where=storage.object_url(PLAN_FILE))
    how = "stopped" if stopped else "ended"
    return (
        f"{how} with {len(parts_done(storage))} of {plan.num_parts} parts in {storage.url}: run the same command "
        "again, it resumes"
    )


def _result(info: FeaturesInfo, storage: Storage, tally: Tally) -> FeatureResult:
    return FeatureResult(
        url=storage.url,
        name=info.plan.name,
        encoder=asdict(info.encoder),
        num_rows=info.num_rows,
        num_skipped=len(info.skipped),
        images=tally.images,
        seconds=round(tally.seconds, 3),
    )


def _run_child(job: Job, storage: Storage, tally: Tally, lost: Callable[[], bool]) -> bool:
    options = job.options
    world_size = options.num_processes or (os.cpu_count() or 1 if options.device == "cpu" else CHILD_DECIDES)
    child = Child(
        arguments=(*EXTRACTOR, "--workers", str(world_size), str(os.getpid())),
        job=job,
        environment={**{name: str(options.compute_threads) for name in _THREAD_VARIABLES}, **_KEPT_MEMORY},
    )
    return run_children([child], tally.hear, where=storage.url, lost=lost)
