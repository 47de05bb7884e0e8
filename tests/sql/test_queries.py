"""The named questions, and the promise that the files open without this project's code."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from shardtools.audits.duplicates import DuplicatesOptions, find_duplicates
from shardtools.audits.labels import LabelAuditOptions, audit_dataset
from shardtools.audits.nearest import NearestOptions, nearest_classes
from shardtools.audits.quality import QualityOptions, measure_dataset
from shardtools.audits.sample_audit import run_sample_audit
from shardtools.cli import COMMANDS, cli
from shardtools.errors import QueryError
from shardtools.loader import read_all
from shardtools.sql import NamedQuery, find_query, named_queries, query
from tests.helpers.feature_datasets import with_features
from tests.helpers.ood_datasets import model_facts, with_predictions
from tests.helpers.sql_datasets import (
    RENDERED_WNIDS,
    WNIDS,
    fashion_images,
    make_dataset,
    make_rendered,
    rendered_logits,
)

NUM_SAMPLES = 12
FOLDER = Path(__file__).parents[2] / "queries"
OF_RENDERED = ("background_gap", "factor_values", "worst_poses")
"""Questions that other datasets have no answer to."""


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return fashion_images(NUM_SAMPLES)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, images: list[bytes]) -> str:
    folder = tmp_path_factory.mktemp("queries") / "generated"
    make_dataset(folder, images=images)
    return str(folder)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, images: list[bytes]) -> str:
    """Three real images; the first is also the first generated one."""
    folder = tmp_path_factory.mktemp("queries") / "real"
    make_dataset(folder, images=images[:3], source="real", num_shards=1)
    return str(folder)


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Generated images, real ones of another split that equal some of them, and generated ones from the same noise.

    The first two have all overlays that queries read.
    """
    folder, images = tmp_path_factory.mktemp("examined"), fashion_images(60)
    urls = [str(folder / name) for name in ("generated", "real", "again")]
    make_dataset(urls[2], images=images[:12])
    make_dataset(urls[0], images=images)
    make_dataset(urls[1], images=images[:30], source="real", num_shards=1, split="test")
    for url in urls[:2]:
        labels = np.asarray(read_all([url]).class_index)
        features = 3 * np.eye(3, 8)[labels] + np.random.default_rng(0).normal(size=(len(labels), 8)) / 2
        # One image that looks like another class.
        features[0] = 3 * np.eye(8)[(labels[0] + 1) % 3]
        with_features(url, features.astype(np.float32))
        nearest_classes(NearestOptions(dataset=url))
        measure_dataset(QualityOptions(dataset=url, num_threads=1))
        audit_dataset(LabelAuditOptions(dataset=url, k=10))
        wnids = query("select wnid from samples where status = 'ok' order by key", (url,))["wnid"].to_pylist()
        facts = model_facts(sorted(set(WNIDS)))
        # The network says the first class of every image, so that it is wrong of most.
        with_predictions(url, facts, [[8.0, 1.0, 0.0]] * len(wnids), name="predictions", wnids=wnids)
        for module, _ in COMMANDS.values():
            if (audit := getattr(import_module(module), "AUDIT", None)) is not None:
                run_sample_audit(audit, audit.options(dataset=url))
    find_duplicates(DuplicatesOptions(datasets=tuple(urls[:2])))
    return urls


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two objects of each of two classes, one factor varied at a time, and predictions that `rendered_logits` makes."""
    url = str(tmp_path_factory.mktemp("queries") / "rendered")
    make_rendered(url)
    rows = query("select key, wnid from samples order by key", (url,)).to_pylist()
    logits = [rendered_logits(row["key"]) for row in rows]
    wnids = [row["wnid"] for row in rows]
    with_predictions(url, model_facts(RENDERED_WNIDS), logits, name="predictions", wnids=wnids)
    return url


def ask(name: str, *urls: str, **parameters: Any) -> list[dict[str, Any]]:
    asked = find_query(name)
    return list(query(asked.sql, urls, asked.bind(parameters)).to_pylist())


def run_cli(*arguments: str) -> Any:
    return CliRunner().invoke(cli, list(arguments))


# The files of queries/.


@pytest.mark.parametrize("asked", named_queries().values(), ids=lambda asked: asked.name)
def test_a_query_returns_what_its_header_says(asked: NamedQuery, examined: list[str], rendered: str) -> None:
    urls = [rendered, examined[2]] if asked.name in OF_RENDERED else examined
    result = query(asked.sql, urls, asked.bind({}))
    assert len(asked.check_overlays(urls)) == len(asked.overlays)
    assert result.schema.names == list(asked.columns)
    assert result.num_rows > 0
    assert asked.question.endswith("?")
    for parameter in asked.parameters:
        assert f"${parameter.name}" in asked.sql.split("-- Returns:")[1]


def test_all_files_are_queries() -> None:
    assert list(named_queries()) == sorted(path.stem for path in FOLDER.iterdir())


# What they answer.


def test_classes(generated: str) -> None:
    rows = ask("classes", generated)
    assert [(row["class_index"], row["wnid"], row["num_rows"], row["num_images"]) for row in rows] == [
        (0, "n03236735", 3, 3),
        (1, "n03595614", 6, 5),
        (2, "n04489008", 3, 2),
    ]
    assert ask("classes", generated, split="val") == []
    assert ask("classes", generated, split="train") == rows


def test_prompts(generated: str) -> None:
    rows = ask("prompts", generated)
    assert [(row["wnid"], row["prompt"], row["num_images"]) for row in rows] == [
        ("n03236735", "a photo of n03236735 in a kitchen", 3),
        ("n03595614", "a photo of n03595614", 5),
        ("n04489008", "a photo of n04489008 in a kitchen", 2),
    ]
    assert len(ask("prompts", generated, wnid="n03595614")) == 1
    assert len(ask("prompts", generated, min_images=3)) == 2


def test_scenes(generated: str) -> None:
    [row] = ask("scenes", generated)
    assert (row["scene"], row["num_images"], row["num_failed"], row["num_classes"]) == ("kitchen", 5, 1, 2)


def test_failures(generated: str) -> None:
    rows = ask("failures", generated)
    assert [(row["wnid"], row["status"], row["num_failed"], row["example_key"]) for row in rows] == [
        ("n03595614", "black", 1, "sample0004"),
        ("n04489008", "black", 1, "sample0009"),
    ]
    assert rows[0]["share"] == pytest.approx(1 / 6)
    assert rows[0]["reason"] == "all pixels are 0"
    assert ask("failures", generated, min_failed=2) == []


def test_resolution(generated: str, images: list[bytes]) -> None:
    [row] = ask("resolution", generated)
    lengths = sorted(len(image) for number, image in enumerate(images) if number % 5 != 4)
    assert (row["image_format"], row["mode"], row["width"], row["height"]) == ("png", "L", 28, 28)
    assert (row["num_images"], row["num_bytes"]) == (10, sum(lengths))
    assert (row["min_bytes"], row["median_bytes"], row["max_bytes"]) == (lengths[0], lengths[4], lengths[-1])


def test_settings(generated: str, real: str) -> None:
    [row] = ask("settings", generated, real)
    assert (row["dataset"], row["scheduler"], row["guidance_scale"]) == (generated, "PNDMScheduler", 2.0)
    assert (row["num_rows"], row["num_images"], row["num_retried"]) == (12, 10, 1)


def test_duplicates_are_found_across_datasets(generated: str, real: str, images: list[bytes]) -> None:
    assert ask("duplicates", generated) == []
    rows = ask("duplicates", generated, real)
    assert len(rows) == 3
    assert all((row["num_copies"], row["num_datasets"], row["num_classes"]) == (2, 2, 1) for row in rows)
    places = sorted(place for row in rows for place in row["places"])
    assert places == sorted(f"{url} sample{number:04d}" for url in (generated, real) for number in range(3))
    assert sum(row["wasted_bytes"] for row in rows) == sum(map(len, images[:3]))
    assert ask("duplicates", generated, real, min_copies=3) == []


def test_real_vs_generated(generated: str, real: str) -> None:
    rows = ask("real_vs_generated", generated, real)
    counted = {row["wnid"]: (row["num_real"], row["num_generated"], row["generated_per_real"]) for row in rows}
    assert counted == {"n03236735": (0, 3, None), "n03595614": (2, 5, 2.5), "n04489008": (1, 2, 2.0)}


def test_safety(generated: str) -> None:
    rows = ask("safety", generated)
    assert {row["wnid"]: (row["num_checked"], row["num_flagged"]) for row in rows} == {
        wnid: (WNIDS.count(wnid) * 3, sum(WNIDS[n % 4] == wnid for n in range(0, 12, 3))) for wnid in set(WNIDS)
    }
    assert ask("safety", generated, min_flagged=5) == []


def test_speed(generated: str) -> None:
    [row] = ask("speed", generated)
    assert (row["log"], row["num_shards"], row["num_images"], row["images_per_second"]) == ("run1-rank0000", 1, 8, 12.5)
    assert row["share_outside_model"] == pytest.approx(0.05)
    assert row["ending"] == "done"


def test_factor_values(rendered: str) -> None:
    rows = ask("factor_values", rendered)
    found = {(row["factor"], row["value"]): (row["num_images"], row["accuracy"], row["gap"]) for row in rows}
    assert [row["value"] for row in rows if row["factor"] == "pose"] == ["-180.0", "-90.0", "0.0", "90.0", "180.0"]
    assert found["pose", "-90.0"] == (4, 0.5, -0.5)
    assert found["pose", "0.0"] == (4, 1.0, 0.0)
    assert found["lighting", "0.5"] == (4, 1.0, 0.0)
    assert found["background", "city/z"] == (4, 0.0, -1.0)
    assert {row["canonical_accuracy"] for row in rows} == {1.0}
    only = ask("factor_values", rendered, factor="pose", wnid=RENDERED_WNIDS[1])
    assert [row["accuracy"] for row in only] == [1.0] * 5
    assert {row["num_images"] for row in only} == {2}


def test_worst_poses(rendered: str) -> None:
    rows = ask("worst_poses", rendered, max_poses=2)
    found = [(row["wnid"], row["pose"], row["num_images"], row["accuracy"], row["gap"]) for row in rows]
    first, second = RENDERED_WNIDS
    # -180 and 180 degrees are one bin; of equal ones the first comes first.
    assert found[:2] == [(first, -90.0, 2, 0.0, -1.0), (first, 180.0, 4, 0.0, -1.0)]
    assert {row["taken_for"] for row in rows} == {second, None}
    assert rows[0]["example_key"].startswith(f"{first}_a_pose")
    assert len(ask("worst_poses", rendered, wnid=second, step=360)) == 1


def test_background_gap(rendered: str) -> None:
    city, home = ask("background_gap", rendered)
    assert (city["background_type"], city["num_photos"], city["num_images"]) == ("city", 2, 8)
    assert (city["accuracy"], city["canonical_accuracy"], city["gap"]) == (0.25, 1.0, -0.75)
    assert (city["worst_background"], city["worst_accuracy"]) == ("city/z", 0.0)
    assert (home["background_type"], home["gap"]) == ("home", 0.0)


# Headers and parameters.


# The command line.


def test_without_a_name_the_questions_are_listed() -> None:
    lines = run_cli("query").stdout.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(named_queries())]] == list(named_queries())
    records = json.loads(run_cli("query", "--json").stdout)
    assert [record["name"] for record in records] == list(named_queries())
    assert records[0]["parameters"][0]["name"] == "wnid"


def test_show_prints_the_file() -> None:
    assert run_cli("query", "classes", "--show").stdout == (FOLDER / "classes.sql").read_text()


def test_a_query_runs_with_parameters(generated: str, tmp_path: Path) -> None:
    result = run_cli("query", "prompts", generated, "--param", "min_images=5", "--json")
    assert [row["wnid"] for row in json.loads(result.stdout)] == ["n03595614"]
    assert run_cli("query", "classes", generated).stdout.splitlines()[0].split()[0] == "dataset"
    target = tmp_path / "classes.csv"
    assert run_cli("query", "classes", generated, "--output", str(target)).exit_code == 0
    assert len(target.read_text().splitlines()) == 4
    assert run_cli("query", "classes").exit_code == 2


# Without this project's code.


def test_the_manifest_opens_in_plain_duckdb(generated: str) -> None:
    import duckdb

    counted = duckdb.sql(
        f"select wnid, count(*) from read_parquet('{generated}/manifest/*.parquet') group by wnid order by wnid"
    ).fetchall()
    assert counted == [("n03236735", 3), ("n03595614", 6), ("n04489008", 3)]


PLAIN_WEBDATASET = """
import hashlib, json, sys
sys.modules["torch"] = None  # webdataset works without it, and importing it takes long
import webdataset
for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False, empty_check=False).decode("l8"):
    picture = hashlib.sha256(sample["png"].tobytes()).hexdigest()
    print(json.dumps([sample["__key__"], sample["png"].shape, picture, sample["cls"], sample["json"]]))
