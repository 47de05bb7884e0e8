"""Shipped figures: what they hold, and that tables and result files of one source agree."""

from __future__ import annotations

import csv
import io
from importlib import resources
from statistics import fmean

import pytest

from shardtools.evaluation.metrics import METRICS, ShapeBias
from shardtools.evaluation.protocols import SEED002, SEED002_TRAINING
from shardtools.evaluation.published import CORRUPTIONS, read_rows
from shardtools.evaluation.results import REFERENCE_NAMES, REFERENCES, reference_results
from shardtools.evaluation.results.joining import column_of
from shardtools.evaluation.results.publications.seed002 import AVERAGE
from shardtools.rendering import FACTORS
from shardtools.taxonomy import load_classes

DATA = resources.files("shardtools.evaluation.published") / "data"

# Column of the table -> of the result files, and what the files' numbers are multiplied by.
BACKED = {
    "IN-A": ("inA_acc", 1),
    "StylizedIN_shape_pct": ("cue_shape", 100),
    "IN-Sketch": ("sketch_top1", 1),
    "adv_acc": ("adv_acc", 1),
}


def figure(name: str, model: str, dataset: str, metric: str, split: str = "") -> float:
    [found] = [
        row.value for row in reference_results(name) if (row.model, *column_of(row)) == (model, dataset, split, metric)
    ]
    return found


def test_every_file_has_its_source() -> None:
    provenance = (DATA / "PROVENANCE.md").read_text()
    files = [file for file in DATA.iterdir() if file.name.endswith(".csv")]
    assert len(files) >= 11
    for file in files:
        assert f"| `{file.name}` |" in provenance
    assert sum(len(file.read_bytes()) for file in DATA.iterdir()) < 300_000


@pytest.mark.parametrize("file", [file.name for file in DATA.iterdir() if file.name.endswith(".csv")])
def test_files_are_whole(file: str) -> None:
    header, *rows = csv.reader(io.StringIO((DATA / file).read_text()))
    assert len(set(header)) == len(header) and rows
    assert {len(row) for row in rows} == {len(header)}


@pytest.mark.parametrize("name", REFERENCE_NAMES)
def test_rows_are_figures_by_known_names(name: str) -> None:
    rows = reference_results(name)
    assert rows and {row.metric for row in rows} <= set(METRICS)
    keys = [(row.model, row.protocol, *column_of(row)) for row in rows]
    assert len(set(keys)) == len(keys), "a figure that stands twice"
    for row in rows:
        if METRICS[row.metric].is_share and "corruption" not in row.metric and "gap" not in row.metric:
            assert 0 <= row.value <= 1


def test_the_names_are_the_references() -> None:
    assert tuple(REFERENCES) == REFERENCE_NAMES


def test_92_cells_of_the_seeds_table_are_their_result_files() -> None:
    files = {row["model"]: row for row in read_rows("seed001_result_files")}
    backed, without = 0, []
    for row in read_rows("seed001_table"):
        for column, (own, unit) in BACKED.items():
            if row[column] and files[row["model"]][own]:
                # One decimal is printed.
                assert float(row[column]) == pytest.approx(unit * float(files[row["model"]][own]), abs=0.05 + 1e-9)
                backed += 1
            elif row[column]:
                without.append((row["model"], column))
    assert backed == 92
    # The five ResNeXt on ImageNet-A and attacked have no file.
    assert len(without) == 10 and {model.split("_")[0] for model, _ in without} == {"resnext101"}


def test_the_seeds_shares_are_counts_of_pictures() -> None:
    """Each is a whole number of a known number of pictures, within what the files' digits leave open."""
    for row in read_rows("seed001_result_files"):
        for column, number in (("inA_acc", 7500), ("sketch_top1", 50_889), ("adv_acc", 25_000)):
            if row[column]:
                count = float(row[column]) / 100 * number
                assert count == pytest.approx(round(count), abs=5.1e-7 * number)
        if row["cue_shape"]:
            # Of 1,201 pictures: 1,200 whose cues disagree and one that was left in by mistake.
            decided = round(float(row["cue_frac_correct"]) * 1201)
            num_shape = round(float(row["cue_shape"]) * decided)
            assert decided / 1201 == pytest.approx(float(row["cue_frac_correct"]), abs=5.1e-7)
            counted = ShapeBias(num_shape=num_shape, num_texture=decided - num_shape, num_other=1201 - decided)
            assert counted.bias == pytest.approx(float(row["cue_shape"]), abs=5.1e-7)
            assert counted.accuracy == pytest.approx(float(row["cue_frac_correct"]), abs=5.1e-7)


