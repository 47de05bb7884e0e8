"""The launcher of training: the folder, the lease, the child's messages, the record. Training itself: pipelines/train/.

The child of these tests is a short program that speaks the trainer's protocol, so that each ending can be had at will.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from shardtools.dataset import acquire
from shardtools.errors import DatasetBusyError, DatasetError, OptionError, PlanMismatchError, RunError
from shardtools.execution import CHILD_DECIDES, Message, Notice, Progress, ignore, run_in_child
from shardtools.storage import open_storage
from shardtools.training import MODEL_FILE, RUN_FILE, Recipe, TrainOptions, TrainResult, train, write_run_file
from shardtools.training.launch import Training, processes_to_ask
from shardtools.training.messages import (
    AlreadyTrained,
    CheckpointWritten,
    Evaluated,
    StepDone,
    TrainingEnded,
    TrainingReady,
)
from shardtools.training.metrics import MetricsLog
from shardtools.training.run_file import changed_settings, read_finished

CHILD = """
import os, pickle, signal, sys
from shardtools.errors import PlanMismatchError
from shardtools.execution import Notice, end_with_error, open_channel
from shardtools.training.messages import CheckpointWritten, Evaluated, Selected, StepDone, TrainingEnded, TrainingReady
options, num_ranks, parent_pid = pickle.load(sys.stdin.buffer)
assert parent_pid == os.getppid()
tell = open_channel()
def end(reason, steps):
    tell(TrainingEnded(reason=reason, epochs=2, steps=steps, images=80, seconds=0.5))
"""
READY = """
tell(TrainingReady(steps_per_epoch=5, epochs=2, first_step=0, images_per_step=8, num_processes=num_ranks, classes=10,
                   samples=40, resumed_from=None, decoder=os.environ["OMP_NUM_THREADS"], device=options.device))
