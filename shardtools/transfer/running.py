"""Cells are trained: each exactly once, by any number of processes on any number of machines.

Owns who does which cell. Every process goes through all cells of its share, each from another place, and takes those
that nobody has: a cell that is done has its file, one in hand has a lease that its holder renews. So a machine may join
or leave at any time, a slow cell holds up nobody, and a run that was killed is picked up by whoever comes next, in the
middle of the training. The price: each process looks at every cell twice, first at those that nobody seems to hold,
then at the leases that are left, since those of a killed run look like others until they have been watched.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shardtools.dataset import acquire
from shardtools.errors import (
    AccessError,
    DatasetBusyError,
    NoSpaceError,
    OptionError,
    ShardtoolsError,
    StoppedError,
    first_line,
)
from shardtools.execution import (
    Batch,
    Doing,
    Message,
    Notice,
    Progress,
    TaskFacts,
    Work,
    ignore,
    run_in_processes,
    work_off,
)
from shardtools.storage import Storage, open_storage
from shardtools.transfer.cells import Cell, list_cells
from shardtools.transfer.gpus import take_gpu
from shardtools.transfer.options import TransferOptions, out_folder
from shardtools.transfer.outcomes import (
    FAILED,
    Outcome,
    cell_folder,
    forget_failure,
    publish_outcome,
    read_outcome,
    read_outcomes,
)
from shardtools.transfer.reading import read_study
from shardtools.transfer.study import Study
from shardtools.transfer.training_runner import check_libraries, clear_cell, train_cell
from shardtools.words import counted

Runner = Callable[[Cell, str, TransferOptions], Outcome]
"""Trains a cell in a folder, or goes on with it; a function of a module, since it travels by its name.

