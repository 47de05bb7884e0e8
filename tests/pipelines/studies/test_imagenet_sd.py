"""The micro study: its list of work, its table and figures, and all of it in a tiny form through a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardtools.errors import DatasetError, OptionError, PlanMismatchError, SourceError
from shardtools.execution.channel import pack, unpack
from shardtools.pipelines.studies.imagenet_sd.cells import (
    SHORT,
    Cell,
    GeneratedSet,
    StudyOptions,
    Task,
    dataset_folder,
    list_cells,
    list_tasks,
)
from shardtools.pipelines.studies.imagenet_sd.figures import draw_figures
from shardtools.pipelines.studies.imagenet_sd.findings import FINDINGS, Verdict, judged
from shardtools.pipelines.studies.imagenet_sd.real import pick_rows
from shardtools.pipelines.studies.imagenet_sd.results import add_result, hold_to_protocol, means, read_results
from shardtools.pipelines.studies.imagenet_sd.study import Clock, make_report, parse, report_study, run_study
from shardtools.pipelines.studies.imagenet_sd.work import Pool, train_options
from shardtools.sql import query
from shardtools.storage import open_storage

FULL = StudyOptions(out="study")
THREE = replace(FULL, seeds=3)
TINY: dict[str, Any] = {
    "seeds": 1,
    "images_per_class": 5,
    "test_per_class": 4,
    "epochs": 2,
    "templates": ("c, d_c",),
    "guidances": (2.0,),
    "scales": (1, 2),
    "guidance_sweep": (),
    "steps_sweep": (),
    "augmentations": ("plain",),
    "num_inference_steps": 1,
}
TINY_CELLS = {
    "real-x1-plain-seed0",
    "c-d_c-guidance2-steps1-x1-plain-seed0",
    "c-d_c-guidance2-steps1-x2-plain-seed0",
}
PATIENCE_SECONDS = 600.0


def results(options: StudyOptions, top1: Callable[[Cell], float]) -> list[dict[str, Any]]:
    """Lines as a finished study has them."""
    ends = {"images": 500, "steps": 300, "test_images": 10_000}
    return [{**cell.facts(), **ends, "top1": top1(cell)} for cell in list_cells(options)]


def made_up(cell: Cell) -> float:
    """70 and a little more for each seed, 80 for photographs."""
    return (80.0 if cell.dataset is None else 70.0 + cell.scale - cell.dataset.guidance / 2) + cell.seed


def test_the_full_form_has_the_rows_of_the_thesis() -> None:
    cells = Counter((cell.augmentation, cell.dataset is None, cell.scale) for cell in list_cells(FULL))
    assert cells["plain", True, 1] == cells["multi-crop", True, 1] == FULL.seeds
    # Four templates at two guidances; the sweeps share what the table has.
    assert cells["multi-crop", False, 1] == 8 * FULL.seeds
    further = len({*FULL.guidance_sweep} - {2.0, 7.5}) + len({*FULL.steps_sweep} - {FULL.num_inference_steps})
    assert cells["plain", False, 1] == 8 * FULL.seeds + further * FULL.sweep_seeds
    assert cells["plain", False, 5] == cells["multi-crop", False, 10] == FULL.seeds


def test_work_is_named_once_and_comes_after_what_it_needs() -> None:
    there: set[str] = set()
    for task in list_tasks(FULL):
        assert there.issuperset(task.needs) and task.name not in there
        there.add(task.name)


def test_more_seeds_are_more_work_and_leave_what_is_done() -> None:
    few, many = list_tasks(replace(FULL, seeds=1)), list_tasks(FULL)
    assert set(few) < set(many) and len([one for one in many if one.seed == 1]) == len(few)
    table, sweeps = len(list_cells(replace(FULL, guidance_sweep=(), steps_sweep=()))), len(list_cells(FULL))
    assert (sweeps - table) * FULL.seeds == FULL.sweep_seeds * (
        len(list_cells(replace(FULL, seeds=1))) * FULL.seeds - table
    )


def test_one_augmentation_is_trained_alone_and_added_to() -> None:
    whole, crops = list_cells(FULL), list_cells(replace(FULL, only="multi-crop"))
    assert crops == [cell for cell in whole if cell.augmentation == "multi-crop"] and len(crops) == 66
    datasets = {task.name for task in list_tasks(replace(FULL, only="multi-crop")) if isinstance(task, GeneratedSet)}
    assert datasets == {name for cell in crops for name in cell.needs}
    assert replace(FULL, only="multi-crop").settings() == FULL.settings()
    assert parse(["--only", "multi-crop"])[0].only == "multi-crop"


def test_scales_are_read_from_one_dataset_and_take_the_same_steps() -> None:
    scaled = [
        cell for cell in list_cells(replace(FULL, seeds=1)) if cell.dataset is not None and cell.dataset.clones > 1
    ]
    assert {cell.scale for cell in scaled} == set(FULL.scales)
    assert len({cell.dataset for cell in scaled}) == 1
    for cell in scaled:
        options = train_options(FULL, cell)
        assert options.recipe.epochs * cell.scale == FULL.epochs
        whole = cell.scale == max(FULL.scales)
        assert options.where == (None if whole else f"replica < {cell.scale * FULL.images_per_class}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images_per_class": 7}, "multiple of 5"),
        ({"epochs": 25}, "multiple of every scale, found 25 epochs, scale 10"),
        ({"seeds": 0}, "seeds is at least 1"),
        ({"augmentations": ("mixup",)}, "augmentations are of plain, multi-crop"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        replace(FULL, **changes)


def test_command_line() -> None:
    assert parse(["--processes", "2"]) == (FULL, False)
    short, _ = parse(["--short", "--seeds", "2", "--processes", "1"])
    assert short == StudyOptions(out="study-short", processes=1, **{**SHORT, "seeds": 2})


def test_means_and_deviations_over_seeds() -> None:
    found = means(results(THREE, made_up))
    real = next(one for one in found if one.source == "real")
    # 80, 81 and 82: mean 81, deviation 1 with two degrees of freedom; sqrt(.81 * .19 / 10000) = .0039.
    assert (real.top1, real.deviation, real.num_seeds, str(real)) == (81.0, 1.0, 3, "81.0 ± 1.0 (0.4)")
    alone = means(results(replace(FULL, seeds=1), made_up))[0]
    assert alone.deviation is None and str(alone) == "80.0 (0.4)"


def test_the_table_has_a_row_a_training_set() -> None:
    report = make_report(THREE, results(THREE, made_up)).splitlines()
    assert "| photographs | 1 |  |  | 81.0 ± 1.0 (0.4) | 81.0 ± 1.0 (0.4) |  |" in report
    assert "| generated | 1 | 7.5 | `c` | 68.2 ± 1.0 (0.5) | 68.2 ± 1.0 (0.5) | 12.8 |" in report
    assert "| generated | 10 | 2 | `c, d_c` | 80.0 ± 1.0 (0.4) | 80.0 ± 1.0 (0.4) | 1.0 |" in report
    rows = [line for line in report if line.startswith("| generated")]
    assert len(rows) == 8 + 2
    assert f"| guidance | {' | '.join(f'{value:g}' for value in FULL.guidance_sweep)} |" in report
    assert f"| steps | {' | '.join(map(str, FULL.steps_sweep))} |" in report


def test_a_report_says_how_many_seeds_its_cells_have() -> None:
    lines = results(THREE, made_up)
    assert "mean ± deviation over 3 seeds" in make_report(THREE, lines)
    part = [line for line in lines if line["seed"] < 2 or line["augmentation"] == "plain"]
    assert "mean ± deviation over 2 to 3 seeds" in make_report(THREE, part)


def test_findings_of_the_thesis_are_compared_seed_by_seed() -> None:
    def wavering(cell: Cell) -> float:
        """As `made_up`, but definitions help in two seeds of three, and crops cost a point."""
        helps = cell.dataset is not None and cell.dataset.prompt_template == "c, d_c"
        return made_up(cell) + (helps and (-1.0, 1.0, 3.0)[cell.seed]) - (cell.augmentation == "multi-crop")

    report = make_report(THREE, results(THREE, wavering))
    assert "| guidance 2 over 7.5, `c` | +20.4 | +2.8 [+2.8, +2.8] | same direction, smaller |" in report
    # 4.303 * 2 / sqrt(3) on both sides of 1: two of three seeds say yes, and no more can be said.
    assert "| `c, d_c` over `c`, guidance 7.5 | +4.8 | +1.0 [-4.0, +6.0] | open |" in report
    assert "| multi-crop over plain, photographs | +0.8 | -1.0 [-1.0, -1.0] | opposite |" in report
    assert "| 10 clones over 1, `c, d_c`, guidance 2 | +7.6 | +9.0 [+9.0, +9.0] | same direction, larger |" in report
    alone = replace(FULL, seeds=1)
    assert "| guidance 2 over 7.5, `c` | +20.4 | +2.8 | open |" in make_report(alone, results(alone, made_up))
    # The thesis's are with multi-crop, which the short form leaves out.
    short = StudyOptions(out="", **SHORT)
    assert "holds" not in make_report(short, results(short, made_up))


@pytest.mark.parametrize(
    ("thesis", "interval", "verdict"),
    [
        (5.0, None, "open"),
        (5.0, (-0.1, 6.0), "open"),
        (5.0, (0.0, 6.0), "open"),
        (5.0, (0.1, 4.9), "same direction, smaller"),
        (5.0, (0.1, 5.0), "yes"),
        (5.0, (5.1, 9.0), "same direction, larger"),
        (5.0, (-3.0, -0.1), "opposite"),
        (-5.0, (-3.0, -0.1), "same direction, smaller"),
        (-5.0, (0.1, 3.0), "opposite"),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(
    thesis: float, interval: tuple[float, float] | None, verdict: str
) -> None:
    assert judged(thesis, interval) == verdict


def test_intervals_of_seeds_that_differ_by_chance_hold_zero_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 3, 6, 40):
        found = [
            Verdict(finding=FINDINGS[0], differences=tuple(rng.normal(size=count).tolist())).interval
            for _ in range(2000)
        ]
        share = np.mean([one is not None and one[0] <= 0 <= one[1] for one in found])
        # Three deviations of a share of 95 % in 2,000 draws.
        assert share == pytest.approx(0.95, abs=0.015)


def test_a_study_of_before_is_shown_and_not_added_to(tmp_path: Path) -> None:
    settings = {name: value for name, value in FULL.settings().items() if name != "protocol"}
    (tmp_path / "study.json").write_text(json.dumps(settings))
    with pytest.raises(DatasetError, match="holds no results of a study: run it without --report"):
        report_study(str(tmp_path))
    for line in results(THREE, made_up):
        add_result(tmp_path, line)
    assert report_study(str(tmp_path)) == make_report(replace(THREE, out=str(tmp_path)), results(THREE, made_up))
    with pytest.raises(PlanMismatchError, match="crops, hypernyms and scenes of an earlier release: --report shows"):
        hold_to_protocol(open_storage(str(tmp_path)), FULL)
    (tmp_path / "study.json").write_text("[1]")
    with pytest.raises(DatasetError, match="expected a study's settings"):
        report_study(str(tmp_path))


def test_figures_need_two_points(tmp_path: Path) -> None:
    written = draw_figures(tmp_path, FULL, means(results(FULL, made_up)))
    assert {path.name for path in written} == {"prompts.png", "scale.png", "guidance_and_steps.png"}
    for path in written:
        image = np.asarray(Image.open(path).convert("L"))
        assert image.shape[1] > 500 and image.std() > 10
    short = StudyOptions(out="", **{**SHORT, "templates": ("c",)})
    assert draw_figures(tmp_path, short, means(results(short, made_up))) == []


def test_a_line_that_a_kill_cut_is_written_again(tmp_path: Path) -> None:
    first, second, *_ = results(FULL, made_up)
    add_result(tmp_path, first)
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write(json.dumps(second)[:40])
    assert read_results(tmp_path) == [first]
    add_result(tmp_path, second)
    assert read_results(tmp_path) == [first, second]
    add_result(tmp_path, first)
    with pytest.raises(DatasetError, match=r"further cell, found b.* in line 3"):
        read_results(tmp_path)


def test_a_folder_holds_one_study(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    hold_to_protocol(storage, FULL)
    hold_to_protocol(storage, replace(FULL, seeds=9, sweep_seeds=1, processes=1))
    with pytest.raises(PlanMismatchError, match="epochs was 40, is 10"):
        hold_to_protocol(storage, replace(FULL, epochs=10))


def test_time_left_is_of_the_same_kind_of_work() -> None:
    options = StudyOptions(out="", **TINY, processes=1)
    clock = Clock(options, {task.name: task for task in list_tasks(options)})
    clock.done("c-d_c-guidance2-steps1-seed0", 9.0)
    assert clock.left() is None
    clock.done("real-x1-plain-seed0", 3.0)
    assert clock.left() == 6.0


def test_photographs_are_drawn_class_by_class() -> None:
    labels = np.repeat(np.arange(3), [4, 5, 6])
    rows = pick_rows(labels, 4, seed=1)
    assert labels[rows].tolist() == [0, 1, 2] * 4 and len(set(rows)) == 12
    assert rows.tolist() == pick_rows(labels, 4, seed=1).tolist() != pick_rows(labels, 4, seed=2).tolist()
    with pytest.raises(SourceError, match="class 0 has 4 images, expected at least 5"):
        pick_rows(labels, 5, seed=1)


def test_missing_photographs_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="dataset-fashion-mnist"):
        run_study(StudyOptions(out=str(tmp_path / "out"), data=str(tmp_path), **TINY))


def work_off(folder: str, bad: str) -> tuple[bool, list[Any]]:
    """A pool on three tasks, the second of which is bad; each leaves a file."""

    def run(task: Task) -> None:
        if task.guidance == 2.0 and bad == "error":
            raise OptionError("no such guidance")
        if task.guidance == 2.0 and bad == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        (Path(folder) / task.name).touch()

    read, write = os.pipe()
    pool = Pool(
        num_processes=1,
        run=run,
        report=lambda message: void(os.write(write, pack(message))),
        stop=threading.Event(),
        log=Path(folder) / "errors.log",
        there=set(),
    )
    is_good = pool.work_off(
        tuple(GeneratedSet(prompt_template="c", guidance=g, steps=1, clones=1, seed=0) for g in (1.0, 2.0, 3.0))
    )
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        messages = list(unpack(bytearray(stream.read())))
    return is_good, messages


def void(_value: object) -> None:
    """Takes a value and returns none."""


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [("", None, None), ("error", "OptionError", "no such guidance"), ("kill", "RunError", "killed by signal 9")],
)
def test_the_first_failure_ends_a_pool(tmp_path: Path, bad: str, kind: str | None, message: str | None) -> None:
    # In a process of its own: a pool waits for all children and takes SIGTERM.
    with multiprocessing.get_context("spawn").Pool(1) as one:
        is_good, messages = one.apply(work_off, (str(tmp_path), bad))
        # Not ended by SIGTERM, which the pool's handler takes.
        one.close()
        one.join()
    assert is_good == (not bad)
    assert [one.kind for one in messages] == ([kind] if kind else [])
    assert not message or message in messages[0].text
    assert len(list(tmp_path.glob("c-guidance*"))) == (1 if bad else 3)


def test_a_study_that_is_killed_goes_on(tmp_path: Path) -> None:
    options = StudyOptions(out=str(tmp_path / "out"), processes=1, **TINY)
    out = Path(options.out)
    program = (
        "import json, sys\n"
        "from shardtools.pipelines.studies.imagenet_sd.cells import StudyOptions\n"
        "from shardtools.pipelines.studies.imagenet_sd.study import run_study\n"
        "values = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()}\n"
        "run_study(StudyOptions(**values))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, json.dumps(asdict(options))])
    end = time.monotonic() + PATIENCE_SECONDS
    while not read_results(out):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.wait()
    first = read_results(out)
    shard = min(dataset_folder(options.out, "c-d_c-guidance2-steps1-seed0").rglob("*.tar"))
    made = shard.stat().st_mtime_ns

    lines: list[str] = []
    report = run_study(options, show=lines.append)
    found = read_results(out)
    assert {line["cell"] for line in found} == TINY_CELLS and len(found) == len(TINY_CELLS)
    assert found[: len(first)] == first and len(first) < len(found)
    assert shard.stat().st_mtime_ns == made
    assert {line["scale"]: (line["images"], line["steps"], line["test_images"]) for line in found} == {
        1: (50, 2, 40),
        2: (100, 2, 40),
    }
    assert report == (out / "table.md").read_text() and "| generated | 2 | 2 | `c, d_c` |" in report
    assert not list(out.glob("runs/*/checkpoints")) and len(list(out.glob("runs/*/model.safetensors"))) == 3
    assert len(list(out.glob("runs/*/run.json"))) == 3

    photographs = query(
        "select count(*) as n, min(width) as w, count(distinct class_index) as c from samples",
        [str(dataset_folder(options.out, "photographs-test"))],
    ).to_pylist()
    assert photographs == [{"n": 40, "w": 32, "c": 10}]

    lines.clear()
    assert run_study(options, show=lines.append) == report
    assert lines == ["photographs"]
