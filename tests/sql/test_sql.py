"""SQL over manifests: what the tables hold, what is refused, and how results leave."""

from __future__ import annotations

import io
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardtools.dataset import DatasetInfo, commit_dataset, open_dataset, opening
from shardtools.dataset.commit import COMPACT_FROM_PARTS
from shardtools.errors import (
    DatasetError,
    FormatVersionError,
    NotFoundError,
    OptionError,
    QueryError,
    ShardtoolsError,
    StorageError,
)
from shardtools.manifest import COLUMNS, SCHEMA, encode_part, rows_to_table
from shardtools.sql import Session, query, save
from shardtools.storage import open_storage
from tests.helpers.s3_server import S3Server
from tests.helpers.sql_datasets import fashion_images, make_dataset

NUM_SAMPLES = 12


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return fashion_images(NUM_SAMPLES)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, images: list[bytes]) -> str:
    folder = tmp_path_factory.mktemp("sql") / "generated"
    make_dataset(folder, images=images)
    return str(folder)


def rows_of(sql: str, *urls: str, **parameters: Any) -> list[dict[str, Any]]:
    return list(query(sql, urls, parameters).to_pylist())


def refusal(sql: str, *urls: str, **parameters: Any) -> str:
    with pytest.raises(QueryError) as caught:
        query(sql, urls, parameters)
    message = str(caught.value)
    assert "\n" not in message
    return message


# The tables.


def test_samples_have_the_manifest_columns_and_the_address_first(dataset: str) -> None:
    table = query("select * from samples", [dataset])
    assert table.schema.names == ["dataset", *COLUMNS]
    assert [table.schema.field(name).type for name in COLUMNS] == SCHEMA.types
    assert set(table["dataset"].to_pylist()) == {dataset}
    expected = pa.concat_tables(open_dataset(dataset).tables())
    assert table.drop_columns("dataset").equals(expected)


def test_datasets_are_told_apart_and_read_together(dataset: str, tmp_path: Path, images: list[bytes]) -> None:
    other = str(tmp_path / "real")
    make_dataset(other, images=images[:4], source="real", num_shards=1)
    counted = rows_of("select dataset, source, count(*) as n from samples group by all order by n", other, dataset)
    assert counted == [
        {"dataset": other, "source": "real", "n": 4},
        {"dataset": dataset, "source": "generated", "n": NUM_SAMPLES},
    ]
    kinds = rows_of("select kind, num_rows, num_images, committed from datasets order by kind", dataset, other)
    assert kinds == [
        {"kind": "generated", "num_rows": NUM_SAMPLES, "num_images": 10, "committed": True},
        {"kind": "real", "num_rows": 4, "num_images": 4, "committed": True},
    ]


def test_settings_are_json(dataset: str) -> None:
    [row] = rows_of("select plan_id, scale, (settings ->> 'guidance_scale')::double as guidance from datasets", dataset)
    assert row == {"plan_id": "plan-1", "scale": 1, "guidance": 2.0}


def test_events_have_times_and_facts(dataset: str) -> None:
    events = rows_of("select event, log, time, facts from events order by time, event", dataset)
    assert {event["event"] for event in events} == {"start", "shard", "end"}
    assert {event["log"] for event in events} == {"run1-rank0000"}
    assert all(abs(datetime.now(UTC) - event["time"]) < timedelta(hours=1) for event in events)
    [facts] = [json.loads(event["facts"]) for event in events if event["event"] == "shard"]
    assert facts == {"shard_index": 0, "images": 8, "images_per_second": 12.5}


def test_all_tables_are_listed(dataset: str) -> None:
    assert [row["name"] for row in rows_of("show tables", dataset)] == ["datasets", "events", "samples"]


def test_an_unfinished_dataset_is_read_with_a_note(tmp_path: Path, images: list[bytes]) -> None:
    url = str(tmp_path / "unfinished")
    make_dataset(url, images=images, commit=False)
    with Session([url]) as session:
        [note] = session.notes
        assert note == f"{url} is not finished: the rows are those of the 2 shards so far"
        assert sum(batch.num_rows for batch in session.stream("select key from samples")) == NUM_SAMPLES
        [dataset_row] = pa.Table.from_batches(session.stream("select committed, num_rows from datasets")).to_pylist()
        assert dataset_row == {"committed": False, "num_rows": None}


def test_only_committed_parts_are_read(tmp_path: Path, images: list[bytes]) -> None:
    url = tmp_path / "grown"
    make_dataset(url, images=images, num_shards=3, commit=False)
    commit_dataset(
        open_storage(url), kind="generated", plan_id="plan-1", scale=1, part_paths=["manifest/train-000000.parquet"]
    )
    assert rows_of("select count(*) as n from samples", str(url)) == [{"n": 4}]


