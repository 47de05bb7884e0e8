"""SQL reads only: what would write is refused by what DuckDB would do, and the connection could not write it."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest

from shardtools.cli import main
from shardtools.dataset import open_dataset, refuse_dataset_file
from shardtools.errors import OptionError, QueryError
from shardtools.loader import read_all
from shardtools.sql import Session, query, save
from shardtools.sql.connection import ReadOnlyConnection
from tests.helpers.s3_server import S3Server
from tests.helpers.sql_datasets import fashion_images, make_dataset


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return fashion_images(4)


@pytest.fixture
def dataset(tmp_path: Path, images: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    make_dataset(tmp_path / "d", images=images, num_shards=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "d"


def state(folder: Path) -> dict[str, str]:
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


PIVOT = "pivot samples on split using count(*)"


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("explain analyze copy (select 1) to 'd/dataset.json'", "found copy"),
        ("EXPLAIN /* x */ ANALYZE -- y\n COPY (select 1) to 'd/dataset.json'", "found copy"),
        ("explain (analyze, format json) copy (select 1) to 'd/dataset.json'", "found copy"),
        ("explain copy (select 1) to 'd/dataset.json'", "found copy"),
        (f"copy ({PIVOT}) to 'd/plan.json' (format csv)", "found copy to file"),
        (f"explain analyze copy ({PIVOT}) to 'd/plan.json' (format csv)", "found copy to file"),
        (f"create table kept as {PIVOT}", "found create table as"),
        ("with w as (copy samples to 'd/dataset.json') select 1", "found batch copy to file"),
        ("explain analyze with w as (copy samples to 'd/plan.json') select 1", "found batch copy to file"),
        ("select * from query('with w as (copy samples to ''d/plan.json'') select 1')", "COPY"),
        ("from json_execute_serialized_sql(json_serialize_sql('select 1'))", "found json execute"),
        ("select 1; copy samples to 'd/plan.json'", "found 2"),
        ("create macro m() as table select 1", "found create"),
        ("prepare p as copy samples to 'd/plan.json'", "found prepare"),
        ("import database 'd'", "found import database"),
        ("export database 'e'", "found export"),
        ("copy from database memory to system", "found copy from"),
        ("attach 'new.db'", "found attach"),
        ("install httpfs", "found load"),
        ("set temp_directory = 'd'", "found set"),
        ("pragma temp_directory = 'd'", "found set"),
        ("pragma enable_profiling", "found pragma enable_profiling"),
        ("call enable_logging(storage = 'file', storage_path = 'd')", "found call"),
        ("from enable_logging(storage = 'file', storage_path = 'd')", "locked"),
        ("checkpoint", "found call"),
        ("insert into samples select * from samples", "found insert"),
        ("explain analyze delete from samples", "found delete"),
        ("use system", "found set"),
        ("begin", "found transaction"),
    ],
)
def test_what_would_write_is_refused(dataset: Path, tmp_path: Path, sql: str, found: str) -> None:
    before = state(tmp_path)
    with pytest.raises(QueryError) as caught:
        query(sql, [dataset])
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state(tmp_path) == before


@pytest.mark.parametrize(
    "sql",
    [
        "describe samples",
        "summarize samples",
        "show tables",
        "pragma table_info('samples')",
        "PRAGMA /* x */ database_size",
        "explain select 1",
        "explain analyze select count(*) from samples",
        "explain (select 'copy')",
        "explain (format json) select 1",
        PIVOT,
        f"explain {PIVOT}",
        f"select * from ({PIVOT}) where 'update' <> 'delete'",
        "select 'insert into; copy to' as \"create\", 1 as update_ -- drop table",
        "values (1)",
        "from 'own.csv'",
        "select 1;",
    ],
)
def test_what_reads_runs(dataset: Path, sql: str) -> None:
    Path("own.csv").write_text("name\nread\n")
    assert query(sql, [dataset]).num_rows >= 1


def test_parameters_reach_the_plan_too(dataset: Path) -> None:
    assert query('select $word as "update"', [dataset], {"word": "copy"}).to_pylist() == [{"update": "copy"}]


def test_a_session_goes_on_after_a_refusal(dataset: Path) -> None:
    with Session([dataset]) as session:
        with pytest.raises(QueryError):
            session.table("with w as (copy samples to 'd/plan.json') select 1")
        assert session.rows("select count(*) as n from samples") == [{"n": 4}]


def test_the_connection_cannot_write(tmp_path: Path) -> None:
    """The second wall: the very statements that the first one stops, given to the connection itself."""
    kept = tmp_path / "kept.csv"
    kept.write_text("a\n1\n")
    connection = ReadOnlyConnection()
    written = []
    for number, sql in enumerate(
        ("copy (select 1) to '{}'", "explain analyze copy (select 1) to '{}'", "attach '{}'", "export database '{}'")
    ):
        target = tmp_path / f"new{number}"
        try:
            connection.execute(sql.format(target))
        except duckdb.Error as error:
            assert "Permission denied" in str(error)
        written.append(target.exists())
    # Where the kernel has no such wall, the object says so.
    assert written == [not connection.is_walled] * 4
    assert connection.fetch(f"select a from read_csv('{kept}')", None) == [(1,)]
    # The rest of the program writes as ever.
    (tmp_path / "of the program").write_text("written")
    connection.close()
    assert kept.read_text() == "a\n1\n"


def test_results_that_need_the_disk_have_a_place_and_leave_nothing(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    connection = ReadOnlyConnection()
    connection.execute("set memory_limit = '60MB'")
    connection.execute("set threads = 1")
    [[first]] = connection.fetch(
        "select min(n) from (select n, repeat('x', 100) as t from range(1_000_000) as r(n) order by hash(n), t)", None
    )
    connection.close()
    assert first == 0
    assert list(tmp_path.glob("shardtools-sql-*")) == []


# Files of a dataset as the target of a result.


@pytest.mark.parametrize(
    "address",
    ["d/dataset.json", "./d/plan.json", "link/dataset.json", "file.json", "d/manifest/new.parquet", "d/../d/plan.json"],
)
def test_results_are_not_written_over_a_dataset(
    dataset: Path, tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.symlink("d", "link")
    os.symlink("d/dataset.json", "file.json")
    before = state(tmp_path)
    with Session([dataset]) as session, pytest.raises(OptionError, match="it is a file of the dataset"):
        save(session.stream("select 1"), address)
    with pytest.raises(SystemExit) as ended:
        main(["sql", "select 1", "d", "--output", address])
    assert ended.value.code == 2
    assert "give a name outside of it" in capsys.readouterr().err
    assert state(tmp_path) == before


def test_results_may_lie_beside_a_dataset(dataset: Path) -> None:
    with Session([dataset]) as session:
        for address in ("rows.csv", "d/rows.csv", "results/rows.parquet"):
            assert save(session.stream("select 1 as n"), address) == 1


def test_results_are_not_written_over_a_dataset_in_an_object_store(
    s3_environment: S3Server, images: list[bytes]
) -> None:
    url = s3_environment.url("guarded/d")
    make_dataset(url, images=images, num_shards=1)
    for name in ("dataset.json", "plan.json", "manifest/new.parquet"):
        with pytest.raises(OptionError, match="it is a file of the dataset"):
            refuse_dataset_file(f"{url}/{name}")
    refuse_dataset_file(s3_environment.url("guarded/rows.csv"))


# One dataset under two names.


@pytest.mark.parametrize(
    "other", ["./d", "d/", "../{parent}/d", "link", "{absolute}", "file://{absolute}", "d@{commit}"]
)
def test_one_dataset_under_two_names_counts_once(dataset: Path, other: str) -> None:
    os.symlink("d", "link")
    commit = sha256(open_dataset(dataset).content).hexdigest()[:8]
    other = other.format(parent=dataset.parent.name, absolute=dataset, commit=commit)
    with pytest.raises(OptionError, match="dataset d is given twice"):
        Session(["d", other])
    with pytest.raises(OptionError, match="dataset d is given twice"):
        read_all(["d", other])
