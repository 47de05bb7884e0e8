"""`shardtools cog`: what is printed, written and refused on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shardtools.cli import main
from shardtools.evaluation.cog import Funnel, read_levels
from shardtools.evaluation.results import read_results
from tests.helpers.cog_worlds import FAR, NEAR, make_world

POOL = ["--pool", ",".join([*NEAR, *FAR]), "--seen", "n01514668,n01667114", "--without", "", "--exclude", "none"]


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*args])
    return int(ended.value.code or 0)


def test_the_funnel_is_printed(
    capsys: pytest.CaptureFixture[str], cog_funnel: Funnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardtools.evaluation.cog.funnel.eligible_concepts", lambda _options: cog_funnel)
    monkeypatch.setattr("shardtools.evaluation.cog.eligible_concepts", lambda _options: cog_funnel, raising=False)
    assert run("cog", "eligible") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:8]] == [
        "82,115",
        "21,841",
        "20,842",
        "20,081",
        "17,254",
        "14,248",
        "14,178",
    ]
    assert "14,265 by direct parents" in lines[6]
    assert lines[8] == "images were not counted: give --counts FILE.csv or a dataset"


def test_from_levels_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = make_world(tmp_path / "in21k")
    file, results = tmp_path / "levels.csv", tmp_path / "cog.csv"
    asked = [*POOL, "--counts", url, "--least", "10", "--num-levels", "2", "--size", "3", "--out", str(file)]
    assert run("cog", "levels", *asked, "--from", url, "--train", "6", "--test", "3") == 0
    printed = capsys.readouterr()
    assert f"wrote 6 concepts to {file}" in printed.err
    assert "of 10 images or more" in printed.out
    assert f"  shardtools cog run --dataset {url} --overlay cog_levels --features NAME" in printed.out
    assert [level.name for level in read_levels(file)] == ["L1", "L2"]
    probe = ["--solver", "lbfgs", "--seeds", "22", "--trials", "2", "--shots", "", "--results", str(results)]
    assert run("cog", "run", "--dataset", url, "--features", "own", *probe) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["top-1 in %, all images", "model     L1     L2"]
    assert {row.dataset for row in read_results([results])} == {"cog-l1", "cog-l2"}
    assert run("cog", "report", str(results), "--reference", "cog", "--model", "s-DINO", "--baseline", "s-DINO") == 0
    assert "points above s-DINO, all images" in capsys.readouterr().out
    assert run("cog", "report", str(results), "--markdown") == 0
    assert "| model | L1 | L2 |" in capsys.readouterr().out


def test_objects_have_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cog", "eligible", *POOL, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["eligible"] == sorted([*NEAR, *FAR])
    assert run("cog", "levels", *POOL, "--num-levels", "3", "--size", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(level["concepts"]) for level in found["levels"]] == [2, 2, 2]
    assert found["levels"][0]["concepts"][0]["nearest"] == "n01514668"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["levels", "--concepts", ",".join(NEAR), "--size", "4", "--num-levels", "1"], 2, "need 4, found 3"),
        (["levels", "--levels", "none.csv"], 1, "none.csv"),
        (["levels", "--seen", NEAR[0], "--concepts", ",".join(NEAR), "--size", "2"], 2, "among the seen concepts"),
        (["levels", "--measure", "text", *POOL], 2, "give --vectors"),
        (["run", "--features", "own"], 2, "a run needs levels"),
        (["report"], 2, "a report needs results"),
    ],
)
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], args: list[str], code: int, message: str
) -> None:
    assert run("cog", *args) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("shardtools: ")
    assert message in line
