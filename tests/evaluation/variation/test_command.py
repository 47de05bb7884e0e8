"""`shardtools eval variation`: what it prints and writes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from shardtools.cli import cli
from shardtools.evaluation.results import read_results
from tests.helpers.planted_gaps import make_planted, planted_rows


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = planted_rows(num_classes=4, grids=("canonical", "single"))
    return make_planted(tmp_path_factory.mktemp("planted") / "rooms", rows)


def run(*arguments: str) -> str:
    ran = CliRunner().invoke(cli, ["eval", "variation", *arguments, "--C", "100", "--folds", "2"])
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_one_model_is_a_line_a_set_with_intervals(planted: str, tmp_path: Path) -> None:
    lines = run(planted, "--features", "own", "--results", str(tmp_path / "r.csv")).splitlines()
    assert lines[0] == "own: linear, C 100; 2 folds, 8 of 16 objects held out"
    pose = next(line for line in lines if line.startswith("pose "))
    assert pose.split() == ["pose", "66.7", "(66.7", "to", "66.7)", "-33.3", "(-33.3", "to", "-33.3)", "±0.0"]
    assert len(read_results([tmp_path / "r.csv"])) == 13


def test_json_has_all_figures(planted: str) -> None:
    found = json.loads(run(planted, "--features", "own", "--setting", "classes", "--halves", "2", "--json"))
    assert {"results", "points", "notes"} == set(found)
    assert len(found["points"]) == 5 * 4
    values = {(row["split"], row["metric"]): row["value"] for row in found["results"]}
    assert values["classes/pose/unseen/pose", "variation_gap"] == pytest.approx(-1 / 3)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("samples", ["own pose 50 % 100.0 0.0 0.0 0.0 0.0 -50.0 -10.0"]),
        ("instances", ["own background 50 % 100.0 -33.3 0.0 0.0 0.0 0.0 -6.7"]),
        ("classes", ["own pose -33.3 0.0 (0.0 to 0.0) -33.3 (-33.3 to -33.3) -33.3 (-33.3 to -33.3)"]),
    ],
)
def test_settings_have_their_tables(planted: str, setting: str, expected: list[str]) -> None:
    text = run(planted, "--features", "own", "--setting", setting, "--shares", "50", "--halves", "2")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in expected:
        assert line in lines, text
