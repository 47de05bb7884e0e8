"""Nearest classes of small sets whose cosines can be computed by hand, and the questions asked of them in SQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from shardtools.audits.nearest import (
    SAMPLE_COLUMNS,
    NearestOptions,
    class_means,
    count_votes,
    mean_scores,
    nearest_classes,
    own_class_distances,
)
from shardtools.cli.nearest import command
from shardtools.errors import AlreadyExistsError, DatasetError, OptionError, PlanMismatchError
from shardtools.evaluation.analysis import intra_class_distance
from shardtools.overlays import open_overlay
from shardtools.sql import find_query, query
from tests.helpers.feature_datasets import clusters, make_labeled, with_features

E0, E1, E2 = np.eye(3)
HALF = np.sqrt(0.5)

# Two of "cat" on one axis, one of "cat" among the dogs; two "dog" on their axis; two "owl" between axes 1 and 2.
LABELS = [0, 0, 0, 1, 1, 2, 2]
NAMES = ("cat", "dog", "owl")
FEATURES = np.array([E0, E0, E1, E1, E1, HALF * (E1 + E2), HALF * (E1 + E2)])
PROMPTS = ("room", "room", "field", "room", "field", "field", "field")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = make_labeled(tmp_path_factory.mktemp("generated") / "dataset", LABELS, names=NAMES, prompts=PROMPTS)
    with_features(url, 3 * FEATURES)
    return url


REAL_NAMES = ("owl", "dog", "cat", "newt")
REAL_LABELS = [2, 2, 1, 1, 0, 0, 3, 3]
REAL_FEATURES = np.array([E0, E0 + 0.2 * E2, E1, E1 + 0.2 * E0, E2, E2 + 0.2 * E0, -E0, -E0])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same classes and one more, numbered otherwise."""
    url = make_labeled(tmp_path_factory.mktemp("real") / "dataset", REAL_LABELS, names=REAL_NAMES)
    with_features(url, REAL_FEATURES)
    return url


@pytest.fixture(scope="module")
def alone(generated: str) -> list[dict[str, Any]]:
    """Rows of the overlay within the generated set."""
    nearest_classes(NearestOptions(dataset=generated, k=2, overlay="within"))
    rows: list[dict[str, Any]] = open_overlay(generated, "within").read().to_pylist()
    return rows


@pytest.fixture(scope="module")
def against(generated: str, real: str) -> list[dict[str, Any]]:
    """Rows of the overlay against the real set."""
    nearest_classes(NearestOptions(dataset=generated, reference=real, k=2))
    rows: list[dict[str, Any]] = open_overlay(generated, "nearest_class").read().to_pylist()
    return rows


# ---- samples ----


def test_a_sample_is_measured_without_itself(alone: list[dict[str, Any]]) -> None:
    assert [row["key"] for row in alone] == [f"s{n:04d}" for n in range(7)]
    # Of the first cat the others are E0 and E1: their mean is at 45 degrees.
    assert alone[0]["own_similarity"] == pytest.approx(HALF)
    assert alone[0]["other_similarity"] == pytest.approx(0)
    assert alone[0]["margin"] == pytest.approx(HALF)
    assert alone[0]["nearest_wnid"] == "cat" and alone[0]["is_own"] and alone[0]["own_rank"] == 1
    # The third cat is a dog to the last digit; the other cats are at a right angle, the owls at 45 degrees.
    assert alone[2]["own_similarity"] == pytest.approx(0)
    assert (alone[2]["nearest"], alone[2]["nearest_wnid"], alone[2]["is_own"]) == (1, "dog", False)
    assert alone[2]["margin"] == pytest.approx(-1)
    assert alone[2]["own_rank"] == 3
    assert alone[5]["own_similarity"] == pytest.approx(1)
    assert (alone[5]["other_wnid"], alone[5]["other_similarity"]) == ("dog", pytest.approx(HALF))
    assert [row["reference_class_distance"] for row in alone] == [None] * 7


def test_votes_of_neighbors(alone: list[dict[str, Any]]) -> None:
    # Two neighbours of the third cat: both dogs.
    assert (alone[2]["knn_class"], alone[2]["knn_wnid"], alone[2]["knn_share"]) == (1, "dog", 1)
    assert alone[2]["knn_own_share"] == 0
    # Of a dog: the third cat comes first, the other dog next, at the same distance; each has one vote.
    assert (alone[3]["knn_wnid"], alone[3]["knn_share"], alone[3]["knn_own_share"]) == ("cat", 0.5, 0.5)


