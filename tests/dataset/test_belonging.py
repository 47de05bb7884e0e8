"""A part belongs to its plan, its split and its shard; keys come once; a manifest is the one that was committed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shardtools.curation import ApplyOptions, apply_view
from shardtools.dataset import DatasetInfo, ShardWriter, commit_dataset, open_dataset, read_status, store_plan_file
from shardtools.dataset.opening import list_parts
from shardtools.dataset.plan_file import PlanFile, fingerprint
from shardtools.errors import DatasetError, PlanMismatchError, ShardtoolsError
from shardtools.loader import read_split
from shardtools.manifest import PartOrigin, decode_part, digest, encode_part
from shardtools.sql import Session
from shardtools.storage import open_storage
from shardtools.verify import verify
from shardtools.writing import WriteOptions
from tests.helpers.photo_datasets import write_here
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

VIEW = "select key from samples limit 1"
FIRST, SECOND = "manifest/train-000000.parquet", "manifest/train-000001.parquet"


def photos(folder: Path, prefix: str = "") -> Path:
    write_files(folder, {f"c{n % 2}/{prefix}{n:02}.jpg": jpeg(n) for n in range(9)})
    return folder


@pytest.fixture(scope="module")
def whole_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_here(photos(folder / "source"), folder / "out", samples_per_shard=3)
    return folder


@pytest.fixture
def whole(whole_once: Path, tmp_path: Path) -> Path:
    """A source and a dataset of it, with three parts."""
    return Path(shutil.copytree(whole_once, tmp_path / "whole"))


def unfinished(whole: Path) -> Path:
    (whole / "out/dataset.json").unlink()
    return whole / "out"


def again(whole: Path) -> None:
    write_here(whole / "source", whole / "out", samples_per_shard=3)


def with_origin(out: Path, path: str, origin: PartOrigin | None) -> None:
    part = decode_part((out / path).read_bytes(), where=path)
    (out / path).write_bytes(encode_part(part.table, part.shards, origin))


def test_a_part_says_what_it_is_of(whole: Path) -> None:
    plan_id = open_dataset(whole / "out").commit.plan_id
    for number, path in enumerate((FIRST, SECOND)):
        part = open_dataset(whole / "out").read_part(path)
        assert part.origin == PartOrigin(plan_id=plan_id, split="train", shard_index=number)


def test_the_part_of_another_shard_is_not_committed(whole: Path) -> None:
    out = unfinished(whole)
    shutil.copy(out / SECOND, out / FIRST)
    with pytest.raises(DatasetError, match=r"expected the part of shard train-000000, found that of train-000001: put"):
        again(whole)
    assert not (out / "dataset.json").exists()
    # As the message says: without it the shard is made again.
    (out / FIRST).unlink()
    again(whole)
    assert verify(whole / "out").sound


def test_a_part_too_many_is_named(whole: Path) -> None:
    out = unfinished(whole)
    shutil.copy(out / SECOND, out / "manifest/train-000099.parquet")
    with pytest.raises(DatasetError, match=r"train-000099.parquet is not among the 3 shards of this dataset's plan"):
        again(whole)


def test_the_part_of_another_plan_is_not_committed(whole: Path, tmp_path: Path) -> None:
    out = unfinished(whole)
    write_here(photos(tmp_path / "other", prefix="x"), tmp_path / "foreign", samples_per_shard=3)
    shutil.copy(tmp_path / "foreign" / SECOND, out / SECOND)
    with pytest.raises(DatasetError, match=r"train-000001, found that of plan [0-9a-f]{16}, not [0-9a-f]{16}: put"):
        again(whole)
    found = {problem.kind: problem.path for problem in verify(out).problems}
    assert found["part-altered"] == SECOND


@pytest.mark.parametrize("is_foreign", [False, True])
def test_parts_of_releases_before_name_no_plan(whole: Path, is_foreign: bool) -> None:
    out = unfinished(whole)
    for path in (FIRST, SECOND):
        with_origin(out, path, None)
    if not is_foreign:
        again(whole)
        assert verify(out).sound
        return
    shutil.copy(out / SECOND, out / FIRST)
    with pytest.raises(DatasetError, match=r"train-000000, found one that speaks for 'shards/train-000001.tar'"):
        again(whole)


def test_keys_that_come_twice_are_not_committed(whole: Path) -> None:
    out = unfinished(whole)
    first, second = (decode_part((out / path).read_bytes(), where=path) for path in (FIRST, SECOND))
    keys = [*second.table["key"].to_pylist()[:-1], first.table["key"].to_pylist()[0]]
    table = second.table.set_column(0, second.table.schema.field(0), pa.array(keys))
    (out / SECOND).write_bytes(encode_part(table, second.shards, second.origin))
    with pytest.raises(DatasetError, match=rf"key {keys[-1]!r} stands in {FIRST} and in {SECOND}"):
        again(whole)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("member_offset", -1, "member_offset is 0 or more, found -1"),
        ("num_bytes", 2**62, r"num_bytes 4611686018427387904, shards/train-000000.tar has \d+ bytes"),
        ("member_offset", 2**63 - 1, r"member_offset 9223372036854775807 .* has \d+ bytes"),
        ("width", -5, "width is 0 or more, found -5"),
        ("split", "val", "found rows of split 'val'"),
        ("key", None, "has a row without key"),
    ],
)
def test_rows_that_lead_nowhere_are_not_committed(whole: Path, column: str, value: Any, words: str) -> None:
    out = unfinished(whole)
    part = decode_part((out / FIRST).read_bytes(), where=FIRST)
    rows = part.table.to_pylist()
    rows[1][column] = value
    changed = pa.Table.from_pylist(rows, schema=part.table.schema)
    (out / FIRST).write_bytes(encode_part(changed, part.shards, part.origin))
    with pytest.raises(DatasetError, match=words):
        again(whole)


def ask(out: Path) -> None:
    with Session([out]) as session:
        session.rows("select count(*) from samples")


READERS: dict[str, Callable[[Path], object]] = {
    "sql": ask,
    "loader": lambda out: read_split([out], "train"),
    "rows": lambda out: list(open_dataset(out).tables()),
    "copy": lambda out: write_here(out, out.with_name("copy")),
    "apply": lambda out: apply_view(
        ApplyOptions(
            dataset=str(out), out=str(out.with_name("next")), view="select key from samples limit 1", drop=True
        )
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damage", ["cut", "altered", "foreign", "fields"])
def test_every_reader_refuses_a_part_that_was_not_committed(whole: Path, reader: str, damage: str) -> None:
    out = whole / "out"
    part = out / SECOND
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:3000])
    elif damage == "foreign":
        shutil.copy(out / FIRST, part)
    elif damage == "altered":
        with_origin(out, SECOND, PartOrigin(plan_id="0" * 16, split="train", shard_index=1))
    else:
        part.write_bytes(part.read_bytes().replace(b"shardtools.shard0", b"shardtools.shardX"))
    with pytest.raises(DatasetError, match=r"train-000001.parquet is not the file that was committed") as caught:
        READERS[reader](out)
    assert "\n" not in str(caught.value)
    assert not verify(out).sound


@pytest.mark.parametrize("content", [b"x" * 70, b"\xff" * 70, b"0" * 64 + b" -5 a", b""])
def test_a_damaged_field_of_a_part_is_named(whole: Path, content: bytes) -> None:
    import io

    import pyarrow.parquet as pq

    table = pq.read_table(whole / "out" / FIRST)
    for field in (b"shardtools.shard0", b"shardtools.origin"):
        sink = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, field: content}), sink)
        with pytest.raises(
            DatasetError, match=rf"the part, field {field.decode().removeprefix('shardtools.')} is damaged"
        ):
            decode_part(sink.getvalue(), where="the part")


def test_an_append_has_a_plan_of_its_own(whole: Path, tmp_path: Path) -> None:
    more = photos(tmp_path / "more", prefix="y")

    def append() -> None:
        from shardtools.sources import SourceOptions

        source = SourceOptions(source=str(more))
        write_in_process(WriteOptions(source=source, out=str(whole / "out"), samples_per_shard=3, append=True), 1)

    append()
    info = open_dataset(whole / "out").commit
    origins = [open_dataset(whole / "out").read_part(entry.path).origin for entry in info.parts]
    plans = [origin.plan_id for origin in origins if origin is not None]
    assert len(plans) == 6 and plans[0] == info.plan_id and plans[3] != info.plan_id
    assert verify(whole / "out").sound


def test_a_commit_is_found_by_all_of_its_digits(whole: Path, tmp_path: Path) -> None:
    from shardtools.dataset.appends import keep_commit

    out = whole / "out"
    content = (out / "dataset.json").read_bytes()
    keep_commit(open_storage(out), content)
    right = digest(content)
    assert open_dataset(f"{out}@{right}").content == content
    with pytest.raises(DatasetError, match="has no earlier commit"):
        open_dataset(f"{out}@{right[:16]}{'0' * 48}")


def test_a_damaged_earlier_commit_is_a_problem_and_ends_nothing(whole: Path) -> None:
    (whole / "out/commits").mkdir()
    (whole / "out/commits/0123456789abcdef.json").write_text("[]")
    shutil.copy(whole / "out/dataset.json", whole / "out/commits/fedcba9876543210.json")
    report = verify(whole / "out")
    assert [problem.kind for problem in report.problems] == ["commit", "commit"]
    assert "is the commit" in report.problems[1].message


BAD_FIELDS = {
    "layout": ["../x", {}, None],
    "kind": [[], "x", "\x1b[31m"],
    "parent": [{}, "x", "\ud800"],
    "plan_id": [[], 5],
    "scale": [[], 0, 1.5, True, 10**30],
    "splits": [{"train": {"num_rows": "x", "num_images": 1, "num_bytes": 1}}, {"../x": None}, []],
    "statuses": [{"ok": -1}, {"ok": 10**30}],
    "shards": [
        [{"path": None, "num_bytes": 1, "sha256": "0" * 64}],
        [{"path": "../x", "num_bytes": 1, "sha256": "0" * 64}],
    ],
    "parts": [[{"path": FIRST, "num_rows": 1, "sha256": "x"}], [{"path": "x", "num_rows": 1, "sha256": "0" * 64}]],
    "format_version": [2.0, True, 3],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD_FIELDS.items() for value in values])
def test_wrong_values_of_a_commit_are_named(whole: Path, name: str, value: Any) -> None:
    path = whole / "out/dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(DatasetError, match=r"dataset\.json ") as caught:
        open_dataset(whole / "out")
    assert str(caught.value).isprintable()
    try:
        assert not verify(whole / "out").sound
    except ShardtoolsError as error:
        assert name == "format_version" and "format version" in str(error).replace("shardtools-dataset ", "")


@pytest.mark.parametrize("depth", [60, 3_000, 200_000])
def test_deep_nesting_is_one_line(whole: Path, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    plan = json.loads((whole / "out/plan.json").read_text())
    content = json.dumps({**plan, "settings": "DEEP"}).replace('"DEEP"', '{"a": ' + deep + "}")
    with pytest.raises(DatasetError) as caught:
        PlanFile.from_json(content.encode(), where="plan.json")
    assert str(caught.value).isprintable()
    with pytest.raises(DatasetError):
        DatasetInfo.from_json(deep.encode(), where="dataset.json")


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"[]",
        b"{}",
        b'{"time": 1e400, "event": "a", "log": "b"}',
        b'{"time": 1e15, "event": "a", "log": "b"}',
        b"\xff",
    ],
)
def test_a_line_that_is_no_event_is_named(whole: Path, line: bytes) -> None:
    (log,) = (whole / "out/events").iterdir()
    log.write_bytes(line + b"\n")
    with pytest.raises(DatasetError, match=r"jsonl, line 1, is no event"):
        read_status(str(whole / "out"))
    with Session([whole / "out"]) as session, pytest.raises(DatasetError, match=r"line 1, is no event"):
        session.rows("select * from events")


@pytest.mark.parametrize(
    ("notes", "settings"),
    [
        ({}, {"splits": {"train": 1}}),
        ({"base": 1, "first_shards": {}}, {"splits": {"train": 1}}),
        ({"base": "x", "first_shards": {"train": -1}}, {"splits": {"train": 1}}),
        ({"base": "x", "first_shards": {"train": 3}}, {}),
        ({"base": "x", "first_shards": {"train": 3}}, {"splits": {}}),
    ],
)
def test_a_damaged_plan_of_an_append_is_one_line(whole: Path, notes: dict[str, Any], settings: dict[str, Any]) -> None:
    plan = json.loads((whole / "out/plan.json").read_text())
    (whole / "out/appends").mkdir()
    (whole / "out/appends/append000001.json").write_text(json.dumps({**plan, "notes": notes, "settings": settings}))
    with pytest.raises(DatasetError, match=r"append000001.json is not the plan of an append"):
        read_status(str(whole / "out"))
    assert not verify(whole / "out").sound


def test_a_shard_without_a_plan_id_has_a_part_without_origin(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    plan = {"kind": "real", "plan_id": fingerprint({}), "scale": 1}
    store_plan_file(storage, PlanFile(settings={}, notes={}, num_shards=1, num_rows=0, **plan))
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        writer.commit()
    assert commit_dataset(storage, part_paths=list_parts(storage), **plan).num_rows == 0
    assert open_dataset(tmp_path).read_part(FIRST).origin is None
    with pytest.raises(PlanMismatchError):
        store_plan_file(
            storage, PlanFile(settings={"a": 1}, notes={}, num_shards=1, num_rows=0, **{**plan, "plan_id": "x"})
        )
