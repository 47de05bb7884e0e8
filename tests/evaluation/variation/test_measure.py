"""Gaps of planted features, which follow by hand, in the five settings; and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError, OptionError, PlanMismatchError
from shardtools.evaluation.variation import ModelVariation, VariationOptions, VariationResult, measure
from shardtools.features import FeatureWriter, features_storage, make_plan, write_features
from shardtools.features.writer import commit_features
from shardtools.rendering import FACTORS
from tests.helpers.feature_datasets import encoder, make_labeled, with_features
from tests.helpers.planted_gaps import GAPS, make_planted, planted_features, planted_rows
from tests.helpers.rendered_datasets import WNIDS, make_rendered

BED = WNIDS[0]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = planted_rows(grids=("canonical", "single", "all"))
    return make_planted(tmp_path_factory.mktemp("planted") / "rooms", rows)


def measured(*datasets: str, **options: Any) -> VariationResult:
    wanted = {"features": ("own",), "num_folds": 2, "C": 100.0, "images": 4, **options}
    return measure(VariationOptions(datasets=datasets, **wanted))


def value(model: ModelVariation, metric: str, **which: Any) -> float:
    found = model.figure(metric, **which)
    assert found is not None, (metric, which)
    return found.value


def test_gaps_of_canonical_training_are_those_planted(planted: str) -> None:
    result = measured(planted)
    [model] = result.models
    assert result.sets == (*FACTORS, "all")
    assert value(model, "top1_accuracy", measured="train") == value(model, "top1_accuracy", measured="canonical") == 1
    for factor, gap in GAPS.items():
        assert value(model, "variation_gap", measured=factor) == pytest.approx(gap)
        assert value(model, "top1_accuracy", measured=factor) == pytest.approx(1 + gap)
    assert value(model, "variation_gap", measured="all") == pytest.approx(-1 / 2)
    assert value(model, "variation_gap", measured="average") == pytest.approx(sum(GAPS.values()) / 5)
    # Every object has the same gap, so that no draw of objects has another.
    pose = model.figure("variation_gap", measured="pose")
    assert pose is not None
    assert (pose.low, pose.high, pose.deviation) == pytest.approx((-1 / 3, -1 / 3, 0))
    assert "pose: 12 pictures of 36 canonical all the same, so its gap is less" in model.notes
    assert model.protocol == "linear, C 100; 2 folds, 6 of 12 objects held out"


def test_rows_of_results_say_what_was_measured(planted: str) -> None:
    rows = {(row.split, row.metric): row for row in measured(planted).results}
    row = rows["pose", "variation_gap"]
    assert (row.study, row.model, row.dataset, row.seed) == ("natural-variation", "own", "rooms", 0)
    assert row.value == pytest.approx(-1 / 3)
    assert row.source.endswith("features/own")
    assert ("train", "top1_accuracy") in rows


def test_samples_that_vary_close_their_own_gap(planted: str) -> None:
    [model] = measured(planted, setting="samples", shares=(50, 75)).models
    for share in (50, 75):
        which = {"varied": "pose", "share": share}
        assert value(model, "variation_gap", measured="pose", **which) == pytest.approx(0)
        assert value(model, "variation_gap_change", measured="pose", **which) == pytest.approx(1 / 3)
        assert value(model, "variation_gap_from_baseline", measured="pose", **which) == pytest.approx(0)
        assert value(model, "variation_gap", measured="background", **which) == pytest.approx(-1 / 2)
        assert value(model, "variation_gap_change", measured="others", **which) == pytest.approx(0)
    line = np.polyfit([0, 0.5, 0.75], [-1 / 3, 0, 0], 1)[0]
    assert value(model, "slope", varied="pose", measured="pose") == pytest.approx(line)
    assert value(model, "slope", varied="pose", measured="background") == pytest.approx(0)
    diagonal = (line + line * 3 / 2) / 5
    assert value(model, "slope", varied="average", measured="own") == pytest.approx(diagonal)


def test_instances_that_vary_close_it_for_others(planted: str) -> None:
    [model] = measured(planted, setting="instances", shares=(50,), factors=("background",)).models
    assert value(model, "variation_gap", varied="background", share=50, measured="background") == pytest.approx(0)
    assert value(model, "variation_gap", varied="background", share=50, measured="pose") == pytest.approx(-1 / 3)
    assert model.figure("variation_gap", varied="pose", share=50, measured="pose") is None


def test_pictures_that_vary_in_all_factors_close_what_they_show(planted: str) -> None:
    [model] = measured(planted, setting="all", shares=(50,)).models
    assert value(model, "variation_gap_change", varied="all", share=50, measured="pose") == pytest.approx(1 / 3)
    # No combination has the photograph that misleads.
    assert value(model, "variation_gap_change", varied="all", share=50, measured="background") == pytest.approx(0)


def test_classes_that_do_not_vary_keep_their_gap(tmp_path: Path) -> None:
    url = make_planted(tmp_path / "rooms", planted_rows(num_classes=4))
    [model] = measured(url, setting="classes", halves=2, factors=("pose",)).models
    which = {"varied": "pose", "measured": "pose"}
    assert value(model, "variation_gap", group="seen", **which) == pytest.approx(0)
    assert value(model, "variation_gap", group="unseen", **which) == pytest.approx(-1 / 3)
    assert value(model, "variation_gap", group="difference", **which) == pytest.approx(-1 / 3)
    # The second draw is the other half, so each of the four classes is unseen in one.
    assert sorted(point.wnid for point in model.points) == sorted(WNIDS)
    assert all(point.gap == pytest.approx(-1 / 3) for point in model.points)


def test_it_is_the_same_twice(planted: str) -> None:
    one, other = (measured(planted, setting="instances", shares=(25,)).results for _ in range(2))
    assert one == other


def test_several_datasets_are_one_world(tmp_path: Path, planted: str) -> None:
    urls = [make_planted(tmp_path / grid, planted_rows(grids=(grid,))) for grid in ("canonical", "single")]
    apart = measured(*urls)
    assert apart.dataset == "canonical+single"
    whole = {(row.split, row.metric): row.value for row in measured(planted).results}
    for row in apart.results:
        assert row.value == pytest.approx(whole[row.split, row.metric])
    # The single grid alone holds a canonical picture of every object.
    alone = measured(urls[1])
    assert value(alone.models[0], "variation_gap", measured="pose") == pytest.approx(-1 / 3)


def write_some(url: str, name: str, rows: list[dict[str, Any]], kept: list[int]) -> None:
    """Features of some pictures, as those of a split are."""
    plan = make_plan(open_dataset(url), name, encoder(9), num_rows=len(kept), batch_size=64, split="train")
    storage = features_storage(open_dataset(url), name)
    FeatureWriter(storage, plan).add(0, [rows[number]["key"] for number in kept], planted_features(rows)[kept])
    assert commit_features(storage) is not None


def test_pictures_without_a_feature_are_said(tmp_path: Path) -> None:
    rows = planted_rows()
    url = make_rendered(tmp_path / "rooms", rows)
    kept = [number for number, row in enumerate(rows) if row["pose"] != 90.0 or row["wnid"] != BED]
    write_some(url, "own", rows, kept)
    [model] = measured(url).models
    assert "own: 4 pictures without a feature left out" in model.notes
    assert value(model, "variation_gap", measured="pose") == pytest.approx(-8 / 32)
    write_some(url, "few", rows, [number for number, row in enumerate(rows) if not row["is_canonical"]])
    with pytest.raises(DatasetError, match="no feature of the canonical picture of n02818832/o0"):
        measured(url, features=("few",))


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    rows = planted_rows()
    url = make_planted(tmp_path / "rooms", rows)
    number = next(place for place, row in enumerate(rows) if row["varied"] == "size")
    stored = np.load(tmp_path / "rooms/features/own/part-000000.npy", mmap_mode="r+")
    stored[number, 0] = np.nan
    stored.flush()
    with pytest.raises(DatasetError, match=f"feature of {rows[number]['key']!r} is not finite"):
        measured(url)


def test_what_does_not_fit_is_one_line(tmp_path: Path, planted: str) -> None:
    photos = make_labeled(tmp_path / "photos", [0, 1])
    with_features(photos, np.eye(2, dtype=np.float32))
    canonical = make_planted(tmp_path / "canonical", planted_rows(grids=("canonical",)))
    single = make_planted(tmp_path / "single", planted_rows(grids=("single",)))
    one_class = make_planted(tmp_path / "one-class", planted_rows(num_classes=1))
    one_object = make_planted(tmp_path / "one-object", planted_rows(num_objects=1))
    lit = [row for row in planted_rows(grids=("single",)) if row["varied"] == "lighting"]
    uncanonical = make_planted(tmp_path / "lit", lit)
    other = planted_rows(grids=("canonical",))
    mixed = make_rendered(tmp_path / "mixed", other)
    keys = [row["key"] for row in other]
    write_features(mixed, "own", planted_features(other), keys, encoder=encoder(9, weights_sha256="1" * 64))
    for datasets, options, error, match in (
        ((photos,), {}, DatasetError, "no picture of a known object"),
        ((canonical,), {}, DatasetError, "no factor varies alone.*--grid canonical,single"),
        ((single,), {"setting": "all"}, DatasetError, "no picture varies in all factors.*--grid all"),
        ((uncanonical,), {}, DatasetError, "12 objects of 12 without a canonical picture"),
        ((one_class,), {}, DatasetError, "has one class"),
        ((one_object,), {}, DatasetError, "class n02818832 has one object"),
        ((canonical, planted), {}, DatasetError, "is in two of them"),
        ((mixed, single), {}, PlanMismatchError, "of another encoder"),
        ((planted,), {"features": ("none",)}, DatasetError, "none"),
        (
            (planted,),
            {"setting": "samples", "factors": ("hue",)},
            OptionError,
            "varies pose, .*found --factors hue",
        ),
        ((planted,), {"shares": (50, 25)}, OptionError, "shares are percent"),
        ((planted,), {"features": ()}, OptionError, "needs features or predictions"),
    ):
        with pytest.raises(error, match=match) as raised:
            measured(*datasets, **options)
        assert "\n" not in str(raised.value)