def test_distances_within_a_class(alone: list[dict[str, Any]]) -> None:
    root = np.sqrt(2)
    found = [row["own_class_distance"] for row in alone]
    assert found == pytest.approx([root / 2, root / 2, root, 0, 0, 0, 0], abs=1e-3)
    of_classes = intra_class_distance(FEATURES, np.array(LABELS))
    for label, expected in zip(of_classes.classes.tolist(), of_classes.per_class.tolist(), strict=True):
        here = [value for value, own in zip(found, LABELS, strict=True) if own == label]
        assert np.mean(here) == pytest.approx(expected, abs=1e-3)


def test_classes_of_a_reference_are_found_by_name(against: list[dict[str, Any]]) -> None:
    # The cat of the reference lies near E0; the numbers are those of the reference.
    assert (against[0]["nearest"], against[0]["nearest_wnid"], against[0]["is_own"]) == (2, "cat", True)
    assert against[0]["own_similarity"] == pytest.approx(1, abs=0.01)
    assert (against[2]["nearest_wnid"], against[2]["own_rank"]) == ("dog", 2)
    assert [row["knn_wnid"] for row in against[:4]] == ["cat", "cat", "dog", "dog"]
    # The owls lie between the real dogs and the real owls.
    assert against[5]["margin"] == pytest.approx(
        against[5]["own_similarity"] - against[5]["other_similarity"], abs=1e-6
    )
    spread = intra_class_distance(REAL_FEATURES, np.array(REAL_LABELS))
    assert against[0]["reference_class_distance"] == pytest.approx(spread.per_class[2], abs=1e-3)


def test_means_and_scores_agree_with_all_pairs_in_double_precision() -> None:
    labels = np.arange(300) % 7
    labels[:20] = -1
    table = clusters(300, 12, 7, noise=2.0).astype(np.float64)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    means = class_means(table.astype(np.float32), labels)
    scores = mean_scores(table.astype(np.float32), means.place_of(labels), means, leave_one_out=True)
    for row in range(300):
        cosines = np.full(7, np.nan)
        for label in range(7):
            members = [n for n in np.flatnonzero(labels == label) if n != row]
            mean = unit[members].sum(axis=0)
            cosines[label] = unit[row] @ mean / np.linalg.norm(mean)
        assert scores.nearest[row] == cosines.argmax()
        own = labels[row]
        if own >= 0:
            assert scores.own_similarity[row] == pytest.approx(cosines[own], abs=1e-5)
            assert scores.own_rank[row] == 1 + (cosines > cosines[own]).sum()
            assert scores.other_similarity[row] == pytest.approx(np.delete(cosines, own).max(), abs=1e-5)
        else:
            assert np.isnan(scores.own_similarity[row]) and scores.own_rank[row] == 0


def test_votes_without_classes() -> None:
    votes = count_votes(np.array([[0, 1, 2], [2, 3, -1], [-1, -1, -1]]), np.array([4, 4, 5, -1]), np.array([4, 4, -1]))
    assert votes.winner.tolist() == [4, 5, -1]
    assert votes.share.tolist() == pytest.approx([2 / 3, 1, 0])
    assert votes.own_share.tolist() == pytest.approx([2 / 3, 0, 0])


def test_a_lonely_sample_has_no_distance() -> None:
    found = own_class_distances(np.array([E0, E1, E0], np.float32), np.array([0, 1, 0]))
    assert found[1] != found[1] and found[[0, 2]].tolist() == [0, 0]


# ---- classes ----


