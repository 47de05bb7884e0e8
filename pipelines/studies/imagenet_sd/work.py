"""The work of the micro study: datasets made and classifiers trained, several at a time on one machine.

Owns the process that imports torch once and forks one process a task, each with one compute thread: on few cores that
is faster than one task after the other with all threads, and a task starts in milliseconds. The price: a task that
waits for nothing but a core takes as long as one core needs.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.util
import os
import pickle
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

from shardtools.dataset import acquire
from shardtools.errors import RunError, ShardtoolsError
from shardtools.execution import (
    Failed,
    Message,
    Progress,
    die_with_parent,
    failure,
    ignore,
    importing,
    open_channel,
    stop_on_sigterm,
)
from shardtools.generation import GenerateOptions, begin, commit_if_whole, prepare
from shardtools.pipelines.studies.imagenet_sd.cells import (
    BATCH_SIZE,
    NUM_CLASSES,
    RECIPES,
    TEST,
    Cell,
    CellDone,
    DatasetMade,
    GeneratedSet,
    StudyOptions,
    Task,
    dataset_folder,
    photographs,
)
from shardtools.pipelines.studies.training import ONE_CORE
from shardtools.storage import open_storage
from shardtools.training import TrainOptions, load_recipe, write_run_file
from shardtools.training.messages import TrainingEnded, TrainingReady
from shardtools.training.metrics import read_metrics

_OPTIONAL = "pandas"
"""DuckDB imports it at the first query, where it is installed: seconds in every fork otherwise."""

LOG_FILE = "errors.log"
_NEEDED_TO_RESUME = ("checkpoints", "tables")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is left of a study.

    Attributes:
        options: The study's.
        tasks: In the order in which they begin, as far as what they need is there.
        there: Names of the datasets that are finished.
    """

    options: StudyOptions
    tasks: tuple[Task, ...]
    there: frozenset[str]


def generate_options(options: StudyOptions, wanted: GeneratedSet) -> GenerateOptions:
    """What `shardtools gen-sd` would be asked for."""
    return GenerateOptions(
        out=str(dataset_folder(options.out, wanted.name)),
        prompt_template=wanted.prompt_template,
        # Every parent that the thesis names is the first lemma of the first.
        hypernyms="first",
        images_per_class=options.images_per_class,
        scale=wanted.clones,
        seed=wanted.seed,
        guidance_scale=wanted.guidance,
        num_inference_steps=wanted.steps,
        scheduler="dpm++",
        batch_size=BATCH_SIZE,
        samples_per_shard=NUM_CLASSES * options.images_per_class,
        device="cpu",
        num_processes=1,
        threads_per_process=1,
    )


