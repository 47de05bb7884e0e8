"""Overlays: what is written and read back, what is refused, and what a killed writer leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardtools.dataset import open_dataset
from shardtools.errors import (
    AlreadyExistsError,
    DatasetError,
    OptionError,
    PlanMismatchError,
    ShardtoolsError,
)
from shardtools.manifest import digest
from shardtools.overlays import (
    OverlayWriter,
    import_overlay,
    list_overlays,
    open_overlay,
    open_overlay_at,
    remove_overlay,
)
from shardtools.sql import query
from shardtools.storage import open_storage
from tests.helpers.overlay_datasets import dataset, files, images, keys, table, write
from tests.helpers.s3_server import S3Server
from tests.helpers.sql_datasets import make_dataset

__all__ = ["dataset", "images"]

# Writing and reading.


def test_what_is_written_is_read_back(dataset: str) -> None:
    rows = table(3, 0, 7, class_index=[2, 1, 0], note=["a", None, "c"])
    info = write(dataset, rows)
    overlay = open_overlay(dataset, "fixes")

    assert overlay.info == info
    assert (info.num_rows, info.made_by, info.settings) == (3, "a test", {"rate": 0.5})
    assert info.dataset_sha256 == digest(open_dataset(dataset).content)
    assert overlay.read().equals(rows)
    assert overlay.read(["note"]).equals(rows.select(["note"]))
    assert pa.Table.from_batches(overlay.batches(["key"])).equals(rows.select(["key"]))
    overlay.check_digests()
    assert [one.info.name for one in list_overlays(dataset)] == ["fixes"]


def test_the_files_are_plain_parquet_and_json(dataset: str) -> None:
    write(dataset, table(1, 2, loss=[0.25, 0.5]))
    content = json.loads(Path(dataset, "overlays/fixes/overlay.json").read_text())
    [part] = content["parts"]
    rows = pq.read_table(Path(dataset, "overlays/fixes", part["path"]))

    assert rows.to_pydict() == {"key": keys(1, 2), "loss": [0.25, 0.5]}
    assert (content["format"], content["format_version"]) == ("shardtools-overlay", 1)
    assert content["columns"] == [{"name": "key", "type": "string"}, {"name": "loss", "type": "double"}]


def test_small_tables_share_a_part_and_a_large_one_is_split(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.overlays.writer.ROWS_PER_PART", 4)
    info = write(dataset, table(0), table(1, 2), table(*range(3, 12)))
    assert [part.num_rows for part in info.parts] == [3, 4, 4, 1]
    assert open_overlay(dataset, "fixes").read()["key"].to_pylist() == keys(*range(12))


def test_an_overlay_may_have_no_rows(dataset: str) -> None:
    write(dataset, table(0, score=[1.0]).slice(0, 0))
    assert open_overlay(dataset, "fixes").read().schema.names == ["key", "score"]
    with pytest.raises(DatasetError, match="overlay empty has no table"):
        write(dataset, name="empty")


def test_an_overlay_whose_commit_lists_no_part_is_one_line(dataset: str) -> None:
    write(dataset, table(0, score=[1.0]))
    commit = Path(dataset, "overlays/fixes/overlay.json")
    commit.write_text(json.dumps(json.loads(commit.read_text()) | {"parts": []}))
    for read in (lambda: open_overlay(dataset, "fixes").schema(), lambda: open_overlay(dataset, "fixes").read()):
        with pytest.raises(DatasetError, match=r"overlay\.json lists no parts, expected at least one"):
            read()
    with pytest.raises(DatasetError, match="lists no parts"):
        query("select * from overlays.fixes", [dataset])


def test_a_key_comes_several_times_where_another_column_tells(dataset: str) -> None:
    epochs = [table(0, 1, epoch=[epoch, epoch], loss=[0.5, 0.25]) for epoch in range(3)]
    with OverlayWriter(dataset, "losses", made_by="t", settings={}, unique=("key", "epoch")) as writer:
        for epoch in epochs:
            writer.add(epoch)
        writer.commit()
    overlay = open_overlay(dataset, "losses")
    assert overlay.info.unique == ("key", "epoch")
    assert overlay.read().equals(pa.concat_tables(epochs).combine_chunks())


def test_keys_of_other_kinds_of_text_are_taken(dataset: str) -> None:
    text = pa.array(keys(1, 2), pa.large_string())
    write(dataset, pa.table({"key": text}), pa.table({"key": pa.array(keys(3)).dictionary_encode()}))
    assert open_overlay(dataset, "fixes").read()["key"].to_pylist() == keys(1, 2, 3)


# What is refused.


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ([table(0, 99, 98, 97, 96)], r"has 4 keys not in .*: 'sample0096', 'sample0097', 'sample0098', \.\.\.: leave"),
        ([pa.table({"key": ["it's", "sample0000"]})], 'has 1 key not in .*: "it\'s"'),
        ([table(0, 1, 0, 2, 2)], r"has 2 keys more than once: 'sample0000', 'sample0002': a key comes once: keep one"),
        ([pa.table({"key": ["sample0000", None]})], "has 1 row without key"),
        ([pa.table({"wnid": ["n1"]})], "has no column 'key': expected key among the columns, found 'wnid'"),
        ([pa.table({"key": [1]})], "column key of int64, expected text"),
        ([table(0, dataset=["x"])], "column 'dataset', which SQL adds itself"),
        ([table(0, Loss=[1], loss=[2])], "has the column 'Loss' twice"),
        ([table(0, **{"a\nb": [1]})], r"column called 'a\\nb'"),
        ([table(0, x=[1]), table(1, y=[1])], "part 1 has the columns key, y, expected those of the first part: key, x"),
        ([table(0, x=[1]), table(1, x=["a"])], "column x is string, expected int64 as in the first part"),
    ],
)
def test_rows_that_fit_not_are_refused(dataset: str, tables: list[pa.Table], words: str) -> None:
    with pytest.raises(DatasetError, match=words) as caught:
        write(dataset, *tables)
    assert "\n" not in str(caught.value)
    assert list_overlays(dataset) == []
    assert files(dataset) == set()


def test_a_key_doubled_in_a_later_part_is_refused(dataset: str) -> None:
    with OverlayWriter(dataset, "losses", made_by="t", settings={}, unique=("key", "epoch")) as writer:
        writer.add(table(0, 1, epoch=[0, 0]))
        writer.add(table(0, 1, epoch=[1, 1]))
        with pytest.raises(DatasetError, match=r"2: .*|1 key more than once: 'sample0001' 1: .* each key, epoch"):
            writer.add(table(1, 2, epoch=[1, 1]))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Fixes", "1st", "samples", "overlays", "a b", 'a"b', "x" * 65])
def test_hostile_and_reserved_names_are_refused(dataset: str, name: str) -> None:
    with pytest.raises(OptionError, match="an overlay"):
        write(dataset, table(0), name=name)
    assert not Path(dataset, "overlays").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unique": ("epoch",)}, "unique is 'key' and further columns"),
        ({"unique": "key"}, "unique is 'key' and further columns"),
        ({"settings": {"x": object()}}, "settings are JSON values"),
        ({"settings": {"x": float("nan")}}, "settings are JSON values"),
    ],
)
def test_options_that_fit_not_are_refused(dataset: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        write(dataset, table(0), **options)


def test_unfinished_datasets_have_no_overlays(tmp_path: Path, images: list[bytes]) -> None:
    make_dataset(tmp_path / "unfinished", images=images, commit=False)
    with pytest.raises(DatasetError, match="is not finished"):
        write(str(tmp_path / "unfinished"), table(0))


# Replacing, resuming, removing.


def test_one_that_is_there_is_replaced_only_when_asked(dataset: str) -> None:
    write(dataset, table(0, x=[1]))
    before = files(dataset)
    with pytest.raises(AlreadyExistsError, match=r"overlays/fixes is there already: give replace"):
        write(dataset, table(1, x=[2]))
    assert files(dataset) == before
    write(dataset, table(1, x=[2]), replace=True)
    assert open_overlay(dataset, "fixes").read().to_pylist() == [{"key": "sample0001", "x": 2}]
    assert len(files(dataset)) == 2


def test_a_replacement_that_fails_leaves_the_old_one(dataset: str) -> None:
    write(dataset, table(0, x=[1]))
    with pytest.raises(DatasetError, match="not in"):
        write(dataset, table(1, x=[2]), table(77, 77, x=[2, 3]).slice(1), replace=True)
    with OverlayWriter(dataset, "fixes", made_by="t", settings={}, replace=True) as writer:
        writer.add(table(5, x=[5]))
    overlay = open_overlay(dataset, "fixes")
    overlay.check_digests()
    assert overlay.read().to_pylist() == [{"key": "sample0000", "x": 1}]
    assert len(files(dataset)) == 2


def test_each_commit_shows_the_parts_so_far_and_a_run_goes_on_after_them(dataset: str) -> None:
    facts: dict[str, Any] = {"made_by": "train", "settings": {"seed": 1}, "unique": ("key", "epoch")}
    with OverlayWriter(dataset, "losses", resume_parts=0, **facts) as writer:
        for epoch in range(3):
            writer.add(table(0, 1, epoch=[epoch, epoch]))
            writer.commit()
            assert open_overlay(dataset, "losses").info.num_rows == 2 * (epoch + 1)
    # The checkpoint was older than the overlay: epoch 2 is made again.
    with OverlayWriter(dataset, "losses", resume_parts=2, **facts) as writer:
        assert [part.num_rows for part in writer.parts] == [2, 2]
        with pytest.raises(DatasetError, match="more than once"):
            writer.add(table(1, epoch=[1]))
        writer.add(table(4, epoch=[2]))
        writer.commit()
    assert open_overlay(dataset, "losses").read()["key"].to_pylist() == keys(0, 1, 0, 1, 4)
    for changes, words in (
        ({"settings": {"seed": 2}}, "settings is {'seed': 1} there, {'seed': 2} here"),
        ({"resume_parts": 4}, "has 3 parts to go on after, expected 4"),
    ):
        with pytest.raises(PlanMismatchError, match=words):
            OverlayWriter(dataset, "losses", **{"resume_parts": 1, **facts, **changes})
    with pytest.raises(PlanMismatchError, match="has no parts to go on after"):
        OverlayWriter(dataset, "others", resume_parts=1, **facts)


def test_of_two_writers_at_once_one_wins(dataset: str) -> None:
    facts: dict[str, Any] = {"made_by": "t", "settings": {}}
    with OverlayWriter(dataset, "fixes", **facts) as first, OverlayWriter(dataset, "fixes", **facts) as second:
        first.add(table(0))
        second.add(table(1))
        first.commit()
        with pytest.raises((AlreadyExistsError, DatasetError), match="another run"):
            second.commit()
    assert open_overlay(dataset, "fixes").read()["key"].to_pylist() == keys(0)


def test_removing_leaves_nothing(dataset: str) -> None:
    write(dataset, table(0))
    assert remove_overlay(dataset, "fixes") == 2
    assert not Path(dataset, "overlays").exists()
    with pytest.raises(DatasetError, match="has no overlay 'fixes': it has none"):
        remove_overlay(dataset, "fixes")


def test_an_overlay_may_lie_elsewhere(dataset: str, tmp_path: Path) -> None:
    info = write(dataset, table(0, 1), out=str(tmp_path / "run1" / "fixes"))
    assert list_overlays(dataset) == []
    assert open_overlay_at(tmp_path / "run1/fixes").info == info
    assert open_overlay(dataset, str(tmp_path / "run1/fixes")).read()["key"].to_pylist() == keys(0, 1)
    with pytest.raises(DatasetError, match=r"run1 is no overlay: it has no overlay\.json"):
        open_overlay_at(tmp_path / "run1")


# Files of other programs, object stores.


def test_csv_keys_stay_text(dataset: str, tmp_path: Path) -> None:
    file = tmp_path / "fixes.csv"
    file.write_text("key,class_index,why\nsample0003,2,blurred\nsample0001,0,\n")
    info = import_overlay(dataset, "fixes", file)
    assert info.settings == {"file": "fixes.csv"}
    assert open_overlay(dataset, "fixes").read().to_pylist() == [
        {"key": "sample0003", "class_index": 2, "why": "blurred"},
        {"key": "sample0001", "class_index": 0, "why": None},
    ]
    file.write_text("key,class_index\n00012,2\n")
    with pytest.raises(DatasetError, match=r"1 key not in .*: '00012'"):
        import_overlay(dataset, "other", file)


def test_parquet_files_are_imported_and_others_refused(dataset: str, tmp_path: Path) -> None:
    pq.write_table(table(0, 4, score=[0.5, 0.75]), tmp_path / "scores.parquet")
    assert import_overlay(dataset, "scores", tmp_path / "scores.parquet").num_rows == 2
    for name, content, words in (
        ("bad.parquet", "no", r"bad\.parquet is no Parquet file that can be read"),
        ("bad.csv", "key,x\na,1,2\n", r"bad\.csv is no CSV that can be read"),
        ("bad.txt", "key\n", r"overlays are imported from \.csv or \.parquet files"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(ShardtoolsError, match=words) as caught:
            import_overlay(dataset, "bad", tmp_path / name)
        assert "\n" not in str(caught.value)
    assert [one.info.name for one in list_overlays(dataset)] == ["scores"]


def test_overlays_live_in_object_stores_too(s3_environment: S3Server, images: list[bytes]) -> None:
    url = s3_environment.url("overlays/generated")
    make_dataset(url, images=images)
    write(url, table(0, 1, x=[1, 2]), table(2, x=[3]))
    with pytest.raises(AlreadyExistsError, match="is there already"):
        write(url, table(0))
    with pytest.raises(DatasetError, match="has 1 key not in s3://"):
        write(url, table(88, x=[1]), name="other")
    write(url, table(4, x=[4]), replace=True)
    [overlay] = list_overlays(url)
    overlay.check_digests()
    assert overlay.url == f"{url}/overlays/fixes"
    assert overlay.read().to_pylist() == [{"key": "sample0004", "x": 4}]
    assert len(open_storage(url).list("overlays/")) == remove_overlay(url, "fixes") == 2