"""


def test_the_shards_open_in_plain_webdataset(generated: str, images: list[bytes]) -> None:
    shards = sorted(str(path) for path in Path(generated, "shards").glob("*.tar"))
    # A program of its own: webdataset leaves files open, which the tests' settings take for an error.
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_WEBDATASET, *shards], capture_output=True, text=True, check=True, cwd=generated
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    # The order of shards, and within a shard the order of writing.
    expected = [number for first in (0, 1) for number in range(first, NUM_SAMPLES, 2) if number % 5 != 4]
    assert [entry[0] for entry in found] == [f"sample{number:04d}" for number in expected]
    for number, (_, shape, picture, class_index, facts) in zip(expected, found, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(images[number])))
        assert (tuple(shape), picture) == (pixels.shape, hashlib.sha256(pixels.tobytes()).hexdigest())
        assert class_index == sorted(set(WNIDS)).index(WNIDS[number % 4])
        assert (facts["wnid"], facts["seed"]) == (WNIDS[number % 4], 2**62 + number)


# At scale.


def test_the_benchmark_counts_every_row(tmp_path: Path) -> None:
    from benchmarks.manifest import COUNTS, STEPS, images_per_class

    counts = images_per_class()
    assert (len(counts), sum(counts), min(counts), max(counts)) == (1000, 1_281_167, 732, 1300)
    # 50 clones of one image a class.
    rows = 50_000
    reports = {step: STEPS[step](rows, tmp_path) for step in STEPS if step != "scene_plan"}
    assert reports["plan"]["rows"] == reports["write"]["rows"] == rows
    assert {reports[step]["by_wnid"]["images"] for step in ("count", "plain_duckdb", "pyarrow", "parts")} == {rows}
    assert {reports["count"][name]["images"] for name in COUNTS} == {rows}


def test_mistakes_are_asked_of_the_predictions_that_there_are(examined: list[str]) -> None:
    url = examined[0]
    rows = ask("mistakes", url)
    assert {row["predicted_wnid"] for row in rows} == {"n03236735"} and "n03236735" not in {row["wnid"] for row in rows}
    expected = np.exp(8) / (np.exp(8) + np.exp(1) + 1)
    assert [row["probability"] for row in rows] == pytest.approx([expected] * len(rows))
    assert {row["rank"] for row in rows} == {2, 3} and all(row["prompt"] for row in rows)
    again, asked = examined[2], find_query("mistakes")
    wnids = query("select wnid from samples where status = 'ok' order by key", (again,))["wnid"].to_pylist()
    for number, name in enumerate(("predictions_one", "predictions_two")):
        logits = np.eye(3)[[number] * len(wnids)]
        with_predictions(again, model_facts(sorted(set(WNIDS))), logits, name=name, wnids=wnids)
        if number == 0:
            # The only one is meant; of two somebody has to say which.
            assert 'overlays."predictions_one"' in asked.with_overlays((again,), {}).sql
    with pytest.raises(
        QueryError, match="found predictions_one, predictions_two: give --on predictions=predictions_one"
    ):
        asked.with_overlays((again,), {})
    run = run_cli("query", "mistakes", again, "--on", "predictions=predictions_two", "--json")
    assert {row["predicted_wnid"] for row in json.loads(run.stdout)} == {"n03595614"}
    wrong = run_cli("query", "mistakes", again, "--on", "features=x")
    assert "query mistakes reads no overlay 'features': it reads predictions" in str(wrong.exception or wrong.output)
