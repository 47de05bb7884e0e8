"""Chapter 5 of the thesis in small, from nothing: training sets that are generated, tests on photographs.

    python -m shardtools.pipelines.studies.imagenet_sd --out study                    (docs/study_imagenet_sd.md)
    python -m shardtools.pipelines.studies.imagenet_sd --short --out study-short      (minutes, in `make demo`)

Hardware: two CPU cores. Time and metric: docs/study_imagenet_sd.md. Needs Debian's dataset-fashion-mnist for the
photographs, and nothing else that does not ship.

    OUT/datasets/*          the photographs and what was generated, with one manifest row an image
    OUT/runs/*              metrics and weights of each training
    OUT/results.jsonl       one line a training: what on, accuracy on the test photographs
    OUT/table.md, *.png     means and deviations over seeds

Owns the order: photographs, then the work in a process of its own, then table and figures. Started again after a kill
it goes on with the shard and the training in hand, and every training has one line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from shardtools.dataset import acquire
from shardtools.errors import RunError
from shardtools.execution import Child, Message, run_children
from shardtools.extras import GENERATING, require
from shardtools.pipelines.studies.command import given_options, show_line, study_parser, told_errors
from shardtools.pipelines.studies.folder import TABLE_FILE, say_nothing
from shardtools.pipelines.studies.imagenet_sd.cells import (
    SHORT,
    SWEEP_GUIDANCE,
    SWEEP_TEMPLATE,
    Cell,
    CellDone,
    DatasetMade,
    GeneratedSet,
    StudyOptions,
    Task,
    dataset_folder,
    list_cells,
    list_tasks,
)
from shardtools.pipelines.studies.imagenet_sd.figures import draw_figures
from shardtools.pipelines.studies.imagenet_sd.findings import findings_table, verdicts
from shardtools.pipelines.studies.imagenet_sd.real import write_photographs
from shardtools.pipelines.studies.imagenet_sd.results import (
    add_result,
    hold_to_protocol,
    main_table,
    means,
    read_results,
    stored_options,
    sweep_table,
)
from shardtools.pipelines.studies.imagenet_sd.work import Work, drop_checkpoints
from shardtools.storage import open_storage

_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(slots=True)
class Clock:
    """How long is left, from how long what is done took.

    Attributes:
        tasks: Everything that is left at the start.
        seconds: Kind of task -> (seconds, size) of the done ones.
    """

    options: StudyOptions
    tasks: dict[str, Task]
    seconds: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def done(self, name: str, seconds: float) -> None:
        """Takes a task off the list."""
        task = self.tasks.pop(name, None)
        if task is not None:
            kind, size = self._size(task)
            self.seconds.setdefault(kind, []).append((seconds, size))

    def left(self) -> float | None:
        """Seconds; `None` before anything of each kind that is left is known."""
        total = 0.0
        for task in self.tasks.values():
            kind, size = self._size(task)
            known = self.seconds.get(kind)
            if not known:
                return None
            total += size * sum(one for one, _ in known) / sum(one for _, one in known)
        return total / self.options.processes

    def _size(self, task: Task) -> tuple[str, float]:
        if isinstance(task, Cell):
            return task.augmentation, 1.0
        # Without guidance the network runs once a step.
        return "dataset", task.clones * task.steps * (2 if task.guidance > 1 else 1)


def run_study(options: StudyOptions, *, show: Callable[[str], None] = say_nothing) -> str:
    """Makes all that is not there yet.

    Args:
        options: The study.
        show: Called with lines about what is done.

    Returns:
        The report as Markdown, also in `table.md`; the figures lie beside it.

    Raises:
        ShardtoolsError: The folder holds another study, is in use, or a task failed; what is done stays.
        RunError: A signal stopped it.
    """
    out = Path(options.out).absolute()
    storage = open_storage(str(out))
    storage.check_writable()
    with acquire(storage, purpose="study") as lease:
        hold_to_protocol(storage, options)
        show("photographs")
        write_photographs(options)
        results = _work(options, out, show, lost=lambda: lease.lost)
        report = make_report(options, results)
        storage.write(TABLE_FILE, report.encode())
        draw_figures(out, options, means(results))
    return report


def _work(
    options: StudyOptions, out: Path, show: Callable[[str], None], *, lost: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Does the datasets and cells that are missing; all results."""
    done = {line["cell"]: line for line in read_results(out)}
    cells = [cell.name for cell in list_cells(options)]
    for name in done:
        # A kill may have come between a line and this.
        drop_checkpoints(options, name)
    tasks = list_tasks(options)
    sets = {task.name for task in tasks if isinstance(task, GeneratedSet)}
    there = frozenset(name for name in sets if (dataset_folder(options.out, name) / "dataset.json").exists())
    left = [task for task in tasks if task.name not in done and task.name not in there]
    clock = Clock(options, {task.name: task for task in left})
    started = time.monotonic()

    def hear(message: Message) -> None:
        if isinstance(message, CellDone):
            result = message.result
            add_result(out, result)
            done[result["cell"]] = result
            drop_checkpoints(options, result["cell"])
            clock.done(result["cell"], result["seconds"])
            num_done = sum(name in done for name in cells)
            times = _times(result["seconds"], started, clock)
            show(f"[{num_done}/{len(cells)}] {result['cell']}: {result['top1']:.2f} %, {times}")
        elif isinstance(message, DatasetMade):
            clock.done(message.name, message.seconds)
            show(f"{message.name}: {message.images} images, {_times(message.seconds, started, clock)}")

    if left:
        show(f"{sum(isinstance(task, Cell) for task in left)} trainings and {len(sets - there)} datasets to go")
        work = Work(options=options, tasks=tuple(left), there=there)
        arguments = ("-m", "shardtools.pipelines.studies.imagenet_sd.work", str(os.getpid()))
        child = Child(arguments=arguments, job=work, environment=_THREADS)
        if run_children([child], hear, where=str(out), lost=lost):
            raise RunError(f"stopped, {out} holds what was done: run the same command again, it goes on")
        # The child ended well, but a task may have waited for a dataset that never came.
        if any(name not in done for name in cells):
            raise RunError(f"{out}: not all trainings ended and none said why: run the same command again")
    # Also what runs of other augmentations, or of more seeds, left here.
    every = list_cells(replace(options, only=None))
    return [done[cell.name] for cell in every if cell.name in done]


