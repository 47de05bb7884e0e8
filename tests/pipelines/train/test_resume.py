"""What is left behind by runs that end at awkward moments, and what the next run makes of it."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shardtools.errors import NoSpaceError, PlanMismatchError, RunError, StorageError
from shardtools.execution import Notice
from shardtools.pipelines.train.checkpoint import Checkpoint, list_checkpoints, save_checkpoint
from shardtools.training.messages import CheckpointWritten, Evaluated, TrainingEnded, TrainingReady
from tests.helpers.training_runs import NUM_IMAGES, RECIPE, STEPS_PER_EPOCH, Here, options, write_drawings

PLAIN = replace(RECIPE, head="linear", projector_layers=None, augmentation="plain")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("training")
    return write_drawings(folder / "dataset", folder / "source")


def wanted(dataset: str, out: Path, **changes: Any) -> Any:
    return options(dataset, out, recipe=PLAIN, val=dataset, val_split="train", **changes)


@pytest.fixture(scope="module")
def whole(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> Here:
    """A run that nothing happened to."""
    return Here(wanted(dataset, tmp_path_factory.mktemp("whole")))


def reason(run: Here) -> str:
    (end,) = run.of(TrainingEnded)
    return str(end.reason)


def test_a_stop_during_an_evaluation_ends_behind_it(dataset: str, whole: Here, tmp_path: Path) -> None:
    asked = wanted(dataset, tmp_path, checkpoint_steps=3)
    stopped = Here(asked, stop_at=lambda message: isinstance(message, Evaluated))
    assert (reason(stopped), stopped.of(TrainingEnded)[0].steps) == ("stopped", STEPS_PER_EPOCH)
    assert stopped.checkpoints() == [3, STEPS_PER_EPOCH]
    assert len(stopped.records(0)) == NUM_IMAGES

    resumed = Here(asked)
    assert resumed.of(TrainingReady)[0].resumed_from == STEPS_PER_EPOCH
    assert resumed.weights() == whole.weights()
    # Each evaluation once, though a checkpoint was due at the step of the first.
    assert resumed.metrics() == whole.metrics()
    assert resumed.records(0) + resumed.records(1) == whole.records(0) + whole.records(1)


def test_a_stop_before_the_first_step_and_one_in_the_last(dataset: str, whole: Here, tmp_path: Path) -> None:
    first = Here(wanted(dataset, tmp_path / "first"), stop_at=lambda message: isinstance(message, TrainingReady))
    assert (reason(first), first.checkpoints()) == ("stopped", [1])
    assert Here(wanted(dataset, tmp_path / "first")).weights() == whole.weights()

    def is_last_checkpoint(message: dict[str, Any]) -> bool:
        return isinstance(message, CheckpointWritten) and message.step == 2 * STEPS_PER_EPOCH - 1

    asked = wanted(dataset, tmp_path / "last", checkpoint_steps=2 * STEPS_PER_EPOCH - 1)
    last = Here(asked, stop_at=is_last_checkpoint)
    # The step in hand is the last one: all is done.
    assert (reason(last), last.weights() == whole.weights()) == ("done", True)


def test_a_run_killed_behind_its_last_checkpoint_still_gets_its_weights(
    dataset: str, whole: Here, tmp_path: Path
) -> None:
    shutil.copytree(whole.out, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    again = Here(wanted(dataset, tmp_path / "run"))
    assert (reason(again), again.of(TrainingEnded)[0].images) == ("done", 0)
    assert again.weights() == whole.weights()
    assert again.metrics() == whole.metrics()


def test_tensorboard_shows_no_step_twice(dataset: str, tmp_path: Path) -> None:
    asked = wanted(dataset, tmp_path, tensorboard=True, checkpoint_steps=2, keep_checkpoints=9)
    stopped = Here(asked, stop_at=lambda message: isinstance(message, CheckpointWritten) and message.step == 8)
    assert stopped.of(TrainingEnded)[0].steps == 9
    # As if it had been killed when its checkpoint of step 4 was the last.
    for folder in list_checkpoints(tmp_path)[2:]:
        shutil.rmtree(folder)
    Here(asked)

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("step/loss")] == list(range(1, 2 * STEPS_PER_EPOCH + 1))
    assert [event.step for event in events.Scalars("evaluation/val_top1")] == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH]


def test_notes_that_begin_late(dataset: str, whole: Here, tmp_path: Path) -> None:
    asked = replace(wanted(dataset, tmp_path), record=False)
    Here(asked, stop_at=lambda message: isinstance(message, CheckpointWritten))
    late = Here(replace(asked, record=True))
    assert late.records(0) == []
    assert late.records(1) == whole.records(1)

    asked = replace(asked, out=str(tmp_path / "middle"), checkpoint_steps=4)
    Here(asked, stop_at=lambda message: isinstance(message, CheckpointWritten))
    late = Here(replace(asked, record=True))
    assert [message.text for message in late.of(Notice)] == [
        "no notes were taken of this epoch so far: its records begin here"
    ]
    assert {row["step"] for row in late.records(0)} == {5}


def test_data_that_has_changed_is_named(dataset: str, whole: Here, tmp_path: Path) -> None:
    """More classes would not fit the weights, either: the data is the reason."""
    other = write_drawings(tmp_path / "dataset", tmp_path / "source")
    asked = wanted(other, tmp_path / "run")
    Here(asked, stop_at=lambda message: isinstance(message, CheckpointWritten))
    shutil.rmtree(other)
    write_drawings(other, tmp_path / "larger", count=NUM_IMAGES + 1)
    with pytest.raises(PlanMismatchError, match=r"the state is of another table: expected 96 rows"):
        Here(asked)


def test_weights_that_are_no_numbers_replace_no_checkpoint(dataset: str, tmp_path: Path) -> None:
    """A gradient can be none while the loss is one."""
    recipe = replace(PLAIN, base_lr=1e30, weight_decay=1e30, warmup_epochs=0.0)
    with pytest.raises(RunError, match=r"weights after step \d+ are not numbers; the checkpoint before it is kept"):
        Here(options(dataset, tmp_path, recipe=recipe, checkpoint_steps=1))


# ---- files ----


def checkpoint(step: int) -> Checkpoint:
    model = {"weight": torch.full((4, 4), float(step))}
    return Checkpoint(step=step, model=model, optimizer={}, loader={}, settings={}, random_states=[])


def test_what_kills_have_left_goes_with_the_next_checkpoint(tmp_path: Path) -> None:
    for name in (".partial-step-000000007", ".partial-step-000000009"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "model.safetensors").write_bytes(b"half")
    for step in (7, 8, 9, 10):
        save_checkpoint(tmp_path, checkpoint(step), keep=1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000000009", "step-000000010"]


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1), keep=1)

    def fill(_folder: Path) -> None:
        with Path("/dev/full").open("wb") as file:
            file.write(bytes(1 << 20))

    with pytest.raises(NoSpaceError, match=r"the checkpoint of step 2 was not written, the disk is full: free space"):
        save_checkpoint(tmp_path, checkpoint(2), keep=1, extra=fill)
    with pytest.raises(StorageError, match=r"step 2 was not written: .*No such file or directory"):
        save_checkpoint(tmp_path, checkpoint(2), keep=1, extra=lambda folder: (folder / "a" / "b").write_bytes(b""))
    assert Counter(path.name for path in (tmp_path / "checkpoints").iterdir()) == {"step-000000001": 1}
