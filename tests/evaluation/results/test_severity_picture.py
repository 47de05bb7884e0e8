"""The picture of errors by severity: its curves by hand, and a PNG of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from shardtools.errors import OptionError, RunError
from shardtools.evaluation.results import (
    Result,
    TableOptions,
    draw_severities,
    join_results,
    severity_curves,
    write_results,
)
from shardtools.evaluation.results.joining import Joined
from tests.evaluation.results.test_table_command import run

SNOW = Result(
    study="ood", model="lite0", dataset="imagenet-c", split="snow/1", metric="error", value=0.25, source="run"
)


def curves(*rows: Result) -> dict[tuple[str, str], dict[str, list[float]]]:
    return severity_curves([Joined(group="", result=row) for row in rows])


def test_curves_by_hand() -> None:
    rows = [
        replace(SNOW, split=f"{name}/{s}", value=start + s / 10)
        for name, start in (("snow", 0.1), ("fog", 0.3))
        for s in range(1, 6)
    ]
    [own] = curves(*rows, replace(SNOW, metric="top1_accuracy"), replace(SNOW, split="", value=0.9)).values()
    assert list(own) == ["mean", "snow", "fog"]
    assert own["snow"] == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert own["mean"] == pytest.approx([0.3, 0.4, 0.5, 0.6, 0.7])


def test_what_was_not_measured_is_a_gap() -> None:
    [own] = curves(SNOW).values()
    assert own["snow"][0] == 0.25 and all(map(math.isnan, own["snow"][1:]))


def test_seeds_are_their_mean_and_protocols_apart() -> None:
    found = curves(
        replace(SNOW, seed=1),
        replace(SNOW, seed=2, value=0.75),
        replace(SNOW, protocol="resized", value=0.9),
    )
    assert {name: own["snow"][0] for (_, name), own in found.items()} == {"lite0": 0.5, "lite0 (resized)": 0.9}


def test_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results([SNOW, replace(SNOW, split="snow/2", value=0.5)], tmp_path / "own.csv")
    out = str(tmp_path / "out.png")
    assert run(str(tmp_path / "own.csv"), "--reference", "robustbench", "--severities", out) == 0
    assert capsys.readouterr() == ("", f"drew 13 networks: {out}\n")
    with Image.open(out) as picture:
        # Of the own network there is snow at two severities: only what published ones have there is beside it.
        assert picture.size[0] == 1200


def test_what_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = severity_curves(join_results(TableOptions(references=("robustbench",), models=("R50",), parts=True)))
    with pytest.raises(RunError, match="cannot be written"):
        draw_severities(found, tmp_path / "nothing" / "out.png")
    with pytest.raises(OptionError, match=r"ends in \.png"):
        draw_severities(found, tmp_path / "out.svg")
    with pytest.raises(OptionError, match="no error of a corruption at a severity"):
        curves(replace(SNOW, split=""))
    assert run("--reference", "linf", "--severities", str(tmp_path / "out.png")) == 2
    assert "--on c=DATASET" in capsys.readouterr().err
