"""`shardtools eval table`: what it prints and writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from shardtools.cli import main
from shardtools.cli.eval.table import EPILOG
from shardtools.evaluation.results import REFERENCES, Result, read_results, write_results


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["eval", "table", *words])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def file(tmp_path: Path) -> str:
    rows = [
        Result(study="ood", model="lite0", dataset="imagenet-c", metric=metric, value=value, source="run")
        for metric, value in (("mean_corruption_error", 0.8123), ("mean_error", 0.6))
    ]
    write_results(rows, tmp_path / "own.csv")
    return str(tmp_path / "own.csv")


def test_own_and_published_side_by_side(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, "--reference", "robustbench", "--model", "lite", "--model", "R50") == 0
    assert capsys.readouterr().out == (
        "from         model         C mCE  C mean error\n"
        "own          lite0         81.23         60.00\n"
        "robustbench  Standard_R50  76.38         60.52\n"
        "\n"
        "own: run\n"
        "robustbench: RobustBench, imagenet/corruptions (5,000 images)\n"
    )


def test_json_is_the_rows(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, "--reference", "robustbench", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2 + 2 * 12
    assert rows[0] == {
        "reference": None,
        "study": "ood",
        "model": "lite0",
        "dataset": "imagenet-c",
        "split": "",
        "protocol": "",
        "metric": "mean_corruption_error",
        "value": 0.8123,
        "seed": None,
        "low": None,
        "high": None,
        "source": "run",
    }
    assert {row["reference"] for row in rows[2:]} == {"robustbench"}


def test_markdown(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, "--markdown", "--metric", "mean_error") == 0
    assert capsys.readouterr().out == "| model | C mean error |\n| --- | ---: |\n| lite0 | 60.00 |\n\n- own: run\n"


def test_rows_to_a_file(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "all.parquet")
    assert run(file, "--reference", "robustbench", "--output", out) == 0
    assert capsys.readouterr() == ("", f"wrote 26 rows to {out}\n")
    # What was written can be read beside what is shipped.
    assert len(read_results([out])) == 26


def test_the_help_names_what_is_shipped() -> None:
    for name, reference in REFERENCES.items():
        assert re.search(rf"^  {name} +{re.escape(reference.what)}$", EPILOG, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "a table needs results"),
        (("--reference", "imagenet"), 2, "--reference is one of seed001"),
        (("own.txt",), 2, "results are read and written as .parquet or .csv, found 'own.txt'"),
        (("nothing.csv",), 1, "nothing.csv"),
        (("--reference", "timm", "--output", "x.json"), 2, ".parquet or .csv"),
        (("--reference", "timm", "--limit", "0"), 2, "--limit is 1 to 100000, found 0"),
        (("--reference", "timm", "--json", "--markdown"), 2, "exclude each other"),
    ],
)
def test_what_makes_no_table(words: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == code
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err
    if "exclude" not in said:
        assert len(captured.err.splitlines()) == 1