def test_a_large_dataset_is_read_from_its_merged_files(tmp_path: Path, images: list[bytes]) -> None:
    url = tmp_path / "merged"
    many = [images[number % NUM_SAMPLES] for number in range(2 * COMPACT_FROM_PARTS + 4)]
    info = make_dataset(url, images=many, num_shards=COMPACT_FROM_PARTS + 1)
    assert isinstance(info, DatasetInfo)
    assert [entry.num_rows for entry in info.compact] == [len(many)]
    dataset = open_dataset(url)
    for path in dataset.part_paths:
        open_storage(url).delete(path)
    merged = query("select * from samples", [url]).drop_columns("dataset")
    assert merged["key"].to_pylist() == [
        f"sample{number:04d}" for first in range(COMPACT_FROM_PARTS + 1) for number in range(first, len(many), 65)
    ]
    assert merged["seed"][0].as_py() == 2**62


@pytest.mark.parametrize("name", ["run[1]", "a*b", "what?", "it's", "key=value", "ein schöner name"])
def test_folders_are_taken_by_their_names(tmp_path: Path, images: list[bytes], name: str) -> None:
    # A pattern "run[1]" would match this neighbour.
    make_dataset(tmp_path / "run1", images=images[:2], num_shards=1)
    make_dataset(tmp_path / name, images=images, num_shards=2)
    url = str(tmp_path / name)
    assert rows_of("select dataset, count(*) as n from samples group by dataset", url) == [
        {"dataset": url, "n": NUM_SAMPLES}
    ]
    assert query("select * from samples", [url]).schema.names == ["dataset", *COLUMNS]


def test_parameters_are_bound_not_pasted(dataset: str) -> None:
    found = rows_of("select key from samples where seed = $seed or key = $key", dataset, seed=2**62 + 3, key="' or 1=1")
    assert found == [{"key": "sample0003"}]


def test_results_are_streamed_in_bounded_batches(dataset: str) -> None:
    with Session([dataset]) as session:
        rows = session.stream("select * from range(200000) as numbers(n)")
        sizes = [batch.num_rows for batch in rows]
    assert sum(sizes) == 200_000
    assert max(sizes) <= 20_480


# What is refused.


