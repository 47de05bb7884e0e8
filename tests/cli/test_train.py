"""`shardtools train`, `recipes` and `curves` as commands: options, help, progress, what is printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from shardtools.cli import curves as curves_command
from shardtools.cli import recipes as recipes_command
from shardtools.cli import train as train_command
from shardtools.cli.train import split_ratio, summary, to_options
from shardtools.cli.train_progress import TrainProgress
from shardtools.errors import OptionError
from shardtools.execution import Notice
from shardtools.storage import open_storage
from shardtools.training import MODEL_FILE, MetricsLog, TrainOptions, TrainResult, load_recipe, write_run_file
from shardtools.training.messages import CheckpointWritten, Evaluated, Selected, StepDone, TrainingEnded, TrainingReady
from shardtools.training.options import DECODERS, DEVICES, LABELS_BY, SELECTIONS, VAL_METRICS

READY = TrainingReady(
    steps_per_epoch=5,
    epochs=2,
    first_step=0,
    images_per_step=8,
    num_processes=1,
    classes=10,
    samples=40,
    resumed_from=None,
    decoder="cpu",
    device="cpu",
)
STEP = StepDone(step=7, loss=1.5, lr=0.1, images_per_second=912.4, data_wait=0.012)
EVALUATION = Evaluated(epoch=2, values={"val_top1": 71.234, "val_top5": 93.0, "val_loss": 1.1, "val_images": 40})


def call(command: click.Command, *words: str) -> Result:
    return CliRunner().invoke(command, list(words), prog_name=f"shardtools {command.name}")


def parse(*words: str) -> TrainOptions:
    """What the library is asked for."""
    with train_command.command.make_context("train", list(words)) as context:
        given = {name: context.params[name] for name in context.params if name not in ("list_recipes", "as_json")}
        wanted = to_options(**given)
    assert isinstance(wanted, TrainOptions)
    return wanted


def finished_run(folder: Path) -> list[str]:
    """A folder whose training is done, and the words that ask for it."""
    words = ["photos", "--out", str(folder), "--recipe", "micro", "--val", "fashion", "--val-split", "test"]
    result = TrainResult(out=str(folder), epochs=10, steps=50, images=9, seconds=1.0, metrics={"val_top1": 71.234})
    write_run_file(open_storage(folder), parse(*words), {}, result)
    (folder / MODEL_FILE).write_bytes(b"weights")
    return words


def test_the_shortest_command_asks_for_the_defaults() -> None:
    wanted = parse("photos", "--out", "run", "--recipe", "micro")
    assert wanted == TrainOptions(datasets=("photos",), out="run", recipe=load_recipe("micro"))


def test_every_option_of_the_library_can_be_typed(tmp_path: Path) -> None:
    (tmp_path / "clean.sql").write_text("select key from samples")
    words = "a b --out run --recipe pytorch --set epochs=4 --set base_lr=0.2 --ratio 1:3 --weighted sampling --val c"
    words += " --val-split test --val-every 2 --val-metric kappa --select best --test-split x"
    words += " --init weights.pt --init-head p --seed 3 --num-processes 4 --threads 5 --compute-threads 6"
    words += " --accumulation 7 --device cpu --decoder cpu --compile --channels-last --checkpoint-steps 8"
    words += " --keep-checkpoints 9 --log-steps 10 --record --no-tensorboard --wandb project --shuffle blocks"
    words += f" --cache-folder cache --cache-gb 1.5 --view {tmp_path}/clean.sql"
    wanted = parse(*words.split())

    assert wanted == TrainOptions(
        datasets=("a", "b"),
        out="run",
        recipe=load_recipe("pytorch", ["epochs=4", "base_lr=0.2"]),
        split=None,
        view="select key from samples",
        ratio=(1, 3),
        weighted="sampling",
        val="c",
        val_split="test",
        val_every=2,
        val_metric="kappa",
        select="best",
        test_split="x",
        init="weights.pt",
        init_head="p",
        seed=3,
        num_processes=4,
        threads=5,
        compute_threads=6,
        accumulation=7,
        device="cpu",
        decoder="cpu",
        compile=True,
        channels_last=True,
        checkpoint_steps=8,
        keep_checkpoints=9,
        log_steps=10,
        record=True,
        tensorboard=False,
        wandb="project",
        shuffle="blocks",
        cache_folder="cache",
        cache_bytes=1_500_000_000,
    )
    known = {"where", "relabel"}
    assert {field.name for field in fields(wanted) if getattr(wanted, field.name) is None} == known | {"split"}
    other = parse("a", "--out", "run", "--recipe", "micro", "--where", "width > 1", "--relabel", "clean")
    assert (other.where, other.relabel, other.split) == ("width > 1", "clean", "train")
    assert parse("a", "--out", "run", "--recipe", "micro", "--split", "all").split is None


def test_choices_are_the_librarys() -> None:
    choices = {
        option.name: tuple(option.type.choices)
        for option in train_command.command.params
        if isinstance(option.type, click.Choice)
    }
    assert choices == {
        "weighted": ("loss", "sampling"),
        "shuffle": ("global", "blocks"),
        "device": DEVICES,
        "decoder": DECODERS,
        "labels_by": LABELS_BY,
        "val_metric": tuple(VAL_METRICS),
        "select": SELECTIONS,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "DATASET is missing"),
        ("photos --recipe micro", "--out is missing"),
        ("photos --out run", "--recipe is missing"),
        ("photos --out run --recipe micro --ratio 1:x", "--ratio takes whole numbers like 1:3, found '1:x'"),
        ("photos --out run --recipe micro --view no.sql", "--view no.sql: cannot read the file: No such file"),
        ("photos --out run --recipe micro --view q --split val", "leave out --split"),
        ("photos --out run --recipe micro --device tpu", "'tpu' is not one of 'auto', 'cpu', 'cuda'"),
    ],
)
def test_wrong_usage(words: str, message: str) -> None:
    result = call(train_command.command, *words.split())
    assert result.exit_code == 2 and message in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--recipe micor", "did you mean micro"),
        ("--recipe micro --set epoch=3", "did you mean epochs"),
        ("--recipe micro --ratio 1:2", "ratio has one number a dataset (1), found 2"),
        ("--recipe micro --cache-gb 1", "cache_folder and cache_bytes belong together"),
    ],
)
def test_wrong_values_are_errors_of_the_library(words: str, message: str) -> None:
    result = call(train_command.command, "photos", "--out", "run", *words.split())
    assert isinstance(result.exception, OptionError) and message in str(result.exception)


def test_ratio_with_either_separator() -> None:
    assert split_ratio("1:3") == split_ratio("1,3") == (1, 3)


@pytest.mark.parametrize("module", [train_command, recipes_command, curves_command])
def test_help_holds_an_example(module: Any) -> None:
    output = call(module.command, "--help").output
    assert re.search(rf"^\s+shardtools {module.command.name} \S", output, re.MULTILINE)


def test_recipes_are_listed_and_printed() -> None:
    listed = call(train_command.command, "--list-recipes").output
    assert listed == call(recipes_command.command).output
    assert re.search(r"^t-rex-star +t-ReX\*", listed, re.MULTILINE)
    found = json.loads(call(recipes_command.command, "--json").output)
    assert {"recipe": "micro", "what": load_line("micro")} in found

    text = call(recipes_command.command, "t-rex").output
    assert text.startswith("# t-ReX ") and text.endswith("sync_batch_norm = true\n")
    assert json.loads(call(recipes_command.command, "t-rex", "--json").output)["memory_size"] == 8192


def load_line(name: str) -> str:
    return call(recipes_command.command, name).output.partition("\n")[0].removeprefix("# ")


def test_a_finished_run_says_where_everything_is(tmp_path: Path) -> None:
    words = finished_run(tmp_path)
    result = call(train_command.command, *words)

    assert result.exit_code == 0, result.output
    assert f"nothing left to do: the 10 epochs in {tmp_path} are done, 50 steps" in result.output
    assert "last evaluation, test of fashion: top-1 71.2 %\n" in result.output
    assert f"weights: {tmp_path}/model.safetensors" in result.output and "curves: " not in result.output
    as_json = json.loads(call(train_command.command, *words, "--json").output)
    assert as_json["steps"] == 50 and as_json["images"] == 0 and as_json["metrics"] == {"val_top1": 71.234}


def test_a_run_says_which_epoch_it_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = parse(*f"photos --out {tmp_path} --recipe micro --val eyes --select best --val-metric kappa".split())
    found = {"val_top1": 71.234, "val_kappa": 0.8123, "val_loss": 1.1, "val_images": 40.0}
    selected = Selected(epoch=7, values={**found, "test_top1": 70.0, "test_kappa": 0.79})
    words = "top-1 71.2 %, kappa 0.812, loss 1.100; test: top-1 70.0 %, kappa 0.790"
    with TrainProgress() as progress:
        progress(selected)
    assert capsys.readouterr().err == f"kept are the weights of epoch 7: {words}\n"
    result = TrainResult(out=str(tmp_path), epochs=9, steps=10, images=80, seconds=2.0, metrics=selected.metrics())
    with_test = replace(wanted, test_split="cis_test")
    of_split = words.replace("test:", "cis_test:")
    assert f"epoch 7, the best by kappa, val of eyes: {of_split}\n" in summary(result, with_test)


def test_summary_of_a_run_without_evaluation(tmp_path: Path) -> None:
    (tmp_path / "curves.png").write_bytes(b"")
    wanted = parse("photos", "--out", str(tmp_path), "--recipe", "micro")
    text = summary(TrainResult(out=str(tmp_path), epochs=2, steps=10, images=80, seconds=2.0), wanted)

    assert text.startswith("80 images in 2 s (40/s): 2 epochs are done, 10 steps\n")
    assert f"curves: {tmp_path}/curves.png" in text and "--val DATASET" in text


def test_progress_without_a_terminal_is_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardtools.cli.train_progress._LINE_SECONDS", -1.0)
    with TrainProgress() as progress:
        for message in (
            replace(READY, resumed_from=5, first_step=5),
            STEP,
            Notice(text="a sample is damaged"),
            EVALUATION,
            CheckpointWritten(step=10),
            TrainingEnded(reason="done", epochs=2, steps=10, images=80, seconds=1.0),
        ):
            progress(message)

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        "40 images of 10 classes, 2 epochs, 10 steps of 8 images on 1 process (cpu, decoding on the cpu); "
        "goes on after step 5"
    )
    assert re.fullmatch(
        r"epoch 2 of 2, step 7 of 10: 912 images/s, waits for data 1.2%, loss 1.500, \d+ s left", lines[1]
    )
    assert lines[2:] == ["a sample is damaged", "after epoch 2: top-1 71.2 %, top-5 93.0 %, loss 1.100"]


def test_progress_on_a_terminal_is_a_bar_with_lines_above() -> None:
    """In a process whose standard error is a real terminal."""
    program = (
        "from shardtools.cli.train_progress import TrainProgress\n"
        "from shardtools.execution import Notice\n"
        "from shardtools.training.messages import Evaluated, StepDone, TrainingReady\n"
        "with TrainProgress() as progress:\n"
        f"    for message in {[READY, STEP, Notice(text='see [red] here'), EVALUATION]!r}:\n"
        "        progress(message)\n"
    )
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    subprocess.run([sys.executable, "-c", program], stderr=theirs, check=True, env=environment)
    os.close(theirs)
    shown = b""
    # Linux ends a terminal whose other side is closed with an error.
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "epoch 2 of 2" in text and "7/10" in text and "912 images/s, waits for data 1.2%, loss 1.500" in text
    assert "see [red] here" in text and "after epoch 2: top-1 71.2 %" in text


def test_curves_command(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.add("evaluation", step=5, epoch=1, val_top1=12.5, val_loss=None)
    out = tmp_path / "x.png"
    result = call(curves_command.command, str(tmp_path), "--out", str(out))
    assert result.output == f"wrote the curves of 1 run to {out}\n" and out.read_bytes()[:4] == b"\x89PNG"

    found = json.loads(call(curves_command.command, str(tmp_path), "--out", str(out), "--json").output)
    last = {"step": 5.0, "epoch": 1.0, "val_top1": 12.5, "val_loss": None}
    assert found == {"out": str(out), "last_evaluation": {str(tmp_path): last}}