"""
TRAINED = """
tell(StepDone(step=5, loss=2.0, lr=0.1, images_per_second=100.0, data_wait=0.0))
tell(Evaluated(epoch=1, values=dict(val_top1=10.0, val_top5=50.0, val_loss=2.3, val_images=40)))
tell(CheckpointWritten(step=5))
tell(Evaluated(epoch=2, values=dict(val_top1=20.0, val_top5=60.0, val_loss=2.1, val_images=40)))
tell(CheckpointWritten(step=10))
"""


def options(out: Path | str, **changes: Any) -> TrainOptions:
    values = {"datasets": ("photos",), "out": str(out), "recipe": Recipe(name="own"), "device": "cpu"}
    return TrainOptions(**{**values, **changes})


def run(wanted: TrainOptions, program: str, show: Progress = ignore) -> TrainResult:
    """Launches a child that runs the text."""
    return run_in_child(Training(wanted, show, program=("-c", CHILD + program)))


def finish(out: Path, **changes: Any) -> TrainOptions:
    """A folder whose training is done."""
    wanted = options(out, **changes)
    result = TrainResult(out="elsewhere", epochs=2, steps=10, images=80, seconds=0.5, metrics={"val_top1": 20.0})
    write_run_file(open_storage(out), wanted, {"steps_per_epoch": 5}, result)
    (out / MODEL_FILE).write_bytes(b"weights")
    return wanted


def test_messages_become_a_result_and_a_record(tmp_path: Path) -> None:
    heard: list[Message] = []
    wanted = options(tmp_path / "run", compute_threads=3, num_processes=2)
    result = run(wanted, READY + TRAINED + "end('done', 10)", heard.append)

    metrics = {"val_top1": 20.0, "val_top5": 60.0, "val_loss": 2.1}
    assert result == TrainResult(
        out=str(tmp_path / "run"), epochs=2, steps=10, images=80, seconds=0.5, metrics=metrics, finished=True
    )
    ready, *between, notice = heard
    assert [type(message) for message in between] == [
        *(StepDone, Evaluated, CheckpointWritten, Evaluated, CheckpointWritten, TrainingEnded)
    ]
    assert isinstance(notice, Notice) and "no curves.png" in notice.text, "there are no metrics to draw"
    assert isinstance(ready, TrainingReady)
    assert (ready.num_processes, ready.decoder, ready.device) == (2, "3", "cpu")
    record = json.loads((tmp_path / "run" / RUN_FILE).read_text())
    assert record["options"]["recipe"]["name"] == "own" and record["result"]["steps"] == 10
    assert record["facts"]["samples"] == 40 and record["facts"]["steps_per_epoch"] == 5


def test_a_run_resumed_after_its_last_epoch_has_the_metrics_of_its_last_evaluation(tmp_path: Path) -> None:
    """Killed between its last checkpoint and its weights: what is left of it evaluates nothing."""
    with MetricsLog(tmp_path) as log:
        log.add("step", step=5, epoch=1.0, loss=2.0)
        log.add("evaluation", step=5, epoch=1.0, val_top1=10.0, val_top5=50.0, val_loss=2.3, val_images=40)
        log.add("evaluation", step=10, epoch=2.0, val_top1=20.0, val_top5=60.0, val_loss=2.1, val_images=40)
    wanted = options(tmp_path, val="photos")
    result = run(wanted, READY + "end('done', 10)")

    assert result.metrics == {"val_top1": 20.0, "val_top5": 60.0, "val_loss": 2.1}
    assert json.loads((tmp_path / RUN_FILE).read_text())["result"]["metrics"] == result.metrics
    assert run(options(tmp_path), READY + "end('done', 10)").metrics == {}, "this run was asked for none"
    assert run(wanted, READY + "end('done', 15)").metrics == {}, "that evaluation was of earlier weights"


def test_what_was_chosen_is_the_result(tmp_path: Path) -> None:
    told = "tell(Selected(epoch=1, values=dict(val_top1=10.0, val_images=40, test_top1=9.0)))\n"
    result = run(options(tmp_path, val="photos", select="best"), READY + TRAINED + told + "end('done', 10)")
    assert result.metrics == {
        "val_top1": 10.0,
        "val_top5": 60.0,
        "val_loss": 2.1,
        "test_top1": 9.0,
        "best_epoch": 1,
    }


def test_the_child_decides_only_where_it_must(tmp_path: Path) -> None:
    assert processes_to_ask(options(tmp_path)) == 1
    assert processes_to_ask(options(tmp_path, device="auto")) == CHILD_DECIDES
    assert processes_to_ask(options(tmp_path, device="cuda")) == CHILD_DECIDES
    assert processes_to_ask(options(tmp_path, device="cuda", num_processes=4)) == 4


def test_sigterm_stops_after_a_checkpoint_in_one_line(tmp_path: Path) -> None:
    """The launcher passes the signal on; the child ends its step, writes a checkpoint and says that it was stopped."""
    program = READY + (
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "tell(Notice(text='signal me'))\n"
        "signal.pause()\n"
        "tell(CheckpointWritten(step=3))\n"
        "end('stopped', 3)\n"
    )

    def show(message: Message) -> None:
        if isinstance(message, Notice):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()

    wanted = options(tmp_path)
    with pytest.raises(RunError, match=r"stopped at step \d, .* with a checkpoint of step 3: .* it resumes") as error:
        run(wanted, program, show)
    assert "\n" not in str(error.value)
    assert json.loads((tmp_path / RUN_FILE).read_text())["result"] is None
    assert read_finished(open_storage(tmp_path), wanted) is None


def test_a_stop_before_the_first_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"stopped at step 0, .* before the first checkpoint: .* it begins anew"):
        run(options(tmp_path), READY + "end('stopped', 0)")


def test_an_error_of_the_child_is_the_launchers(tmp_path: Path) -> None:
    refused = "end_with_error(PlanMismatchError('a checkpoint of another run'), tell)"
    with pytest.raises(PlanMismatchError, match="a checkpoint of another run"):
        run(options(tmp_path), refused)
    assert not (tmp_path / RUN_FILE).exists(), "options that were refused are not the folder's"


def test_a_child_that_is_killed_or_silent(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"was killed by signal 9: what is committed in .* stays"):
        run(options(tmp_path), READY + "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RunError, match="ended at step 5 with a checkpoint of step 10 and gave no reason"):
        run(options(tmp_path), READY + TRAINED)


def test_a_finished_folder_returns_at_once(tmp_path: Path) -> None:
    wanted = finish(tmp_path)
    heard: list[Message] = []
    result = train(options(tmp_path, log_steps=7, num_processes=3), progress=heard.append)

    assert heard == [AlreadyTrained(epochs=2, steps=10)]
    assert (result.out, result.images, result.seconds, result.steps) == (str(tmp_path), 0, 0.0, 10)
    assert result.metrics == {"val_top1": 20.0} and result.finished
    assert not (tmp_path / "lease").exists()
    # Without its weights it is not finished: the trainer is asked to go on from the last checkpoint.
    (tmp_path / MODEL_FILE).unlink()
    assert read_finished(open_storage(tmp_path), wanted) is None


def test_a_finished_folder_of_other_options_is_refused(tmp_path: Path) -> None:
    finish(tmp_path, ratio=(2,))
    message = "seed was 0, is 1; recipe.epochs was 100, is 20): give another out"
    with pytest.raises(PlanMismatchError, match=re.escape(message)):
        train(options(tmp_path, ratio=(2,), seed=1, recipe=Recipe(name="own", epochs=20)))


def test_a_finished_folder_from_before_a_key_of_recipes(tmp_path: Path) -> None:
    """What an earlier release began is what the default of the younger key does."""
    wanted = finish(tmp_path)
    path = tmp_path / RUN_FILE
    record = json.loads(path.read_text())
    for name in ("schedule", "step_epochs", "step_factor"):
        del record["settings"][f"recipe.{name}"]
    path.write_text(json.dumps(record))

    assert train(wanted).steps == 10
    with pytest.raises(PlanMismatchError, match=r"recipe\.schedule was 'cosine', is 'step'"):
        train(options(tmp_path, recipe=Recipe(name="own", schedule="step")))


def test_a_finished_folder_says_what_was_left_out_at_its_default(tmp_path: Path) -> None:
    finish(tmp_path, recipe=Recipe(name="own", step_at=(5.0, 7.5), schedule="step"))
    with pytest.raises(PlanMismatchError, match=r"\(recipe\.step_at was \[5\.0, 7\.5\], is \[\]\)"):
        train(options(tmp_path, recipe=Recipe(name="own", schedule="step")))
    finish(tmp_path)
    with pytest.raises(PlanMismatchError, match=r"\(recipe\.optimizer was 'sgd', is 'adamw'\)"):
        train(options(tmp_path, recipe=Recipe(name="own", optimizer="adamw")))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"result": 1, "settings": {}}'])
def test_a_damaged_run_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / RUN_FILE).write_text(content)

    with pytest.raises(DatasetError, match=r"run\.json: expected a run file"):
        train(options(tmp_path))


def test_folders_that_a_run_cannot_have(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="out is a folder of this machine, found s3://bucket/run"):
        train(options("s3://bucket/run"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dataset.json").write_text("{}")
    with pytest.raises(OptionError, match=r"found the dataset .*photos: give another out"):
        train(options(tmp_path / "photos"))


def test_two_runs_on_one_folder(tmp_path: Path) -> None:
    with (
        acquire(open_storage(tmp_path), purpose="train"),
        pytest.raises(DatasetBusyError, match=r"another run \(train on .*, pid \d+"),
    ):
        train(options(tmp_path))


def test_a_run_of_before_says_the_same_in_other_words() -> None:
    recipe = Recipe(name="old", augmentation="color")
    wanted = TrainOptions(datasets=("data",), out="run", recipe=recipe).result()
    before = json.loads(json.dumps(wanted))
    before |= {"recipe.memory_normalised": False, "recipe.projector_layers": -1, "recipe.augmentation": "colour"}
    del before["recipe.memory_normalized"]
    assert changed_settings(before, wanted) == []
    assert changed_settings({**before, "recipe.projector_layers": 1}, wanted) == [
        "recipe.projector_layers was 1, is None"
    ]
