"""Tables of the thesis: columns and order as printed, own networks on top."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from shardtools.cli import cli
from shardtools.errors import OptionError
from shardtools.evaluation.results import (
    LAYOUT_NAMES,
    LAYOUTS,
    Result,
    TableOptions,
    lay_out,
    layout_rows,
    layouts_of,
    text_blocks,
    write_results,
)

OWN = Result(study="transfer", model="own", dataset="inat2018", metric="top1_accuracy", value=0.4, source="a run")


def cells(name: str, own: list[Result]) -> tuple[list[str], list[list[str]]]:
    [block] = text_blocks(lay_out(name, layout_rows(name, own)))
    return block.header, block.rows


def test_the_names_are_the_layouts() -> None:
    assert tuple(LAYOUTS) == LAYOUT_NAMES


@pytest.mark.parametrize(
    ("name", "header", "num_rows", "last"),
    [
        ("4.2", ["Val", "v2", "Sketch", "R", "A"], 6, ["80.20", "76.20", "29.10", "41.80", "11.70"]),
        ("4.3", ["iNat18", "iNat19"], 5, ["36.00", "44.20"]),
        ("D.1", None, 12, None),
        ("5.2", None, 17, ["42.90", "70.30", "43.00", "70.30", "16.60", "35.10", "26.30", "45.30", "3.60", "15.10"]),
        (
            "5.3",
            [
                "Aircraft",
                "Cars196",
                "DTD",
                "EuroSAT",
                "Flowers",
                "Pets",
                "Food101",
                "SUN397",
                "iNat18",
                "iNat19",
                "Avg.",
            ],
            8,
            ["55.30", "57.20", "75.90", "96.70", "92.90", "88.70", "73.10", "62.50", "35.00", "46.30", "68.40"],
        ),
        ("5.4", ["IN-1K", "L1", "L2", "L3", "L4", "L5"], 4, ["70.40", "65.70", "61.80", "58.50", "58.00", "52.40"]),
    ],
)
def test_they_stand_as_in_the_thesis(
    name: str, header: list[str] | None, num_rows: int, last: list[str] | None
) -> None:
    found, rows = cells(name, [])
    assert found[:2] == ["from", "model"] and len(rows) == num_rows
    if header is not None:
        assert found[2:] == header
    if last is not None:
        assert rows[-1][2:] == last
    # No cell is empty: each column is of the whole table.
    assert not any("-" in row[2:] for row in rows)


def test_own_networks_stand_on_top() -> None:
    seeds = [replace(OWN, seed=seed, value=value) for seed, value in ((1, 0.4), (2, 0.42))]
    elsewhere = replace(OWN, dataset="digits")
    header, rows = cells("4.3", [*seeds, elsewhere])
    assert header == ["from", "model", "iNat18", "iNat19"]
    assert rows[0] == ["own", "own", "41.00 ±1.00", "-"] and len(rows) == 6


def test_v2_is_the_mean_of_its_three_sets() -> None:
    base = replace(OWN, study="ood", dataset="imagenet-v2", protocol="center")
    parts = [
        replace(base, split=split, value=value, source=split)
        for split, value in (("matched-frequency", 0.6), ("threshold", 0.7), ("top-images", 0.8))
    ]
    _, rows = cells("4.2", parts)
    assert rows[0] == ["own", "own", "-", "70.00", "-", "-", "-"]
    # Two of them are no mean.
    assert cells("4.2", parts[:2])[1][0][:2] == ["trex", "DINO"]


def test_networks_with_100_classes_stand_in_the_same_columns() -> None:
    small = replace(OWN, study="ood", dataset="imagenet-r", split="classes of imagenet-100", value=0.5)
    header, rows = cells("5.2", [small])
    assert rows[0][header.index("R top-1")] == "50.00"


def test_tables_that_own_figures_stand_in() -> None:
    assert layouts_of([OWN]) == ["4.3", "5.3"]
    assert layouts_of([replace(OWN, dataset="cog-l3")]) == ["D.1", "5.4"]
    # ImageNet alone says nothing of transfer.
    assert layouts_of([replace(OWN, dataset="imagenet")]) == [] == layouts_of([replace(OWN, dataset="digits")])


def test_the_command(tmp_path: Path) -> None:
    write_results([OWN], tmp_path / "own.csv")
    shown = CliRunner().invoke(cli, ["eval", "table", str(tmp_path / "own.csv"), "--table", "4.3"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[0].split() == ["from", "model", "iNat18", "iNat19"]
    assert "t-ReX*" in shown.stdout and "table 4.3" in shown.stdout
    assert CliRunner().invoke(cli, ["eval", "table", "--table", "9.9"]).exit_code == 2
    with pytest.raises(OptionError, match=r"--table 4\.3 has its own columns"):
        TableOptions(table="4.3", references=("cog",))
