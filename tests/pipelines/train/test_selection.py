"""Which epoch's weights a run keeps, by which metric, what they reach on a test; and that a kill changes none of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import macro_f1, macro_roc_auc, quadratic_weighted_kappa
from shardtools.pipelines.batches.on_device import DeviceBatches, Normalizer
from shardtools.pipelines.train.measures import kept_of, measure_answers
from shardtools.pipelines.train.models import build_classifier
from shardtools.sources import SourceOptions
from shardtools.training.data import Share, evaluation_loader
from shardtools.training.messages import Evaluated, Selected, TrainingReady
from shardtools.training.options import TrainOptions
from shardtools.writing import WriteOptions
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.training_runs import RECIPE, Here, options
from tests.helpers.writing_jobs import write_in_process

CPU = torch.device("cpu")
PLAIN = replace(
    RECIPE, head="linear", projector_layers=None, augmentation="plain", epochs=4, warmup_epochs=0.0, base_lr=0.5
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Drawings in three classes: 48 to train on, 30 to evaluate on, 30 to test on."""
    folder = tmp_path_factory.mktemp("splits")
    files = {
        f"{split}/class{number % 3}/{number}.jpg": jpeg(number)
        for split, first, count in (("train", 0, 48), ("val", 100, 30), ("test", 200, 30))
        for number in range(first, first + count)
    }
    write_in_process(
        WriteOptions(
            source=SourceOptions(source=str(write_files(folder / "source", files))), out=str(folder / "dataset")
        )
    )
    return str(folder / "dataset")


def wanted(dataset: str, out: Path, **changes: Any) -> TrainOptions:
    return options(dataset, out, **{"recipe": PLAIN, "val": dataset, "test_split": "test", "select": "best", **changes})


