"""A run of a probe: the folder, its lease, what is left to do, the commits.

Owns what is a probe's of a launch. The price of reading both datasets before the process that trains does so again: a
leak, a class without images or other features are refused before torch is loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from shardtools.arrays import text_parts
from shardtools.dataset import Lease, acquire, open_dataset
from shardtools.errors import AccessError, NotFoundError, RunError, StoppedError
from shardtools.evaluation.probes.cells import drawn_for, prepare, steps_of_trial
from shardtools.evaluation.probes.options import ProbeOptions
from shardtools.evaluation.probes.plan import (
    PLAN_FILE,
    PROBES_FOLDER,
    RESULTS_FILE,
    CellKey,
    ProbePlan,
    read_cell,
    read_cells,
)
from shardtools.evaluation.probes.predicting import tested_url, write_all_predictions
from shardtools.evaluation.probes.reading import Images, Probed, read_probed
from shardtools.evaluation.probes.result import ProbeResult, results_of_cells
from shardtools.evaluation.protocols import PROBE_PROTOCOLS
from shardtools.evaluation.results import write_results
from shardtools.execution import CHILD_DECIDES, Child, Doing, Message, Planned, Progress, network_environment
from shardtools.manifest import digest
from shardtools.storage import Storage, open_storage
from shardtools.words import counted

SEARCHER = ("-m", "shardtools.pipelines.probes.job")
"""What follows the interpreter on the command line of the process that trains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    """What a process is told.

    Attributes:
        options: What was asked for.
        keys: Cells that are not there yet.
    """

    options: ProbeOptions
    keys: tuple[CellKey, ...]


class Probing:
    """A run of `run_probe`; an `execution.Launch`.

    Attributes:
        storage: The run's folder.
        prepared: Its images.
    """

    def __init__(self, options: ProbeOptions, show: Progress) -> None:
        """Reads both datasets; writes nothing.

        Raises:
            DatasetError: They do not fit; see `read_probed` and `prepare`.
        """
        self._options, self._show = options, show
        show(Doing(text="reading the manifests"))
        self.storage = probe_storage(options)
        self.prepared = prepare(options, read_probed(options))
        self.plan = make_plan(options, self.prepared.probed)
        self._missing: tuple[CellKey, ...] = ()
        self._notes: dict[str, None] = dict.fromkeys(self.prepared.notes)

    @property
    def where(self) -> str:
        """The run's folder."""
        return self.storage.url

    @contextlib.contextmanager
    def hold(self) -> Iterator[Lease]:
        """Takes the folder's lease."""
        try:
            self.storage.check_writable()
        except AccessError as error:
            raise AccessError(f"{error}; a probe may also be written elsewhere: give out (--out FOLDER)") from None
        with acquire(self.storage, purpose="probe") as lease:
            yield lease

    def begin(self) -> ProbeJob | None:
        """What is left to do."""
        keys = wanted_cells(self._options)
        # All draws before the first fit: a leak that the last seed draws is refused now.
        for key in keys:
            self._notes |= dict.fromkeys(drawn_for(self._options, self.prepared, key)[1])
        claim(self.storage, self.plan, keys, replace=self._options.replace)
        self._missing = tuple(key for key in keys if read_cell(self.storage, key) is None)
        if not self._missing:
            return None
        self._look_at_features()
        per_cell = steps_of_trial(self._options) * (self._options.num_trials + 1)
        self._show(Planned(rows_to_make=per_cell * len(self._missing), num_tasks=len(self._missing), num_processes=1))
        return ProbeJob(options=self._options, keys=self._missing)

    def _look_at_features(self) -> None:
        """Refuses what is no feature before anything is fitted."""
        probed = self.prepared.probed
        for images in (probed.train, probed.test):
            num_zeros = images.check_features()
            if num_zeros and images.l2:
                note = f"{images.what}: {counted(num_zeros, 'feature')} of zeros alone, which have no length and stay"
                self._notes[note] = None

    def child(self, job: ProbeJob) -> Child:
        """The process that imports torch."""
        return Child(
            arguments=SEARCHER,
            job=(job, job.options.num_processes or CHILD_DECIDES, os.getpid()),
            environment=network_environment(job.options.threads),
        )

    def hear(self, message: Message) -> None:
        """Passes on what the process tells."""
        self._show(message)

    def finish(self, *, stopped: bool) -> ProbeResult:
        """Writes predictions and rows of results, if all cells are there."""
        keys = wanted_cells(self._options)
        cells = {key: cell for key in keys if (cell := read_cell(self.storage, key)) is not None}
        if len(cells) < len(keys):
            how, kind = ("stopped", StoppedError) if stopped else ("ended", RunError)
            raise kind(
                f"{how} with {len(cells)} of {counted(len(keys), 'measurement')} in {self.where}: run the same command "
                "again, it resumes"
            )
        overlays, notes = write_all_predictions(self._options, self.prepared.probed, self.storage, cells.values())
        self._notes |= dict.fromkeys(notes)
        name = _folder_of(tested_url(self._options))
        everything = results_of_cells(self.plan, read_cells(self.storage), name, self.where)
        write_results(everything, self.storage.object_url(RESULTS_FILE))
        return ProbeResult(
            url=self.where,
            results=tuple(results_of_cells(self.plan, cells.values(), name, self.where)),
            cells=tuple(cells.values()),
            overlays=overlays,
            num_measured=len(self._missing),
            notes=tuple(self._notes),
        )


