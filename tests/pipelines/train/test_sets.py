"""Images that may have several classes: the sigmoid head, its loss, thresholds and metrics, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn import metrics as peer
from torch.nn import functional

from shardtools.errors import OptionError
from shardtools.evaluation import ModelOptions
from shardtools.features import FeatureOptions
from shardtools.pipelines.batches.on_device import DeviceBatches, Normalizer
from shardtools.pipelines.encoders.trained import load_feature_encoder
from shardtools.pipelines.evaluate.models import load_classifier
from shardtools.pipelines.train.models import build_classifier
from shardtools.sources import GivenSample, open_samples
from shardtools.storage import open_storage
from shardtools.training import TrainOptions, plan_classes, write_run_file
from shardtools.training.data import Share, evaluation_loader, training_loader
from shardtools.training.messages import Evaluated, Selected, TrainingReady
from shardtools.training.sets import class_sets
from shardtools.writing import WriteOptions
from tests.helpers.pictures import jpeg
from tests.helpers.training_runs import RECIPE, Here, options
from tests.helpers.writing_jobs import write_in_process

CPU = torch.device("cpu")
SETS = replace(
    RECIPE,
    head="sigmoid",
    projector_layers=None,
    augmentation="plain",
    epochs=3,
    warmup_epochs=0.0,
    base_lr=0.3,
)


def classes_of(number: int) -> tuple[int, ...]:
    """Some of four; each eleventh image has none, so that class 3 alone is rare."""
    return tuple(one for one in range(4) if number % 11 and (number >> one) % 3 == 1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("sets")
    numbers = {"train": range(64), "val": range(100, 140), "test": range(200, 230)}
    given = [
        GivenSample(image=jpeg(number), label=classes_of(number), key=str(number), split=split)
        for split, those in numbers.items()
        for number in those
    ]
    return write(folder, given)


def write(folder: Path, given: list[GivenSample]) -> str:
    (folder / "given").mkdir()
    write_in_process(WriteOptions(source=open_samples(given, folder / "given"), out=str(folder / "set")))
    return str(folder / "set")


def wanted(dataset: str, out: Path, **changes: Any) -> TrainOptions:
    # The helper's runs take notes of each sample, which there are none of here.
    base = replace(options(dataset, out, recipe=RECIPE), record=False)
    return replace(base, **{"recipe": SETS, "val": dataset, "select": "best", "test_split": "test", **changes})


@pytest.fixture(scope="module")
def run(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> Here:
    return Here(wanted(dataset, tmp_path_factory.mktemp("run"), val_metric="roc_auc"))


def scores_of(asked: TrainOptions, weights: dict[str, torch.Tensor], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Sets and logits of a split, by hand."""
    model = build_classifier(asked.recipe, 4, seed=9).eval()
    model.load_state_dict(weights)
    batches = DeviceBatches(evaluation_loader(asked, Share(), split=split), CPU)
    normalize = Normalizer(asked.recipe.mean, asked.recipe.std, CPU)
    sets, found = [], []
    with torch.no_grad():
        for batch in batches.epoch(0):
            found.append(model(normalize(batch.images)))
            sets += [[one in classes_of(int(key)) for one in range(4)] for key in batch.keys]
    batches.loader.close()
    return np.array(sets), torch.cat(found).double().numpy()


def test_a_run_is_judged_by_tuned_thresholds(dataset: str, run: Here) -> None:
    (selected,) = run.of(Selected)
    asked = wanted(dataset, run.out)
    weights = load_file(run.out / "model.safetensors")
    kept = json.loads((run.out / "classes.json").read_text())
    assert kept["classes"] == {"0": "0", "1": "1", "2": "2", "3": "3"}
    assert run.of(TrainingReady)[0].classes == 4
    limits = np.array([np.inf if one is None else one for one in kept["kept"]["thresholds"]])
    for split in ("val", "test"):
        sets, scores = scores_of(asked, weights, split)
        # Thresholds of the validation decide on the test.
        expected = peer.f1_score(sets.astype(int), (scores >= limits).astype(int), average="macro", zero_division=0)
        assert selected.values[f"{split}_macro_f1"] == pytest.approx(expected, abs=1e-9)
        areas = [peer.roc_auc_score(sets[:, one], scores[:, one]) for one in range(4)]
        assert selected.values[f"{split}_roc_auc"] == pytest.approx(np.mean(areas), abs=1e-9)
        by_hand = functional.binary_cross_entropy_with_logits(torch.from_numpy(scores), torch.from_numpy(sets).double())
        assert selected.values[f"{split}_loss"] == pytest.approx(float(by_hand), rel=1e-5)
    assert "val_top1" not in selected.values
    best = max(message.values["val_roc_auc"] for message in run.of(Evaluated))
    assert selected.values["val_roc_auc"] == best
    # For half of its outputs the best threshold is not the one of even odds.
    sets, scores = scores_of(asked, weights, "val")
    even = peer.f1_score(sets.astype(int), (scores >= 0).astype(int), average="macro", zero_division=0)
    assert selected.values["val_macro_f1"] > even