def test_unknown_columns_name_the_nearest(dataset: str) -> None:
    assert "nearest columns: wnid" in refusal("select wnd from samples", dataset)
    assert "nearest columns: num_bytes" in refusal("select s.num_byte from samples as s", dataset)
    assert "plan_id" in refusal("select planid from datasets", dataset)
    assert "describe samples" in refusal("select qqqq from samples", dataset)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select * from sample", "the tables are samples, events and datasets"),
        ("select * form samples", 'syntax error at or near "samples"'),
        ("select key::integer from samples", "Could not convert string 'sample0"),
        ("select nosuch(key) from samples", "nosuch does not exist"),
        ("", "expected one statement, found 0"),
        ("select 1; select 2", "expected one statement, found 2"),
        ("copy samples to 'rows.csv'", "found copy"),
        ("create table kept as select * from samples", "found create"),
        ("drop view samples", "found drop"),
        ("install httpfs", "found load"),
        ("load httpfs", "found load"),
        ("attach 'other.db'", "found attach"),
        ("set threads = 1", "found set"),
        ("select * from 'https://127.0.0.1:9/rows.parquet'", "loads no extension"),
        ("select * from samples where key = $key", "--param name=value"),
    ],
)
def test_bad_sql_is_one_line_with_the_reason(
    dataset: str, sql: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in refusal(sql, dataset)
    assert list(tmp_path.iterdir()) == []


def test_excess_parameters_are_refused(dataset: str) -> None:
    assert "excess parameters: y" in refusal("select $x as x", dataset, x=1, y=2)


def test_variables_of_the_program_are_no_tables(dataset: str) -> None:
    secret = pa.table({"value": [1]})
    assert "the tables are" in refusal("select * from secret", dataset)
    assert secret.num_rows == 1


def test_a_missing_dataset_is_refused(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(DatasetError, match="is no dataset"):
        Session([tmp_path / "nowhere"])
    with pytest.raises(OptionError, match="at least one dataset"):
        Session([])
    with pytest.raises(OptionError, match="given twice"):
        Session([dataset, dataset])


def test_a_missing_part_is_named(tmp_path: Path, images: list[bytes]) -> None:
    make_dataset(tmp_path, images=images)
    (tmp_path / "manifest" / "train-000001.parquet").unlink()
    with pytest.raises(DatasetError, match=r"manifest/train-000001\.parquet is missing though the dataset lists it"):
        Session([tmp_path])


def test_a_damaged_part_is_named(tmp_path: Path, images: list[bytes]) -> None:
    make_dataset(tmp_path, images=images)
    (tmp_path / "manifest" / "train-000001.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(DatasetError, match=r"train-000001.parquet is not the file that was committed"):
        Session([tmp_path])
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"train-000001.parquet is no intact Parquet file"):
        Session([tmp_path])


@pytest.mark.parametrize("file_name", ["dataset.json", "plan.json"])
def test_an_unknown_version_is_refused(tmp_path: Path, images: list[bytes], file_name: str) -> None:
    make_dataset(tmp_path, images=images)
    file = tmp_path / file_name
    file.write_text(file.read_text().replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(FormatVersionError, match="version 3"):
        Session([tmp_path])


def test_a_part_of_an_unknown_version_is_refused_before_the_commit(tmp_path: Path, images: list[bytes]) -> None:
    make_dataset(tmp_path, images=images, num_shards=1, commit=False)
    file = tmp_path / "manifest" / "train-000000.parquet"
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({"shardtools.format_version": "3"}), file)
    with pytest.raises(FormatVersionError, match="version 3"):
        Session([tmp_path])


# Object stores.


def test_s3_gives_the_same_rows_as_a_folder(s3_environment: S3Server, dataset: str, images: list[bytes]) -> None:
    url = s3_environment.url("sql/generated")
    make_dataset(url, images=images)
    for sql in (
        "select * exclude (dataset) from samples",
        "select wnid, count(*) as n, sum(num_bytes)::bigint as b from samples where seed > 2 group by all order by all",
        "select count(*) as n from samples",
        "select key from samples where wnid = 'n03236735' and status = 'ok' order by key limit 2",
        "select event, log, facts from events order by event",
        "select * exclude (dataset) from datasets",
    ):
        assert rows_of(sql, url) == rows_of(sql, dataset), sql
    both = rows_of("select dataset, count(*) as n from samples group by all", url, dataset)
    assert {row["dataset"]: row["n"] for row in both} == {url: NUM_SAMPLES, dataset: NUM_SAMPLES}


def test_s3_fetches_only_the_columns_asked_for(
    s3_environment: S3Server, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from shardtools.storage.s3 import S3Storage

    url = s3_environment.url("sql/wide")
    make_dataset(url, images=images, num_shards=1)
    storage = open_storage(url)
    rows = [
        {"key": f"{number}", "split": "train", "wnid": f"n{number % 3}", "sha256": f"{number**9:064x}", "status": "ok"}
        for number in range(20_000)
    ]
    storage.write("manifest/train-000000.parquet", encode_part(rows_to_table(rows), []))
    commit_dataset(storage, kind="real", plan_id="p", scale=1, part_paths=["manifest/train-000000.parquet"])
    # Longer manifests than are read once more.
    monkeypatch.setattr(opening, "MAX_FETCHED_BYTES", 0)
    [part] = storage.list("manifest")
    fetched: list[int] = []
    lock = threading.Lock()
    plain = S3Storage.read_range

    def counting(self: S3Storage, path: str, offset: int, num_bytes: int) -> bytes:
        with lock:
            fetched.append(num_bytes)
        return plain(self, path, offset, num_bytes)

    monkeypatch.setattr(S3Storage, "read_range", counting)
    assert len(rows_of("select wnid, count(*) from samples group by all", url)) == 3
    assert 0 < sum(fetched) < 0.5 * part.num_bytes


def test_a_part_that_vanishes_from_s3_is_an_error_of_the_storage(s3_environment: S3Server, images: list[bytes]) -> None:
    url = s3_environment.url("sql/vanishing")
    make_dataset(url, images=images)
    with Session([url]) as session:
        open_storage(url).delete("manifest/train-000001.parquet")
        with pytest.raises(StorageError, match=r"train-000001\.parquet"):
            list(session.stream("select key from samples"))
    with pytest.raises(DatasetError, match=r"train-000001\.parquet is missing"):
        Session([url])


def test_results_can_be_saved_to_s3(s3_environment: S3Server, dataset: str) -> None:
    with Session([dataset]) as session:
        rows = session.stream("select wnid, count(*) as n from samples group by wnid order by wnid")
        assert save(rows, s3_environment.url("results/classes.parquet")) == 3
    content = open_storage(s3_environment.url("results")).read("classes.parquet")
    assert pq.read_table(io.BytesIO(content))["n"].to_pylist() == [3, 6, 3]


def test_errors_are_the_projects_own() -> None:
    assert issubclass(QueryError, ShardtoolsError)
    assert issubclass(NotFoundError, StorageError)