def _times(seconds: float, started: float, clock: Clock) -> str:
    passed, left = timedelta(seconds=round(time.monotonic() - started)), clock.left()
    rest = "" if left is None else f", about {timedelta(seconds=round(left))} left"
    return f"{seconds:.0f} s ({passed} so far{rest})"


def make_report(options: StudyOptions, results: Sequence[dict[str, Any]]) -> str:
    """The tables as Markdown."""
    found = means(results)
    first = results[0]
    # Of a study that is not finished, cells may have fewer seeds than others.
    counts = {
        one.num_seeds
        for one in found
        if one.steps in (None, options.num_inference_steps) and one.guidance in (None, *options.guidances)
    }
    fewest, most = min(counts), max(counts)
    seeds = (
        "one seed" if most == 1 else f"mean ± deviation over {'' if fewest == most else f'{fewest} to '}{most} seeds"
    )
    if min(options.sweep_seeds, options.seeds) < options.seeds and (options.guidance_sweep or options.steps_sweep):
        seeds += f" (what only the sweeps have: {options.sweep_seeds})"
    lines = [
        f"Top-1 on {first['test_images']} test photographs, {seeds}, in brackets the binomial error of one accuracy; "
        f"{first['steps']} steps each, {first['images']} images at scale 1.\n",
        main_table(options, found),
    ]
    fixed: dict[str, Any] = {"prompt_template": SWEEP_TEMPLATE, "augmentation": options.augmentations[0]}
    if options.guidance_sweep:
        lines.append(sweep_table(found, axis="guidance", steps=options.num_inference_steps, **fixed))
    if options.steps_sweep:
        lines.append(sweep_table(found, axis="steps", guidance=SWEEP_GUIDANCE, **fixed))
    compared = verdicts(results, steps=options.num_inference_steps)
    if compared:
        lines.append(findings_table(compared))
    return "\n".join(lines)


def report_study(out: str) -> str:
    """The tables of what a folder holds, also of an earlier release's study; makes nothing.

    Raises:
        DatasetError: It holds no study, or a file is damaged.
    """
    folder = Path(out).absolute()
    options = stored_options(folder)
    return make_report(options, read_results(folder))


def parse(arguments: Sequence[str] | None = None) -> tuple[StudyOptions, bool]:
    """The options of a command line, and whether only a report is asked for."""
    parser = study_parser(
        "imagenet_sd",
        "Chapter 5 of the thesis in small: trains on generated images, tests on photographs.",
        out="study",
        short="five trainings on 200 images, one seed: minutes",
    )
    parser.add_argument("--seeds", type=int, help="repetitions; a finished study can be given more")
    parser.add_argument("--only", help="train plain or multi-crop alone, the rest in another run; no result differs")
    parser.add_argument("--report", action="store_true", help="print the tables of what OUT holds, and make nothing")
    parser.add_argument("--data", help="folder with Fashion-MNIST's idx files")
    given = parser.parse_args(arguments)
    return StudyOptions(**given_options(given, SHORT, ("seeds", "only", "data"))), given.report


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    with told_errors():
        options, only_report = parse(arguments)
        if only_report:
            print(report_study(options.out))
            return
        require("the study", (*GENERATING, "matplotlib"), extra="train")
        print(run_study(options, show=show_line))
        print(f"{options.out} holds datasets, runs, results, table and figures")
