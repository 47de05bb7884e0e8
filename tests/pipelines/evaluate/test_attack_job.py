"""Attacks over a dataset: rows, ranks, resumption, transfer, attacked images, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from shardtools.cli.eval.attack import command
from shardtools.errors import DatasetError, OptionError, PlanMismatchError, RunError
from shardtools.evaluation import ModelOptions
from shardtools.evaluation.attacks import AttackOptions, launch
from shardtools.evaluation.results import read_results
from shardtools.execution import Batch, Message
from shardtools.loader import read_all
from shardtools.sql import query
from tests.helpers.attack_runs import AttackHere
from tests.helpers.feature_datasets import make_labeled
from tests.helpers.model_files import WNIDS, run_folder

COUNT, BATCH = 26, 4
NAMES = (WNIDS[2], WNIDS[0], WNIDS[1], "n09999999")
"""Of the dataset's classes: the network's under other numbers, and one that it does not have."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return str(run_folder(folder / "one", seed=3)[0]), str(run_folder(folder / "two", seed=5)[0])


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    return make_labeled(tmp_path / "data", [number % 4 for number in range(COUNT)], names=NAMES)


def options(dataset: str, model: str, **given: Any) -> AttackOptions:
    own: dict[str, Any] = {"batch_size": BATCH, "device": "cpu", "threads": 1, "num_steps": 4, "eps": "8/255"}
    return AttackOptions(dataset=dataset, model=ModelOptions(model=model), **{**own, **given})


def rows_of(dataset: str, name: str) -> list[dict[str, Any]]:
    found = query(f"select o.*, class_index from overlays.{name} o join samples using (key) order by key", (dataset,))
    return found.to_pylist()


def test_every_image_has_a_row_and_the_figures_follow_from_them(dataset: str, models: tuple[str, str]) -> None:
    run = AttackHere(options(dataset, models[0], name="own"))
    result = run.done()
    rows = rows_of(dataset, "own")

    assert [row["key"] for row in rows] == sorted(read_all([dataset]).keys.to_pylist())
    unknown = [row for row in rows if row["class_index"] == 3]
    assert {row["reason"] for row in unknown} == {"it has no label that is an output of the model"}
    assert {row[name] for row in unknown for name in ("label", "attacked_class", "success", "linf")} == {None}
    known = [row for row in rows if row["class_index"] != 3]
    assert [row["label"] for row in known] == [(2, 0, 1)[row["class_index"]] for row in known]
    assert all(row["linf"] <= 8 / 255 and row["l2"] > 0 for row in known if row["steps"])
    assert all(row["linf"] == row["steps"] == 0 for row in known if row["clean_class"] != row["label"])
    assert all(row["success"] == (row["attacked_class"] != row["label"]) for row in known)
    assert all(1 / 3 <= row["confidence"] <= 1 for row in known)
    assert (result.num_rows, result.num_attacked, result.images) == (COUNT, len(known), COUNT)
    for name, right in (("clean_accuracy", "clean_class"), ("accuracy", "attacked_class")):
        share = np.mean([row[right] == row["label"] for row in known])
        assert getattr(result, name) == pytest.approx(share)
    assert result.success == pytest.approx(np.mean([row["success"] for row in known]))
    assert result.accuracy + result.success > 0 and result.accuracy < result.clean_accuracy


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_the_same_overlay_from_any_number_of_ranks(dataset: str, models: tuple[str, str], num_ranks: int) -> None:
    wanted = options(dataset, models[0], name="own", attack="apgd")
    alone = AttackHere(wanted)
    alone.done()
    expected = alone.files()
    again = AttackHere(options(dataset, models[0], name="own", attack="apgd", replace=True), num_ranks)
    again.done()

    assert again.images == COUNT
    assert again.files() == expected


def test_a_stopped_run_goes_on_and_repeats_no_batch(dataset: str, models: tuple[str, str]) -> None:
    wanted = options(dataset, models[0], name="own")
    heard: list[Message] = []

    def third(message: Message) -> bool:
        heard.append(message)
        return sum(isinstance(one, Batch) for one in heard) == 3

    stopped = AttackHere(wanted, stop_at=third)
    with pytest.raises(RunError, match=r"stopped with 3 of 7 batches in .*: run the same command again, it resumes"):
        stopped.done()
    assert stopped.images == 3 * BATCH

    rest = AttackHere(wanted)
    rest.done()
    assert rest.images == COUNT - 3 * BATCH
    whole = AttackHere(options(dataset, models[0], name="other"))
    whole.done()
    assert rows_of(dataset, "own") == rows_of(dataset, "other")
    assert AttackHere(wanted).images == 0


def test_the_seeds_attack_takes_every_other_image_and_scores_clean_ones_where_it_fails(
    dataset: str, models: tuple[str, str]
) -> None:
    given: dict[str, Any] = {"eps": None, "num_steps": None}
    result = AttackHere(options(dataset, models[0], attack="pgd-seed", **given)).done()
    rows = rows_of(dataset, "attacked_one_pgd_seed")
    known = [row for row in rows if row["reason"] is None]

    assert [row["key"] for row in rows] == sorted(read_all([dataset]).keys.to_pylist())[::2]
    assert result.attack == "pgd-seed, eps 0.06, 10 steps of 0.007843, random target"
    assert all(row["target"] != row["label"] for row in known)
    assert all(row["success"] == (row["attacked_class"] == row["target"]) for row in known)
    failed = [row for row in known if not row["success"]]
    assert all(row["linf"] == 0 and row["attacked_class"] == row["clean_class"] for row in failed)
    # The seed's own score: right are those that the attack failed on and that were right before.
    assert result.accuracy == pytest.approx(sum(row["clean_class"] == row["label"] for row in failed) / len(known))


