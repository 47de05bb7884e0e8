"""Shards, parts, the plan and the commit: what a reader sees at each moment."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.dataset import (
    PlanFile,
    ShardWriter,
    commit_dataset,
    open_dataset,
    read_plan_file,
    read_status,
    replace_part,
    store_plan_file,
)
from shardtools.dataset import commit as commit_module
from shardtools.dataset.opening import list_parts
from shardtools.dataset.plan_file import fingerprint
from shardtools.errors import (
    DatasetBusyError,
    DatasetError,
    FormatVersionError,
    PlanMismatchError,
    ShardError,
    ShardtoolsError,
)
from shardtools.execution import EventLog, read_events
from shardtools.manifest import COLUMNS, SCHEMA, ShardFile, decode_part, encode_part, rows_to_table
from shardtools.manifest.schema import ADDED_COLUMNS
from shardtools.sample import Sample
from shardtools.sql import query
from shardtools.storage import Storage, open_storage


def sample(number: int, **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "key": f"key-{number}",
        "image_bytes": b"image %d" % number,
        "image_format": "jpg",
        "width": 4,
        "height": 4,
        "mode": "RGB",
        "wnid": "n03595614",
        "class_index": number % 3,
        "label_source": "folder",
    }
    return Sample(**{**values, **changes})


def failed(number: int) -> Sample:
    return sample(number, image_bytes=None, image_format=None, status="black", reason="no light")


def write_shard(storage: Storage, index: int, samples: list[Sample]) -> None:
    with ShardWriter(storage, split="train", shard_index=index) as writer:
        for one in samples:
            writer.add(one)
        writer.commit()


def commit(storage: Storage) -> Any:
    return commit_dataset(storage, kind="real", plan_id="p", scale=1, part_paths=list_parts(storage))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    yield open_storage(tmp_path / "dataset")


def test_a_shard_and_its_part(storage: Storage) -> None:
    write_shard(storage, 0, [sample(0), failed(1), sample(2, extra_members={"json": b"{}", "txt": b"hello"})])
    part = decode_part(storage.read("manifest/train-000000.parquet"), where="part")
    rows = part.table.to_pylist()
    assert [row["sample_index"] for row in rows] == [0, None, 1]
    assert [row["status"] for row in rows] == ["ok", "black", "ok"]
    assert rows[1]["shard"] is None and rows[1]["reason"] == "no light"
    for row, number in ((rows[0], 0), (rows[2], 2)):
        assert storage.read_range(row["shard"], row["member_offset"], row["num_bytes"]) == b"image %d" % number
    assert part.shards == (
        ShardFile(
            path="shards/train-000000.tar",
            num_bytes=storage.size("shards/train-000000.tar"),
            sha256=part.shards[0].sha256,
        ),
    )


def test_a_writer_that_is_left_leaves_nothing(storage: Storage) -> None:
    with pytest.raises(RuntimeError), ShardWriter(storage, split="train", shard_index=0) as writer:
        writer.add(sample(0))
        raise RuntimeError
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        writer.add(sample(0))
    assert storage.list() == []


def test_a_shard_of_failures_has_no_tar(storage: Storage) -> None:
    write_shard(storage, 0, [failed(0)])
    assert [stored.path for stored in storage.list()] == ["manifest/train-000000.parquet"]
    assert commit(storage).statuses == {"black": 1}


def test_committing_twice_the_same_is_fine_and_other_content_is_not(storage: Storage) -> None:
    write_shard(storage, 0, [sample(0)])
    write_shard(storage, 0, [sample(0)])
    with pytest.raises(DatasetBusyError, match=r"another run committed manifest/train-000000.parquet"):
        write_shard(storage, 0, [sample(1)])


@pytest.mark.parametrize("key", ["a/b", "..", "a\nb"])
def test_bad_keys_are_refused(storage: Storage, key: str) -> None:
    with ShardWriter(storage, split="train", shard_index=0) as writer, pytest.raises(ShardError):
        writer.add(sample(0, key=key))


def test_the_commit_lists_parts_shards_and_totals(storage: Storage) -> None:
    write_shard(storage, 0, [sample(0), failed(1)])
    write_shard(storage, 1, [sample(2)])
    info = commit(storage)
    assert open_dataset(storage.url).info == info
    assert (info.num_rows, info.num_images, info.statuses) == (3, 2, {"black": 1, "ok": 2})
    assert info.splits["train"].num_bytes == len(b"image 0") + len(b"image 2")
    before = storage.read("dataset.json")
    commit(storage)
    assert storage.read("dataset.json") == before


def test_readers_see_the_commit_not_the_folder(storage: Storage) -> None:
    write_shard(storage, 0, [sample(0)])
    commit(storage)
    write_shard(storage, 1, [sample(1)])
    assert open_dataset(storage.url).part_paths == ("manifest/train-000000.parquet",)


def test_an_unfinished_dataset_is_opened_on_purpose_only(storage: Storage) -> None:
    write_shard(storage, 0, [sample(0)])
    with pytest.raises(DatasetError, match="not finished"):
        open_dataset(storage.url)
    assert len(open_dataset(storage.url, incomplete=True).part_paths) == 1


def test_large_datasets_get_a_merged_manifest(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_module, "COMPACT_FROM_PARTS", 3)
    monkeypatch.setattr(commit_module, "ROWS_PER_COMPACT_FILE", 6)
    monkeypatch.setattr(commit_module, "_ROWS_PER_GROUP", 3)
    for index in range(5):
        write_shard(storage, index, [sample(2 * index), failed(2 * index + 1)])
    info = commit(storage)
    dataset = open_dataset(storage.url)
    assert dataset.manifest_paths == tuple(entry.path for entry in info.compact) and len(info.compact) > 1
    merged = pa.concat_tables(decode(storage, path) for path in dataset.manifest_paths)
    assert merged.select(SCHEMA.names).to_pylist() == pa.concat_tables(dataset.tables()).to_pylist()


def decode(storage: Storage, path: str) -> pa.Table:
    import io

    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(storage.read(path)))


def test_a_missing_part_is_named(storage: Storage) -> None:
    write_shard(storage, 0, [sample(0)])
    commit(storage)
    storage.delete("manifest/train-000000.parquet")
    with pytest.raises(DatasetError, match=r"manifest/train-000000.parquet is missing though the dataset lists it"):
        list(open_dataset(storage.url).tables())


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"{", DatasetError, "is not the dataset.json"),
        (b'{"format": "shardtools-dataset", "format_version": 3}', FormatVersionError, "version 3"),
        (
            b'{"format": "shardtools-dataset", "format_version": 2}',
            DatasetError,
            r"version 2 \(kind is missing",
        ),
        (b'{"format": "other", "format_version": 3}', FormatVersionError, "format other"),
    ],
)
def test_commits_that_are_refused(storage: Storage, content: bytes, error: type[Exception], message: str) -> None:
    storage.write("dataset.json", content)
    with pytest.raises(error, match=message):
        open_dataset(storage.url)


@given(st.binary(max_size=300))
def test_any_bytes_as_a_commit(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    storage = open_storage(tmp_path_factory.mktemp("d"))
    storage.write("dataset.json", content)
    with pytest.raises(ShardtoolsError):
        open_dataset(storage.url)


def test_parts_of_other_versions_are_refused() -> None:
    content = encode_part(rows_to_table([{"key": "a"}]), [])
    table = decode_part(content, where="p").table
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"shardtools.format_version": b"3"}), sink)
    with pytest.raises(FormatVersionError, match="p has format version 3"):
        decode_part(sink.getvalue(), where="p")
    with pytest.raises(DatasetError, match="no intact Parquet file"):
        decode_part(content[:-9], where="p")


@pytest.mark.parametrize("added", ADDED_COLUMNS, ids=["several labels", "rendered images"])
def test_parts_of_before_some_columns_are_read(storage: Storage, added: frozenset[str]) -> None:
    write_shard(storage, 0, [sample(0)])
    write_shard(storage, 1, [sample(1)])
    path = "manifest/train-000000.parquet"
    now = pq.ParquetFile(io.BytesIO(storage.read(path))).read()
    before = now.drop_columns(sorted(added))
    sink = io.BytesIO()
    pq.write_table(before, sink)
    storage.write(path, sink.getvalue())
    assert decode_part(sink.getvalue(), where="part").table == now.replace_schema_metadata(None)
    # Beside a part of now, and alone.
    wanted = {"object_id": None, "class_indexes": None, "seed": None}
    both = query(f"select key, {', '.join(wanted)} from samples order by key", (storage.url,))
    assert both.to_pylist() == [{"key": f"key-{number}", **wanted} for number in range(2)]
    storage.delete("manifest/train-000001.parquet")
    counts = query("select count(object_id) as n, count(class_indexes) as m from samples", (storage.url,))
    assert counts.to_pylist() == [{"n": 0, "m": 0}]
    pq.write_table(before.drop_columns(["key"]), sink := io.BytesIO())
    with pytest.raises(DatasetError, match="key is missing"):
        decode_part(sink.getvalue(), where="part")


def test_rows_have_only_known_columns() -> None:
    with pytest.raises(DatasetError, match="found colour"):
        rows_to_table([{"key": "a", "colour": "red"}])
    assert all(meaning for _, meaning in COLUMNS.values())


def test_replacing_a_part_keeps_its_tars(storage: Storage) -> None:
    write_shard(storage, 0, [sample(0)])
    part = decode_part(storage.read("manifest/train-000000.parquet"), where="part")
    more = ShardFile(path="shards/train-000000-attempt2.tar", num_bytes=1, sha256="0" * 64)
    replace_part(storage, "train", 0, part.table, [*part.shards, more])
    assert decode_part(storage.read("manifest/train-000000.parquet"), where="part").shards == (*part.shards, more)


def plan(scale: int = 1, **settings: Any) -> PlanFile:
    return PlanFile(
        kind="generated",
        plan_id=fingerprint(settings),
        settings=settings,
        notes={"model_id": "m"},
        scale=scale,
        num_shards=scale,
        num_rows=2 * scale,
    )


def test_a_plan_is_stored_once_and_grows(storage: Storage) -> None:
    assert read_plan_file(storage) is None
    assert store_plan_file(storage, plan(steps=50)) == plan(steps=50)
    assert store_plan_file(storage, plan(steps=50, scale=3)).scale == 3
    assert store_plan_file(storage, plan(steps=50)).scale == 3
    storage.write("shards/train-000000.tar", b"")
    with pytest.raises(PlanMismatchError, match="steps is 50 there, 25 here"):
        store_plan_file(storage, plan(steps=25))


@pytest.mark.parametrize("made", ["manifest/train-000000.parquet", "shards/train-000000.tar", "notes.txt"])
def test_a_plan_that_has_made_nothing_binds_nobody(storage: Storage, made: str) -> None:
    store_plan_file(storage, plan(steps=50))
    storage.write("events/run-rank0000-000000.jsonl", b"")
    storage.write("lease/1.json", b"{}")
    assert store_plan_file(storage, plan(steps=25)) == read_plan_file(storage) == plan(steps=25)
    storage.write(made, b"")
    with pytest.raises(PlanMismatchError, match="steps is 25 there, 50 here"):
        store_plan_file(storage, plan(steps=50))


def test_plans_that_are_refused(storage: Storage) -> None:
    storage.write("plan.json", b"[1]")
    with pytest.raises(DatasetError, match="is not the plan of a dataset"):
        read_plan_file(storage)
    storage.write("plan.json", json.dumps({"format_version": 9}).encode())
    with pytest.raises(FormatVersionError, match="version 9"):
        read_plan_file(storage)


def test_events_are_kept_in_order(storage: Storage) -> None:
    log = EventLog(storage, "run-rank0000")
    for number in range(1203):
        log.add("shard", number=number)
    log.flush()
    assert [event["number"] for event in read_events(storage)] == list(range(1203))
    assert len(storage.list("events/")) == 3


def test_status_from_files_alone(storage: Storage) -> None:
    with pytest.raises(DatasetError, match="is no dataset"):
        read_status(storage.url)
    store_plan_file(storage, plan(scale=2))
    assert (read_status(storage.url).num_rows, read_status(storage.url).num_rows_planned) == (0, 4)
    write_shard(storage, 0, [sample(0), failed(1)])
    log = EventLog(storage, "run-rank0000")
    log.add("start", num_processes=3)
    log.add("shard", images_per_second=0.5)
    log.flush()
    running = read_status(storage.url)
    assert (running.num_shards, running.num_shards_planned, running.statuses) == (1, 2, {"black": 1, "ok": 1})
    assert (running.images_per_second, running.seconds_left, running.num_processes) == (0.5, 4.0, 3)
    write_shard(storage, 1, [sample(2), sample(3)])
    log.add("end", reason="done")
    log.flush()
    assert not read_status(storage.url).committed
    commit(storage)
    done = read_status(storage.url)
    assert done.committed and done.images_per_second is None