def test_the_first_loss_by_hand(dataset: str, tmp_path: Path) -> None:
    """Crops have the sets of their image; a stop changes nothing."""
    recipe = replace(SETS, augmentation="multi-crop", num_local=1, local_size=16, epochs=1)
    asked = wanted(dataset, tmp_path, recipe=recipe, val=None, select="last", test_split=None)
    run = Here(asked)
    batches = DeviceBatches(training_loader(asked, Share()), CPU)
    batch = next(iter(batches.epoch(0)))
    batches.loader.close()
    model = build_classifier(recipe, 4, seed=asked.seed).train()
    with torch.no_grad():
        logits = model(Normalizer(recipe.mean, recipe.std, CPU)(batch.images))
    sets = torch.tensor([[float(one in classes_of(int(key))) for one in range(4)] for key in batch.keys])
    expected = functional.binary_cross_entropy_with_logits(logits, sets.repeat(2, 1))
    assert run.losses()[0] == pytest.approx(float(expected), rel=1e-5)
    assert run.of(Selected) == []


def test_mixed_sets_train(dataset: str, tmp_path: Path) -> None:
    recipe = replace(SETS, epochs=1, mixup=1.0, cutmix=1.0)
    run = Here(wanted(dataset, tmp_path, recipe=recipe))
    assert all(np.isfinite(run.losses())) and "val_macro_f1" in run.of(Selected)[0].values


def test_features_of_a_run_are_its_encoders_and_predictions_are_refused(dataset: str, run: Here) -> None:
    write_run_file(open_storage(run.out), wanted(dataset, run.out), {})
    encoder = load_feature_encoder(FeatureOptions(dataset=dataset, encoder=str(run.out)))
    assert encoder.facts.feature_dim == 128
    with pytest.raises(OptionError, match=r"several classes \(head 'sigmoid'\), and predictions are of one class") as e:
        load_classifier(ModelOptions(model=str(run.out)))
    assert "\n" not in str(e.value)


def test_the_sets_of_two_datasets(dataset: str, tmp_path: Path) -> None:
    """Keys may be the same in both, and numbers mean the same."""
    other = write(tmp_path, [GivenSample(image=jpeg(1), label=(5, 1), key="3"), GivenSample(image=jpeg(2), label=())])
    asked = replace(wanted(dataset, tmp_path / "run"), datasets=(dataset, other))
    assert plan_classes(asked).names == {number: str(number) for number in range(6)}
    batches = DeviceBatches(training_loader(asked, Share()), CPU)
    table = batches.loader.table
    sets = class_sets(table, 6, "both")
    batches.loader.close()
    assert sets.shape == (66, 6)
    found = {
        (int(table.dataset[row]), key): np.flatnonzero(sets[row]).tolist()
        for row, key in enumerate(table.key_strings(np.arange(66)))
    }
    assert found[1, "3"] == [1, 5] and found[0, "3"] == list(classes_of(3)) and found[1, "train_00001"] == []
    assert all(found[0, str(number)] == list(classes_of(number)) for number in range(64))
    with pytest.raises(OptionError, match=r"both: expected classes 0 to 3, which the head has, found class 5 at '3'"):
        class_sets(table, 4, "both")


def test_what_has_no_sets(dataset: str, tmp_path: Path) -> None:
    def refused(said: str, used: str, **changes: Any) -> None:
        with pytest.raises(OptionError, match=said) as caught:
            Here(wanted(used, tmp_path / "refused", **changes))
        assert "\n" not in str(caught.value)

    given = [GivenSample(image=jpeg(number), label=label) for number, label in enumerate([(0, 1), 1, None])]
    mixed = write(tmp_path, given)
    alone: dict[str, Any] = {"val": None, "select": "last", "test_split": None}
    refused(r"set: head 'sigmoid' learns .*, found one class at 'train_00001' \(1 rows of 3\)", mixed, **alone)
    condition = "class_index is null"
    refused("found no class_indexes at 'train_00002'", mixed, where=condition, **alone)
    with pytest.raises(OptionError, match="fill one step"):
        Here(wanted(mixed, tmp_path / "one", where="class_indexes is not null", **alone))
    (tmp_path / "single").mkdir()
    single = write(tmp_path / "single", [GivenSample(image=jpeg(1), label=1)])
    refused(r"expected images that may have several classes \(class_indexes\)", single, **alone)
    refused("val_metric is macro_f1 or roc_auc, found 'kappa'", dataset, val_metric="kappa")
    refused("val_metric is macro_f1 or roc_auc, found 'top1'", dataset, val_metric="top1")
    refused("and relabel gives each one: leave relabel out", dataset, relabel="fixes")
    refused("records say which one an image is taken for: leave record out", dataset, record=True)
    refused("has no split 'x' to evaluate on", dataset, test_split="x")
    with pytest.raises(OptionError, match="label_smoothing shares out one class"):
        replace(SETS, label_smoothing=0.1)
    # A head of one class an image says of sets that they are none.
    plain = replace(SETS, head="linear")
    refused("expected samples with a class, found none among 64", dataset, recipe=plain, **alone)
