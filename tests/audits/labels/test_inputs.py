"""What `shardtools audit` is given: encoders, trainings, choices of samples, and all that is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shardtools.audits.labels import (
    LabelAuditOptions,
    LabelAuditResult,
    audit_dataset,
    choose_rows,
    read_margins,
)
from shardtools.audits.labels.scores import area_under_margin
from shardtools.cli import main
from shardtools.errors import AlreadyExistsError, DatasetError, OptionError, QueryError
from shardtools.features import open_features
from shardtools.overlays import open_overlay, write_overlay
from tests.helpers.feature_datasets import clusters, make_labeled, with_features

NAMES = ("cat", "dog", "owl", "newt", "yak")
NUM_ROWS = 66
# Three classes of 20 under the numbers 0, 1 and 4; one sample of class 3, and five without a label.
LABELS: list[int | None] = [(0, 1, 4)[row % 3] for row in range(60)] + [3] + [None] * 5
WRONG = 7


def audit(url: str, **options: Any) -> LabelAuditResult:
    return audit_dataset(LabelAuditOptions(dataset=url, **options))


def read_rows(url: str, name: str = "label_noise") -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in open_overlay(url, name).read().to_pylist()}


def key(row: int) -> str:
    return f"s{row:04d}"


def make(folder: Path, labels: list[int | None] | None = None) -> str:
    """A dataset with one wrong label, and features of two encoders."""
    given = list(LABELS) if labels is None else labels
    given[WRONG] = 0 if given[WRONG] != 0 else 1
    url = make_labeled(folder, given, names=NAMES)
    with_features(url, clusters(len(given), 12, 3), name="one")
    with_features(url, clusters(len(given), 8, 3, seed=5), name="two")
    return url


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make(tmp_path_factory.mktemp("inputs") / "animals")


def write_records(url: str, margins: np.ndarray, name: str = "training", **changes: Any) -> None:
    """Margins [N, epochs] of the first N samples; NaN is left out."""
    rows, epochs = np.nonzero(~np.isnan(margins))
    columns = {
        "key": [key(row) for row in rows.tolist()],
        "epoch": pa.array(epochs, pa.int32()),
        "draw": pa.array(np.zeros(len(rows)), pa.int32()),
        "margin": pa.array(margins[rows, epochs], pa.float32()),
    } | changes
    table = pa.table({name: column for name, column in columns.items() if column is not None})
    # Without uniqueness over all columns a doubled row could not be written.
    unique = tuple(name for name in table.column_names)
    write_overlay(url, name, [table], made_by="a test", settings={}, unique=unique, replace=True)


# ---- what may be given ----


def test_two_encoders_a_training_and_samples_that_are_left_out(dataset: str) -> None:
    margins = np.full((60, 3), 4.0)
    margins[WRONG] = -5
    margins[12, 1:] = np.nan
    margins[13] = np.nan
    write_records(dataset, margins)
    lines: list[str] = []
    options = LabelAuditOptions(
        dataset=dataset, features=("one", "two"), training="training", allow_small=True, overlay="both-ways", k=10
    )
    result = audit_dataset(options, report=lines.append)
    assert (result.num_samples, result.num_audited) == (NUM_ROWS, 60)
    assert result.left_out == {"no label": 5, "the only sample of its class": 1}
    assert lines[0] == "5 of 66 samples are left out: no label"
    rows = read_rows(dataset, "both-ways")
    assert result.suspects[0]["key"] == key(WRONG)
    worst = rows[key(WRONG)]
    assert (worst["given_label"], worst["suggested_label"], worst["suggested_wnid"]) == (0, 1, "dog")
    assert worst["training_doubt"] == 5 and rows[key(12)]["training_doubt"] == -4
    assert rows[key(13)]["training_doubt"] is None and rows[key(13)]["encoder_agreement"] is not None
    # Numbers with gaps come back as they were.
    assert {row["suggested_label"] for row in rows.values()} == {0, 1, 4, None}
    for row, label in ((60, 3), (61, None)):
        judged = {name: value for name, value in rows[key(row)].items() if not name.startswith("given") and value}
        assert judged == {"key": key(row)}
        assert rows[key(row)]["given_label"] == label
    settings = open_overlay(dataset, "both-ways").info.settings
    assert settings["features"] == ["one", "two"] and len(settings["training_sha256"]) == 64


def test_a_condition_chooses_the_samples(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "noise"
    arguments = ["audit", dataset, "--features", "one", "--where", "class_index < 2 -- two of them", "--out", str(out)]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json", "--folds", "3"])
    printed = capsys.readouterr()
    assert stop.value.code == 0, printed.err
    record = json.loads(printed.out)
    assert (record["num_samples"], record["num_audited"], record["overlay"]) == (40, 40, str(out))
    assert Path(record["summary_file"]) == out / "summary.json"
    assert {row["given_wnid"] for row in read_rows(dataset, f"{out}/").values()} == {"cat", "dog"}
    with pytest.raises(SystemExit):
        main([*arguments, "--replace"])
    text = capsys.readouterr().out
    assert f"--overlay {out}" in text and "shardtools report" in text


def test_features_come_in_the_order_asked_for(dataset: str) -> None:
    stores = [open_features(dataset, name) for name in ("one", "two")]
    rows = choose_rows(stores, split="train", where=None, allow_small=True)
    assert rows.audited.tolist() == list(range(60)) and rows.classes.tolist() == [0, 1, 4]
    assert np.array_equal(rows.classes[rows.given], rows.labels[:60])
    from shardtools.audits.labels.rows import features_of

    places = np.array([40, 3, 3, 65])
    assert np.array_equal(features_of(stores[0], places), clusters(NUM_ROWS, 12, 3)[places].astype(np.float16))


def test_margins_are_the_mean_over_draws(dataset: str) -> None:
    table = {"key": [key(1), key(1), key(1), key(64)], "epoch": [2, 2, 5, 5], "draw": [0, 1, 0, 0]}
    margins = pa.array([1.0, 3.0, None, 9.0], pa.float32())
    columns = pa.table({**table, "margin": margins})
    write_overlay(dataset, "draws", [columns], made_by="a test", settings={}, unique=("key", "epoch", "draw"))
    found = read_margins(dataset, open_overlay(dataset, "draws"), open_features(dataset, "one").keys.slice(0, 3))
    assert found.epochs.tolist() == [2, 5]
    assert found.margins[1, 0] == 2 and np.isnan(found.margins).sum() == 5
    assert area_under_margin(found.margins)[1] == 2


# ---- what is refused ----


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": None}, r"lacks margin, it has key, epoch, draw, number: give the records"),
        ({"epoch": ["x"] * 4}, r"column epoch is string, expected int"),
        ({"margin": pa.array([1.0, 2.0, np.inf, 0.0])}, r"the margin of 's0001' is inf, expected a finite number"),
        ({"key": [key(0), key(0), key(0), key(1)], "epoch": pa.array([0, 1, 1, 0])}, "1 records twice, first key 's00"),
        ({"key": [key(n) for n in (61, 62, 63, 64)]}, "has no record of any of the 60 samples audited"),
        ({"epoch": pa.array([0, 1, None, 1])}, "has 1 records without epoch"),
    ],
)
def test_records_that_cannot_be_used(dataset: str, changes: dict[str, Any], message: str) -> None:
    keys = open_features(dataset, "one").keys.slice(0, 60)
    columns = {
        "key": [key(n // 2) for n in range(4)],
        "margin": [1.0, 1.0, 1.0, 1.0],
        **changes,
    }
    overlay = open_overlay(dataset, _records(dataset, columns))
    with pytest.raises(DatasetError, match=message) as error:
        read_margins(dataset, overlay, keys)
    assert "\n" not in str(error.value)


def _records(dataset: str, changes: dict[str, Any]) -> str:
    """Four records, written with a number of their own so that doubled ones get in."""
    columns = {"epoch": pa.array([0, 1, 0, 1]), "draw": pa.array([0, 0, 0, 0]), **changes}
    columns = {name: columns[name] for name in ("key", "epoch", "draw", "margin") if columns.get(name) is not None}
    table = pa.table({**columns, "number": [0, 1, 2, 3]})
    write_overlay(dataset, "odd", [table], made_by="a test", settings={}, unique=("key", "number"), replace=True)
    return "odd"


def test_records_of_unknown_keys(dataset: str, tmp_path: Path) -> None:
    write_records(dataset, np.ones((3, 2)), "strange")
    path = Path(dataset, "overlays", "strange")
    (part,) = path.glob("part-*.parquet")
    # What another program put there without asking.
    import pyarrow.parquet as pq

    table = pq.read_table(part)
    table = table.set_column(0, "key", pa.array(["ghost", *table["key"].to_pylist()[1:]]))
    pq.write_table(table, part)
    keys = open_features(dataset, "one").keys
    with pytest.raises(DatasetError, match=r"training overlay .*strange has 1 key not in .*: 'ghost': leave them out"):
        read_margins(dataset, open_overlay(dataset, "strange"), keys)


def test_small_classes_and_choices_that_leave_nothing(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"found 1 in 1 of 4 classes \(newt\): allow_small \(--allow-small\) leaves"):
        audit(dataset, features=("one",))
    for changes, error, message in (
        ({"split": "val"}, OptionError, "have no sample of split 'val': they have train"),
        ({"where": "class_index = 9"}, OptionError, "no sample of .* meets the condition 'class_index = 9'"),
        ({"where": "class_index is null"}, OptionError, r"found none of 5 in .* \(5 with no label\)"),
        ({"where": "class_idx = 9"}, QueryError, r"where \(--where\) is a condition on the columns of samples, found"),
        ({"where": "class_index = 0"}, OptionError, "compares at least 2 classes, found 1"),
        ({"features": ("lite0",)}, DatasetError, "has no features 'lite0': it has one, two"),
        ({"features": ()}, OptionError, "has the features one, two: give one of them"),
        ({"training": "none"}, DatasetError, "has no overlay 'none'"),
    ):
        with pytest.raises(error, match=message) as stop:
            audit(dataset, **{"features": ("one",), "overlay": "never", "allow_small": True, **changes})
        assert "\n" not in str(stop.value)
    assert "never" not in {path.name for path in Path(dataset, "overlays").iterdir()}
    for changes, message in (
        ({"num_folds": 1}, "num_folds is at least 2"),
        ({"k": 3}, "num_neighbors is at least 10"),
        ({"overlay": "Label Noise"}, "Label Noise"),
        ({"features": ("one", "one")}, "a tuple of different names"),
    ):
        with pytest.raises(OptionError, match=message):
            LabelAuditOptions(dataset=dataset, **changes)  # type: ignore[arg-type]


def test_no_features_and_an_overlay_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = make_labeled(tmp_path / "bare", [0, 0, 1, 1], names=NAMES)
    with pytest.raises(SystemExit) as stop:
        main(["audit", bare])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"`shardtools features {bare} --encoder ENCODER` makes them" in error
    with_features(bare, clusters(4, 3, 2))
    write_overlay(bare, "label_noise", [pa.table({"key": [key(0)]})], made_by="a test", settings={})
    with pytest.raises(AlreadyExistsError, match="is there already: give replace"):
        audit(bare)


def test_features_of_another_version_and_damaged_ones(tmp_path: Path) -> None:
    url = make(tmp_path / "dataset", list(LABELS[:60]))
    path = Path(url, "dataset.json")
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"plan-1"', b'"plan-2"'))
    with pytest.raises(DatasetError, match=r"are of commit .* of their dataset, .* is at commit"):
        audit(url, features=("one",))
    path.write_bytes(content)
    (part,) = Path(url, "features", "one").glob("*.npy")
    features = np.load(part)
    features[3, 1] = np.nan
    np.save(part, features)
    with pytest.raises(DatasetError, match="the feature of 's0003' is not finite: extract the features again"):
        audit(url, features=("one",))


def test_features_that_tell_nothing_are_a_fault_of_the_dataset_not_of_the_command(tmp_path: Path) -> None:
    url = make_labeled(tmp_path / "animals", [row % 3 for row in range(60)], names=NAMES)
    with_features(url, np.ones((60, 12), np.float32))
    with pytest.raises(DatasetError, match="found 60 times the same: extract anew") as stop:
        audit(url)
    assert stop.value.exit_code == 1 and "\n" not in str(stop.value) and "/features/own" in str(stop.value)
