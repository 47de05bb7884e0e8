"""Training in real processes: as one, killed, resumed, on other numbers of them, from a server that dies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load

from shardtools.training.messages import CheckpointWritten, StepDone, TrainingEnded, TrainingReady
from shardtools.training.options import TrainOptions
from tests.helpers.s3_server import S3Server
from tests.helpers.training_runs import NUM_IMAGES, STEPS_PER_EPOCH, Run, options, write_drawings


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("training")
    return write_drawings(folder / "dataset", folder / "source")


@pytest.fixture(scope="module")
def whole(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on two processes that nothing happened to."""
    return Run(options(dataset, tmp_path_factory.mktemp("whole")), 2).done()


def assert_each_sample_once(run: Run) -> None:
    for epoch in range(2):
        keys = Counter(row["key"] for row in run.records(epoch))
        assert len(keys) == NUM_IMAGES and set(keys.values()) == {1}


def test_two_processes_share_each_step(whole: Run) -> None:
    (ready,) = whole.of(TrainingReady)
    assert ready.num_processes == 2
    assert ready.steps_per_epoch == STEPS_PER_EPOCH
    assert ready.resumed_from is None
    assert_each_sample_once(whole)
    assert [line["step"] for line in whole.metrics()] == list(range(1, 2 * STEPS_PER_EPOCH + 1))


def test_one_process_learns_what_two_learn(dataset: str, tmp_path: Path) -> None:
    """Sums in another order differ in their last bits, and each step makes more of that: hence two large steps."""
    one_image = write_drawings(tmp_path / "one-image", tmp_path / "source", count=1)
    changes: dict[str, Any] = {
        "recipe_epochs": 1,
        "recipe_batch_size": 48,
        "recipe_lr_batch_size": 48,
        "recipe_warmup_epochs": 0.0,
    }
    # Fewer images to evaluate on than processes.
    changes |= {"val": one_image, "val_split": "train", "val_metric": "macro_f1"}
    alone = Run(options(dataset, tmp_path / "one", **changes)).done()
    both = Run(options(dataset, tmp_path / "two", **changes), 2).done()
    assert [run.of(TrainingReady)[0].num_processes for run in (alone, both)] == [1, 2]
    ours, theirs = load(alone.weights()), load(both.weights())
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert abs(value.astype(float) - theirs[name]).max() <= 5e-4, name
    one, two = alone.records(0), both.records(0)
    assert [row["key"] for row in one] == [row["key"] for row in two]
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], rel=1e-3)
    found, expected = (run.metrics()[-1] for run in (both, alone))
    assert (found["kind"], found["val_images"]) == ("evaluation", 1)
    assert found["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-2)
    assert found["val_macro_f1"] == expected["val_macro_f1"] in (0, pytest.approx(1 / 3))


@pytest.mark.parametrize("saved", [2, STEPS_PER_EPOCH + 3])
def test_a_killed_run_ends_in_the_same_bits(dataset: str, whole: Run, tmp_path: Path, saved: int) -> None:
    wanted = options(dataset, tmp_path, checkpoint_steps=saved)
    killed = Run(wanted, 2)
    killed.wait_for(lambda run: any(message.step == saved for message in run.of(CheckpointWritten)))
    killed.kill()
    assert saved in killed.checkpoints()
    assert not (tmp_path / "model.safetensors").exists()

    resumed = Run(wanted, 2).done()
    assert resumed.of(TrainingReady)[0].resumed_from in (saved, STEPS_PER_EPOCH, 2 * saved)
    assert resumed.weights() == whole.weights()
    assert resumed.metrics() == whole.metrics()
    for epoch in range(2):
        assert resumed.records(epoch) == whole.records(epoch)


def test_another_number_of_processes_takes_the_rest(dataset: str, tmp_path: Path) -> None:
    wanted = options(dataset, tmp_path, checkpoint_steps=4)
    killed = Run(wanted, 2)
    killed.wait_for(lambda run: any(message.step == 4 for message in run.of(CheckpointWritten)))
    killed.kill()

    resumed = Run(wanted, 1).done()
    assert resumed.of(TrainingReady)[0].num_processes == 1
    assert_each_sample_once(resumed)


def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint(dataset: str, whole: Run, tmp_path: Path) -> None:
    wanted = options(dataset, tmp_path)
    stopped = Run(wanted, 2)
    stopped.wait_for(lambda run: bool(run.of(StepDone)))
    stopped.stop()
    assert [message.reason for message in stopped.end() if isinstance(message, TrainingEnded)] == ["stopped"]
    step = stopped.of(TrainingEnded)[0].steps
    assert stopped.checkpoints()[-1] == step < 2 * STEPS_PER_EPOCH

    resumed = Run(wanted, 2).done()
    assert resumed.of(TrainingReady)[0].resumed_from == step
    assert resumed.weights() == whole.weights()


def test_a_server_that_dies_costs_no_sample(s3_environment: S3Server, whole: Run, tmp_path: Path) -> None:
    url = write_drawings(s3_environment.url("training/drawings"), tmp_path / "source")
    wanted: TrainOptions = options(url, tmp_path / "run", checkpoint_steps=1, keep_checkpoints=20)
    run = Run(wanted, 2)
    run.wait_for(lambda run: bool(run.of(StepDone)))
    s3_environment.kill()
    s3_environment.restart()
    run.done()
    assert_each_sample_once(run)
    assert run.weights() == whole.weights()
