"""What each option of a run does to weights, losses and records: against the same run without it, or by hand."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from shardtools.errors import OptionError, QueryError
from shardtools.execution import Notice
from shardtools.loader import Loader
from shardtools.overlays import write_overlay
from shardtools.pipelines.batches.on_device import DeviceBatches, Normalizer
from shardtools.pipelines.train.models import build_classifier
from shardtools.sql import query
from shardtools.training.data import Share, evaluation_loader, training_loader
from shardtools.training.messages import CheckpointWritten, TrainingReady
from shardtools.training.options import TrainOptions
from tests.helpers.training_runs import (
    NUM_CLASSES,
    NUM_IMAGES,
    RECIPE,
    STEPS_PER_EPOCH,
    Here,
    options,
    write_drawings,
)

PLAIN = replace(RECIPE, head="linear", projector_layers=None, augmentation="plain", epochs=1)
"""One crop, a linear head, one epoch; the first step is made at a rate of 0."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("training")
    return write_drawings(folder / "dataset", folder / "source")


@pytest.fixture(scope="module")
def plain(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> Here:
    """The run that others are held against."""
    return Here(options(dataset, tmp_path_factory.mktemp("plain"), recipe=PLAIN))


def weights(run: Here) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(run.out / "model.safetensors")
    return found


def distance(one: Here, other: Here) -> float:
    ours, theirs = weights(one), weights(other)
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)


def first_batch(wanted: TrainOptions) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Logits of the first step by the weights drawn from the seed, labels of its rows, and its images."""
    batches = DeviceBatches(training_loader(wanted, Share()), torch.device("cpu"))
    batch = next(iter(batches.epoch(0)))
    batches.loader.close()
    model = build_classifier(wanted.recipe, NUM_CLASSES, seed=wanted.seed).train()
    with torch.no_grad():
        logits = model(Normalizer(wanted.recipe.mean, wanted.recipe.std, torch.device("cpu"))(batch.images))
    return logits.double(), batch.labels, len(batch.rows)


# ---- passes ----


def test_accumulation_changes_no_weight(dataset: str, tmp_path: Path) -> None:
    """A vision transformer has no batch norm, whose statistics are those of a pass."""
    recipe = replace(PLAIN, encoder="timm:test_vit", image_size=32, eval_resize=32)
    one = Here(options(dataset, tmp_path / "one", recipe=recipe))
    four = Here(options(dataset, tmp_path / "four", recipe=recipe, accumulation=4))
    assert distance(one, four) < 1e-5
    assert one.losses() == pytest.approx(four.losses(), rel=1e-4)
    assert [row["key"] for row in one.records(0)] == [row["key"] for row in four.records(0)]


def test_clipping_bounds_what_a_step_moves(dataset: str, plain: Here, tmp_path: Path) -> None:
    wide = Here(options(dataset, tmp_path / "wide", recipe=replace(PLAIN, clip_norm=1e6)))
    assert weights(wide).keys() == weights(plain).keys() and distance(wide, plain) == 0
    narrow = Here(options(dataset, tmp_path / "narrow", recipe=replace(PLAIN, clip_norm=1e-6, weight_decay=0.0)))
    start = build_classifier(PLAIN, NUM_CLASSES, seed=0)
    # Five steps at a rate of 0.1, of which momentum makes at most ten times as much.
    moved = [float((weights(narrow)[name] - value).detach().abs().max()) for name, value in start.named_parameters()]
    assert 0 < max(moved) < 6 * 0.1 * 10 * 1e-6


def test_compiling_changes_no_weight_and_no_name(
    dataset: str, plain: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's compiler up to its graphs, which run as they are: turning them into C++ takes a minute of a core."""
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    wanted = options(dataset, tmp_path / "compiled", recipe=PLAIN, compile=True, checkpoint_steps=3)
    stopped = Here(wanted, stop_at=lambda message: isinstance(message, CheckpointWritten))
    assert graphs and stopped.checkpoints() == [3, 4]
    in_checkpoint = load_file(stopped.out / "checkpoints" / "step-000000004" / "model.safetensors")
    assert in_checkpoint.keys() == weights(plain).keys()

    shutil.copytree(stopped.out, tmp_path / "eager")
    for resumed in (Here(wanted), Here(replace(wanted, out=str(tmp_path / "eager"), compile=False))):
        assert resumed.of(TrainingReady)[0].resumed_from == 4
        assert resumed.losses() == pytest.approx(plain.losses(), rel=1e-4)
        assert weights(resumed).keys() == weights(plain).keys() and distance(resumed, plain) < 1e-4