def test_a_row_a_class(generated: str, real: str, against: list[dict[str, Any]]) -> None:
    folder = Path(generated, "features", "own", "nearest")
    rows = pq.read_table(folder / "classes.parquet").to_pylist()
    assert json.loads((folder / "classes.json").read_text())["classes"] == rows
    cat, dog, owl = rows
    assert (cat["wnid"], cat["num_samples"], cat["num_reference"]) == ("cat", 3, 2)
    assert cat["share_own"] == pytest.approx(2 / 3)
    assert (cat["confused_with"], cat["num_confused"]) == ("dog", 1)
    assert (dog["share_own"], dog["confused_with"], dog["is_missed"]) == (1, None, False)
    # By their means the owls are nearer to the real dogs: cosines of 45 degrees, less what the 0.2s turn them.
    real_dog = np.array([0.2 / np.sqrt(1.04), 1 + 1 / np.sqrt(1.04), 0])
    real_owl = np.array([0.2 / np.sqrt(1.04), 0, 1 + 1 / np.sqrt(1.04)])
    expected = 1 - FEATURES[5] @ real_dog / np.linalg.norm(real_dog)
    assert owl["nearest_wnid"] == "dog" and owl["nearest_distance"] == pytest.approx(expected, abs=1e-3)
    assert owl["own_distance"] == pytest.approx(1 - FEATURES[5] @ real_owl / np.linalg.norm(real_owl), abs=1e-3)
    assert [one["wnid"] for one in owl["neighbors"]] == ["dog", "cat", "newt"]
    assert dog["spread"] == pytest.approx(0, abs=1e-3) and dog["spread_ratio"] == pytest.approx(0, abs=1e-2)
    confusion = pq.read_table(folder / "confusion.parquet").to_pylist()
    assert sum(row["num_samples"] for row in confusion) == 7
    assert {"wnid": "cat", "nearest_wnid": "dog", "num_samples": 1, "share": pytest.approx(1 / 3)} in confusion


def test_a_class_that_misses_its_mark(tmp_path: Path, real: str) -> None:
    url = make_labeled(tmp_path / "dataset", [0, 0, 1, 1], names=("cat", "dog"))
    with_features(url, np.array([E1, E1, E1, E1 + 0.1 * E0]))
    result = nearest_classes(NearestOptions(dataset=url, reference=real, k=1))
    (missed,) = result.missed
    assert (missed["wnid"], missed["nearest_wnid"], missed["share_own"]) == ("cat", "dog", 0)
    assert (result.num_samples, result.num_own) == (4, 2)


# ---- what is refused ----


def test_a_class_with_one_sample(tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "dataset", [0, 0, 1, None], names=("cat", "dog"))
    with_features(url, np.array([E0, E0, E1, E2]))
    with pytest.raises(OptionError, match=r"found 1 in 1 of 2 classes \(dog\): allow_small \(--allow-small\) leaves"):
        nearest_classes(NearestOptions(dataset=url))
    nearest_classes(NearestOptions(dataset=url, allow_small=True))
    rows = open_overlay(url, "nearest_class").read().to_pylist()
    empty = ("own_similarity", "own_rank", "margin", "own_class_distance")
    assert [rows[2][name] for name in empty] == [None] * 4
    assert (rows[2]["is_own"], rows[2]["nearest_wnid"]) == (False, "cat")
    assert (rows[3]["is_own"], rows[3]["knn_own_share"]) == (None, None)


def test_classes_that_the_reference_lacks(tmp_path: Path, real: str) -> None:
    url = make_labeled(tmp_path / "dataset", [0, 0, 1, 1], names=("cat", "yak"))
    with_features(url, np.array([E0, E0, E1, E1]))
    with pytest.raises(OptionError, match=r"no sample of 1 of 2 classes of .* \(yak\): allow_missing"):
        nearest_classes(NearestOptions(dataset=url, reference=real))
    nearest_classes(NearestOptions(dataset=url, reference=real, allow_missing=True))
    rows = open_overlay(url, "nearest_class").read().to_pylist()
    assert [(row["is_own"], row["own_rank"], row["nearest_wnid"]) for row in rows[1:3]] == [
        (True, 1, "cat"),
        (None, None, "dog"),
    ]
    strange = make_labeled(tmp_path / "strange", [0, 0], names=("yak",))
    with_features(strange, np.array([E0, E0]))
    with pytest.raises(OptionError, match=r"no sample of 1 of 1 class .*: are their classes named alike\?"):
        nearest_classes(NearestOptions(dataset=strange, reference=real, allow_missing=True))


def test_features_of_another_encoder(tmp_path: Path, generated: str) -> None:
    url = make_labeled(tmp_path / "dataset", LABELS, names=NAMES)
    with_features(url, FEATURES, l2=True)
    with pytest.raises(PlanMismatchError, match=r"of another encoder than .*: l2 is True there, False here"):
        nearest_classes(NearestOptions(dataset=generated, reference=url))
    with pytest.raises(PlanMismatchError, match="the reference is the dataset itself"):
        nearest_classes(NearestOptions(dataset=generated, reference=generated))
    with pytest.raises(DatasetError, match="has no features 'lite0': it has own"):
        nearest_classes(NearestOptions(dataset=generated, features="lite0"))


