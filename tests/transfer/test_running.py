"""Runs of cells: each once, however many runs there are, and however they end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.dataset import acquire
from shardtools.errors import NoSpaceError, OptionError, StoppedError
from shardtools.storage import open_storage
from shardtools.transfer import Cell, Outcome, TransferOptions, list_cells, read_study, run_study
from shardtools.transfer.gpus import take_gpu
from shardtools.transfer.options import out_folder, parse_task, share_of_launcher
from shardtools.transfer.outcomes import cell_folder, read_outcomes
from shardtools.transfer.running import _looks
from tests.helpers.transfer_studies import calls_of, pretend

PROGRAM = """
import sys
from shardtools.transfer import TransferOptions, run_study
from tests.helpers.transfer_studies import pretend_slowly
run_study(sys.argv[1], TransferOptions(device="cpu", processes=int(sys.argv[2])), runner=pretend_slowly)
"""

HERE = TransferOptions(device="cpu")
NUM_FAILING = 16


def test_a_grid_of_eighty_repeats_no_cell(study: Path) -> None:
    ran = run_study(str(study), HERE, runner=pretend)
    again = run_study(str(study), HERE, runner=pretend)

    calls = calls_of(study.with_suffix(""))
    assert len(calls) == 80 and set(calls.values()) == {1}
    assert (ran.num_cells, ran.num_done, ran.num_failed, ran.num_here) == (80, 80 - NUM_FAILING, NUM_FAILING, 80)
    assert (again.num_here, again.num_done, again.num_left) == (0, 80 - NUM_FAILING, 0)
    assert len(ran.failures) == NUM_FAILING
    assert ran.failures[0].endswith("seed 0: weights after step 3 are not numbers: lower base_lr")


def test_failed_cells_are_tried_again_where_that_is_asked_for(short_study: Path) -> None:
    run_study(str(short_study), HERE, runner=pretend)
    ran = run_study(str(short_study), TransferOptions(device="cpu", retry_failed=True), runner=pretend)

    assert ran.num_here == ran.num_failed == 8
    assert sorted(calls_of(short_study.with_suffix("")).values()) == [1] * 8 + [2] * 8


def test_shares_are_all_cells_once(short_study: Path) -> None:
    path = str(short_study)
    ran = [run_study(path, TransferOptions(device="cpu", task=f"{n}/3"), runner=pretend) for n in range(1, 4)]

    assert [one.num_here for one in ran] == [6, 5, 5]
    assert ran[0].num_left == 10 and ran[-1].num_left == 0
    assert set(calls_of(short_study.with_suffix("")).values()) == {1}


def test_a_cell_in_other_hands_is_left_to_them(short_study: Path) -> None:
    out = short_study.with_suffix("")
    cell = list_cells(read_study(str(short_study)))[7]
    with acquire(open_storage(str(out / cell_folder(cell))), purpose="transfer"):
        ran = run_study(str(short_study), HERE, runner=pretend)

    assert (ran.num_here, ran.num_left) == (15, 1)
    assert cell.digest not in calls_of(out)
    assert run_study(str(short_study), HERE, runner=pretend).num_here == 1


def test_two_killed_processes_repeat_no_finished_cell(study: Path) -> None:
    out = study.with_suffix("")
    run = subprocess.Popen([sys.executable, "-c", PROGRAM, str(study), "2"], stderr=subprocess.DEVNULL)
    try:
        while len(calls_of(out)) < 12:
            assert run.poll() is None
            time.sleep(0.01)
    finally:
        run.kill()
        run.wait()
    # Workers die with their launcher, in the middle of a cell each.
    before = 0
    while before != (before := sum(calls_of(out).values())):
        time.sleep(0.2)
    finished = set(read_outcomes(open_storage(str(out)), list_cells(read_study(str(study)))))
    begun = calls_of(out)
    assert 10 <= len(finished) < 80 and set(begun.values()) == {1}

    ran = run_study(str(study), HERE, runner=pretend)

    assert ran.num_left == 0 and ran.num_here == 80 - len(finished)
    calls = calls_of(out)
    assert {calls[digest] for digest in finished} == {1}
    assert {digest for digest, count in calls.items() if count > 1} == set(begun) - finished


def stop_at_third(cell: Cell, folder: str, options: TransferOptions) -> Outcome:
    """Asked to stop in its third cell."""
    if len(calls_of(Path(folder).parents[1])) == 2:
        raise StoppedError("stopped at step 4")
    return pretend(cell, folder, options)


def fill_disk(cell: Cell, folder: str, options: TransferOptions) -> Outcome:
    """The place is at fault, not the cell."""
    del cell, folder, options
    raise NoSpaceError("the disk is full")


def test_a_stop_and_a_full_disk_are_no_failures_of_a_cell(short_study: Path) -> None:
    with pytest.raises(StoppedError, match="stopped with 2 cells done of 16 that were left"):
        run_study(str(short_study), HERE, runner=stop_at_third)
    with pytest.raises(NoSpaceError, match="the disk is full"):
        run_study(str(short_study), HERE, runner=fill_disk)

    assert run_study(str(short_study), HERE, runner=pretend).num_here == 14


def test_weights_go_with_the_last_cell_and_not_before(study: Path) -> None:
    out = study.with_suffix("")
    run_study(str(study), TransferOptions(device="cpu", task="1/80"), runner=pretend)
    [folder] = (out / "cells").glob("*")
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "model.safetensors").write_bytes(b"x")
    (folder / "run" / "metrics.jsonl").write_bytes(b"")

    run_study(str(study), TransferOptions(device="cpu", task="1/80", keep_weights=True), runner=pretend)
    assert (folder / "run" / "model.safetensors").exists()
    # What a kill left between the figures and the end of the cell.
    run_study(str(study), TransferOptions(device="cpu", task="1/80"), runner=pretend)
    assert [path.name for path in (folder / "run").iterdir()] == ["metrics.jsonl"]


@given(num_cells=st.integers(1, 30), num_processes=st.integers(1, 8))
def test_every_process_looks_at_every_cell_twice(num_cells: int, num_processes: int) -> None:
    looks = _looks(num_cells, num_processes)
    for slot in range(num_processes):
        # As an engine deals them.
        own = looks[slot::num_processes]
        assert {look.slot for look in own} == {slot}
        for is_last in (False, True):
            assert sorted(look.cell for look in own if look.is_last == is_last) == list(range(num_cells))
        assert [look.is_last for look in own] == sorted(look.is_last for look in own)


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "8"}, (2, 8)),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, (3, 4)),
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "10", "SLURM_ARRAY_TASK_MIN": "1"}, (4, 10)),
        (
            {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "10"},
            (5, 10),
        ),
    ],
)
def test_shares_that_launchers_say(environment: dict[str, str], share: tuple[int, int]) -> None:
    assert share_of_launcher(environment) == share


def test_what_is_no_share_is_refused() -> None:
    assert parse_task("17/100") == (16, 100)
    for text in ("0/3", "4/3", "1", "1/x", "-1/3"):
        with pytest.raises(OptionError, match="the 17th of 100 shares is 17/100"):
            TransferOptions(task=text)
    with pytest.raises(OptionError, match="the launcher says that this is process 4 of 4"):
        share_of_launcher({"RANK": "4", "WORLD_SIZE": "4"})
    with pytest.raises(OptionError, match=r"a study is a .toml file, found 'study'"):
        out_folder("study", None)
    assert out_folder("a/study.toml", None) == "a/study" and out_folder("study", "b") == "b"


def test_each_process_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "null"):
        (tmp_path / name).touch()
    for environment, slot, taken in (
        ({}, 0, "0"),
        ({}, 3, "1"),
        ({"CUDA_VISIBLE_DEVICES": "4,6"}, 1, "6"),
        ({"CUDA_VISIBLE_DEVICES": "6"}, 1, "6"),
    ):
        take_gpu(slot, environment, tmp_path)
        assert environment["CUDA_VISIBLE_DEVICES"] == taken
    none: dict[str, str] = {"CUDA_VISIBLE_DEVICES": ""}
    take_gpu(1, none, tmp_path)
    assert none == {"CUDA_VISIBLE_DEVICES": ""}


def test_cells_lie_in_a_folder(study: Path) -> None:
    with pytest.raises(OptionError, match=r"trainings write into a folder .* found s3://bucket/study: give --out DIR"):
        run_study(str(study), TransferOptions(device="cpu", out="s3://bucket/study"), runner=pretend)
