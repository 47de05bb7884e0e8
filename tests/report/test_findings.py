"""What the report finds in overlays, whatever columns they have."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardtools.dataset import open_dataset
from shardtools.errors import QueryError
from shardtools.overlays import write_overlay
from shardtools.report import export_suspects
from shardtools.report.class_map import ClassMap, find_class_map, nearest_sql
from shardtools.report.facts import class_names, count
from shardtools.report.outliers import find_outliers
from shardtools.report.pairs import Pairs, find_pairs
from shardtools.report.prompts import find_yields
from shardtools.report.reading import Missing, Tables
from shardtools.report.suspects import Suspects, find_suspects
from shardtools.sql import Session
from tests.helpers.report_pages import CLASSES, fashion_dataset, write


@contextmanager
def opened(folder: Path | str, *overlays: str) -> Iterator[Tables]:
    with Session([folder], overlays=overlays) as session:
        yield Tables(session, open_dataset(folder), str(folder), overlays)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fashion_dataset(tmp_path / "photos", 40, test_from=30)
    return tmp_path / "photos"


def key(row: int) -> str:
    return f"image{row:05d}"


def keys(*rows: int) -> list[str]:
    return [key(row) for row in rows]


def test_suspects_come_by_suspicion_and_those_without_last(folder: Path) -> None:
    write(
        folder,
        "label_noise",
        key=keys(0, 1, 2, 3, 4),
        given=[0, 1, 2, 3, 4],
        suggested=[1, 2, 2, 1, -1],
        noise_probability=[0.2, math.nan, 0.4, 0.8, 0.5],
        agrees=[True, False, True, None, True],
        margin=[0.5, math.inf, 0.0, -1.5, math.nan],
        neighbors=[keys(0, 5, 6), [], None, [None, "elsewhere"], keys(1)],
        comment=["a", "b", "c", "d", "e"],
    )
    with opened(folder) as tables:
        found = find_suspects(tables, limit=10, num_neighbors=2)
        assert isinstance(found, Suspects)
        assert [one.key for one in found.shown] == keys(3, 4, 0, 1)
        assert found.score_names == ("agrees", "margin")
        assert [one.scores for one in found.shown] == [(None, -1.5), (1.0, None), (1.0, 0.5), (0.0, None)]
        assert [one.suggested for one in found.shown] == [1, None, 1, 2]
        assert [one.neighbors for one in found.shown] == [("elsewhere",), (key(1),), tuple(keys(5, 6)), ()]
        few = find_suspects(tables, limit=1, num_neighbors=0)
        assert isinstance(few, Suspects)
        assert (len(few.shown), few.num_all, few.shown[0].neighbors) == (1, 4, ())


def test_suspects_of_a_bare_overlay(folder: Path) -> None:
    write(folder, "label_noise", key=keys(0, 1), suggested=[7, 8])
    with opened(folder) as tables:
        found = find_suspects(tables, limit=10, num_neighbors=2)
        assert isinstance(found, Suspects)
        labels = {row["key"]: row["class_index"] for row in tables.rows("select key, class_index from samples")}
        assert [(one.key, one.given, one.noise_probability) for one in found.shown] == [
            (name, labels[name], None) for name in keys(0, 1)
        ]


def test_the_table_of_suspects_has_each_column_once(folder: Path, tmp_path: Path) -> None:
    write(
        folder, "label_noise", key=keys(0), given=[0], suggested=[1], split=["theirs"], WNID=["n1"], source_path=["own"]
    )
    assert export_suspects(str(folder), str(tmp_path / "noise.parquet")) == 1
    [row] = pq.read_table(tmp_path / "noise.parquet").to_pylist()
    assert (row["split"], row["WNID"], row["source_path"]) == ("theirs", "n1", "own")
    assert "wnid" not in row and "source" in row


def test_the_table_of_suspects_leaves_as_csv_and_parquet(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="no suspects to write: Nothing yet"):
        export_suspects(str(folder), str(tmp_path / "noise.csv"))
    write(
        folder,
        "label_noise",
        key=keys(0, 1, 2),
        given=[0, 0, 0],
        suggested=[1, 0, 2],
        noise_probability=[0.1, 0.4, 0.8],
        neighbors=[keys(5), keys(6), keys(7)],
    )
    for name in ("noise.csv", "noise.parquet"):
        assert export_suspects(str(folder), str(tmp_path / name)) == 2
    table = pq.read_table(tmp_path / "noise.parquet")
    assert table["key"].to_pylist() == keys(2, 0)
    assert table["neighbors"].to_pylist() == [keys(7), keys(5)]
    with (tmp_path / "noise.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["key"], row["split"], row["noise_probability"]) for row in rows] == [
        (key(2), "train", "0.8"),
        (key(0), "train", "0.1"),
    ]


def test_pairs_across_splits_come_first_and_keep_the_test_image(folder: Path) -> None:
    write(
        folder,
        "duplicates",
        key=keys(0, 1, 2, 35, 36, 31),
        group=[0, 0, 1, 1, 2, 2],
        representative_key=keys(0, 0, 2, 2, 36, 36),
        representative_dataset=[str(folder)] * 6,
        distance=[0.0, 3.0, 0.0, 9.0, 0.0, 1.0],
    )
    with opened(folder) as tables:
        found = find_pairs(tables, limit=10)
        assert isinstance(found, Pairs)
        assert [(one.key, one.copy_key, one.is_leak, one.distance) for one in found.shown] == [
            (key(35), key(2), True, 9.0),
            (key(36), key(31), False, 1.0),
            (key(0), key(1), False, 3.0),
        ]
        assert (found.num_all, found.num_leaks) == (3, 1)
        assert {one.kind for one in found.shown} == {"near copy"}


def test_pairs_of_groups_alone_and_with_other_datasets(folder: Path, tmp_path: Path) -> None:
    write(folder, "duplicates", key=keys(0, 1, 2), group=[5, 5, 6])
    with opened(folder) as tables:
        found = find_pairs(tables, limit=10)
        assert isinstance(found, Pairs)
        assert [(one.key, one.copy_key) for one in found.shown] == [(key(0), key(1))]
    other = tmp_path / "other"
    columns: dict[str, Any] = {
        "key": keys(0, 0, 3),
        "other_key": keys(1, 2, 4),
        "other_dataset": [f"{folder}/", str(other), "gs://bucket/third"],
        "other_split": ["train", "test", None],
        "kind": ["mirrored", "exact", "perceptual"],
        "distance": [2.0, 0.0, 8.0],
    }
    table = pa.table(columns)
    unique = ("key", "other_dataset", "other_key")
    write_overlay(folder, "duplicate_pairs", [table], made_by="a test", settings={}, unique=unique)
    with opened(folder) as tables:
        found = find_pairs(tables, limit=10)
        assert isinstance(found, Pairs)
        assert [(one.key, one.copy_key, one.dataset, one.split, one.kind) for one in found.shown] == [
            (key(2), key(0), str(other), "test", "same bytes"),
            (key(0), key(1), None, None, "mirrored"),
            (key(4), key(3), "gs://bucket/third", None, "near copy"),
        ]
        assert found.num_leaks == 1


@pytest.mark.parametrize("written", ["relative", "elsewhere", "only one"])
def test_pairs_of_a_dataset_that_is_called_otherwise_now_are_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """`duplicates DS`, then a report of /abs/DS, or of DS after it was moved."""
    monkeypatch.chdir(folder.parent)
    address = f"./{folder.name}" if written == "relative" else "where/it/was"
    settings: dict[str, Any] = {"elsewhere": {"dataset": address}, "only one": {"datasets": [address]}}.get(written, {})
    table = pa.table({"key": keys(0), "other_key": keys(1), "other_dataset": [address], "distance": [2.0]})
    unique = ("key", "other_dataset", "other_key")
    write_overlay(folder, "duplicate_pairs", [table], made_by="a test", settings=settings, unique=unique)
    with opened(folder) as tables:
        found = find_pairs(tables, limit=10)
        assert isinstance(found, Pairs)
        assert [(one.key, one.copy_key, one.dataset) for one in found.shown] == [(key(0), key(1), None)]


def test_outliers_by_flags_or_by_ends(folder: Path) -> None:
    measures = {"brightness": [0.3, 0.1, math.nan, 0.2], "sharpest": [1.0, 2.0, None, 4.0], "other": [1.0] * 4}
    write(folder, "quality", key=keys(0, 1, 2, 3), status=["ok", "ok", "undecodable", "ok"], **measures)
    with opened(folder) as tables:
        found = find_outliers(tables, limit=2)
        assert not isinstance(found, Missing)
        assert {kind.name: [one.key for one in kind.shown] for kind in found} == {
            "cannot be read": keys(2),
            "darkest": keys(1, 3),
            "brightest": keys(0, 3),
            "most blurred": keys(0, 1),
        }
    flags = {"is_dark": [True, True, True, False], "is_odd": [False] * 4}
    write(folder, "quality", key=keys(0, 1, 2, 3), **measures, **flags)
    with opened(folder) as tables:
        found = find_outliers(tables, limit=2)
        assert not isinstance(found, Missing)
        [dark] = found
        assert (dark.name, dark.measure, dark.num_all) == ("dark", "brightness", 3)
        assert [(one.key, one.value) for one in dark.shown] == [(key(1), 0.1), (key(0), 0.3)]
    write(folder, "quality", key=keys(0, 1), unknown_measure=[1.0, 2.0])
    with opened(folder) as tables:
        found = find_outliers(tables, limit=1)
        assert not isinstance(found, Missing)
        assert [kind.name for kind in found] == ["lowest unknown measure", "highest unknown measure"]


def test_the_class_map_counts_against_the_manifest(folder: Path) -> None:
    with opened(folder) as tables:
        labels = {row["key"]: row["class_index"] for row in tables.rows("select key, class_index from samples")}
    wrong = {key(0): 4, key(1): 4}
    nearest = [wrong.get(name, labels[name]) for name in sorted(labels)]
    write(folder, "nearest_class", key=sorted(labels), nearest=nearest, margin=[0.5] * len(labels))
    with opened(folder) as tables:
        found = find_class_map(tables)
    assert isinstance(found, ClassMap)
    expected = {name: label for name, label in labels.items() if wrong.get(name, label) != label}
    assert sum(pair.count for pair in found.pairs) == len(expected) > 0
    assert {pair.given for pair in found.pairs} == set(expected.values())
    assert found.share == pytest.approx(1 - len(expected) / len(labels))
    assert found.weakest[0].share == min(fit.share for fit in found.weakest) < 1
    assert {fit.margin for fit in found.weakest} == {0.5}
    assert sum(found.counts.values()) == len(labels)


def test_yields_of_prompts(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    fashion_dataset(folder, 20, prompt="a photo", prompt_template="c", guidance_scale=2.0, nsfw_detected=False)
    with opened(folder) as tables:
        groups = find_yields(tables)
    assert [group.heading for group in groups] == ["template", "guidance", "prompt"]
    [one] = groups[0].shown
    assert (one.value, one.num_rows, one.num_images, one.nearest_share, one.good_share) == ("c", 20, 18, None, 0.9)
    write(folder, "nearest_class", key=[key(row) for row in range(20)], nearest=[9] * 20)
    write(folder, "label_noise", key=[key(row) for row in range(20)], suggested=[9] * 20)
    with opened(folder) as tables:
        [one] = find_yields(tables)[0].shown
    assert (one.nearest_share, one.suspect_share, one.good_share) == (0.0, 1.0, 0.0)


def test_counts_of_the_manifest(folder: Path) -> None:
    with opened(folder) as tables:
        facts = count(tables, open_dataset(folder))
    assert facts.info.num_rows == 40
    assert facts.statuses == {("test", "ok"): 10, ("train", "black"): 3, ("train", "ok"): 27}
    assert facts.splits == ("train", "test")
    assert sum(sum(one.images.values()) for one in facts.classes) == 37
    assert [one.wnid for one in facts.classes] == list(CLASSES)
    assert facts.classes[0].name == "jersey"
    assert facts.sizes == ((28, 28, 37),)
    assert sum(one.count for one in facts.spreads["num_bytes"].bins) == 37
    assert facts.spreads["aspect"].bins == ()
    assert facts.reasons == (("black", "all pixels are 0", 3),)


def test_names_of_classes_are_told_apart() -> None:
    names = class_names({0: "n02012849", 1: "n03126707", 2: "mine", 3: None})
    assert names == {0: "crane (n02012849, 0)", 1: "crane (n03126707, 1)", 2: "mine", 3: "class 3"}


def test_an_overlay_elsewhere(folder: Path, tmp_path: Path) -> None:
    table = pa.table({"key": keys(0), "suggested": [3]})
    write_overlay(folder, "label_noise", [table], made_by="a test", settings={}, out=tmp_path / "noise")
    with opened(folder, str(tmp_path / "noise")) as tables:
        found = find_suspects(tables, limit=5, num_neighbors=5)
        assert isinstance(found, Suspects)
        assert [one.key for one in found.shown] == keys(0)


def test_names_of_other_audits_and_suspects_without_a_suggestion(folder: Path) -> None:
    write(
        folder,
        "label_noise",
        key=keys(0, 1, 2, 3),
        given_label=[0, 0, 0, None],
        suggested_label=[0, 0, 2, 2],
        suggested_probability=[0.3, 0.9, 0.6, 0.5],
        noise_probability=[0.7, 0.1, 0.4, 0.9],
        vote=[1.0, 2.0, 3.0, 4.0],
    )
    with opened(folder) as tables:
        found = find_suspects(tables, limit=5, num_neighbors=5)
    assert isinstance(found, Suspects)
    assert [(one.key, one.suggested, one.probability, one.noise_probability) for one in found.shown] == [
        (key(0), None, None, 0.7),
        (key(2), 2, 0.6, 0.4),
    ]
    assert found.score_names == ("vote",)


def test_the_named_question_judges_quality(folder: Path) -> None:
    number = 4
    measures = dict.fromkeys(("contrast", "sharpest", "saturation", "color_spread"), [0.3] * number)
    columns: dict[str, Any] = {"status": ["ok"] * number, "reason": pa.nulls(number, pa.string()), **measures}
    columns |= {"brightness": [0.05, 0.5, 0.02, 0.95], "entropy": [2.0, 7.0, 7.0, 7.0]}
    write(folder, "quality", key=keys(0, 1, 2, 3), **columns)
    with opened(folder) as tables:
        found = find_outliers(tables, limit=1)
    assert not isinstance(found, Missing)
    assert [(kind.name, kind.num_all, [one.key for one in kind.shown]) for kind in found] == [
        ("dark", 2, keys(2)),
        ("bright", 1, keys(3)),
        ("low information", 1, keys(0)),
    ]


def test_a_nearest_class_of_another_dataset_is_found_by_its_name(folder: Path) -> None:
    with opened(folder) as tables:
        rows = tables.rows("select key, class_index, wnid from samples order by key limit 3")
    wnids = [rows[0]["wnid"], rows[1]["wnid"], "n99999999"]
    write(folder, "nearest_class", key=[row["key"] for row in rows], nearest=[90, 91, 92], nearest_wnid=wnids)
    with opened(folder) as tables:
        found = find_class_map(tables)
    assert isinstance(found, ClassMap)
    assert found.share == pytest.approx(2 / 3)
    assert [(pair.given, pair.nearest) for pair in found.pairs] == [(rows[2]["class_index"], -1)]


def test_a_name_that_two_labels_share_is_the_label_that_is_meant() -> None:
    tables = duckdb.connect()
    tables.sql(
        "create table samples as from (values ('a', 0, 'n1'), ('b', 1, 'n1'), ('c', 2, 'n2')) t(key, class_index, wnid)"
    )
    tables.sql(
        "create table found as from (values ('a', 1, 'n1'), ('b', 90, 'n1'), ('c', 91, 'n1')) "
        "t(key, nearest, nearest_wnid)"
    )
    overlay: Any = SimpleNamespace(columns=("nearest", "nearest_wnid"))
    nearest, own, join = nearest_sql(overlay)
    rows = tables.sql(f"select key, {nearest}, {own} from found as n join samples as s using (key){join} order by key")
    # By its number, else as the sample's own class, else the least.
    assert rows.fetchall() == [("a", 1, False), ("b", 1, True), ("c", 0, False)]