def test_another_model_makes_the_attack_and_this_one_is_judged(dataset: str, models: tuple[str, str]) -> None:
    white = AttackHere(options(dataset, models[0], name="white", full=True)).done()
    black = AttackHere(options(dataset, models[0], source=models[1])).done()
    rows = rows_of(dataset, "attacked_one_two_pgd")

    before = [row["clean_class"] for row in rows_of(dataset, "white")]
    assert [row["clean_class"] for row in rows] == before
    assert {row["steps"] for row in rows if row["reason"] is None} <= {0, 4}
    assert black.success < white.success
    assert black.clean_accuracy == white.clean_accuracy


def test_attacked_images_become_a_dataset(dataset: str, models: tuple[str, str], tmp_path: Path) -> None:
    out = str(tmp_path / "attacked")
    wanted = options(dataset, models[0], name="own", out=out)
    result = AttackHere(wanted, 2).done()
    rows = {row["key"]: row for row in rows_of(dataset, "own") if row["reason"] is None}
    made = query("select * from samples order by key", (out,)).to_pylist()
    parents = {row["key"]: row for row in query("select * from samples", (dataset,)).to_pylist()}

    assert result.out == out
    assert [row["key"] for row in made] == sorted(rows)
    for row in made:
        parent = parents[row["key"]]
        assert (row["wnid"], row["class_index"], row["split"]) == (
            parent["wnid"],
            parent["class_index"],
            parent["split"],
        )
        assert (row["source_path"], row["source_sha256"]) == (parent["key"], parent["sha256"])
        assert (row["source"], row["image_format"]) == ("attacked", "png")
        assert row["corruption"] == "pgd eps 0.0313725 against resnet-micro"
    # What is stored is what was judged: the model says of the files what the column says.
    AttackHere(options(out, models[0], name="again")).done()
    assert {row["key"]: row["clean_class"] for row in rows_of(out, "again")} == {
        key: row["stored_class"] for key, row in rows.items()
    }
    assert not [path for path in AttackHere(wanted).files() if path.startswith("work/")]


def test_a_batch_without_any_image_to_attack_is_no_hindrance(models: tuple[str, str], tmp_path: Path) -> None:
    # The model does not know the class of the second batch.
    url = make_labeled(tmp_path / "data", [number % 3 for number in range(BATCH)] + [3] * BATCH, names=NAMES)
    result = AttackHere(options(url, models[0], name="own", out=str(tmp_path / "attacked"))).done()
    assert (result.num_rows, result.num_attacked) == (2 * BATCH, BATCH)
    assert result.out is not None
    assert query("select count(*) as n from samples", (result.out,)).to_pylist() == [{"n": BATCH}]


def test_what_does_not_fit_is_one_line(dataset: str, models: tuple[str, str], tmp_path: Path) -> None:
    AttackHere(options(dataset, models[0], name="own")).done()
    with pytest.raises(PlanMismatchError, match=r"holds other results: attack\.eps is 0\.03\d+ there, 0\.06 here"):
        AttackHere(options(dataset, models[0], name="own", eps="0.06"))
    with pytest.raises(DatasetError, match="has no labels, and an attack leads away from them"):
        AttackHere(options(make_labeled(tmp_path / "bare", [None] * 3), models[0]))
    with pytest.raises(PlanMismatchError):
        AttackHere(options(make_labeled(tmp_path / "strange", [0, 1], names=("n00000001", "n00000002")), models[0]))
    four = str(run_folder(tmp_path / "four", {number: f"n{number:08d}" for number in range(4)})[0])
    with pytest.raises(PlanMismatchError, match="has 4 outputs and MODEL resnet-micro 3, expected the same classes"):
        AttackHere(options(dataset, models[0], source=four))
    # Before the first of a hundred steps, not where the second loss begins.
    with pytest.raises(OptionError, match=r"--loss ce\+dlr compares 4 logits, found a network of 3: take --loss ce"):
        AttackHere(options(dataset, models[0], attack="apgd", target="random", name="aimed"))


def test_logits_that_are_no_numbers_are_one_line(dataset: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "broken")[0]
    weights = load_file(folder / "model.safetensors")
    for tensor in weights.values():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))
    save_file(weights, folder / "model.safetensors")

    with pytest.raises(RunError, match="the network gives 's0000' a logit that is not finite"):
        AttackHere(options(dataset, str(folder)))


def test_the_command_prints_the_figures_and_what_to_ask_next(
    dataset: str, models: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(launch, "run_in_child", lambda made: AttackHere(made.begin()).done())
    words = [models[0], dataset, "--attack", "fgsm", "--eps", "4/255", "--batch-size", "8", "--device", "cpu"]
    file = str(tmp_path / "results.csv")
    done = CliRunner().invoke(command, [*words, "--results", file, "--set", "imagenet"])

    assert done.exit_code == 0, done.output
    assert f"{dataset}/overlays/attacked_one_fgsm: {COUNT} rows of resnet-micro under fgsm, eps 0.01569" in done.output
    assert "20 images attacked: top-1 " in done.output
    assert f"from overlays.attacked_one_fgsm where success group by all' {dataset}" in done.output
    [row] = read_results([file])
    assert (row.model, row.dataset, row.split, row.metric) == (
        models[0],
        "imagenet",
        "linf 4/255",
        "adversarial_accuracy",
    )
    assert row.low is not None and row.high is not None and 0 <= row.low <= row.value <= row.high <= 1
    assert row.protocol == "fgsm, eps 0.01569, 1 step of 0.01569, 20 images"
    refused = CliRunner().invoke(command, [*words, "--steps", "3"])
    assert isinstance(refused.exception, OptionError)
