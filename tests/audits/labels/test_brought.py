"""What people bring to an audit out of files: probabilities of their own models, and features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardtools.audits.labels import LabelAuditOptions, audit_dataset
from shardtools.cli import main
from shardtools.errors import DatasetError, OptionError, PlanMismatchError, ShardtoolsError, SourceError
from shardtools.features import import_features, open_features
from shardtools.overlays import open_overlay
from tests.helpers.feature_datasets import clusters, make_labeled

NAMES = ("cat", "dog", "owl", "newt", "yak")
CLASSES = (0, 1, 4)
NUM_ROWS = 60
WRONG = 7
KEYS = [f"s{row:04d}" for row in range(NUM_ROWS)]
ORDER = np.random.default_rng(1).permutation(NUM_ROWS)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    labels: list[int | None] = [CLASSES[row % 3] for row in range(NUM_ROWS)]
    labels[WRONG] = 0
    return make_labeled(tmp_path_factory.mktemp("brought") / "animals", labels, names=NAMES)


def probabilities() -> np.ndarray:
    probs = 0.1 + 0.1 * np.random.default_rng(0).random((NUM_ROWS, 3))
    probs[np.arange(NUM_ROWS), np.arange(NUM_ROWS) % 3] += 0.7
    return probs / probs.sum(axis=1, keepdims=True)


def over_all_classes() -> np.ndarray:
    probs = np.zeros((NUM_ROWS, 5))
    probs[:, list(CLASSES)] = probabilities()
    return probs


def write_table(path: Path, values: np.ndarray, names: tuple[str, ...] = (), rows: np.ndarray = ORDER) -> Path:
    columns: dict[str, Any] = {"key": [KEYS[row] for row in rows]}
    if names:
        columns |= {name: values[rows, place] for place, name in enumerate(names)}
    else:
        columns["numbers"] = list(values[rows])
    pq.write_table(pa.table(columns), path)
    return path


def write_probabilities(folder: Path, kind: str) -> Path:
    path = folder / ("p.npy" if "npy" in kind else "p.parquet")
    if kind == "npy":
        np.save(path, probabilities())
    elif kind == "npy of all classes":
        np.save(path, over_all_classes().astype(np.float16))
    elif kind == "lists":
        write_table(path, over_all_classes())
    elif kind == "names":
        write_table(path, probabilities(), ("cat", "dog", "yak"))
    else:
        write_table(path, probabilities()[:, [2, 0, 1]], ("4", "0", "1"))
    return path


@pytest.mark.parametrize("kind", ["npy", "npy of all classes", "lists", "names", "indexes"])
def test_probabilities_of_every_form_find_the_wrong_label(dataset: str, tmp_path: Path, kind: str) -> None:
    path = write_probabilities(tmp_path, kind)
    found = audit_dataset(LabelAuditOptions(dataset=dataset, probabilities=(str(path),), out=str(tmp_path / "o")))
    assert found.suspects[0]["key"] == KEYS[WRONG]
    assert found.suspects[0]["given_wnid"] == "cat" and found.suspects[0]["suggested_wnid"] == "dog"
    assert {"mixture", "confident_learning", "disagreement", "agreed", "clear"} <= set(found.estimators)
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["estimators"] == dict(found.estimators)


def test_two_models_and_samples_that_one_lacks(dataset: str, tmp_path: Path) -> None:
    first = write_probabilities(tmp_path, "npy")
    second = write_table(tmp_path / "q.parquet", probabilities(), ("cat", "dog", "yak"), ORDER[ORDER != 11])
    options = LabelAuditOptions(dataset=dataset, probabilities=(str(first), str(second)), out=str(tmp_path / "o"))
    found = audit_dataset(options)
    assert found.num_audited == NUM_ROWS - 1
    assert found.left_out == {"no probabilities of every model": 1}
    assert {"brought_0", "brought_1"} <= set(found.vote_weights)


def test_the_command_takes_probabilities_and_says_a_range(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_probabilities(tmp_path, "npy")
    with pytest.raises(SystemExit) as ended:
        main(["audit", dataset, "--probabilities", str(path), "--out", str(tmp_path / "o")])
    assert ended.value.code == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("between ") and "confident learning" in first and "look at some" in first


def bad(folder: Path, kind: str) -> Path:
    probs = probabilities()
    path = folder / ("bad.parquet" if kind in ("unknown", "twice", "no column", "nulls", "texts") else "bad.npy")
    if kind == "logits":
        np.save(path, probs * 5)
    elif kind == "columns":
        np.save(path, np.full((NUM_ROWS, 4), 0.25))
    elif kind == "rows":
        np.save(path, probs[:5])
    elif kind == "whole":
        np.save(path, probs.astype(int))
    elif kind == "pickle":
        np.save(path, np.array([{}]), allow_pickle=True)
    elif kind == "no column":
        write_table(path, probs, ("cat", "dog", "newt"))
    elif kind == "twice":
        write_table(path, probs, rows=np.array([1, 2, 1]))
    else:
        keys = ["x"] if kind == "unknown" else [KEYS[0]]
        value: Any = {"unknown": [[0.5, 0.25, 0.25]], "nulls": pa.nulls(1, pa.list_(pa.float64())), "texts": ["a"]}[
            kind
        ]
        pq.write_table(pa.table({"key": keys, "numbers": value}), path)
    return path


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("logits", DatasetError, "are they logits"),
        ("columns", DatasetError, "expected 5 columns, one for each class index, or 3"),
        ("rows", DatasetError, "expected a row for each of 60 images"),
        ("whole", SourceError, "expected floating-point numbers"),
        ("pickle", SourceError, "not as objects"),
        ("no column", DatasetError, "found none for 1 of 3: yak"),
        ("twice", DatasetError, "'s0001' twice"),
        ("unknown", DatasetError, "1 of 1 keys have no image in .*, first 'x'"),
        ("nulls", SourceError, "column numbers has 1 nulls"),
        ("texts", SourceError, "column numbers is string"),
    ],
)
def test_bad_files_are_refused_in_one_line(
    dataset: str, tmp_path: Path, kind: str, error: type[ShardtoolsError], message: str
) -> None:
    options = LabelAuditOptions(dataset=dataset, probabilities=(str(bad(tmp_path, kind)),), out=str(tmp_path / "o"))
    with pytest.raises(error, match=message) as found:
        audit_dataset(options)
    assert "\n" not in str(found.value) and "allow_pickle" not in str(found.value)
    assert not (tmp_path / "o" / "overlay.json").exists()


def test_another_suffix_is_refused(dataset: str) -> None:
    with pytest.raises(OptionError, match=r".npy or .parquet file, found 'p.csv'"):
        audit_dataset(LabelAuditOptions(dataset=dataset, probabilities=("p.csv",)))
    with pytest.raises(OptionError, match="a tuple of different files"):
        LabelAuditOptions(dataset=dataset, probabilities=("p.npy", "p.npy"))


def test_features_are_imported_by_place_and_by_key(dataset: str, tmp_path: Path) -> None:
    values = clusters(NUM_ROWS, 6, 3)
    np.save(tmp_path / "f.npy", values.astype(np.float16))
    write_table(tmp_path / "f.parquet", values)
    write_table(tmp_path / "columns.parquet", values, tuple("abcdef"))
    for name, dtype in (("f.npy", np.float16), ("f.parquet", np.float32), ("columns.parquet", np.float32)):
        out = tmp_path / f"out-{name}"
        import_features(dataset, tmp_path / name, name="own", out=out)
        store = open_features(dataset, str(out))
        assert store.keys.to_pylist() == KEYS and store.dtype == dtype
        np.testing.assert_allclose(store.array(), values.astype(dtype), atol=1e-2)


def test_imported_features_are_of_the_encoder_that_is_named(dataset: str, tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", clusters(NUM_ROWS, 6, 3))
    np.save(tmp_path / "g.npy", clusters(NUM_ROWS, 6, 3, seed=1))
    own = [import_features(dataset, tmp_path / f"{n}.npy", name="own", out=tmp_path / n).encoder for n in "fg"]
    named = [
        import_features(dataset, tmp_path / f"{n}.npy", name="own", encoder="mine", out=tmp_path / f"named-{n}").encoder
        for n in "fg"
    ]
    assert own[0].fingerprint != own[1].fingerprint
    assert named[0].fingerprint == named[1].fingerprint
    with pytest.raises(PlanMismatchError, match="replace"):
        import_features(dataset, tmp_path / "g.npy", name="own", out=tmp_path / "f")
    import_features(dataset, tmp_path / "g.npy", name="own", out=tmp_path / "f", replace=True)
    np.testing.assert_allclose(open_features(dataset, str(tmp_path / "f")).array(), clusters(NUM_ROWS, 6, 3, seed=1))


def test_features_need_a_row_for_each_image(dataset: str, tmp_path: Path) -> None:
    path = write_table(tmp_path / "f.parquet", clusters(NUM_ROWS, 6, 3), rows=ORDER[:50])
    with pytest.raises(DatasetError, match="found none for 10, first"):
        import_features(dataset, path, name="own", out=tmp_path / "o")


def test_the_command_imports_and_its_features_are_audited(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "f.npy", clusters(NUM_ROWS, 6, 3))
    for arguments in (
        ["features", "import", dataset, str(tmp_path / "f.npy"), "--name", "own"],
        ["audit", dataset, "--features", "own", "--json"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "60 features of 6 numbers as own" in out
    assert json.loads(out.splitlines()[-1])["suspects"][0]["key"] == KEYS[WRONG]
    assert open_overlay(dataset, "label_noise").info.settings["probabilities_sha256"] == []
