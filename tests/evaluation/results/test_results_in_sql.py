"""`shardtools sql --results`: figures as a table beside datasets and without any."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from shardtools.cli import main
from shardtools.errors import OptionError, QueryError
from shardtools.evaluation.results import COLUMNS, Result, joined_table, reference_results, write_results
from shardtools.sql import Session
from tests.helpers.feature_datasets import make_labeled


@pytest.fixture
def file(tmp_path: Path) -> str:
    row = Result(study="ood", model="lite0", dataset="cue-conflict", metric="shape_bias", value=0.213, source="run")
    write_results([row], tmp_path / "own.parquet")
    return str(tmp_path / "own.parquet")


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    with pytest.raises(SystemExit) as stop:
        main(["sql", *words, "--json"])
    captured = capsys.readouterr()
    assert (stop.value.code, captured.err) == (0, "")
    rows: list[dict[str, object]] = json.loads(captured.out)
    return rows


def test_own_and_published_rows_without_a_dataset(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select reference, model, value from results where metric = 'shape_bias' and value between 0.21 and 0.22"
    found = asked(capsys, f"{sql} order by value", "--results", file, "--results", "cue-conflict")
    assert found == [
        {"reference": None, "model": "lite0", "value": 0.213},
        {"reference": "cue-conflict", "model": "densenet121", "value": pytest.approx(163 / 760)},
    ]


def test_beside_a_dataset(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_labeled(tmp_path / "data", [0, 1, 0])
    sql = "select count(*) as images, any_value(model) as model from samples, results"
    assert asked(capsys, sql, str(tmp_path / "data"), "--results", file) == [{"images": 3, "model": "lite0"}]


def test_without_datasets_there_are_no_samples() -> None:
    with Session([], tables={"results": joined_table(["linf"])}) as session:
        assert session.rows("select count(*) as number from samples") == [{"number": 0}]
        with pytest.raises(QueryError, match="nearest columns: value"):
            session.rows("select valu from results")
    with pytest.raises(OptionError, match="at least one dataset"):
        Session([], tables={})


def test_the_table_has_the_rows() -> None:
    table = joined_table(["linf", "linf"])
    assert table.column_names == ["reference", *COLUMNS]
    assert table.num_rows == len(reference_results("linf"))
    assert table.schema.field("reference").type == pa.string()