def test_resnet50_of_the_seed_is_the_authors_own_count() -> None:
    assert figure("seed001", "resnet50", "cue-conflict", "shape_bias") == pytest.approx(162 / 734, abs=1e-6)
    assert figure("cue-conflict", "resnet50", "cue-conflict", "shape_bias") == 162 / 734
    assert figure("seed001", "resnet50", "cue-conflict", "cue_accuracy") == pytest.approx(734 / 1201, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "model", "dataset", "metric", "split", "value"),
    [
        ("robustbench", "Standard_R50", "imagenet-c", "mean_corruption_error", "", 0.7638),
        ("robustbench", "AlexNet", "imagenet-c", "error", "gaussian_noise/1", 0.689),
        ("robustness", "resnet50", "imagenet-c", "mean_corruption_error", "", 0.767),
        ("linf", "Salman2020Do_R50", "imagenet", "adversarial_accuracy", "linf 4/255", 0.3496),
        ("testbed", "resnet50", "imagenet", "top1_accuracy", "", 0.7613),
        ("testbed", "resnet50", "imagenet-v2", "top1_accuracy", "matched-frequency", 0.6333),
        ("timm", "networks of timm", "imagenet-a", "spearman", "", 0.9815),
        ("imagenet-x", "ResNet50", "imagenet", "rms_calibration_error_as_published", "", 0.0556),
        ("imagenet-x", "ResNet50", "imagenet-x", "error_ratio", "factor/subcategory", 2.542),
        ("cue-conflict", "human_10_observers", "cue-conflict", "shape_bias", "", 0.9587),
    ],
)
def test_figures_that_everybody_knows(
    name: str, model: str, dataset: str, metric: str, split: str, value: float
) -> None:
    digits = 5e-4 if metric == "error_ratio" else 5.1e-5
    assert figure(name, model, dataset, metric, split) == pytest.approx(value, abs=digits)


def test_timms_correlations_are_the_facts() -> None:
    """Restated to four decimals: the accuracies that they were computed of are not shipped."""
    wanted = {
        "imagenet-a": (0.7533, 0.9815),
        "imagenet-r": (0.7909, 0.9433),
        "imagenet-sketch": (0.8087, 0.9457),
        "imagenet-v2": (0.9904, 0.9950),
        "imagenet-real": (0.9844, 0.9924),
    }
    for dataset, values in wanted.items():
        split = "matched-frequency" if dataset == "imagenet-v2" else ""
        found = [figure("timm", "networks of timm", dataset, metric, split) for metric in ("pearson", "spearman")]
        assert found == pytest.approx(values, abs=1e-9)


def test_classes_of_the_cue_conflict_are_imagenets() -> None:
    wnids = {one.wnid for one in load_classes("imagenet-1k")}
    assert {row["wnid"] for row in read_rows("cue_conflict_categories")} <= wnids
    assert {row["corruption"] for row in read_rows("robustbench_imagenet_c")} == set(CORRUPTIONS)


def test_every_average_of_seed_002_is_recomputed() -> None:
    """Rows over the five factors, columns over the 11 networks, of tables 1 (both halves) and 3."""
    table = read_rows("seed002_table1")
    blocks = {mode: [row for row in table if row["mode"] == mode] for mode in ("linear", "finetune")}
    blocks["table 3"] = read_rows("seed002_table3")
    num_checked = 0
    for rows in blocks.values():
        *networks, printed = rows
        assert len(networks) == 11 and printed["model"] == AVERAGE
        for row in rows:
            recomputed = fmean(float(row[f"{factor}_gap"]) for factor in FACTORS)
            assert abs(recomputed - float(row["average_gap"])) <= 0.011
            num_checked += 1
        for column in set(printed) - {"mode", "model"}:
            recomputed = fmean(float(row[column]) for row in networks)
            assert abs(recomputed - float(printed[column])) <= 0.011
            num_checked += 1
    assert num_checked == 3 * 12 + 2 * 8 + 6


def test_seed_002_has_the_rows_of_its_catalogue() -> None:
    rows = reference_results("seed002")
    assert {row.model for row in rows} == set(SEED002.models) == set(SEED002_TRAINING)
    assert len(rows) == 2 * 11 * 7 + 11 * 5
    pose = [row.value for row in rows if row.split == "pose" and row.protocol == "linear"]
    assert fmean(pose) == pytest.approx(-0.4203, abs=1.1e-4)
    assert figure("seed002", "iBot-21k", "rendered", "variation_gap", "classes/pose/difference/pose") == pytest.approx(
        -0.6785
    )
