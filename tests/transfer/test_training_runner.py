"""Cells that are really trained, two of them, by the code of `shardtools train` in this process."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from shardtools.cli import main
from shardtools.execution import Progress, ignore, run_as_rank
from shardtools.training import Training, TrainOptions, TrainResult
from shardtools.transfer import TransferOptions, list_cells, read_study, training_runner

STUDY = """\
recipe = "micro"
epochs = 2

[changes]
batch_size = 8
warmup_epochs = 0
image_size = 16
eval_resize = 16

[grid]
optimizers = ["sgd", "adamw"]
schedules = ["cosine"]
sgd_rates = [0.1]
adamw_rates = [0.001]
decays = [0.0001]

[[models]]
name = "small"
encoder = "resnet-micro"

[[sets]]
name = "drawings"
dataset = "{dataset}"
test_split = "test"
"""


def train_here(options: TrainOptions, *, progress: Progress = ignore) -> TrainResult:
    """As `training.train`, as one of one: without the seconds of another process that loads torch."""
    from accelerate.state import AcceleratorState

    from shardtools.pipelines.ranks import join_run
    from shardtools.pipelines.train.job import run_rank

    AcceleratorState._reset_state(reset_partial_state=True)
    world, stop = join_run("cpu", 1, 1), threading.Event()
    return run_as_rank(Training(options, progress), world, lambda job, report: run_rank(job, world, report, stop), stop)


def test_two_cells_are_trained_and_told(
    drawings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_runner, "train", train_here)
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(dataset=drawings))
    for arguments in (["run", str(path), "--device", "cpu", "--json"], ["report", str(path), "--json"]):
        with pytest.raises(SystemExit) as stop:
            main(["transfer", *arguments])
        assert stop.value.code == 0, capsys.readouterr().err
    ran, report = (json.loads(text) for text in capsys.readouterr().out.split("\n", 1))

    assert (ran["num_here"], ran["num_done"], ran["num_failed"]) == (2, 2, 0)
    for cell in list_cells(read_study(str(path))):
        folder = tmp_path / "study" / "cells" / cell.digest
        outcome = json.loads((folder / "cell.json").read_text())
        lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        evaluations = [line for line in lines if line["kind"] == "evaluation"]
        # The first of the best epochs by validation, and the test after that very epoch.
        best = max(evaluations, key=lambda line: line["val_top1"])
        assert outcome["epoch"] == round(best["epoch"]) and outcome["val"] == pytest.approx(best["val_top1"] / 100)
        assert 0 <= outcome["test"] <= 1 and outcome["seconds"] > 0
        assert not (folder / "run" / "model.safetensors").exists() and (folder / "run" / "run.json").exists()
    assert {one["model"] for one in report["best"]} == {"small"} and report["best"][0]["num_done"] == 2
    assert len(report["results"]) == 3


def test_what_a_training_is_asked(drawings: str, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(dataset=drawings).replace('test_split = "test"', 'metric = "macro_f1"'))
    cell = list_cells(read_study(str(path)))[1]
    wanted = training_runner.training_options(cell, "folder", TransferOptions(device="cpu", processes=2))

    assert (wanted.select, wanted.val_metric, wanted.val_split, wanted.test_split) == ("best", "macro_f1", "val", None)
    assert (wanted.recipe.optimizer, wanted.recipe.peak_lr, wanted.recipe.decay) == ("adamw", 0.001, 0.1)
    assert wanted.out == "folder/run" and wanted.num_processes == 1
