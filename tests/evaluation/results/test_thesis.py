"""Shipped figures of the thesis (seed 004): they recompute, agree between its tables, and name sets as own runs do."""

from __future__ import annotations

from statistics import fmean

import pytest

from shardtools.evaluation.metrics import log_odds
from shardtools.evaluation.published import read_rows
from shardtools.evaluation.results import COG_LEVELS, COG_SHOTS, SMALL_SETS, TRANSFER_SETS, Result, reference_results

SETS = TRANSFER_SETS["transfer-13"]


def accuracies(name: str) -> dict[tuple[str, str], float]:
    """(model, dataset) -> top-1 of a linear classifier on the whole set."""
    return {
        (row.model, row.dataset): row.value
        for row in reference_results(name)
        if row.metric == "top1_accuracy" and row.split == "" and row.protocol.startswith("linear")
    }


def test_mean_log_odds_of_table_d1_are_recomputed() -> None:
    own = accuracies("trex")
    printed = {row["model"]: float(row["mean_log_odds"]) for row in read_rows("trex_transfer")}
    assert len(printed) == 12 and len(SETS) == 13
    for model, value in printed.items():
        assert log_odds([own[model, dataset] for dataset in SETS]).mean() == pytest.approx(value, abs=0.002)


def test_averages_of_table_5_3_are_recomputed() -> None:
    own = accuracies("imagenet-sd")
    printed = {row.model: row.value for row in reference_results("imagenet-sd") if row.dataset == "transfer-10"}
    assert len(printed) == 8
    for model, value in printed.items():
        # One decimal is printed, of the sets as of their mean.
        assert fmean(own[model, one] for one in TRANSFER_SETS["transfer-10"]) == pytest.approx(value, abs=0.001)


def test_tables_of_cog_are_whole() -> None:
    """31 networks on six sets with nine numbers of pictures, each with its deviation; more pictures are never worse."""
    rows = [row for row in reference_results("cog") if row.metric == "top1_accuracy"]
    deviations = [row for row in reference_results("cog") if row.metric == "top1_deviation"]
    assert len(rows) == len(deviations) == 31 * 6 * 9
    assert {row.dataset for row in rows} == {"imagenet", *COG_LEVELS}
    assert {row.split for row in rows} == {"", *(f"shots/{number}" for number in COG_SHOTS)}
    assert {row.split for row in deviations} == {"shots/all", *(f"shots/{number}" for number in COG_SHOTS)}
    by_cell: dict[tuple[str, str], list[Result]] = {}
    for row in rows:
        by_cell.setdefault((row.model, row.dataset), []).append(row)
    for own in by_cell.values():
        values = [row.value for row in own]
        assert values == sorted(values) and own[-1].split == ""
    assert all(0 <= row.value < 0.012 for row in deviations)


def test_every_level_is_harder_than_the_one_before() -> None:
    """What section 3.4.2.1 says of the levels, as means over the 31 networks."""
    own = accuracies("cog")
    means = [fmean(value for (_, dataset), value in own.items() if dataset == one) for one in ("imagenet", *COG_LEVELS)]
    assert means == sorted(means, reverse=True)


def test_kinds_of_networks_are_those_of_table_3_2() -> None:
    kinds = {row["model"]: row["category"] for row in read_rows("cog_models")}
    assert list(kinds) == list(dict.fromkeys(row.model for row in reference_results("cog")))
    prefixes = {"a": "architecture", "s": "self-supervision", "d": "web-data", "r": "regularization"}
    for model, kind in kinds.items():
        assert kind == (prefixes[model[0]] if model[1] == "-" else "reference")
    assert [list(kinds.values()).count(kind) for kind in prefixes.values()] == [10, 10, 4, 6]


def test_tables_agree_where_they_tell_of_one_network() -> None:
    cog, trex, clones = (accuracies(name) for name in ("cog", "trex", "imagenet-sd"))
    for dataset in ("imagenet", *COG_LEVELS):
        assert cog["s-DINO", dataset] == trex["DINO", dataset] == clones["DINO", dataset]
        assert trex["RSB-A1", dataset] == clones["RSB-A1", dataset]
        # Fitted anew for chapter 5.
        assert cog["ResNet50", dataset] == pytest.approx(clones["PyTorch", dataset], abs=0.0011)
    for dataset in SMALL_SETS:
        assert trex["RSB-A1", dataset] == pytest.approx(clones["RSB-A1", dataset], abs=0.0041)
    # Table 4.2 repeats D.1's first column, and 5.1 the rows of 5.2.
    for row in read_rows("trex_imagenet"):
        assert float(row["imagenet"]) == pytest.approx(100 * trex[row["model"], "imagenet"])
    first = {row["model"]: row["imagenet_top1"] for row in read_rows("imagenet_sd_imagenet")}
    for row in read_rows("imagenet_sd_augmentation"):
        assert row["multi_crop"] == first[row["model"]]


def test_v2_of_table_5_2_is_the_mean_of_its_three_sets() -> None:
    """The table does not say which of ImageNet-V2's sets it is of; torchvision's ResNet-50 tells."""
    [printed] = [row for row in read_rows("imagenet_sd_imagenet") if row["model"] == "PyTorch"]
    [measured] = [row for row in read_rows("testbed") if row["model"] == "resnet50"]
    three = [float(value) for column, value in measured.items() if column.startswith("imagenetv2-")]
    assert len(three) == 3 and fmean(three) == pytest.approx(float(printed["imagenet-v2_top1"]), abs=0.4)
    assert abs(three[0] - float(printed["imagenet-v2_top1"])) > 5


def test_networks_of_chapter_5_say_what_they_were_trained_on() -> None:
    facts = {row["model"]: row for row in read_rows("imagenet_sd_models")}
    models = {row.model.removesuffix(", PyTorch's augmentation") for row in reference_results("imagenet-sd")}
    assert set(facts) == models
    assert facts["ImageNet-100-SD 50x (c, d_c; guidance 2)"]["size"] == "50x"
    # Networks with 100 classes are judged on pictures of these.
    for row in reference_results("imagenet-sd"):
        is_small = row.model.startswith("ImageNet-100") and row.protocol == "its own classifier"
        assert row.split.endswith("classes of imagenet-100") == is_small
