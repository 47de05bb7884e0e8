"""Rows as a table: which are taken, what stands in a line, and how it fits a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import pstdev

import pytest

from shardtools.errors import OptionError
from shardtools.evaluation.results import (
    Cell,
    Column,
    Comparison,
    Result,
    TableOptions,
    cell_text,
    compare,
    join_results,
    markdown,
    remarks,
    text_blocks,
    write_results,
)
from shardtools.evaluation.results.joining import Joined

A = Result(
    study="ood",
    model="lite0",
    dataset="imagenet-a",
    protocol="its 200 classes",
    metric="top1_accuracy",
    value=0.0412,
    low=0.03,
    high=0.05,
    source="run",
)
WHOLE = replace(A, protocol="all classes", value=0.01, low=None, high=None)
MCE = replace(
    A, dataset="imagenet-c", protocol="on the fly", metric="mean_corruption_error", value=0.81, low=None, high=None
)
SNOW = replace(MCE, metric="error", split="snow/3", value=0.6)


def own(*rows: Result) -> Comparison:
    return compare([Joined(group="", result=row) for row in rows], limit=10)


@pytest.fixture
def file(tmp_path: Path) -> str:
    write_results([A, WHOLE, MCE, SNOW], tmp_path / "own.parquet")
    return str(tmp_path / "own.parquet")


def test_a_network_is_a_line_and_a_figure_a_column() -> None:
    found = own(A, MCE, replace(A, model="lite1", value=0.06))
    assert [column.title for column in found.columns] == ["A top-1", "C mCE"]
    assert [(line.model, line.protocol, [cell and cell.value for cell in line.cells]) for line in found.lines] == [
        ("lite0", "", [0.0412, 0.81]),
        ("lite1", "", [0.06, None]),
    ]


def test_a_second_protocol_is_a_second_line() -> None:
    found = own(A, WHOLE, MCE)
    assert [(line.protocol, [cell and cell.value for cell in line.cells]) for line in found.lines] == [
        ("its 200 classes", [0.0412, 0.81]),
        ("all classes", [0.01, None]),
    ]
    # Two runs by one protocol differ by where they are from.
    again = own(A, replace(A, source="other run", value=0.5))
    assert [line.protocol for line in again.lines] == ["its 200 classes", "other run"]


def test_what_all_protocols_share_is_not_said() -> None:
    ways = [replace(A, protocol=f"224 bicubic; {how}", value=0.1) for how in ("max", "mean")]
    edges = [replace(one, dataset="edges", protocol=f"{one.protocol}, 16") for one in ways]
    assert [line.protocol for line in own(*ways, *edges).lines] == ["max / max, 16", "mean", "mean, 16"]
    # Nothing is taken away where nothing would be left.
    whole = own(A, replace(A, protocol=f"{A.protocol}; twice"))
    assert [line.protocol for line in whole.lines] == ["its 200 classes", "its 200 classes; twice"]


def test_seeds_are_one_cell() -> None:
    found = own(*(replace(A, seed=seed, value=value) for seed, value in enumerate((0.2, 0.3, 0.4))))
    [[cell]] = [line.cells for line in found.lines]
    assert cell == Cell(value=pytest.approx(0.3), num_seeds=3, deviation=pstdev((0.2, 0.3, 0.4)))
    assert cell_text(found.columns[0], cell) == "30.00 ±8.16"


def test_cells_as_text() -> None:
    share, ratio = (Column(dataset="imagenet-x", split="", metric=name) for name in ("top1_accuracy", "error_ratio"))
    assert cell_text(share, None) == "-"
    assert cell_text(share, Cell(value=0.5, interval=(0.4, 0.6))) == "50.00"
    assert cell_text(share, Cell(value=0.5, interval=(0.4, 0.6)), intervals=True) == "50.00 (40.00 to 60.00)"
    assert cell_text(ratio, Cell(value=2.5419), intervals=True) == "2.542"


def test_published_networks_stand_where_own_ones_do(file: str) -> None:
    rows = join_results(TableOptions(results=(file,), references=("seed001", "testbed")))
    found = compare(rows, limit=4)
    assert [column.title for column in found.columns] == ["A top-1", "C mCE"]
    assert [line.group for line in found.lines] == ["", "", *["seed001"] * 4, *["testbed"] * 4]
    assert found.left_out["seed001"] == 22 and found.left_out["testbed"] > 300
    assert set(found.sources) == {"", "seed001", "testbed"}


def test_published_ones_alone_are_whole() -> None:
    found = compare(join_results(TableOptions(references=("testbed",))), limit=400)
    assert (len(found.lines), len(found.columns), found.left_out) == (335, 14, {})


def test_parts_are_asked_for(file: str) -> None:
    plain = join_results(TableOptions(results=(file,)))
    assert [one.result for one in plain] == [A, WHOLE, MCE]
    parts = join_results(TableOptions(results=(file,), references=("robustbench",), parts=True, metrics=("error",)))
    assert {one.result.split for one in parts} == {"snow/3"} and len(parts) == 13


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (TableOptions(references=("seed001",), models=("B0", "moco")), 22),
        (TableOptions(references=("seed001",), datasets=("imagenet-sketch",)), 26),
        (TableOptions(references=("seed001", "seed001"), metrics=("shape_bias",)), 26),
        (TableOptions(references=("linf",), study="ood"), 60),
    ],
)
def test_rows_are_chosen(options: TableOptions, number: int) -> None:
    assert len(join_results(options)) == number


def test_nothing_is_left(file: str) -> None:
    with pytest.raises(OptionError, match=r"no row is left of .*own.parquet: it has imagenet-a, imagenet-c with"):
        join_results(TableOptions(results=(file,), study="variation"))
    with pytest.raises(OptionError, match="need --parts"):
        join_results(TableOptions(references=("robustbench",), metrics=("error",)))
    with pytest.raises(OptionError, match="cue-conflict has none of the figures that own networks have"):
        join_results(TableOptions(results=(file,), references=("seed001", "cue-conflict")))
    with pytest.raises(OptionError, match=r"--reference is one of seed001, .*found 'timm2'"):
        TableOptions(references=("timm2",))
    with pytest.raises(OptionError, match="a table needs results"):
        TableOptions()


def test_a_figure_twice(file: str) -> None:
    with pytest.raises(OptionError, match=r"top1_accuracy of lite0 on imagenet-a .*stands there twice"):
        join_results(TableOptions(results=(file, file)))


def test_a_wide_table_is_printed_in_pieces() -> None:
    found = compare(join_results(TableOptions(references=("seed001",))), limit=5)
    [whole] = text_blocks(found)
    pieces = text_blocks(found, width=90)
    assert len(pieces) > 1 and whole.num_names == 2
    assert [title for piece in pieces for title in piece.header[2:]] == whole.header[2:]
    for number, row in enumerate(whole.rows):
        assert [cell for piece in pieces for cell in piece.rows[number][2:]] == row[2:]
        assert {tuple(piece.rows[number][:2]) for piece in pieces} == {tuple(row[:2])}
    # Each fits, with two spaces between columns.
    for piece in pieces:
        columns = zip(piece.header, *piece.rows, strict=True)
        assert sum(max(map(len, column)) + 2 for column in columns) - 2 <= 90


def test_few_networks_are_turned() -> None:
    found = compare(join_results(TableOptions(references=("robustbench",), models=("R50", "AlexNet"))), limit=5)
    [turned] = text_blocks(found, width=40)
    assert turned.header == ["figure", "robustbench AlexNet", "robustbench Standard_R50"]
    assert turned.rows[0] == ["C mCE", "100.00", "76.38"]


def test_markdown_and_remarks(file: str) -> None:
    found = compare(join_results(TableOptions(results=(file,), references=("robustbench",))), limit=1)
    lines = markdown(found, intervals=True).splitlines()
    assert lines[0] == "| from | model | protocol | A top-1 | C mCE |"
    assert lines[1] == "| --- | --- | --- | ---: | ---: |"
    assert lines[2] == "| own | lite0 | its 200 classes | 4.12 (3.00 to 5.00) | 81.00 |"
    assert lines[-1] == "- robustbench: 11 more networks: raise --limit, or choose with --model"
    assert remarks(found)[0] == "own: run (its 200 classes / all classes / on the fly)"