Raises StoppedError where it was asked to stop, and another ShardtoolsError where the cell cannot be done."""

_ENDS_ALL = (NoSpaceError, AccessError)
"""What is wrong with the place, not with a cell: the next cell would meet it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a run did, and how the study stands.

    Attributes:
        out: The study's folder.
        num_cells: Cells of the study.
        num_done: Of these, done by now.
        num_failed: Of these, failed by now.
        num_here: Cells that this run finished or saw fail.
        failures: What the failed ones are and why, one line each.
    """

    out: str
    num_cells: int
    num_done: int
    num_failed: int
    num_here: int
    failures: tuple[str, ...]

    @property
    def num_left(self) -> int:
        """Cells that nobody has finished: of other shares, or in the hands of other runs."""
        return self.num_cells - self.num_done - self.num_failed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A process looks at a cell.

    Attributes:
        cell: Its place among the job's cells.
        slot: 0-based number of the process on this machine.
        is_last: Whether leases are looked into; before, a cell that has one is passed over.
    """

    cell: int
    slot: int
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What every process is told; an `execution.Job`."""

    url: str
    run_id: str
    tasks: Sequence[_Look]
    cells: Sequence[Cell]
    options: TransferOptions
    runner: Runner

    def close(self) -> None:
        """Nothing stays open."""


def run_study(path: str, options: TransferOptions, *, progress: Progress = ignore, runner: Runner | None = None) -> Ran:
    """Trains the cells of a study file that are not done; see `run_cells`.

    Args:
        path: The file.
        options: Where, and by how many.
        progress: Told of every cell.
        runner: Trains one; `None` for `shardtools train`.

    Raises:
        OptionError: The file is wrong.
        DatasetError: A dataset is missing.
        StoppedError: The run was asked to stop; the same command goes on.
        NoSpaceError, AccessError: The study's folder cannot be written.
    """
    return run_cells(read_study(path), out_folder(path, options.out), options, progress=progress, runner=runner)


def run_cells(
    study: Study, out: str, options: TransferOptions, *, progress: Progress = ignore, runner: Runner | None = None
) -> Ran:
    """Trains the cells of a study that are not done.

    Args:
        study: The study.
        out: Its folder, on this machine or one that all machines see.
        options: By how many.
        progress: Told of every cell.
        runner: Trains one; `None` for `shardtools train`.

    Raises:
        DatasetError: A dataset is missing.
        OptionError: The folder is in an object store, or a recipe or a split is wrong.
        StoppedError: The run was asked to stop; the same command goes on.
        NoSpaceError, AccessError: The study's folder cannot be written.
    """
    if runner is None:
        check_libraries(study)
        runner = train_cell
    cells = list_cells(study)
    number, count = options.share
    own = cells[number::count]
    storage = open_storage(out)
    if not storage.is_local:
        raise OptionError(
            f"trainings write into a folder of this machine or one that all machines see, found {out}: give --out DIR"
        )
    storage.check_writable()
    if options.retry_failed:
        for digest, outcome in read_outcomes(storage, own).items():
            if outcome.status == FAILED:
                forget_failure(storage, next(cell for cell in own if cell.digest == digest))
    there = read_outcomes(storage, own)
    for cell in own if not options.keep_weights else ():
        if cell.digest in there:
            # What a kill left between the figures and the end of the cell.
            clear_cell(storage.object_url(cell_folder(cell)))
    left = [cell for cell in own if cell.digest not in there]
    num_here = _train(left, storage, options, progress, runner) if left else 0
    return _standing(cells, storage, num_here)


def _train(
    cells: Sequence[Cell], storage: Storage, options: TransferOptions, progress: Progress, runner: Runner
) -> int:
    """Trains what is left; how many cells this run finished or saw fail."""
    num_processes = min(options.processes, len(cells))
    job = _Job(
        url=storage.url,
        run_id=secrets.token_hex(8),
        tasks=_looks(len(cells), num_processes),
        cells=cells,
        options=options,
        runner=runner,
    )
    work = Work(job=job, make_task=_look_at, keeps_log=False)
    progress(Doing(text=f"training {counted(len(cells), 'cell')}", total=len(cells), noun="cells"))
    num_here = 0

    def hear(message: Message) -> None:
        nonlocal num_here
        if isinstance(message, Batch):
            num_here += message.rows
        if isinstance(message, Batch | Notice):
            progress(message)

    try:
        if num_processes == 1:
            _here(work, hear)
        else:
            tally = run_in_processes(work, num_processes, hear, lambda: False)
            if tally.stopped:
                raise StoppedError("stopped")
    except StoppedError:
        raise StoppedError(
            f"stopped with {counted(num_here, 'cell')} done of {len(cells)} that were left, in {storage.url}: run the "
            "same command again, it goes on"
        ) from None
    return num_here


def _here(work: Work[_Job, _Look], hear: Progress) -> None:
    """Without processes of its own: between two cells a signal ends this one, which costs no cell."""
    work_off(work, 0, 1, hear, threading.Event())


def _looks(num_cells: int, num_processes: int) -> list[_Look]:
    """What each process looks at, as an engine deals tasks: the n-th to process n modulo their number."""
    begin = [slot * num_cells // num_processes for slot in range(num_processes)]
    return [
        _Look(cell=(begin[slot] + step) % num_cells, slot=slot, is_last=is_last)
        for is_last in (False, True)
        for step in range(num_cells)
        for slot in range(num_processes)
    ]


def _look_at(job: _Job, look: _Look, report: Progress) -> TaskFacts:
    """Trains a cell unless it is done or in other hands.

    Raises:
        StoppedError: The training was asked to stop.
        NoSpaceError, AccessError: The place cannot be written.
    """
    cell = job.cells[look.cell]
    if job.options.processes > 1 and job.options.device != "cpu":
        take_gpu(look.slot, os.environ)
    storage = open_storage(job.url)
    if read_outcome(storage, cell) is not None:
        return TaskFacts()
    if not look.is_last and storage.list(f"{cell_folder(cell)}/lease"):
        return TaskFacts()
    place = storage.object_url(cell_folder(cell))
    try:
        held = acquire(open_storage(place), purpose="transfer")
    except DatasetBusyError:
        return TaskFacts()
    with held:
        # Somebody may have finished it between the look and the lease.
        if read_outcome(storage, cell) is not None:
            return TaskFacts()
        outcome = _outcome(job, cell, place)
        # What another run took over is its to say.
        if outcome is None or held.lost:
            return TaskFacts()
        publish_outcome(storage, cell, outcome)
        if not job.options.keep_weights:
            clear_cell(place)
    if outcome.status == FAILED:
        report(Notice(text=f"{cell}: failed: {outcome.reason}"))
    report(Batch(rows=1))
    return TaskFacts(rows=1)


def _outcome(job: _Job, cell: Cell, place: str) -> Outcome | None:
    """What the runner says of a cell; `None` where another run holds its training."""
    try:
        return job.runner(cell, place, job.options)
    except (StoppedError, *_ENDS_ALL):
        raise
    except DatasetBusyError:
        return None
    except ShardtoolsError as error:
        return Outcome(settings=cell.settings, status=FAILED, reason=first_line(error))


def _standing(cells: Sequence[Cell], storage: Storage, num_here: int) -> Ran:
    outcomes = read_outcomes(storage, cells)
    failed = [cell for cell in cells if cell.digest in outcomes and outcomes[cell.digest].status == FAILED]
    return Ran(
        out=storage.url,
        num_cells=len(cells),
        num_done=len(outcomes) - len(failed),
        num_failed=len(failed),
        num_here=num_here,
        failures=tuple(f"{cell}: {outcomes[cell.digest].reason}" for cell in failed),
    )