def test_bfloat16_channels_last_is_near(dataset: str, plain: Here, tmp_path: Path) -> None:
    run = Here(options(dataset, tmp_path, recipe=replace(PLAIN, precision="bf16"), channels_last=True))
    assert run.losses()[0] == pytest.approx(plain.losses()[0], rel=0.02)
    assert run.losses()[0] != plain.losses()[0]
    assert {tensor.dtype for tensor in weights(run).values()} == {torch.float32, torch.int64}
    same = Here(options(dataset, tmp_path / "fp32", recipe=PLAIN, channels_last=True))
    assert same.losses() == pytest.approx(plain.losses(), rel=1e-2)


# ---- losses ----


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_loss_and_its_note_by_hand(dataset: str, tmp_path: Path, smoothing: float) -> None:
    wanted = options(dataset, tmp_path, recipe_epochs=1, recipe_label_smoothing=smoothing)
    run = Here(wanted)
    logits, labels, count = first_batch(wanted)
    log_probs = logits - logits.logsumexp(1, keepdim=True)
    rows = torch.arange(len(logits))
    own = -log_probs[rows, labels.repeat(2)]
    # A share of the loss is that of a label drawn at random.
    losses = ((1 - smoothing) * own - smoothing * log_probs.mean(1)).view(2, count).mean(0)
    assert run.losses()[0] == pytest.approx(float(losses.mean()), rel=1e-5)

    notes = {row["key"]: row for row in run.records(0) if row["step"] == 0}
    with Loader(training_loader(wanted, Share())) as loader:
        keys = next(iter(loader.epoch(0))).keys
    assert sorted(notes) == sorted(keys) and len(keys) == count
    for number, key in enumerate(keys):
        first, label = logits[number], int(labels[number])
        others = torch.cat([first[:label], first[label + 1 :]])
        assert notes[key]["loss"] == pytest.approx(float(losses[number]), rel=1e-4)
        assert notes[key]["margin"] == pytest.approx(float(first[label] - others.max()), abs=1e-4)
        assert notes[key]["label"] == label and notes[key]["predicted"] == int(first.argmax())
        assert notes[key]["correct"] is (notes[key]["predicted"] == label)
        assert notes[key]["draw"] == 0


def view(sql: str, **changes: Any) -> dict[str, Any]:
    return {"view": sql, "split": None, "recipe": PLAIN, **changes}


def test_weights_of_samples_weigh_losses(dataset: str, plain: Here, tmp_path: Path) -> None:
    double = Here(options(dataset, tmp_path, **view("select key, 2 as weight from samples")))
    assert double.losses()[0] == pytest.approx(2 * plain.losses()[0], rel=1e-6)
    # What is noted of a sample is its own loss.
    first = [{row["key"]: row["loss"] for row in run.records(0) if row["step"] == 0} for run in (plain, double)]
    assert first[0] == first[1]


def test_weights_of_samples_are_spent_once_where_they_are_drawn_by(dataset: str, tmp_path: Path) -> None:
    sql = "select key, {} * (class_index = 1)::int as weight from samples"
    one, five = (
        Here(options(dataset, tmp_path / str(weight), **view(sql.format(weight), weighted="sampling")))
        for weight in (1, 5)
    )
    assert one.losses() == five.losses()
    rows = one.records(0)
    assert len(rows) == NUM_IMAGES and {row["label"] for row in rows} == {1}
    draws = Counter(row["key"] for row in rows)
    assert max(draws.values()) > 1
    for key, count in draws.items():
        assert sorted(row["draw"] for row in rows if row["key"] == key) == list(range(count))


# ---- which samples ----


