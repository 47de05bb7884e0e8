"""`shardtools overlay`, and `shardtools sql` over overlays, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shardtools.cli.overlay import command
from shardtools.cli.sql import command as sql_command
from shardtools.errors import AlreadyExistsError, DatasetError
from tests.helpers.sql_datasets import fashion_images, make_dataset


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return fashion_images(4)


@pytest.fixture
def dataset(tmp_path: Path, images: list[bytes]) -> str:
    make_dataset(tmp_path / "dataset", images=images, num_shards=1)
    return str(tmp_path / "dataset")


@pytest.fixture
def fixes(tmp_path: Path) -> str:
    (tmp_path / "fixes.csv").write_text("key,class_index\nsample0000,1\nsample0002,0\n")
    return str(tmp_path / "fixes.csv")


def run(*args: str) -> Result:
    result = CliRunner().invoke(command, args, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def test_an_overlay_from_its_import_to_its_removal(dataset: str, fixes: str) -> None:
    assert f"{dataset} has no overlays; make one" in run("list", dataset).stderr
    assert run("list", dataset, "--json").stdout == "[]\n"
    assert run("import", dataset, "fixes", fixes).stderr == f"wrote 2 rows to {dataset}/overlays/fixes\n"

    header, line = run("list", dataset).stdout.splitlines()
    assert header.split() == ["name", "rows", "columns", "made", "by", "usable"]
    assert line.split() == ["fixes", "2", "key,", "class_index", "shardtools", "overlay", "import", "yes"]
    shown = run("show", dataset, "fixes", "--check").stdout.splitlines()
    assert shown[0] == f"{dataset}/overlays/fixes: 2 rows in 1 part, made by shardtools overlay import"
    assert shown[1:4] == ["columns: key string, class_index int64", "unique: key", 'settings: {"file": "fixes.csv"}']
    [record] = json.loads(run("list", dataset, "--json").stdout)
    assert record == json.loads(run("show", dataset, "fixes", "--json").stdout)
    assert (record["num_rows"], record["fits"]) == (2, True)

    with pytest.raises(AlreadyExistsError, match=r"give replace \(--replace\)"):
        run("import", dataset, "fixes", fixes)
    run("import", dataset, "fixes", fixes, "--replace")
    assert run("remove", dataset, "fixes").stderr == f"removed overlay fixes of {dataset}\n"
    assert not Path(dataset, "overlays").exists()


def test_unique_columns_are_declared(dataset: str, tmp_path: Path) -> None:
    file = tmp_path / "losses.csv"
    file.write_text("key,epoch,loss\nsample0000,0,0.5\nsample0000,1,0.25\n")
    with pytest.raises(DatasetError, match="more than once: 'sample0000'"):
        run("import", dataset, "losses", str(file))
    run("import", dataset, "losses", str(file), "--unique", "epoch")
    assert "unique: key, epoch" in run("show", dataset, "losses").stdout


def test_an_overlay_is_accepted_for_a_later_version(dataset: str, fixes: str, tmp_path: Path) -> None:
    run("import", dataset, "fixes", fixes)
    commit = Path(dataset, "dataset.json")
    commit.write_text(commit.read_text().replace('"scale": 1', '"scale": 2'))
    assert run("list", dataset).stdout.splitlines()[1].endswith("no: of another version")
    assert f"another version: `shardtools overlay accept {dataset} fixes`" in run("show", dataset, "fixes").stdout
    run("accept", dataset, "fixes")
    assert run("list", dataset).stdout.splitlines()[1].endswith("yes")


def test_sql_reads_overlays_in_the_dataset_and_elsewhere(dataset: str, fixes: str, tmp_path: Path) -> None:
    run("import", dataset, "fixes", fixes)
    run("import", dataset, "elsewhere", fixes, "--out", str(tmp_path / "run"))
    statement = (
        "select f.key, e.class_index from overlays.fixes f join overlays.elsewhere e using (dataset, key) order by key"
    )
    args = [statement, dataset, "--overlay", str(tmp_path / "run"), "--json"]
    result = CliRunner().invoke(sql_command, args, standalone_mode=False)
    assert json.loads(result.stdout) == [
        {"key": "sample0000", "class_index": 1},
        {"key": "sample0002", "class_index": 0},
    ]