@pytest.fixture(scope="module")
def best(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> Here:
    asked = wanted(dataset, tmp_path_factory.mktemp("best"), val_metric="kappa", keep_checkpoints=9)
    return Here(asked)


def logits_of(asked: TrainOptions, weights: dict[str, torch.Tensor], split: str) -> tuple[torch.Tensor, np.ndarray]:
    """Of a split by given weights, without the code under test."""
    model = build_classifier(asked.recipe, 3, seed=9).eval()
    model.load_state_dict(weights)
    batches = DeviceBatches(evaluation_loader(asked, Share(), split=split), CPU)
    normalize = Normalizer(asked.recipe.mean, asked.recipe.std, CPU)
    with torch.no_grad():
        found = [(model(normalize(batch.images)), batch.labels) for batch in batches.epoch(0)]
    batches.loader.close()
    return torch.cat([logits for logits, _ in found]), torch.cat([labels for _, labels in found]).numpy()


def evaluations(run: Here) -> list[dict[str, Any]]:
    return [line for line in run.metrics() if line["kind"] == "evaluation"]


def test_the_best_epoch_is_kept_and_not_the_last(dataset: str, best: Here) -> None:
    """A copy and no view: seed 003's training code keeps `state_dict()`, which goes on changing."""
    kappas = [line["val_kappa"] for line in evaluations(best)]
    epoch = int(np.argmax(kappas)) + 1
    assert epoch < PLAIN.epochs and len(set(kappas)) > 1, "the run must get worse for this test to say anything"
    (selected,) = best.of(Selected)
    assert (selected.epoch, selected.metrics()["best_epoch"]) == (epoch, epoch)

    ours = load_file(best.out / "model.safetensors")
    at_epoch, last = (
        load_file(best.out / "checkpoints" / f"step-{step:09d}" / "model.safetensors") for step in (3 * epoch, 12)
    )
    assert all(torch.equal(ours[name], at_epoch[name]) for name in at_epoch)
    assert not all(torch.equal(ours[name], last[name]) for name in last)

    asked = wanted(dataset, best.out, val_metric="kappa")
    for split, prefix in (("val", "val"), ("test", "test")):
        logits, labels = logits_of(asked, ours, split)
        expected = quadratic_weighted_kappa(labels, logits.argmax(1).numpy(), 3)
        assert selected.values[f"{prefix}_kappa"] == pytest.approx(expected, abs=1e-12)
        hits = float((logits.argmax(1).numpy() == labels).mean())
        assert selected.values[f"{prefix}_top1"] == pytest.approx(100 * hits)
    (line,) = [line for line in best.metrics() if line["kind"] == "selected"]
    assert line["best_epoch"] == epoch and line["test_kappa"] == pytest.approx(selected.values["test_kappa"], rel=1e-7)
    assert json.loads((best.out / "classes.json").read_text())["kept"]["epoch"] == epoch


def test_a_stop_loses_no_best_epoch(dataset: str, best: Here, tmp_path: Path) -> None:
    asked = wanted(dataset, tmp_path, val_metric="kappa", keep_checkpoints=9)
    after = best.of(Selected)[0].epoch + 1
    stopped = Here(asked, stop_at=lambda message: isinstance(message, Evaluated) and message.epoch == after)
    assert stopped.of(Selected) == [] and not (tmp_path / "model.safetensors").exists()
    kept = [path.parent.name for path in sorted(tmp_path.glob("checkpoints/*/kept.safetensors"))]
    assert kept == [f"step-{3 * after:09d}"], "weights of the best epoch lie beside those of a later one alone"

    resumed = Here(asked)
    assert resumed.of(TrainingReady)[0].resumed_from == 3 * after
    assert resumed.weights() == best.weights() and resumed.metrics() == best.metrics()
    # Killed between its last checkpoint and its weights.
    (tmp_path / "model.safetensors").unlink()
    again = Here(asked)
    assert again.weights() == best.weights() and again.of(Selected) == best.of(Selected)


def test_the_last_epoch_is_kept_where_nothing_else_is_asked(dataset: str, best: Here, tmp_path: Path) -> None:
    run = Here(wanted(dataset, tmp_path, select="last", val_metric="kappa"))
    (selected,) = run.of(Selected)
    assert selected.epoch == PLAIN.epochs
    assert [line["val_kappa"] for line in evaluations(run)] == [line["val_kappa"] for line in evaluations(best)]
    last = load_file(run.out / "model.safetensors")
    in_checkpoint = load_file(best.out / "checkpoints" / "step-000000012" / "model.safetensors")
    assert all(torch.equal(last[name], in_checkpoint[name]) for name in last)
    assert not list(tmp_path.glob("checkpoints/*/kept.safetensors"))
    logits, labels = logits_of(wanted(dataset, tmp_path), last, "test")
    assert selected.values["test_kappa"] == quadratic_weighted_kappa(labels, logits.argmax(1).numpy(), 3)


@pytest.mark.parametrize("metric", ["macro_f1", "roc_auc"])
def test_other_metrics_by_hand(dataset: str, tmp_path: Path, metric: str) -> None:
    recipe = replace(PLAIN, epochs=1)
    run = Here(wanted(dataset, tmp_path, recipe=recipe, val_metric=metric, test_split=None))
    logits, labels = logits_of(
        wanted(dataset, tmp_path, recipe=recipe), load_file(run.out / "model.safetensors"), "val"
    )
    if metric == "macro_f1":
        expected = macro_f1(labels, logits.argmax(1).numpy(), 3)
    else:
        expected = macro_roc_auc(np.eye(3)[labels], logits.double().softmax(1).numpy())
    assert run.of(Selected)[0].values[f"val_{metric}"] == pytest.approx(expected, abs=1e-9)


def test_scores_that_differ_in_the_logits_alone_are_not_equal() -> None:
    """Two probabilities of one in float32: sorted by them, the first sample would tie with the second."""
    logits = torch.tensor([[-20.0, 20.0], [-30.0, 30.0], [5.0, 0.0]])
    assert logits.softmax(1)[:2, 1].tolist() == [1, 1]
    kept = kept_of("roc_auc", logits, is_sets=False).numpy()
    assert kept[:, 1].tolist() == [40, 60, -5]
    assert measure_answers("roc_auc", np.array([0, 1, 0]), kept, 2, where="val") == 1


def test_a_metric_that_a_split_has_no_value_of_is_said_before_the_first_step(dataset: str, tmp_path: Path) -> None:
    def refused(said: str, **changes: Any) -> None:
        with pytest.raises(OptionError, match=said) as caught:
            Here(wanted(dataset, tmp_path / "refused", **changes))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "refused" / "metrics.jsonl").exists()

    refused("has no split 'cis' to evaluate on: it has test, train, val; give --test-split", test_split="cis")
    files = {f"val/class1/{number}.jpg": jpeg(number) for number in range(4)}
    one_class = tmp_path / "one"
    write_in_process(
        WriteOptions(source=SourceOptions(source=str(write_files(tmp_path / "source", files))), out=str(one_class))
    )
    changes = {"val": str(one_class), "test_split": None}
    refused(
        "val of .*one: ROC AUC compares samples .*, found no samples that have class 0", val_metric="roc_auc", **changes
    )
    refused("val of .*one: kappa compares gradings, found grade 1 as every label", val_metric="kappa", **changes)