def test_a_condition_chooses_the_samples(dataset: str, tmp_path: Path) -> None:
    run = Here(options(dataset, tmp_path, recipe=PLAIN, where="class_index < 2 -- of three"))
    rows = run.records(0)
    assert len(rows) == 2 * NUM_IMAGES // NUM_CLASSES and {row["label"] for row in rows} == {0, 1}
    assert run.of(TrainingReady)[0].classes == NUM_CLASSES


def test_two_datasets_in_a_ratio_have_records_of_their_own(dataset: str, tmp_path: Path) -> None:
    other = write_drawings(tmp_path / "other", tmp_path / "source", first=200, count=24)
    wanted = replace(options(dataset, tmp_path / "run", recipe=PLAIN), datasets=(dataset, other), ratio=(2, 1))
    run = Here(wanted)
    ours, theirs = run.records(0, "records-0"), run.records(0, "records-1")
    # The first dataset ends at sample 143 of the epoch, of which 8 steps of 16 are made.
    assert len(ours) == len({row["key"] for row in ours}) == 86
    # 42 draws of 24 samples: each once, then 18 again.
    assert Counter(row["draw"] for row in theirs) == {0: 24, 1: 18}
    for step in range(8):
        assert sum(row["step"] == step for row in ours) in (10, 11)
    found = query(
        "select dataset, count(*) as n from overlays.training group by dataset order by n",
        [dataset, other],
        overlays=[str(run.out / "records-0"), str(run.out / "records-1")],
    )
    assert found.to_pylist() == [{"dataset": other, "n": 42}, {"dataset": dataset, "n": 86}]


def test_labels_come_from_an_overlay(dataset: str, plain: Here, tmp_path: Path) -> None:
    before = {row["key"]: row["label"] for row in plain.records(0)}
    changed = {key: (before[key] + 1) % NUM_CLASSES for key in sorted(before)[:10]}
    table = pa.table({"key": list(changed), "class_index": list(changed.values())})
    write_overlay(dataset, "fixes", [table], made_by="a test", settings={})
    run = Here(options(dataset, tmp_path / "run", recipe=PLAIN, relabel="fixes"))
    assert {row["key"]: row["label"] for row in run.records(0)} == before | changed
    # The loss of step 0 is by the same weights, so only another label changes it.
    first = [{row["key"]: row["loss"] for row in one.records(0) if row["step"] == 0} for one in (plain, run)]
    assert {key for key in first[0] if first[0][key] != first[1][key]} == changed.keys() & first[0].keys()

    write_overlay(dataset, "scores", [pa.table({"key": list(changed)})], made_by="a test", settings={})
    for name, words in (("scores", "class_index"), ("no-such", "no-such")):
        with pytest.raises(QueryError, match=words) as caught:
            Here(options(dataset, tmp_path / name, recipe=PLAIN, relabel=name))
        assert "\n" not in str(caught.value)
    wrong = pa.table({"key": list(changed), "class_index": [7] * len(changed)})
    write_overlay(dataset, "wrong", [wrong], made_by="a test", settings={})
    with pytest.raises(OptionError, match="expected labels 0 to 2, which the head has, found class 7"):
        Here(options(dataset, tmp_path / "wrong", recipe=PLAIN, relabel="wrong"))


def test_decoding_where_a_gpu_would_changes_pixels_alone(dataset: str, plain: Here, tmp_path: Path) -> None:
    run = Here(options(dataset, tmp_path, recipe=PLAIN, decoder="gpu"))
    assert run.of(TrainingReady)[0].decoder == "gpu"
    assert run.losses() == pytest.approx(plain.losses(), rel=0.05)
    ours, theirs = run.records(0), plain.records(0)
    for name in ("key", "label", "step"):
        assert [row[name] for row in ours] == [row[name] for row in theirs]


