"""The overlay of predictions without a network: what a row says, in what order it is written, who may go on."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shardtools.corruption import CORRUPTIONS
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError, OptionError, PlanMismatchError
from shardtools.evaluation import ModelFacts, ModelOptions
from shardtools.evaluation.predictions import (
    COLUMNS,
    NO_LABEL,
    Done,
    PredictionPlan,
    PredictionWriter,
    PredictOptions,
    Variant,
    claim,
    commit_predictions,
    judge,
    open_predictions,
    prediction_names,
    prediction_table,
    predictions_storage,
    variants_of,
    written,
)
from shardtools.manifest import digest
from shardtools.overlays import write_overlay
from shardtools.storage import Storage
from tests.helpers.feature_datasets import make_labeled
from tests.helpers.prediction_files import files

NUM_IMAGES, NUM_OUTPUTS = 23, 7
FACTS = ModelFacts(name="toy", weights_sha256="0" * 64, num_outputs=NUM_OUTPUTS)


@given(
    logits=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(2, 9)),
        # Few values, so that many are equal.
        elements=st.sampled_from([-3.0, -0.5, 0.0, 0.25, 7.0]) | st.floats(-80, 80, width=32),
    ),
    data=st.data(),
)
def test_a_row_says_what_a_sort_of_its_logits_says(logits: np.ndarray, data: st.DataObject) -> None:
    num_outputs = logits.shape[1]
    labels = np.array([data.draw(st.integers(NO_LABEL, num_outputs - 1)) for _ in logits], np.int32)
    found = judge(logits, labels)
    for row, (values, label) in enumerate(zip(logits.astype(np.float64), labels.tolist(), strict=True)):
        order = sorted(range(num_outputs), key=lambda output: (-values[output], output))
        assert found.classes[row].tolist() == order[:5]
        total = np.log(np.exp(values - values.max()).sum()) + values.max()
        assert found.log_sum_exp[row] == pytest.approx(total, rel=1e-6, abs=1e-5)
        assert found.probabilities[row] == pytest.approx(np.exp(values[order[:5]] - total), rel=1e-5, abs=1e-9)
        if label == NO_LABEL:
            assert found.rank[row] == 0 and np.isnan(found.margin[row])
        else:
            assert found.rank[row] == 1 + order.index(label)
            assert found.margin[row] == pytest.approx(values[label] - max(np.delete(values, label)), rel=1e-5, abs=1e-4)


def test_a_row_that_could_not_be_read_has_nulls_and_a_reason() -> None:
    logits = np.array([[1, 2], [np.nan, np.inf], [3, 1]], np.float32)
    table = prediction_table(
        ["a", "b", "c"],
        np.array([1, 0, NO_LABEL]),
        logits,
        keep_all=True,
        output_names=("", "n01440764"),
        unread={1: "it is torn"},
    )
    assert table.schema.names == ["key", *COLUMNS, "all_logits"]
    first, torn, last = table.to_pylist()
    assert (first["classes"], first["rank"], first["margin"], first["all_logits"]) == ([1, 0], 1, 1.0, [1.0, 2.0])
    assert {name for name, value in torn.items() if value is not None} == {"key", "label", "reason"}
    assert (first["predicted_wnid"], last["predicted_wnid"]) == ("n01440764", None)
    assert (last["label"], last["rank"], last["margin"], last["classes"]) == (None, None, None, [0, 1])


@pytest.mark.parametrize(
    ("logits", "keep_all", "line"),
    [
        ([[1.0, np.inf]], False, r"the logits of 'a' have inf at output 1, expected finite numbers"),
        ([[1.0, 70000.0]], True, r"have 70000 at output 1, which float16 cannot hold: take --logits top"),
    ],
)
def test_logits_that_cannot_be_kept_name_the_key(logits: Any, keep_all: bool, line: str) -> None:
    with pytest.raises(DatasetError, match=line):
        prediction_table(["a"], np.array([0]), np.array(logits, np.float32), keep_all=keep_all)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_labeled(tmp_path_factory.mktemp("data") / "drawings", [number % 3 for number in range(NUM_IMAGES)])


def plan_of(dataset: str, **changes: Any) -> PredictionPlan:
    opened = open_dataset(dataset)
    wanted: dict[str, Any] = {
        "name": "predictions_toy",
        "model": FACTS,
        "dataset_sha256": digest(opened.content),
        "dataset_num_rows": NUM_IMAGES,
        "split": None,
        "num_images": NUM_IMAGES,
        "labels_by": "index",
        "labels": ((0, 0), (1, 1), (2, 2)),
        "keeps_all": True,
        "batch_size": 4,
        "batches_per_part": 2,
    }
    return PredictionPlan(**{**wanted, **changes})


def table_of(plan: PredictionPlan, batch: int) -> Any:
    rows = plan.rows_of(batch)
    logits = np.random.default_rng(batch).normal(size=(len(rows), NUM_OUTPUTS)).astype(np.float32)
    keys = [f"s{row:04d}" for row in rows]
    return prediction_table(keys, np.array(rows, np.int32) % 3, logits, keep_all=True)


class Killed(Exception):
    pass


class Mortal:
    """A storage that is dead after a number of writes and deletions."""

    def __init__(self, storage: Storage, left: int) -> None:
        self._storage, self._left = storage, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def _spend(self) -> None:
        if self._left == 0:
            raise Killed
        self._left -= 1

    def write(self, *arguments: Any, **options: Any) -> None:
        self._spend()
        self._storage.write(*arguments, **options)

    def delete(self, path: str) -> None:
        self._spend()
        self._storage.delete(path)


def work(storage: Any, plan: PredictionPlan) -> list[int]:
    """Goes on with a plan to its commit; the batches that were computed."""
    done, writer, computed = claim(storage, plan), PredictionWriter(storage, plan), []
    for part in done.parts_left(plan):
        for batch in plan.batches_of(part):
            if batch not in done.batches:
                writer.add_batch(batch, table_of(plan, batch))
                computed.append(batch)
        writer.finish_part(part)
    if not done.is_committed:
        assert commit_predictions(storage, PredictionPlan) is not None
    return computed


@settings(max_examples=12, deadline=None)
@given(lives=st.lists(st.integers(0, 14), max_size=4))
def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    dataset: str, tmp_path_factory: pytest.TempPathFactory, lives: list[int]
) -> None:
    folder, plan = tmp_path_factory.mktemp("predictions"), plan_of(dataset)
    whole = predictions_storage(open_dataset(dataset), plan.name, str(folder / "whole"))
    assert work(whole, plan) == list(range(6))
    storage = predictions_storage(open_dataset(dataset), plan.name, str(folder / "killed"))
    durable: set[int] = set()
    for left in lives:
        before = durable | written(storage).batches
        try:
            work(Mortal(storage, left), plan)
        except Killed:
            done = written(storage)
            durable = set(done.batches) | {batch for part in done.parts for batch in plan.batches_of(part)}
            # Nothing that was there is lost, so nothing is computed twice.
            assert before <= durable or storage.exists("overlay.json")
    computed = work(storage, plan)
    assert not durable & set(computed)
    assert files(storage) == files(whole)


def test_what_is_written_is_read_as_arrays(dataset: str, tmp_path: Path) -> None:
    plan = plan_of(dataset)
    storage = predictions_storage(open_dataset(dataset), plan.name)
    work(storage, plan)
    found = open_predictions(dataset, plan.name)
    expected = [row for batch in range(plan.num_batches) for row in table_of(plan, batch).to_pylist()]
    assert found.keys.to_pylist() == [row["key"] for row in expected]
    assert found.classes.tolist() == [row["classes"] for row in expected]
    assert found.rank.tolist() == [row["rank"] for row in expected]
    assert found.margin.tolist() == [row["margin"] for row in expected]
    assert found.logits is not None and found.logits.tolist() == [row["all_logits"] for row in expected]
    assert (found.model, found.plan, found.corruption[0], found.severity[0]) == (FACTS, plan, "none", 0)
    assert found.dataset_classes == {0: "class0", 1: "class1", 2: "class2"}
    assert prediction_names(dataset) == [plan.name]
    with pytest.raises(DatasetError, match="has no predictions 'other': it has predictions_toy; `shardtools predict"):
        open_predictions(dataset, "other")
    write_overlay(dataset, "mine", [table_of(plan, 0)], made_by="me", settings={})
    with pytest.raises(DatasetError, match="was made by me, expected predictions"):
        open_predictions(dataset, "mine")
    # Anything but predictions is not written over.
    with pytest.raises(DatasetError, match="is not the plan of predictions: remove the overlay"):
        claim(predictions_storage(open_dataset(dataset), "mine"), replace(plan, name="mine"))


def test_a_plan_that_differs_is_refused_by_name(dataset: str, tmp_path: Path) -> None:
    plan = plan_of(dataset)
    storage = predictions_storage(open_dataset(dataset), plan.name, str(tmp_path))
    assert claim(storage, plan) == Done()
    other = replace(plan, model=replace(FACTS, resize=224))
    with pytest.raises(
        PlanMismatchError, match=r"holds other predictions: model\.resize is 256 there, 224 here: give an"
    ):
        claim(storage, other)
    PredictionWriter(storage, plan).add_batch(3, table_of(plan, 3))
    assert claim(storage, plan, replace=True).batches == {3}
    assert claim(storage, other, replace=True) == Done()
    with pytest.raises(DatasetError, match="batch 5 of predictions_toy: expected 3 rows, found 4"):
        PredictionWriter(storage, other).add_batch(5, table_of(plan, 0))


@pytest.mark.parametrize("lives", range(5))
def test_a_replacement_that_is_killed_leaves_nothing_to_a_later_plan(dataset: str, tmp_path: Path, lives: int) -> None:
    plan = plan_of(dataset)
    storage = predictions_storage(open_dataset(dataset), plan.name, str(tmp_path))
    claim(storage, plan)
    writer = PredictionWriter(storage, plan)
    for batch in (0, 1, 2):
        writer.add_batch(batch, table_of(plan, batch))
    writer.finish_part(0)
    other = replace(plan, model=replace(FACTS, weights_sha256="1" * 64))
    with contextlib.suppress(Killed):
        claim(Mortal(storage, lives), other, replace=True)
    assert claim(storage, other, replace=True) == Done()


def test_names_of_corruptions_and_severities() -> None:
    assert variants_of((), (1,)) == ()
    assert variants_of(("none", "gaussian_noise", "none"), (5, 1)) == (
        Variant(),
        Variant(corruption="gaussian_noise", severity=1),
        Variant(corruption="gaussian_noise", severity=5),
    )
    main = [name for name, one in CORRUPTIONS.items() if one.group != "extra"]
    assert [one.corruption for one in variants_of(("imagenet-c",), (2,))] == main
    with pytest.raises(OptionError, match="--severity is 1 to 5, several with commas between them, found 6"):
        variants_of(("gaussian_noise",), (1, 6))
    with pytest.raises(OptionError, match=r"--corruption is imagenet-c, extra, none or one of gaussian_noise.*'rain'"):
        variants_of(("rain",), (1,))


def test_names_of_overlays_and_what_is_refused() -> None:
    def name(model: str, **options: Any) -> str:
        return PredictOptions(datasets=("d",), model=ModelOptions(model=model), **options).overlay_name

    assert name("lite0") == "predictions_lite0"
    assert name("timm:vit_small_patch16_224.augreg") == "predictions_timm_vit_small_patch16_224_augreg"
    assert name("runs/Fashion-run/") == "predictions_fashion_run"
    assert name("lite0", corruption=("none", "imagenet-c")) == "predictions_lite0_imagenet_c"
    assert name("lite0", name="mine") == "mine"
    with pytest.raises(OptionError, match="severity and clean are of corruptions, found none: give --corruption"):
        name("lite0", severity=(3,))
    with pytest.raises(OptionError, match="holds the overlay of one dataset, found 2 datasets"):
        PredictOptions(datasets=("a", "b"), model=ModelOptions(model="lite0"), out="there")