def train_options(options: StudyOptions, cell: Cell) -> TrainOptions:
    """What `shardtools train` would be asked for."""
    dataset = cell.dataset
    clones = cell.scale * options.images_per_class
    is_part = dataset is not None and cell.scale < dataset.clones
    changes = {"epochs": str(options.epochs // cell.scale), "batch_size": str(BATCH_SIZE)}
    recipe = load_recipe(RECIPES[cell.augmentation], changes)
    return TrainOptions(
        datasets=(str(dataset_folder(options.out, photographs(cell.seed) if dataset is None else dataset.name)),),
        out=str(run_folder(options, cell.name)),
        recipe=recipe,
        where=f"replica < {clones}" if is_part else None,
        val=str(dataset_folder(options.out, TEST)),
        val_split="test",
        val_every=recipe.epochs,
        seed=cell.seed,
        **ONE_CORE,
    )


def make_dataset(options: StudyOptions, wanted: GeneratedSet, report: Progress, stop: threading.Event) -> None:
    """Generates a dataset, or the rest of it, in this process.

    Raises:
        RunError: `stop` was set before the end.
        ShardtoolsError: The folder holds another plan, or the disk is full.
    """
    from shardtools.pipelines.generate.job import run_rank
    from shardtools.pipelines.ranks import join_world

    started = time.perf_counter()
    generation = generate_options(options, wanted)
    prepared = prepare(generation)
    storage = open_storage(generation.out)
    with acquire(storage, purpose="study"):
        job = begin(prepared, storage, retry_failed=False)
        if job.tasks:
            run_rank(job, 0, 1, join_world("cpu", 1).device, ignore, stop)
        info = commit_if_whole(prepared, storage)
    if info is None:
        raise RunError(f"stopped before {wanted.name} was finished: run the same command again, it resumes")
    seconds = round(time.perf_counter() - started, 2)
    report(DatasetMade(name=wanted.name, images=info.num_images, seconds=seconds))


def train_cell(options: StudyOptions, cell: Cell, report: Progress, stop: threading.Event) -> None:
    """Trains and tests, or goes on with it, in this process.

    Raises:
        RunError: `stop` was set before the end.
        ShardtoolsError: See `shardtools.pipelines.train.job.run_rank`.
    """
    from shardtools.pipelines.ranks import join_world
    from shardtools.pipelines.train.job import run_rank

    started = time.perf_counter()
    training = train_options(options, cell)
    begins: list[TrainingReady] = []
    ends: list[TrainingEnded] = []

    def hear(message: Message) -> None:
        if isinstance(message, TrainingReady):
            begins.append(message)
            # So that the network can be opened by its folder, as that of any training.
            write_run_file(open_storage(training.out), training, asdict(message))
        elif isinstance(message, TrainingEnded):
            ends.append(message)

    run_rank(training, join_world("cpu", 1), hear, stop)
    if not ends or ends[0].reason != "done":
        raise RunError(f"stopped before {cell.name} was finished: run the same command again, it resumes")
    # From the file and not from a message: a run that was killed after its last epoch does not evaluate again.
    last = {name: float(column[-1]) for name, column in read_metrics(training.out)["evaluation"].items()}
    result = {
        **cell.facts(),
        "images": begins[0].samples,
        "steps": ends[0].steps,
        "epochs": ends[0].epochs,
        "top1": last["val_top1"],
        "loss": last["val_loss"],
        "test_images": int(last["val_images"]),
        "seconds": round(time.perf_counter() - started, 2),
    }
    report(CellDone(result=result))


def run_folder(options: StudyOptions, cell_name: str) -> Path:
    """Where a study keeps a training."""
    return Path(options.out).absolute() / "runs" / cell_name


def drop_checkpoints(options: StudyOptions, cell_name: str) -> None:
    """Frees what only a resumption needs; weights and metrics of the run stay."""
    for name in _NEEDED_TO_RESUME:
        shutil.rmtree(run_folder(options, cell_name) / name, ignore_errors=True)


@dataclass(slots=True)
class Pool:
    """Forks a process for each task and waits for them.

    Attributes:
        num_processes: At a time.
        run: Does a task; called in the fork.
        report: Takes messages, also those of the forks.
        stop: Set by SIGTERM, in the forks too: nothing more is begun.
        log: File that takes the trace of an error nobody expected.
        there: Names of what is done, to begin with and added to.
    """

    num_processes: int
    run: Callable[[Task], None]
    report: Progress
    stop: threading.Event
    log: Path
    there: set[str]
    _running: dict[int, Task] = field(default_factory=dict)
    _failed: bool = False

    def work_off(self, tasks: tuple[Task, ...]) -> bool:
        """Runs the tasks; the first that fails stops the others.

        Returns:
            Whether none failed.
        """
        signal.signal(signal.SIGTERM, self._pass_on)
        waiting = list(tasks)
        while True:
            while len(self._running) < self.num_processes and not (self._failed or self.stop.is_set()):
                # In their order, but past those whose dataset is still being made.
                ready = next((task for task in waiting if self.there.issuperset(task.needs)), None)
                if ready is None:
                    break
                waiting.remove(ready)
                self._fork(ready)
            if not self._running:
                return not self._failed
            self._wait()

    def _fork(self, task: Task) -> None:
        parent_pid = os.getpid()
        # A signal between the fork and the two places that know of it waits: here until the process is in the books,
        # there until it has a handler of its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid == 0:
            # The parent's handler would stop this process's siblings, too.
            signal.signal(signal.SIGTERM, lambda _number, _frame: self.stop.set())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            die_with_parent(parent_pid)
            with self.log.open("a") as log:
                # Also what ends a process in native code leaves a word.
                faulthandler.enable(log)
                code = self._guarded(task, log)
            os._exit(code)
        self._running[pid] = task
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _guarded(self, task: Task, log: IO[str]) -> int:
        try:
            self.run(task)
        except BaseException as error:
            found = failure(error)
            known = isinstance(error, ShardtoolsError)
            if not known:
                log.write(f"{task.name}\n")
                traceback.print_exc(file=log)
                found = replace(found, text=f"{task.name}: {found.text} (trace in {self.log})")
            # That a task was stopped because all were is no news.
            if not (known and self.stop.is_set()):
                self.report(found)
            return 1
        return 0

    def _wait(self) -> None:
        pid, status = os.wait()
        task = self._running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            self.there.add(task.name)
            return
        if code < 0:
            line = f"{task.name} was killed by signal {-code}: what is done stays, run the same command again"
            self.report(Failed(kind="RunError", text=line))
        self._failed = True
        self._stop_all()

    def _pass_on(self, _number: int, _frame: object) -> None:
        self.stop.set()
        self._stop_all()

    def _stop_all(self) -> None:
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def run_task(options: StudyOptions, task: Task, report: Progress, stop: threading.Event) -> None:
    """Does one task in this process."""
    if isinstance(task, Cell):
        train_cell(options, task, report, stop)
    else:
        make_dataset(options, task, report, stop)


def _preload() -> None:
    """Imports once what all forks need."""
    import shardtools.pipelines.generate.engine
    import shardtools.pipelines.generate.finishing
    import shardtools.pipelines.generate.job
    import shardtools.pipelines.train.job
    import shardtools.pipelines.train.run  # noqa: F401  # imported for the forks


def workers_main(parent_pid: int) -> None:
    """Child of the study: pickled `Work` on standard input, messages on standard output."""
    die_with_parent(parent_pid)
    stop = stop_on_sigterm()
    report = open_channel()
    work: Work = pickle.load(sys.stdin.buffer)
    # Once, before the first fork, so that all tasks share the memory and the seconds that this takes.
    with importing():
        _preload()
        if importlib.util.find_spec(_OPTIONAL) is not None:
            importlib.import_module(_OPTIONAL)
    pool = Pool(
        num_processes=work.options.processes,
        run=lambda task: run_task(work.options, task, report, stop),
        report=report,
        stop=stop,
        log=Path(work.options.out) / LOG_FILE,
        there=set(work.there),
    )
    sys.exit(0 if pool.work_off(work.tasks) else 1)


if __name__ == "__main__":
    workers_main(int(sys.argv[1]))
