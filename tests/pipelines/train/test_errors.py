"""What cannot be trained is said in one line, and what was learnt before is kept."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from shardtools.errors import OptionError, PlanMismatchError, QueryError, RunError, ShardtoolsError
from shardtools.execution import Message
from shardtools.loader import Loader
from shardtools.pipelines.train import run as train_run
from shardtools.pipelines.train.checkpoint import list_checkpoints
from shardtools.sources import SourceOptions
from shardtools.training.classes import plan_classes
from shardtools.training.data import Share, evaluation_loader
from shardtools.training.messages import TrainingReady
from shardtools.training.options import TrainOptions
from shardtools.writing import WriteOptions
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.training_runs import Here, Run, options, write_drawings
from tests.helpers.writing_jobs import write_in_process


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("training")
    return write_drawings(folder / "dataset", folder / "source")


@pytest.fixture
def finished(dataset: str, tmp_path: Path, trained: Path) -> TrainOptions:
    """A run of one epoch that is done, in a folder of the test's own."""
    shutil.copytree(trained, tmp_path / "finished")
    return options(dataset, tmp_path / "finished", recipe_epochs=1)


@pytest.fixture(scope="module")
def trained(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Here(options(dataset, tmp_path_factory.mktemp("trained"), recipe_epochs=1)).out


def begin(wanted: TrainOptions, share: Share | None = None) -> list[Message]:
    """Puts a run together in this process; what it told."""
    messages: list[Message] = []
    run = train_run.Run(wanted, share or Share(), torch.device("cpu"), messages.append, threading.Event())
    run.close()
    return messages


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"where": "width > 100000"}, QueryError, "the view returned no row"),
        ({"where": "no_such_column = 1"}, QueryError, "no_such_column"),
        ({"split": "test"}, OptionError, "has no split 'test': it has train"),
        ({"relabel": "nothing"}, ShardtoolsError, "nothing"),
        (
            {"view": "select key, 7 as class_index from samples", "split": None},
            OptionError,
            "expected labels 0 to 2, which the head has, found class 7 at",
        ),
        (
            {
                "view": "select key, case when class_index > 1 then -1 else 0 end as class_index from samples",
                "split": None,
            },
            (OptionError, QueryError),
            "class",
        ),
        ({"accumulation": 3}, OptionError, "batch_size 16 is not a multiple of 1 process x 3 passes"),
        ({"recipe_encoder": "resnet-mikro"}, OptionError, "resnet-micro"),
        ({"recipe_batch_size": 128}, OptionError, "fill one step"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    dataset: str, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        begin(options(dataset, tmp_path, **changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_evaluation_finds_its_classes_by_name(dataset: str, tmp_path: Path) -> None:
    files = {f"val/class{number}/{number}.jpg": jpeg(number) for number in (2, 5)}
    other = tmp_path / "other"
    write_in_process(
        WriteOptions(source=SourceOptions(source=str(write_files(tmp_path / "source", files))), out=str(other))
    )
    wanted = options(dataset, tmp_path / "run", val=str(other))
    plan = plan_classes(wanted)
    assert plan.evaluation == {0: 2} and "1 of 2 classes are evaluated" in plan.notes[0] and "(class5)" in plan.notes[0]
    with Loader(evaluation_loader(wanted, Share(), plan)) as loader:
        assert [(batch.keys, batch.labels.tolist()) for batch in loader.epoch(0)] == [(["val_class2_2"], [2])]
    assert isinstance(begin(wanted)[0], TrainingReady)
    assert isinstance(begin(options(dataset, tmp_path / "run", val=dataset, val_split="train"))[0], TrainingReady)


def test_a_checkpoint_of_another_recipe_is_refused(finished: TrainOptions) -> None:
    with pytest.raises(PlanMismatchError, match=r"a checkpoint of another run \(recipe.base_lr was 0.1, is 0.2\)"):
        begin(replace(finished, recipe=replace(finished.recipe, base_lr=0.2)))
    with pytest.raises(PlanMismatchError, match="where was None, is 'width > 1'"):
        begin(replace(finished, where="width > 1"))


def test_a_damaged_checkpoint_is_named(finished: TrainOptions) -> None:
    folder = Path(finished.out) / "checkpoints" / "step-000000006"
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:1000])
    with pytest.raises(ShardtoolsError, match=r"step-000000006: the checkpoint is damaged .* remove this folder"):
        begin(finished)


def test_a_loss_that_is_no_number_stops_the_run(dataset: str, tmp_path: Path) -> None:
    wanted = options(
        dataset,
        tmp_path,
        checkpoint_steps=1,
        recipe_head="linear",
        recipe_projector_layers=None,
        recipe_base_lr=1e30,
        recipe_warmup_epochs=0.3,
    )
    with pytest.raises(RunError, match=r"the loss of step \d+ is \S+: expected a number; its batch: ") as caught:
        Here(wanted)
    message = str(caught.value)
    assert "\n" not in message
    step = int(message.split("step ")[1].split(" ")[0])
    assert max(int(path.name.removeprefix("step-")) for path in list_checkpoints(tmp_path)) == step
    keys = message.split("its batch: ")[1].split(" and ")[0].split(", ")
    assert len(keys) == 8 and len(set(keys)) == 8


def test_too_little_memory_names_what_to_lower(dataset: str, tmp_path: Path) -> None:
    wanted = options(dataset, tmp_path, recipe_image_size=1024, recipe_eval_resize=1024, recipe_augmentation="plain")
    error = Run(wanted, memory_bytes=1600 * 2**20).error()
    assert error.kind == "RunError"
    assert "out of memory on cpu:0 with 16 images x 1 crops of up to 1024 pixels in one pass" in error.text
    assert "--accumulation" in error.text
