"""How results of SQL leave: text, JSON, CSV, files, the command line."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from shardtools.cli import cli, main
from shardtools.errors import (
    OptionError,
    QueryError,
)
from shardtools.sql import Session, query, save, to_json_value, write_csv, write_json
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


VALUES = (
    "select 1 as number, 0.1::double as fraction, 'nan'::double as nothing, null as missing, true as truth, "
    "'a, \"b\"\nc ünï' as words, [1, 2] as list, {'x': 1} as record, sum(9223372036854775807::bigint) as wide, "
    "timestamp '2026-01-02 03:04:05' as moment, '\\xFF'::blob as bits"
)


def test_json_is_an_array_of_objects(dataset: str) -> None:
    with Session([dataset]) as session:
        stream = io.StringIO()
        assert write_json(session.stream(VALUES), stream) == 1
        empty = io.StringIO()
        assert write_json(session.stream("select 1 as x where false"), empty) == 0
    assert json.loads(empty.getvalue()) == []
    assert json.loads(stream.getvalue()) == [
        {
            "number": 1,
            "fraction": 0.1,
            "nothing": None,
            "missing": None,
            "truth": True,
            "words": 'a, "b"\nc ünï',
            "list": [1, 2],
            "record": {"x": 1},
            "wide": 2**63 - 1,
            "moment": "2026-01-02T03:04:05",
            "bits": "ff",
        }
    ]


def test_csv_has_a_header_and_null_as_an_empty_cell(dataset: str) -> None:
    with Session([dataset]) as session:
        stream = io.StringIO(newline="")
        assert write_csv(session.stream(VALUES), stream) == 1
    header, row = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    cells = dict(zip(header, row, strict=True))
    assert cells["words"] == 'a, "b"\nc ünï'
    assert (cells["missing"], cells["nothing"], cells["truth"]) == ("", "nan", "true")
    assert (cells["list"], cells["record"], cells["wide"]) == ("[1, 2]", '{"x": 1}', "9223372036854775807")


@given(
    st.recursive(
        # SQL's decimals have at most 38 digits and no NaN.
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.binary()
        | st.dates()
        | st.decimals(-(10**38), 10**38, allow_nan=False),
        lambda values: st.lists(values) | st.dictionaries(st.text(), values),
        max_leaves=10,
    )
)
def test_every_value_has_a_json_form(value: Any) -> None:
    content = to_json_value(value)
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_json_values_keep_their_meaning() -> None:
    assert to_json_value(Decimal("12")) == 12
    assert to_json_value(Decimal("1.5")) == 1.5
    assert to_json_value(math.inf) is None
    assert to_json_value(date(2026, 1, 2)) == "2026-01-02"
    assert to_json_value(timedelta(minutes=1)) == 60.0


def test_output_files_appear_whole(dataset: str, tmp_path: Path) -> None:
    sql = "select key, wnid, seed from samples order by key"
    expected = rows_of(sql, dataset)
    with Session([dataset]) as session:
        for suffix in ("parquet", "csv", "json", "PARQUET"):
            assert save(session.stream(sql), str(tmp_path / f"rows.{suffix}")) == NUM_SAMPLES
        with pytest.raises(QueryError, match="Could not convert"):
            save(session.stream("select key::integer from samples"), str(tmp_path / "rows.parquet"))
        with pytest.raises(OptionError, match=r"\.parquet, \.csv, \.json, found"):
            save(session.stream(sql), str(tmp_path / "rows.xlsx"))
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == expected
    assert json.loads((tmp_path / "rows.json").read_text()) == expected
    with (tmp_path / "rows.csv").open(newline="") as stream:
        assert [int(row["seed"]) for row in csv.DictReader(stream)] == [row["seed"] for row in expected]
    assert sorted(os.listdir(tmp_path)) == ["rows.PARQUET", "rows.csv", "rows.json", "rows.parquet"]


# The command line.


def run_cli(*arguments: str) -> Any:
    return CliRunner().invoke(cli, list(arguments))


def test_text_is_aligned_numbers_to_the_right(dataset: str) -> None:
    sql = "select wnid, count(*) as n, sum(num_bytes) / 7 as x, null as none from samples group by wnid order by wnid"
    result = run_cli("sql", sql, dataset)
    header, *lines = result.stdout.splitlines()
    assert header.split() == ["wnid", "n", "x", "none"]
    assert [line.split()[:2] for line in lines] == [["n03236735", "3"], ["n03595614", "6"], ["n04489008", "3"]]
    assert all(line[header.index("n", 9)] in "36" and line.endswith("-") for line in lines)
    assert result.stderr == ""


def test_long_results_stop_and_say_so(dataset: str) -> None:
    result = run_cli("sql", "select * from range(5000) as numbers(n)", dataset)
    assert len(result.stdout.splitlines()) == 1001
    assert "first 1000 rows" in result.stderr
    assert "--output" in result.stderr
    assert len(json.loads(run_cli("sql", "from range(5000)", dataset, "--json").stdout)) == 5000
    assert len(run_cli("sql", "from range(5000)", dataset, "--csv").stdout.splitlines()) == 5001


def test_cells_are_one_line_each(dataset: str) -> None:
    result = run_cli("sql", "select E'a\\nb\\tc\\x1b[31m' as words, 1e-9 as small, 12345678.25 as large", dataset)
    assert result.stdout.splitlines()[1].split() == [r"a\nb\tc\x1b[31m", "1e-09", "12345678.25"]


def test_an_empty_result_says_so(dataset: str) -> None:
    result = run_cli("sql", "select key from samples where false", dataset)
    assert (result.stdout, result.stderr) == ("key\n", "no rows\n")


def test_params_are_typed_by_their_form(dataset: str) -> None:
    sql = "select $a + 1 as a, $b as b, $c as c, $d as d"
    params = ["a=41", "b=text", 'c="7"', "$d=true"]
    result = run_cli("sql", sql, dataset, "--json", *(part for param in params for part in ("--param", param)))
    assert json.loads(result.stdout) == [{"a": 42, "b": "text", "c": "7", "d": True}]
    assert run_cli("sql", sql, dataset, "--param", "a").exit_code == 2


def test_the_note_on_an_unfinished_dataset_goes_to_stderr(tmp_path: Path, images: list[bytes]) -> None:
    make_dataset(tmp_path, images=images, commit=False)
    result = run_cli("sql", "select count(*) as n from samples", str(tmp_path), "--json")
    assert json.loads(result.stdout) == [{"n": NUM_SAMPLES}]
    assert "is not finished" in result.stderr


def test_output_option(dataset: str, tmp_path: Path) -> None:
    target = tmp_path / "new" / "rows.parquet"
    result = run_cli("sql", "from samples", dataset, "--output", str(target))
    assert (result.stdout, result.stderr) == ("", f"wrote {NUM_SAMPLES} rows to {target}\n")
    assert pq.read_table(target).num_rows == NUM_SAMPLES
    assert run_cli("sql", "from samples", dataset, "--output", str(target), "--json").exit_code == 2
    assert run_cli("sql", "from samples").exit_code == 2


def test_a_known_error_is_one_line_and_exit_code_1(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sql", "select wnd from samples", dataset])
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("shardtools: cannot run the SQL: ")
    assert printed.err.count("\n") == 1
