"""Overlays as tables of SQL, and in the views that a loader trains on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shardtools.errors import DatasetError, OptionError, QueryError
from shardtools.loader import Loader, LoaderOptions, ResizeOptions, read_view
from shardtools.overlays import OverlayInfo, write_overlay
from shardtools.sql import Session, query
from tests.helpers.s3_server import S3Server
from tests.helpers.sql_datasets import fashion_images, make_dataset

NUM_SAMPLES = 12
JOINED = "select s.key, o.class_index from samples s join overlays.fixes o using (dataset, key) order by key"


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return fashion_images(NUM_SAMPLES)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, images: list[bytes]) -> str:
    url = str(tmp_path_factory.mktemp("sql") / "generated")
    make_dataset(url, images=images)
    write(url, "fixes", {0: 7, 3: 8})
    write(url, "run-1", {1: 0})
    return url


def write(url: str, name: str, labels: dict[int, Any], **options: Any) -> OverlayInfo:
    rows = pa.table({"key": [f"sample{number:04d}" for number in labels], "class_index": list(labels.values())})
    return write_overlay(url, name, [rows], **{"made_by": "a test", "settings": {}, **options})


def rows_of(sql: str, *urls: str, overlays: Sequence[str] = ()) -> list[dict[str, Any]]:
    return list(query(sql, urls, overlays=overlays).to_pylist())


def test_an_overlay_is_a_table(dataset: str) -> None:
    assert rows_of("select * from overlays.fixes order by key", dataset) == [
        {"dataset": dataset, "key": "sample0000", "class_index": 7},
        {"dataset": dataset, "key": "sample0003", "class_index": 8},
    ]
    assert [row["class_index"] for row in rows_of(JOINED, dataset)] == [7, 8]
    assert rows_of('select count(*) as n from "overlays"."run-1" where class_index = 0', dataset) == [{"n": 1}]
    described = rows_of("describe overlays.fixes", dataset)
    assert [row["column_name"] for row in described] == ["dataset", "key", "class_index"]
    pivoted = rows_of("pivot Overlays.FIXES on class_index using count(*) group by dataset", dataset)
    assert pivoted == [{"dataset": dataset, "7": 1, "8": 1}]


def test_a_session_knows_an_overlay_over_several_statements(dataset: str) -> None:
    with Session([dataset]) as session:
        for _ in range(2):
            assert sum(batch.num_rows for batch in session.stream(JOINED)) == 2
        tables = pa.Table.from_batches(session.stream("show tables"))["name"].to_pylist()
    assert tables == ["datasets", "events", "samples"]


def test_several_datasets_are_told_apart_and_united_by_name(dataset: str, tmp_path: Path, images: list[bytes]) -> None:
    other, third = str(tmp_path / "it's other"), str(tmp_path / "third")
    for url in (other, third):
        make_dataset(url, images=images[:4], num_shards=1)
    # Identical datasets: what one is given elsewhere fits the other, so each has an overlay of its own here.
    rows = pa.table({"score": [0.5], "key": ["sample0000"]})
    write_overlay(other, "fixes", [rows], made_by="t", settings={})
    found = rows_of("from overlays.fixes order by dataset, key", other, dataset, third)
    assert sorted(found, key=str) == sorted(
        [
            {"dataset": other, "score": 0.5, "key": "sample0000", "class_index": None},
            {"dataset": dataset, "score": None, "key": "sample0000", "class_index": 7},
            {"dataset": dataset, "score": None, "key": "sample0003", "class_index": 8},
        ],
        key=str,
    )
    assert len(rows_of("from samples join overlays.fixes using (dataset, key)", other, dataset, third)) == 3


def test_overlays_elsewhere_find_their_dataset(dataset: str, tmp_path: Path, images: list[bytes]) -> None:
    other, third = str(tmp_path / "other"), str(tmp_path / "third")
    make_dataset(other, images=images[:4], num_shards=1)
    make_dataset(third, images=images[:5], num_shards=1)
    run = str(tmp_path / "run[1]")
    write(dataset, "losses", {5: 1}, out=run)
    assert rows_of("from overlays.losses", other, dataset, overlays=[run]) == [
        {"dataset": dataset, "key": "sample0005", "class_index": 1}
    ]
    with pytest.raises(DatasetError, match=r"overlay losses at .* none of .*other, .*third is at: give that"):
        rows_of("from overlays.losses", other, third, overlays=[run])
    with pytest.raises(DatasetError, match=r"overlay losses at .*run.* was written for commit .* is at commit"):
        rows_of("from overlays.losses", other, overlays=[run])
    with pytest.raises(OptionError, match="is given twice, its rows would count double"):
        rows_of("from overlays.losses", dataset, overlays=[run, run])
    twice = str(tmp_path / "twice")
    write(dataset, "fixes", {5: 1}, out=twice)
    with pytest.raises(QueryError, match=r"overlay fixes of .* is given twice, .*overlays/fixes and .*twice"):
        rows_of("from overlays.fixes", dataset, overlays=[twice])
    with pytest.raises(DatasetError, match=r"is no overlay: it has no overlay\.json"):
        rows_of("from overlays.other", dataset, overlays=[str(tmp_path)])


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("from overlays.fixed", 'datasets, the overlays overlays.fixes, overlays."run-1"'),
        ('from overlays."../fixes"', "the overlays overlays.fixes"),
        ("select class_inde from overlays.fixes", "nearest columns: class_index"),
        ("drop view overlays.fixes", "expected a statement that reads"),
        ("create table overlays.more as select 1", "expected a statement that reads"),
    ],
)
def test_unknown_names_list_those_there_are(dataset: str, sql: str, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        rows_of(sql, dataset)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_dataset_without_overlays_says_so(tmp_path: Path, images: list[bytes]) -> None:
    url = str(tmp_path / "bare")
    make_dataset(url, images=images[:4], commit=False)
    with pytest.raises(QueryError, match="and there are no overlays: `shardtools overlay import` makes one"):
        rows_of("from overlays.fixes", url)


def test_only_what_is_named_is_opened(tmp_path: Path, images: list[bytes]) -> None:
    url = str(tmp_path / "damaged")
    make_dataset(url, images=images[:4])
    write(url, "fixes", {0: 1})
    write(url, "other", {0: 1})
    Path(url, "overlays/fixes/overlay.json").write_text("{")
    for sql in ("select count(*) as n from samples", "select 'overlays.fixes' as n -- overlays.fixes"):
        assert len(rows_of(sql, url)) == 1
    assert len(rows_of("select overlays.key from samples as overlays", url)) == 4
    assert len(rows_of("from overlays.other", url)) == 1
    with pytest.raises(DatasetError, match=r"is not the overlay\.json of an overlay"):
        rows_of("from overlays.fixes", url)
    [part] = Path(url, "overlays/other").glob("part-*")
    part.unlink()
    with pytest.raises(DatasetError, match=r"part-.*: expected \d+ bytes, found nothing"):
        rows_of("from overlays.other", url)


def test_an_overlay_of_another_version_is_refused_where_it_is_named(tmp_path: Path, images: list[bytes]) -> None:
    url, other = str(tmp_path / "one"), str(tmp_path / "other")
    make_dataset(url, images=images)
    make_dataset(other, images=images[:4])
    write(url, "fixes", {0: 1}, out=f"{other}/overlays/fixes")
    assert rows_of("select count(*) as n from samples", other) == [{"n": 4}]
    for read in (lambda: rows_of(JOINED, other), lambda: read_view([other], JOINED)):
        with pytest.raises(DatasetError, match=r"overlay fixes at .* was written for commit"):
            read()


# Training on relabelled data.


def options(url: str, view: str, **changes: Any) -> LoaderOptions:
    crop = ResizeOptions(height=8, width=8)
    return LoaderOptions(datasets=(url,), view=view, crop=crop, batch_size=3, last="short", **changes)


def labels_of(wanted: LoaderOptions) -> dict[str, int]:
    with Loader(wanted) as loader:
        return {
            key: label
            for batch in loader.epoch(0)
            for key, label in zip(batch.keys, batch.labels.tolist(), strict=True)
        }


def test_a_loader_trains_on_the_labels_of_an_overlay(dataset: str, tmp_path: Path) -> None:
    view = "select s.key, o.class_index from samples s join overlays.fixes o using (key)"
    assert labels_of(options(dataset, view)) == {"sample0000": 7, "sample0003": 8}

    # Only some samples are relabelled; the overlay lies in the folder of a run.
    write(dataset, "partly", {0: 5}, out=str(tmp_path / "run"))
    view = """
        select s.key, coalesce(o.class_index, s.class_index) as class_index
        from samples s left join overlays.partly o using (dataset, key) where status = 'ok'
    """
    before = labels_of(options(dataset, "select key from samples where status = 'ok'"))
    found = labels_of(options(dataset, view, overlays=(str(tmp_path / "run"),)))
    assert found == before | {"sample0000": 5}
    assert len(found) == 10


def test_overlays_without_a_view_are_refused(dataset: str) -> None:
    with pytest.raises(OptionError, match="overlays are named by the SQL of a view"):
        LoaderOptions(datasets=(dataset,), overlays=("run",))


def test_object_stores_give_the_same_rows(s3_environment: S3Server, dataset: str, images: list[bytes]) -> None:
    url = s3_environment.url("overlays-sql/generated")
    make_dataset(url, images=images)
    write(url, "fixes", {0: 7, 3: 8})
    assert rows_of(JOINED, url) == rows_of(JOINED, dataset)
    both = rows_of("select dataset, sum(class_index)::int as n from overlays.fixes group by all", url, dataset)
    assert {row["dataset"]: row["n"] for row in both} == {url: 15, dataset: 15}
    assert labels_of(options(url, JOINED)) == {"sample0000": 7, "sample0003": 8}
    half = pa.table({"key": ["sample0000"], "logits": pa.array([[1.5, -2.0]], pa.list_(pa.float16()))})
    half = half.append_column("one", pa.array(np.array([0.5], np.float16)))
    for place in (url, dataset):
        write_overlay(place, "half", [half], made_by="test", settings={})
        assert rows_of("select key, logits, one from overlays.half", place) == [
            {"key": "sample0000", "logits": [1.5, -2.0], "one": 0.5}
        ]
