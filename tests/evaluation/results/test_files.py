"""Results as files: what is written is read, and what is no table of results is one line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import NotFoundError, OptionError, SourceError
from shardtools.evaluation.results import (
    COLUMNS,
    SCHEMA,
    Result,
    read_results,
    results_of,
    results_table,
    write_results,
)

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
RESULTS = st.builds(
    Result,
    study=NAMES,
    model=NAMES,
    dataset=NAMES,
    split=st.just("") | NAMES,
    protocol=st.just("") | NAMES,
    metric=NAMES,
    value=NUMBERS,
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    low=st.none() | NUMBERS,
    high=st.none() | NUMBERS,
    source=NAMES,
)

ROW = Result(study="ood", model="lite0", dataset="imagenet-a", metric="top1_accuracy", value=0.5, source="run")


@settings(max_examples=30)
@given(st.lists(RESULTS, max_size=5))
def test_a_table_holds_the_rows(rows: list[Result]) -> None:
    assert results_of(results_table(rows)) == rows


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@settings(max_examples=30)
@given(rows=st.lists(RESULTS, max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, suffix: str, rows: list[Result]) -> None:
    path = tmp_path_factory.getbasetemp() / f"rows{suffix}"
    assert write_results(rows, path) == len(rows)
    assert read_results([path]) == rows


def test_the_columns_are_the_documented_ones() -> None:
    assert list(COLUMNS) == SCHEMA.names == list(Result.__slots__)


def test_a_file_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("value,model,study,dataset,metric,source,remark\n0.25,mine,ood,imagenet-a,top1_accuracy,paper,x\n")
    assert read_results([path, path])[1] == Result(
        study="ood", model="mine", dataset="imagenet-a", metric="top1_accuracy", value=0.25, source="paper"
    )


def test_other_types_of_the_same_numbers(tmp_path: Path) -> None:
    table = results_table([ROW]).set_column(SCHEMA.names.index("value"), "value", pa.array([0.5], pa.float32()))
    pq.write_table(table.drop_columns(["split", "seed"]), tmp_path / "own.parquet")
    assert read_results([tmp_path / "own.parquet"]) == [ROW]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no table of results"),
        ("model,value\na,1\n", "lacks the column study, dataset, metric, source"),
        ("study,model,dataset,metric,value,source\nood,a,b,c,much,d\n", "no table of results"),
        ("study,model,dataset,metric,value,source\nood,a,b,c,,d\n", "no figure: row 1 has no value"),
        ("study,model,dataset,metric,value,source\nood,a,b,c,inf,d\n", "value of c of a on b is inf"),
        ("study,model,dataset,metric,value,source\nood,,b,c,1,d\n", "a result needs a model"),
    ],
)
def test_what_is_no_table_of_results(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(content)
    with pytest.raises(SourceError, match=message):
        read_results([path])


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "own.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"own.parquet is no table of results"):
        read_results([tmp_path / "own.parquet"])
    with pytest.raises(NotFoundError):
        read_results([tmp_path / "other.parquet"])


@pytest.mark.parametrize("name", ["rows.txt", "rows", "csv"])
def test_another_suffix(tmp_path: Path, name: str) -> None:
    for use in (lambda: write_results([ROW], tmp_path / name), lambda: read_results([tmp_path / name])):
        with pytest.raises(OptionError, match=r"\.parquet or \.csv"):
            use()


@pytest.mark.parametrize("name", ["value", "low", "high"])
def test_no_figure(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} of top1_accuracy of lite0 on imagenet-a is inf"):
        Result(
            study="ood",
            model="lite0",
            dataset="imagenet-a",
            metric="top1_accuracy",
            source="run",
            **{"value": 0.5, name: float("inf")},
        )