def _folder_of(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]


def probe_storage(options: ProbeOptions) -> Storage:
    """The run's folder."""
    dataset = open_dataset(options.dataset)
    place = dataset.storage.object_url(f"{PROBES_FOLDER}{options.run_name}") if options.out is None else options.out
    return open_storage(place)


def wanted_cells(options: ProbeOptions) -> list[CellKey]:
    """What is asked for, by shots, then by seed."""
    return [CellKey(shots=shots, seed=seed) for shots in options.shots or (None,) for seed in options.seeds]


def claim(storage: Storage, plan: ProbePlan, keys: Iterable[CellKey], *, replace: bool) -> None:
    """Begins a plan, or goes on with it.

    Raises:
        PlanMismatchError: The folder holds cells of another plan.
    """
    try:
        content = storage.read(PLAN_FILE)
    except NotFoundError:
        # Cells without a plan are of another one, whose removal was killed halfway.
        clear(storage)
        storage.write(PLAN_FILE, plan.to_json())
        return
    if content == plan.to_json():
        # A run that was to be replaced and was killed goes on; a finished one begins anew.
        if not replace or any(read_cell(storage, key) is None for key in keys):
            return
    elif not replace:
        plan.check(ProbePlan.from_json(content, where=storage.object_url(PLAN_FILE)), where=storage.url)
    clear(storage)
    storage.write(PLAN_FILE, plan.to_json())


def clear(storage: Storage) -> None:
    """Removes a run from its folder, the plan first."""
    storage.delete(PLAN_FILE)
    for folder in ("cells/", "weights/", "search/"):
        for stored in storage.list(folder):
            storage.delete(stored.path)
    storage.delete(RESULTS_FILE)


def make_plan(options: ProbeOptions, probed: Probed) -> ProbePlan:
    """What decides on every cell."""
    test_url = tested_url(options)
    protocol = PROBE_PROTOCOLS[options.solver]
    validates = probed.validates
    return ProbePlan(
        name=options.run_name,
        encoder=probed.train.store.info.encoder.name,
        features_sha256=probed.train.store.info.fingerprint,
        test_features_sha256=probed.test.store.info.fingerprint,
        dataset_sha256=digest(open_dataset(options.dataset).content),
        test_dataset_sha256=digest(open_dataset(test_url).content),
        train=probed.train.what,
        test=probed.test.what,
        train_sha256=_images_digest(probed.train, b"" if validates is None else np.packbits(validates).tobytes()),
        test_sha256=_images_digest(probed.test, b""),
        classes_sha256=hashlib.sha256("\n".join(probed.classes).encode()).hexdigest(),
        solver=options.solver,
        space={name: tuple(ends) for name, ends in protocol.space.items()},
        num_trials=options.num_trials,
        trials_together=options.trials_together,
        epochs=options.epochs if options.solver == "sgd" else 0,
        precision=options.precision if options.solver == "sgd" else "",
        l2=options.normalizes,
        balanced=options.balanced or 0,
        copies=options.copies,
    )


def _images_digest(images: Images, more: bytes) -> str:
    total = hashlib.sha256()
    for content in text_parts(images.keys):
        total.update(np.ascontiguousarray(content).data)
    total.update(np.ascontiguousarray(images.labels).data)
    total.update(more)
    return total.hexdigest()