def test_an_overlay_that_is_there_stays(generated: str, against: list[dict[str, Any]]) -> None:
    with pytest.raises(AlreadyExistsError, match="is there already: give replace"):
        nearest_classes(NearestOptions(dataset=generated))
    for changes, message in (({"k": 0}, "k is at least 1"), ({"reference_features": "own"}, "give reference")):
        with pytest.raises(OptionError, match=message):
            NearestOptions(dataset=generated, **changes)  # type: ignore[arg-type]


# ---- the questions, and the command ----


def ask(name: str, url: str, **parameters: Any) -> list[dict[str, Any]]:
    asked = find_query(name)
    found = query(asked.sql, [url], asked.bind(parameters))
    assert found.schema.names == list(asked.columns)
    return list(found.to_pylist())


def test_the_overlay_has_the_columns_that_are_listed(against: list[dict[str, Any]]) -> None:
    assert list(against[0]) == list(SAMPLE_COLUMNS)


def test_nearest_class_lists_the_worst_first(generated: str, against: list[dict[str, Any]]) -> None:
    rows = ask("nearest_class", generated)
    assert rows[0]["key"] == "s0002" and (rows[0]["wnid"], rows[0]["nearest_wnid"]) == ("cat", "dog")
    assert all(row["margin"] <= 0 for row in rows)
    assert len(ask("nearest_class", generated, max_margin=2)) == 7
    assert [row["key"] for row in ask("nearest_class", generated, max_margin=2, wnid="dog")] == ["s0003", "s0004"]


def test_confusion_pairs(generated: str, against: list[dict[str, Any]]) -> None:
    pairs = {(row["wnid"], row["nearest_wnid"]): row for row in ask("confusion_pairs", generated)}
    cats = pairs["cat", "dog"]
    assert (cats["num_samples"], cats["example_key"]) == (1, "s0002")
    assert cats["share"] == pytest.approx(1 / 3) and cats["mean_margin"] < 0
    assert ask("confusion_pairs", generated, min_samples=8) == []


def test_collapsed_classes(generated: str, real: str, against: list[dict[str, Any]]) -> None:
    rows = {row["wnid"]: row for row in ask("collapsed_classes", generated)}
    assert set(rows) == {"dog", "owl"}, "the three cats are further from each other than the real ones"
    real_spread = intra_class_distance(REAL_FEATURES, np.array(REAL_LABELS)).per_class[1]
    assert rows["dog"]["reference_distance"] == pytest.approx(real_spread, abs=1e-3)
    assert rows["dog"]["ratio"] == pytest.approx(0, abs=1e-2)
    assert (rows["dog"]["num_samples"], rows["dog"]["num_prompts"]) == (2, 2)
    assert len(ask("collapsed_classes", generated, max_ratio=99)) == 3


def test_prompt_yield(generated: str, against: list[dict[str, Any]]) -> None:
    rows = {row["scene"]: row for row in ask("prompt_yield", generated)}
    own = {row["key"]: row["is_own"] for row in against}
    for scene, row in rows.items():
        keys = [f"s{n:04d}" for n, text in enumerate(PROMPTS) if text == scene]
        assert row["num_images"] == len(keys)
        assert row["num_own"] == sum(own[key] for key in keys)
        assert row["share_own"] == pytest.approx(row["num_own"] / len(keys))
    assert rows["room"]["share_own"] == 1 and rows["field"]["worst_wnid"] == "cat"
    assert [row["num_images"] for row in ask("prompt_yield", generated, wnid="cat")] == [1, 2]


def test_the_command(generated: str, real: str, against: list[dict[str, Any]]) -> None:
    arguments = [generated, "--reference", real, "--replace"]
    run = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    result = json.loads(run.stdout)
    assert result["num_samples"] == 7 and Path(result["classes_file"]).is_file()
    text = CliRunner().invoke(command, arguments, catch_exceptions=False).stdout
    assert f"{result['num_own']} of 7 samples" in text and "shardtools query confusion-pairs" in text