def test_a_damaged_sample_is_told_and_its_stand_in_is_noted(tmp_path: Path) -> None:
    dataset = write_drawings(tmp_path / "dataset", tmp_path / "source", count=32)
    sql = "select key, shard, member_offset, num_bytes from samples order by key limit 1"
    (row,) = query(sql, [dataset]).to_pylist()
    with (tmp_path / "dataset" / row["shard"]).open("rb+") as file:
        file.seek(row["member_offset"])
        file.write(bytes(row["num_bytes"]))
    run = Here(options(dataset, tmp_path / "run", recipe=PLAIN))
    assert [message.text.split(" replaced")[0] for message in run.of(Notice)] == [f"sample {row['key']!r}"]
    rows = run.records(0)
    assert Counter(row["draw"] for row in rows) == {0: 31, 1: 1}
    assert row["key"] not in {row["key"] for row in rows}


# ---- evaluation ----


def test_an_evaluation_by_hand(dataset: str, tmp_path: Path) -> None:
    wanted = options(dataset, tmp_path, recipe=replace(PLAIN, epochs=2), val=dataset, val_split="train", val_every=2)
    run = Here(wanted)
    ((step, found),) = [(line["step"], line) for line in run.metrics() if line["kind"] == "evaluation"]
    assert step == 2 * STEPS_PER_EPOCH and found["val_images"] == NUM_IMAGES

    model = build_classifier(PLAIN, NUM_CLASSES, seed=5)
    model.load_state_dict(load_file(run.out / "model.safetensors"))
    model.eval()
    losses, hits = [], 0
    with Loader(evaluation_loader(wanted, Share())) as loader, torch.no_grad():
        for batch in loader.epoch(0):
            pixels = np.asarray(batch.images, np.float64).transpose(0, 3, 1, 2) / 255
            mean, std = (np.reshape(values, (3, 1, 1)) for values in (PLAIN.mean, PLAIN.std))
            logits = model(torch.from_numpy(((pixels - mean) / std).astype(np.float32))).double()
            for scores, label in zip(logits.tolist(), batch.labels.tolist(), strict=True):
                losses.append(math.log(sum(map(math.exp, scores))) - scores[label])
                hits += scores[label] == max(scores)
    assert len(losses) == NUM_IMAGES
    assert found["val_loss"] == pytest.approx(sum(losses) / NUM_IMAGES, rel=1e-4)
    assert found["val_top1"] == pytest.approx(100 * hits / NUM_IMAGES, abs=1.1)
    assert found["val_top5"] == 100


def test_more_processes_than_samples_evaluate_each_once(tmp_path: Path) -> None:
    dataset = write_drawings(tmp_path / "dataset", tmp_path / "source", count=3)
    for decoder in ("cpu", "gpu"):
        keys: list[str] = []
        for rank in range(5):
            wanted = options(dataset, tmp_path, recipe=PLAIN, val=dataset, val_split="train")
            loader = evaluation_loader(wanted, Share(rank=rank, world_size=5))
            for batch in DeviceBatches(loader, torch.device("cpu"), decoder=decoder).epoch(0):
                keys += batch.keys
        assert len(keys) == len(set(keys)) == 3


def test_weights_are_those_of_the_plain_network(tmp_path: Path) -> None:
    """What docs/train.md says of using them elsewhere."""
    trained = build_classifier(replace(PLAIN, encoder="resnet18"), NUM_CLASSES, seed=0).eval()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    weights = load_file(tmp_path / "model.safetensors")
    names = {"head.weight": "fc.weight", "head.bias": "fc.bias"}
    network = torchvision.models.resnet18(num_classes=NUM_CLASSES)
    network.load_state_dict({names.get(n, n.removeprefix("encoder.network.")): tensor for n, tensor in weights.items()})
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network.eval()(images), trained(images))


def test_what_cannot_be_had_is_one_line(dataset: str, tmp_path: Path) -> None:
    def refused(said: str, **changes: Any) -> None:
        with pytest.raises(OptionError, match=said) as caught:
            Here(options(dataset, tmp_path / "refused", **{"recipe": PLAIN, **changes}))
        assert "\n" not in str(caught.value)

    refused("wandb is not installed: pip install wandb, or leave --wandb out", wandb="project")
    refused("fp16 needs a GPU, found device cpu: take --set precision=fp32", recipe=replace(PLAIN, precision="fp16"))
    assert not (tmp_path / "refused" / "model.safetensors").exists()
