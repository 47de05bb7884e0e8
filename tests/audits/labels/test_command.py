"""`shardtools audit` from features to overlay, questions, page and a mended dataset, on real photographs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.audits.labels import NOISE_COLUMNS, LabelAuditOptions, LabelAuditResult, audit_dataset
from shardtools.audits.labels.scores import SCORES
from shardtools.cli.audit import summary
from shardtools.cli.class_words import class_words
from shardtools.overlays import open_overlay
from shardtools.report import write_report
from shardtools.sql import find_query, query
from tests.helpers.curated_datasets import apply_here, rows
from tests.helpers.noisy_labels import NUM_IMAGES, make_flipped, pixel_features, with_pixels
from tests.helpers.report_pages import read_page

Rows = dict[str, dict[str, Any]]


def read_rows(url: str, name: str = "label_noise") -> Rows:
    return {row["key"]: row for row in open_overlay(url, name).read().to_pylist()}


def audit(url: str, **options: Any) -> LabelAuditResult:
    return audit_dataset(LabelAuditOptions(dataset=url, **options))


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, int]]:
    url, wrong = make_flipped(tmp_path_factory.mktemp("audit"))
    with_pixels(url)
    return url, wrong


@pytest.fixture(scope="module")
def found(flipped: tuple[str, dict[str, int]]) -> LabelAuditResult:
    return audit(flipped[0])


# ---- what is found and written ----


def test_the_suspects_are_those_that_were_flipped(flipped: tuple[str, dict[str, int]], found: LabelAuditResult) -> None:
    url, wrong = flipped
    noise = read_rows(url)
    assert list(noise) == [f"train_{row:05d}" for row in range(NUM_IMAGES)]
    order = sorted(noise, key=lambda key: -noise[key]["vote"])
    # Chance would put 5 of the 55 flips among the first 55.
    assert len(set(order[: len(wrong)]) & set(wrong)) >= 0.75 * len(wrong)
    assert len(set(order[:20]) & set(wrong)) >= 19
    assert sum(noise[key]["suggested_label"] == label for key, label in wrong.items()) >= 0.6 * len(wrong)
    assert [row["key"] for row in found.suspects] == order[:10]
    assert found.noise_rate["low"] <= len(wrong) / NUM_IMAGES <= found.noise_rate["high"]


def test_the_overlay_has_every_score(flipped: tuple[str, dict[str, int]], found: LabelAuditResult) -> None:
    url, _ = flipped
    overlay = open_overlay(url, "label_noise")
    assert [column.name for column in overlay.info.columns] == list(NOISE_COLUMNS)
    assert set(SCORES) <= set(NOISE_COLUMNS)
    table = overlay.read()
    nulls = {name for name in table.column_names if table[name].null_count}
    assert nulls == {"training_doubt", "encoder_agreement", "brought_doubt"}
    manifest = rows(url)
    for key, row in read_rows(url).items():
        assert (row["given_label"], row["given_wnid"]) == (manifest[key]["class_index"], manifest[key]["wnid"])
        assert len(set(row["neighbors"]) & set(manifest)) == 10 and key not in row["neighbors"]
        assert 0 <= row["noise_probability"] <= 1 and 0 <= row["suggested_probability"] <= 1
    features = overlay.info.settings
    assert (features["features"], features["folds"], features["k"], features["seed"]) == (["pixels"], 5, 50, 0)
    assert [len(features[name][0]) for name in ("features_sha256", "encoder_sha256")] == [64, 64]


def test_neighbors_are_the_nearest_photographs(flipped: tuple[str, dict[str, int]], found: LabelAuditResult) -> None:
    from shardtools.audits.labels.scores.projection import project
    from shardtools.features.neighbors import knn_graph

    features = project(pixel_features().astype(np.float16), np.arange(NUM_IMAGES), 256)
    expected = knn_graph(features, 10).rows
    noise = list(read_rows(flipped[0]).values())
    same = [
        len(set(row["neighbors"]) & {f"train_{near:05d}" for near in nearest})
        for row, nearest in zip(noise, expected.tolist(), strict=True)
    ]
    assert np.mean(same) > 9.9


def test_the_summary_is_beside_the_overlay(flipped: tuple[str, dict[str, int]], found: LabelAuditResult) -> None:
    content = json.loads(Path(found.summary_file).read_text())
    assert Path(found.summary_file) == Path(found.overlay, "summary.json")
    assert (content["num_samples"], content["num_audited"], content["left_out"]) == (NUM_IMAGES, NUM_IMAGES, {})
    assert content["noise_rate"] == found.noise_rate and content["cuts"] == list(found.cuts)
    numbers = [cut["num_samples"] for cut in content["cuts"]]
    assert numbers == sorted(set(numbers)) and len(numbers) >= 4
    for cut in content["cuts"]:
        for share in (cut["precision"], cut["recall"]):
            assert 0 <= share["low"] <= share["estimate"] <= share["high"] <= 1
    probabilities = [pair["probability"] for pair in content["transition"]]
    assert probabilities == sorted(probabilities, reverse=True) and len(probabilities) <= 90
    assert {"linear_0", "mixture"} <= set(content["vote_weights"])


# ---- what users do with it ----


def test_questions(flipped: tuple[str, dict[str, int]], found: LabelAuditResult) -> None:
    url, _ = flipped
    noise = read_rows(url)
    suspects = query(find_query("label_noise").sql, [url], find_query("label-noise").bind({})).to_pylist()
    assert {row["key"] for row in suspects} == {key for key, row in noise.items() if row["noise_probability"] >= 0.5}
    assert suspects[0]["key"] == found.suspects[0]["key"]
    wnid = suspects[0]["given_wnid"]
    asked = find_query("label_noise").bind({"wnid": wnid, "max_samples": 2, "min_probability": 0})
    few = query(find_query("label_noise").sql, [url], asked).to_pylist()
    assert [row["given_wnid"] for row in few] == [wnid, wnid]
    classes = query(find_query("label_noise_by_class").sql, [url], {"min_probability": 0.5}).to_pylist()
    assert sum(row["num_samples"] for row in classes) == NUM_IMAGES
    assert sum(row["num_suspects"] for row in classes) == len(suspects)
    assert sum(row["expected_wrong"] for row in classes) / NUM_IMAGES == pytest.approx(
        np.mean([row["noise_probability"] for row in noise.values()])
    )
    pairs = query(find_query("label_noise_pairs").sql, [url], find_query("label_noise_pairs").bind({})).to_pylist()
    changed = [row for row in suspects if row["suggested_wnid"] != row["given_wnid"]]
    assert sum(row["num_suspects"] for row in pairs) == len(changed)


def test_the_page_shows_suspects_neighbors_and_cuts(
    flipped: tuple[str, dict[str, int]], found: LabelAuditResult, tmp_path: Path
) -> None:
    url, _ = flipped
    result = write_report(url, tmp_path / "report.html")
    assert not any("label_noise" in note or "summary" in note for note in result.notes)
    page = read_page(tmp_path / "report.html")
    content = page.content()
    sample, given, suggested, _, noise_probability, scores, near = content["suspects"]["rows"][0]
    noise = read_rows(url)[content["samples"][sample][0]]
    assert content["samples"][sample][0] == found.suspects[0]["key"]
    assert (given, suggested) == (noise["given_label"], noise["suggested_label"])
    assert noise_probability == pytest.approx(noise["noise_probability"], rel=1e-3)
    assert [content["samples"][row][0] for row in near] == noise["neighbors"][:5]
    names = content["suspects"]["scores"]
    assert "vote" in names and "training_doubt" not in names
    assert scores[names.index("linear_doubt")] == pytest.approx(noise["linear_doubt"], rel=1e-3)
    rate = found.noise_rate
    assert f"About {rate['estimate']:.1%} ({rate['low']:.1%} to {rate['high']:.1%}) of 600 judged labels" in page.text
    for cut in found.cuts:
        assert f"{cut['threshold']:.3f} {cut['num_samples']} {cut['precision']['estimate']:.1%}" in page.text
    buttons = [given["data-least"] for tag, given in page.elements if tag == "button" and "data-least" in given]
    assert len(buttons) == sum(cut["threshold"] >= 0.5 for cut in found.cuts)


def test_a_summary_of_another_audit_is_not_shown(
    flipped: tuple[str, dict[str, int]], found: LabelAuditResult, tmp_path: Path
) -> None:
    path = Path(found.summary_file)
    content = path.read_text()
    hostile = json.loads(content) | {"format": "<script>alert(1)</script>"}
    damaged = json.loads(content) | {"cuts": [{"threshold": "<b>"}]}
    try:
        for text, message in (
            (content.replace('"overlay_sha256": "', '"overlay_sha256": "0'), "is of another audit than the overlay"),
            (json.dumps(hostile), "has format <script>alert(1)</script> version 1, this release reads"),
            (json.dumps(damaged), "version 1 (cuts[0].num_samples is missing): run the audit"),
        ):
            path.write_text(text)
            result = write_report(flipped[0], tmp_path / "report.html")
            assert any(message in note for note in result.notes)
            page = read_page(tmp_path / "report.html")
            assert message in page.text and "What to expect" not in page.text
            assert b"<script>alert" not in page.file
    finally:
        path.write_text(content)


def test_the_printed_command_mends_the_flips(
    flipped: tuple[str, dict[str, int]], found: LabelAuditResult, tmp_path: Path
) -> None:
    url, wrong = flipped
    lines = summary(found, LabelAuditOptions(dataset=url)).splitlines()
    assert lines[0].startswith("between ") and "of 600 labels are wrong" in lines[0]
    assert lines[1].split()[:2] == ["take", "probability"]
    first = found.suspects[0]
    given, suggested = class_words(first["given_wnid"]), class_words(first["suggested_wnid"])
    assert f"  {first['key']}  1.000  {given} -> {suggested}" in lines and "(" in given
    printed = next(shlex.split(line) for line in lines if line.startswith("  shardtools apply"))
    assert printed[2] == url and printed[4:] == ["--out", f"{url}-relabelled"]
    mended = tmp_path / "mended"
    apply_here(url, printed[3], mended)
    before, after = rows(url), rows(str(mended))
    changed = {key for key in before if before[key]["class_index"] != after[key]["class_index"]}
    right = {key for key in changed if wrong.get(key) == after[key]["class_index"]}
    assert len(right) >= 0.5 * len(wrong) and len(right) >= 0.75 * len(changed)
    assert {after[key]["label_source"] for key in changed} == {"edit"}
