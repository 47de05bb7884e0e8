"""Whole probes by L-BFGS: what they find, write and refuse; killed ones go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np
import pytest

from shardtools.cli import main
from shardtools.dataset import acquire
from shardtools.errors import (
    AccessError,
    AlreadyExistsError,
    DatasetBusyError,
    DatasetError,
    OptionError,
    PlanMismatchError,
)
from shardtools.evaluation.predictions import open_predictions
from shardtools.evaluation.probes import ProbeOptions, ProbeResult, over_seeds, read_weights, run_probe, text_table
from shardtools.evaluation.probes.solving import LbfgsSolver
from shardtools.evaluation.results import read_results
from shardtools.execution import ignore
from shardtools.features import open_features
from shardtools.overlays import write_overlay
from shardtools.sql import find_query, query
from shardtools.storage import open_storage
from tests.helpers.feature_datasets import with_features
from tests.helpers.probe_datasets import Picture, balanced_pictures, make_probed, make_splits

QUICK: dict[str, Any] = {"features": "own", "solver": "lbfgs", "num_trials": 2, "batch": 1, "seeds": (22,)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_probed(tmp_path_factory.mktemp("probe") / "photos", balanced_pictures(60, 40, 4), noise=1.2)


def files(url: str) -> dict[str, bytes]:
    """Relative path -> content, of what a run leaves but rows that name its place."""
    folder = Path(url)
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {path: content for path, content in found.items() if not path.endswith(".parquet")}


def test_seeds_are_measured_one_by_one_and_their_mean_and_population_deviation_are_shown(
    dataset: str, tmp_path: Path
) -> None:
    options = ProbeOptions(dataset=dataset, out=str(tmp_path), **{**QUICK, "seeds": (22, 37, 45)})
    result = run_probe(options)
    top1 = [row for row in result.results if row.metric == "top1_accuracy"]
    assert [row.seed for row in top1] == [22, 37, 45]
    assert [(row.study, row.model, row.dataset, row.split) for row in top1] == [("probe", "test", "photos", "")] * 3
    values = [row.value for row in top1]
    assert all(low < value < high for low, value, high in ((row.low, row.value, row.high) for row in top1))  # type: ignore[operator]
    assert len(set(values)) > 1
    [mean, *_] = over_seeds(result.results)
    assert (mean.row.value, mean.deviation, mean.num_seeds) == (fmean(values), pstdev(values), 3)
    _, [line] = text_table(result)
    assert line[:2] == ["all images", f"{100 * fmean(values):.2f} +- {100 * pstdev(values):.2f}"]
    assert read_results([f"{result.url}/results.parquet"]) == list(result.results)
    for cell in result.cells:
        assert (cell.num_searched, cell.num_validation, cell.num_trained, cell.num_test) == (48, 12, 60, 40)
        assert 1e-5 <= cell.settings["C"] <= 1e6


def test_predictions_are_those_of_the_written_weights(dataset: str, tmp_path: Path) -> None:
    result = run_probe(ProbeOptions(dataset=dataset, name="own-run", **QUICK))
    [cell] = result.cells
    predictions = open_predictions(dataset, "predictions_own_run")
    assert (predictions.rank == 1).mean() == cell.accuracy == result.results[0].value
    classifier, facts = read_weights(open_storage(result.url), "weights/all-seed22.safetensors")
    assert facts.classes == predictions.model.classes == ("class0", "class1", "class2", "class3")
    assert not facts.l2
    store = open_features(dataset, "own")
    rows = [store.row_of(key) for key in predictions.keys.to_pylist()]
    logits = classifier.logits(store.take(rows).astype(np.float32))
    assert np.array_equal(predictions.classes[:, 0], logits.argmax(axis=1))
    assert predictions.logits is not None
    assert np.abs(predictions.logits - logits).max() < 0.02
    asked = find_query("mistakes")
    wrong = query(asked.sql.replace("overlays.predictions", "overlays.predictions_own_run"), [dataset], asked.bind({}))
    assert wrong.num_rows == round((1 - cell.accuracy) * 40) > 0


def test_shots_and_seeds_are_added_to_a_run(dataset: str, tmp_path: Path) -> None:
    options = ProbeOptions(dataset=dataset, out=str(tmp_path), **QUICK)
    first = run_probe(options)
    weights = Path(first.url, "weights/all-seed22.safetensors").read_bytes()
    second = run_probe(replace(options, shots=(2, 100), seeds=(22, 93)))
    assert second.num_measured == 4
    assert [row.split for row in second.results[::2]] == ["shots/2", "shots/2", "shots/100", "shots/100"]
    assert [cell.num_searched for cell in second.cells] == [8, 8, 48, 48]
    assert [cell.num_trained for cell in second.cells] == [8, 8, 60, 60]
    assert second.notes == ("4 classes have fewer than 100 images: all of them are taken",)
    assert len(read_results([f"{first.url}/results.parquet"])) == 10
    assert Path(first.url, "weights/all-seed22.safetensors").read_bytes() == weights
    assert run_probe(options).num_measured == 0


def test_another_probe_of_that_name_is_refused_by_name_of_the_option(dataset: str, tmp_path: Path) -> None:
    options = ProbeOptions(dataset=dataset, out=str(tmp_path), **QUICK)
    before = run_probe(options)
    with pytest.raises(PlanMismatchError, match=r"num_trials is 2 there, 3 here.*--name.*--replace"):
        run_probe(replace(options, num_trials=3))
    with pytest.raises(PlanMismatchError, match="l2 is False there, True here"):
        run_probe(replace(options, l2=True))
    after = run_probe(replace(options, l2=True, replace=True))
    assert after.num_measured == 1
    assert after.cells[0].weights_sha256 != before.cells[0].weights_sha256


def test_a_second_writer_is_refused(dataset: str, tmp_path: Path) -> None:
    with acquire(open_storage(tmp_path), purpose="probe"), pytest.raises(DatasetBusyError, match="probe"):
        run_probe(ProbeOptions(dataset=dataset, out=str(tmp_path), **QUICK))


class Interrupted(Exception):
    """A kill."""


@pytest.mark.parametrize("fits", [1, 5])
def test_a_run_that_is_cut_off_goes_on_to_the_same_files(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    options = ProbeOptions(dataset=dataset, predictions="none", **{**QUICK, "seeds": (22, 37)})
    whole = run_probe(replace(options, out=str(tmp_path / "whole")))
    left = [fits]
    fit = LbfgsSolver.fit

    def fit_until(self: LbfgsSolver, *given: Any, **named: Any) -> Any:
        if not left[0]:
            raise Interrupted
        left[0] -= 1
        return fit(self, *given, **named)

    monkeypatch.setattr(LbfgsSolver, "fit", fit_until)
    cut = replace(options, out=str(tmp_path / "cut"))
    with pytest.raises(Interrupted):
        run_probe(cut)
    left[0] = 6 - fits
    # Exactly what was left: no trial and no measurement is made twice.
    result = run_probe(cut)
    assert left == [0]
    assert files(result.url) == files(whole.url)
    assert [replace(row, source="x") for row in result.results] == [replace(row, source="x") for row in whole.results]


def test_a_killed_process_is_gone_on_with(dataset: str, tmp_path: Path) -> None:
    quick = {**QUICK, "num_trials": 20, "predictions": "none"}
    whole = run_probe(ProbeOptions(dataset=dataset, out=str(tmp_path / "whole"), **quick))
    words = ["--features", "own", "--solver", "lbfgs", "--trials", "20", "--batch", "1", "--seeds", "22"]
    command = ["-m", "shardtools", "probe", dataset, *words, "--out", str(tmp_path / "killed"), "--predictions", "none"]
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    journal, deadline = tmp_path / "killed/search/all-seed22.journal", time.monotonic() + 60
    while not journal.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    tried = json.loads(journal.read_text())["trials"]
    assert 1 <= len(tried) < 20
    result = run_probe(ProbeOptions(dataset=dataset, out=str(tmp_path / "killed"), **quick))
    assert files(result.url) == files(whole.url)
    assert json.loads(journal.read_text())["trials"][: len(tried)] == tried


def pictures_with_copies() -> list[Picture]:
    """A picture of "val" in "train" too, and five of "train" twice."""
    twice = [Picture("train", 1, picture) for picture in range(1, 11, 2)]
    return [*balanced_pictures(40, 16, 2), Picture("train", 0, 40), *twice]


def test_copies_are_refused_dropped_or_kept(tmp_path: Path) -> None:
    url = make_probed(tmp_path / "copied", pictures_with_copies())
    options = ProbeOptions(dataset=url, **{**QUICK, "seeds": (22, 37, 45)})
    with pytest.raises(
        DatasetError, match=r"1 training image is an exact copy of images of val of copied, 'train_0040'"
    ):
        run_probe(options)
    # The first image of a test set is that copy: without it, one that validates is another's copy, by some seeds.
    tested = replace(options, test_view="select key from samples where split = 'val' and key <> 'val_0000'")
    with pytest.raises(DatasetError, match=r"of validation images that seed \d+ draws.*shardtools sql .*--copies drop"):
        run_probe(tested)
    dropped = run_probe(replace(options, copies="drop", name="dropped"))
    assert "1 exact copy of val of copied left out" in dropped.notes
    assert {cell.num_trained for cell in dropped.cells} == {45}
    left = {cell.num_searched + cell.num_validation for cell in dropped.cells}
    assert 40 <= min(left) < 45
    kept = run_probe(replace(options, copies="keep", name="kept"))
    assert {cell.num_trained for cell in kept.cells} == {46}
    assert "copies kept" in kept.results[0].protocol


def test_an_image_on_both_sides_is_refused(dataset: str) -> None:
    both = "select key from samples where split = 'val' or key = 'train_0003'"
    with pytest.raises(DatasetError, match=r"1 image of a view of photos would be trained on too, 'train_0003'"):
        run_probe(ProbeOptions(dataset=dataset, test_view=both, copies="keep", **QUICK))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_classes_of_few_images_work(tmp_path: Path, count: int) -> None:
    few = [Picture("train", 2, 100 + number) for number in range(count)]
    url = make_probed(tmp_path / "few", [*balanced_pictures(20, 10, 2), *few, Picture("val", 2, 200)], noise=0.1)
    [cell] = run_probe(ProbeOptions(dataset=url, **QUICK)).cells
    assert cell.num_validation == 4 + (count > 1)
    assert cell.num_searched == 16 + count - (count > 1)
    assert cell.accuracy == 1


def test_classes_of_one_image_alone_cannot_choose(tmp_path: Path) -> None:
    url = make_probed(tmp_path / "ones", [*balanced_pictures(3, 0, 3), Picture("val", 0, 9), Picture("val", 1, 10)])
    with pytest.raises(DatasetError, match="every class has one image, so none is left to choose settings by"):
        run_probe(ProbeOptions(dataset=url, **QUICK))


def test_a_split_of_its_own_chooses_the_settings(tmp_path: Path) -> None:
    tested = [Picture("test", number % 2, 600 + number) for number in range(6)]
    url = make_probed(tmp_path / "three", [*balanced_pictures(20, 8, 2), *tested])
    found = run_probe(ProbeOptions(dataset=url, val_split="val", test_split="test", **QUICK))
    [cell] = found.cells
    assert not found.notes
    assert (cell.num_searched, cell.num_validation, cell.num_trained, cell.num_test) == (20, 8, 28, 6)


def test_a_split_for_testing_that_is_not_looked_at_is_told(tmp_path: Path) -> None:
    tested = [Picture("test", number % 2, 600 + number) for number in range(6)]
    url = make_probed(tmp_path / "three", [*balanced_pictures(20, 8, 2), *tested])
    found = run_probe(ProbeOptions(dataset=url, **QUICK))
    assert found.notes == ("tested on val of three, which has a split 'test', too (--test-split)",)


def test_damaged_weights_are_refused(dataset: str, tmp_path: Path) -> None:
    options = ProbeOptions(dataset=dataset, name="damaged", predictions="none", **QUICK)
    file = Path(run_probe(options).url, "weights/all-seed22.safetensors")
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(DatasetError, match=r"holds no classifier of a probe .*--replace"):
        run_probe(replace(options, predictions="first"))


def test_another_dataset_is_tested_on_by_names_of_classes(dataset: str, tmp_path: Path) -> None:
    turned = [one._replace(label=3 - one.label, picture=one.picture + 500) for one in balanced_pictures(0, 24, 4)]
    url = make_splits(tmp_path / "turned", turned)
    features = open_features(dataset, "own")
    # A centre a class, of the other dataset's classes, which are numbered alike and meant by their names.
    centers = np.stack([features.array()[features.labels == label].mean(axis=0) for label in range(4)])
    with_features(url, centers[[one.label for one in turned]].astype(np.float32))
    options = ProbeOptions(dataset=dataset, test_dataset=url, out=str(tmp_path / "out"), **QUICK)
    result = run_probe(options)
    assert result.cells[0].accuracy == 1
    assert result.results[0].dataset == "turned"
    assert result.overlays == (f"{tmp_path}/out/turned/predictions_own_lbfgs",)


def test_classes_go_by_number_where_that_is_asked_for(dataset: str, tmp_path: Path) -> None:
    pictures = [Picture("val", number % 4, 700 + number) for number in range(12)]
    url = make_probed(tmp_path / "renamed", pictures, noise=0.1, names="other")
    options = ProbeOptions(dataset=dataset, test_dataset=url, out=str(tmp_path / "out"), **QUICK)
    with pytest.raises(DatasetError, match=r"has 4 classes that train of photos has not, other0 .*--labels-by index"):
        run_probe(options)
    result = run_probe(replace(options, labels_by="index"))
    assert result.cells[0].accuracy == 1
    predictions = open_predictions(url, result.overlays[0])
    assert predictions.model.classes == ("class0", "class1", "class2", "class3")
    assert predictions.labels.tolist() == [0, 1, 2, 3] * 3


def test_classifiers_judge_images_of_another_dataset(dataset: str, tmp_path: Path) -> None:
    url = make_probed(tmp_path / "others", balanced_pictures(0, 20, 4), noise=0.1, names="other")
    options = ProbeOptions(dataset=dataset, apply=(url,), name="applied", **QUICK)
    result = run_probe(options)
    assert result.overlays[-1] == f"{url}/overlays/predictions_applied"
    predictions = open_predictions(url, "predictions_applied")
    assert (predictions.labels == -1).all()
    sure = int((predictions.probabilities[:, 0] > 0.99).sum())
    [note] = [note for note in result.notes if "taken for another class" in note]
    assert note.startswith(f"{sure} image")
    asked = find_query("confident_strangers")
    sql = asked.sql.replace("overlays.predictions", "overlays.predictions_applied")
    rows = query(sql, [url], asked.bind({"above": "0.99"}))
    assert rows.num_rows == sure
    assert query(sql, [url], asked.bind({"above": "0"})).num_rows == 20


def test_an_overlay_of_another_program_is_not_overwritten(tmp_path: Path) -> None:
    url = make_probed(tmp_path / "own", balanced_pictures(20, 8, 2))
    write_overlay(url, "predictions_own_lbfgs", [open_features(url, "own").samples("key")], made_by="me", settings={})
    with pytest.raises(AlreadyExistsError, match="was made by me"):
        run_probe(ProbeOptions(dataset=url, **QUICK))


def test_balanced_classes_are_learnt_from(tmp_path: Path) -> None:
    more = [Picture("train", 0, 300 + number) for number in range(10)]
    url = make_probed(tmp_path / "uneven", [*balanced_pictures(20, 8, 2), *more])
    [cell] = run_probe(ProbeOptions(dataset=url, balanced=10, **QUICK)).cells
    assert cell.num_trained == 20
    with pytest.raises(DatasetError, match="class class1 has 10 images, --balanced asks for 12 of every class"):
        run_probe(ProbeOptions(dataset=url, balanced=12, name="more", **QUICK))


def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    pictures = balanced_pictures(20, 8, 2)
    url = make_probed(tmp_path / "one", pictures)
    stranger = make_probed(tmp_path / "two", [*pictures, Picture("val", 2, 99)])
    with pytest.raises(DatasetError, match=r"has 1 class that train of two has not, class2 the first \(1 image\)"):
        run_probe(ProbeOptions(dataset=stranger, **QUICK))
    only = "select key from samples where class_index = 0 and split = 'train'"
    with pytest.raises(DatasetError, match="found class0 alone"):
        run_probe(ProbeOptions(dataset=url, train_view=only, **QUICK))
    with pytest.raises(OptionError, match="no split 'test': it has train, val"):
        run_probe(ProbeOptions(dataset=url, test_split="test", **QUICK))
    [file] = Path(url, "features/own").glob("*.npy")
    features = np.load(file)
    np.save(file, np.where(np.arange(8) == 2, np.nan, features).astype(features.dtype))
    with pytest.raises(DatasetError, match=r"the feature of 'train_0000' is not finite: extract"):
        run_probe(ProbeOptions(dataset=url, **QUICK))
    np.save(file, features)
    shutil.copytree(f"{stranger}/features/own", f"{url}/features/elder")
    with pytest.raises(DatasetError, match=r"features at .* are of commit .*--replace"):
        run_probe(ProbeOptions(dataset=url, **{**QUICK, "features": "elder"}))
    with_features(url, open_features(url, "own").array(), name="another", weights_sha256="1" * 64)
    with pytest.raises(PlanMismatchError, match="of another encoder"):
        run_probe(ProbeOptions(dataset=url, test_dataset=url, test_features="another", **QUICK))


def test_zeros_have_no_length(tmp_path: Path) -> None:
    url = make_splits(tmp_path / "zeros", balanced_pictures(20, 8, 2))
    features = np.tile(np.eye(2, 8, dtype=np.float32) * 3, (14, 1))
    features[0] = 0
    with_features(url, features)
    result: ProbeResult = run_probe(ProbeOptions(dataset=url, l2=True, **QUICK), progress=ignore)
    assert result.notes == ("train of zeros: 1 feature of zeros alone, which have no length and stay",)
    assert result.cells[0].accuracy == 1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shots": (0,)}, "--shots are different numbers from 1"),
        ({"seeds": ()}, "--seeds are one or more"),
        ({"seeds": (1, 1)}, "--seeds are different numbers"),
        ({"train_view": "select key", "val_split": "val"}, "--train-view chooses its own"),
        ({"overlays": ("x",)}, "--overlay is for the SQL of a view"),
        ({"test_features": "x"}, "--test-features are of --test-dataset"),
        ({"apply_split": "val"}, "--apply-split is of --apply"),
        ({"apply": ("d",)}, "is tested on anyway"),
        ({"solver": "adam"}, "--solver is one of sgd, lbfgs"),
        ({"name": "No"}, "an overlay's name"),
    ],
)
def test_options_that_contradict_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        ProbeOptions(**{"dataset": "d", "features": "own", **changes})


def test_the_command(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["probe", dataset, "--features", "own", "--solver", "lbfgs", "--trials", "2", "--seeds", "22,37"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--results", str(tmp_path / "all.csv")])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["learnt", "from", "top-1", "mean", "class", "acc.", "seeds"]
    assert f"shardtools query mistakes {dataset} --on predictions=predictions_own_lbfgs" in out
    assert len(read_results([tmp_path / "all.csv"])) == 4
    with pytest.raises(SystemExit):
        main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [row["seed"] for row in found["results"]] == [22, 22, 37, 37]
    assert len(found["cells"]) == 2


def test_a_place_that_cannot_be_written_is_told_with_what_to_do(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise AccessError("photos cannot be written")

    monkeypatch.setattr("shardtools.storage.local.LocalStorage.check_writable", refuse)
    with pytest.raises(AccessError, match=r"photos cannot be written; .*--out FOLDER"):
        run_probe(ProbeOptions(dataset=dataset, name="denied", **QUICK))
