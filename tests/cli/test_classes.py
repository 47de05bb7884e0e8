"""`shardtools classes` and `shardtools prompts` as typed."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from shardtools.cli import main
from shardtools.cli.columns import format_columns


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(args))
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_lists_the_sets_with_their_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "classes")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:7]] == [
        ["imagenet-1k", "1000"],
        ["imagenet-100", "100"],
        ["imagenet-a", "200"],
        ["imagenet-r", "200"],
        ["imagenet-21k", "21841"],
        ["fashion", "10"],
    ]


def test_set_as_text_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "classes", "imagenet-100")
    assert out.splitlines()[1].split()[:3] == ["0", "n02869837", "bonnet,"]
    assert out.endswith("100 classes in imagenet-100\n")
    _, out, _ = run(capsys, "classes", "fashion", "--json")
    records = json.loads(out)
    assert [record["class_index"] for record in records] == list(range(10))
    assert records[0]["lemmas"] == ["jersey", "T-shirt", "tee shirt"] and records[0]["hypernyms"] == [["shirt"]]
    _, out, _ = run(capsys, "classes", "fashion", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 10 and rows[7]["lemmas"] == "gym shoe, sneaker, tennis shoe"


def test_search_puts_exact_lemmas_first(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "classes", "robin")
    lines = out.splitlines()
    assert code == 0
    assert lines[1].startswith("n01558993  robin.n.02") and "imagenet-100 26" in lines[1]
    assert lines[2].startswith("n01562265  robin.n.01")
    _, out, _ = run(capsys, "classes", "toy", "spaniel", "--json")
    assert json.loads(out)[0]["synset"] == "toy_spaniel.n.01"


def test_lists_files_and_synsets_outside_the_sets(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("name,definition\nhot dog,a sausage\n")
    _, out, _ = run(capsys, "classes", str(mine))
    assert out.splitlines()[1].split() == ["0", "hot_dog", "hot", "dog", "a", "sausage"]
    assert "1 class in" in out
    _, out, _ = run(capsys, "classes", "n03595614,sandal.n.01", "--json")
    assert [record["wnid"] for record in json.loads(out)] == ["n03595614", "n04133789"]
    _, out, _ = run(capsys, "classes", "trial_run.n.01", "--json")
    assert json.loads(out)[0]["lemmas"][1] == "trial run"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["classes", "robbn"], 1, "did you mean robin"),
        (["classes", "zzqqxy"], 1, "lists the class sets"),
        (["classes", "n99999999"], 1, "n99999999"),
        (["classes", "--json", "--csv"], 2, "exclude each other"),
        (["prompts", "--prompt", "a photo"], 1, "names no class"),
        (["prompts", "--prompt", "c, x_c"], 1, "'x_c'"),
        (["prompts", "--classes", "entity.n.01", "--prompt", "h_c"], 1, "n00001740 (entity)"),
        (["prompts", "--prompt", "c", "--scenes", "places365"], 1, "has no b"),
        (["prompts", "--lemmas", "two"], 2, "two"),
        (["prompts", "--limit", "0"], 2, "--limit"),
    ],
)
def test_errors_are_one_line(capsys: pytest.CaptureFixture[str], args: list[str], code: int, message: str) -> None:
    found, out, err = run(capsys, *args)
    assert (found, out) == (code, "")
    assert message in err
    if code == 1:
        assert err.startswith("shardtools: ") and err.count("\n") == 1


def test_prompts_of_the_default_template(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "prompts", "--prompt", "c, d_c")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["wnid", "class", "prompt"]
    assert lines[1].endswith("jersey, T-shirt, tee shirt, a close-fitting pullover shirt")
    assert lines[-1] == "10 classes: 10 distinct prompts"


def test_prompts_in_scenes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args = [
        "prompts",
        "--prompt",
        "c, h_c inside b",
        "--classes",
        "imagenet-100",
        "--lemmas",
        "first",
        "--hypernyms",
        "first",
    ]
    _, out, _ = run(capsys, *args)
    lines = out.splitlines()
    assert lines[1].endswith("bonnet, hat inside airfield")
    assert len(lines) == 103 and lines[-1] == "100 classes x 365 scenes: 36,500 distinct prompts"
    scenes = tmp_path / "scenes.txt"
    scenes.write_text("beach\nsky\nsnow\n")
    _, out, _ = run(capsys, *args, "--scenes", str(scenes), "--limit", "2", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert len(records) == 200
    assert records[1] == {"wnid": "n02869837", "class_index": 0, "scene": "sky", "prompt": "bonnet, hat inside sky"}


def test_classes_that_share_a_prompt_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "prompts", "--prompt", "c", "--classes", "imagenet-1k")
    counted, shared = out.splitlines()[-2:]
    assert counted == "1,000 classes: 999 distinct prompts"
    assert "n02012849 and n03126707 (crane)" in shared


def test_columns_are_cut_to_the_terminal_and_only_there() -> None:
    rows = [["1", "x" * 50, "犬" * 30]]
    assert format_columns(["a", "b", "c"], rows)[1] == "  ".join(rows[0])
    header, line = format_columns(["a", "b", "c"], rows, width=60)
    assert header.split() == ["a", "b", "c"]
    assert line.count("…") == 2
    assert line.startswith("1  xxx") and 58 <= cell_len(line) <= 60


@pytest.mark.parametrize("name", ["classes", "prompts"])
def test_help_has_an_example_and_imports_nothing_heavy(name: str) -> None:
    script = (
        "import sys, shardtools.cli as c\n"
        f"try: c.main(['{name}', '--help'])\n"
        "except SystemExit: pass\n"
        "names = 'nltk numpy pyarrow duckdb torch'.split()\n"
        "heavy = set(names) & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f"shardtools {name} " in done.stdout.split("Example")[1]
