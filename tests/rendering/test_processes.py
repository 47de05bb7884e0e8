"""Catalogues become the same dataset in processes of their own, whoever is killed when."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shardtools.cli import main
from shardtools.dataset import open_dataset, read_status
from shardtools.errors import DatasetError, OptionError, RunError
from shardtools.rendering import describe_renderer
from shardtools.sql import query
from shardtools.verify import verify
from shardtools.writing import WriteOptions, WriteResult, estimate_rendered, write_rendered
from shardtools.writing.rendering import BYTES_PER_IMAGE, Catalogues
from tests.helpers.photo_datasets import content
from tests.helpers.render_ranks import OPTIONS, PER_SHARD, SCENE
from tests.helpers.rendered_worlds import make_catalogues
from tests.helpers.s3_server import S3Server
from tests.helpers.writing_jobs import write_in_process

WORDS = ("--values", "3", "--objects", "3", "--image-size", "32", "--supersampling", "1", "--samples-per-shard", "3")
NUM_IMAGES = 6 * (1 + 4 * 3 + 4)


@pytest.fixture(scope="module")
def catalogues(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_catalogues(tmp_path_factory.mktemp("catalogues"), 3, 3)


@pytest.fixture(scope="module")
def undisturbed(catalogues: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    written_here(catalogues, out)
    return content(out)


def written_here(catalogues: tuple[str, str], out: Path) -> None:
    """What `write_rendered` does, in this process."""
    source = Catalogues(*catalogues).source(OPTIONS, SCENE)
    write_in_process(WriteOptions(source=source, out=str(out), samples_per_shard=PER_SHARD))
    source.close()


def rendered(catalogues: tuple[str, str], out: Path | str, num_processes: int = 1) -> WriteResult:
    return write_rendered(*catalogues, out, OPTIONS, SCENE, samples_per_shard=PER_SHARD, num_processes=num_processes)


def test_killed_at_any_moment_it_resumes_to_the_same_bytes(
    catalogues: tuple[str, str], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out, dice = tmp_path / "out", random.Random(2)

    def parts() -> int:
        return len(list((out / "manifest").glob("*.parquet")))

    renderer = describe_renderer(SCENE)
    # Of six a rank the first time, then all; of the others all at once.
    for num_ranks in (6, 2, 1):
        words = [sys.executable, "-m", "tests.helpers.render_ranks", *catalogues, str(out), str(num_ranks), renderer]
        before = parts()
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while process.poll() is None and parts() < before + 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(dice.random() / 100)
        workers = psutil.Process(process.pid).children()
        assert len(workers) == num_ranks
        if num_ranks == 6:
            dice.choice(workers).kill()
            time.sleep(0.01)
        process.kill()
        process.communicate()
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert alive == []
    assert 0 < parts() < NUM_IMAGES // 3
    with pytest.raises(DatasetError, match="is not finished"):
        open_dataset(str(out))

    written_here(catalogues, out)
    assert content(out) == undisturbed


def test_the_command_from_catalogues_to_a_verified_dataset(
    catalogues: tuple[str, str], undisturbed: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meshes, backgrounds = catalogues
    out = tmp_path / "out"
    words = ["render", meshes, "--backgrounds", backgrounds, "--out", str(out), *WORDS, "--num-processes", "2"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--dry-run"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0] == "102 images of 6 objects of 2 classes: canonical 6, single 96"
    assert lines[1].startswith("the 3 values of size from 0.2 to 1.2 do not hold the canonical 1: ")
    assert lines[2].startswith("34 shards, about ")
    assert "images/s of one; measured on this machine)" in printed and "nothing was made" in printed
    assert not out.exists()

    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("102 images in 34 shards on 2 processes: starting\n")
    assert re.search(r"^102 images in .* images/s, 2 processes\): .* holds 102 images", captured.out)
    assert "2 classes" in captured.out
    assert re.findall(r"^  shardtools (\w+)", captured.out, re.MULTILINE) == ["sql", "verify", "describe"]
    assert content(out) == undisturbed
    assert verify(str(out)).problems == ()
    status = read_status(str(out))
    assert (status.kind, status.committed, status.num_rows) == ("rendered", True, NUM_IMAGES)
    [row] = query(
        "select count(distinct object_id) as objects, min(mesh_license) as said from samples", [str(out)]
    ).to_pylist()
    assert row == {"objects": 3, "said": "CC-BY-4.0"}


@pytest.mark.usefixtures("s3_environment")
def test_catalogues_and_dataset_on_an_object_store(
    undisturbed: dict[str, str], s3_server: S3Server, tmp_path: Path
) -> None:
    base = f"s3://{s3_server.bucket}/{tmp_path.name}"
    catalogues = make_catalogues(base, 3, 3)
    assert rendered(catalogues, f"{base}/out", 2).num_images == NUM_IMAGES
    assert content(f"{base}/out") == undisturbed


def test_without_graphics_the_counts_are_there_and_nothing_is_written(
    catalogues: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "moderngl", None)
    found = estimate_rendered(*catalogues, OPTIONS, SCENE, samples_per_shard=PER_SHARD, num_processes=2)
    assert (found.counts, found.num_shards, found.num_processes) == ({"canonical": 6, "single": 96}, 34, 2)
    assert found.num_bytes == round(NUM_IMAGES * BYTES_PER_IMAGE * (32 / 224) ** 2)
    assert found.unmeasured is not None
    assert re.match(
        r"render needs moderngl, which is not installed: pip install 'shardtools\[render\]'", found.unmeasured
    )
    with pytest.raises(RunError, match="render needs moderngl"):
        rendered(catalogues, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["MESHES", "--backgrounds", "RAW"],
            r"there is no catalogue of backgrounds at .*: make it with `shardtools backgr",
        ),
        (
            ["RAW", "--backgrounds", "BACKGROUNDS"],
            "has no meshes.csv: it is no catalogue of meshes; `shardtools meshes",
        ),
        (["MESHES", "--backgrounds", "BACKGROUNDS"], "--objects 50: no class has so many objects, .* give --objects 3"),
        (
            ["MESHES", "--backgrounds", "BACKGROUNDS", "--values", "1"],
            "--values is 2 to 10001, found 1: a factor of one",
        ),
        (["MESHES", "--backgrounds", "BACKGROUNDS", "--grid", "grid"], "--grid is some of canonical, .*, found 'grid'"),
        (["MESHES", "--backgrounds", "BACKGROUNDS", "--size-range", ".5"], "--size-range is two numbers .*, found 0.5"),
        (["MESHES", "--backgrounds", "BACKGROUNDS", "--size-range", "a,b"], "expected numbers with commas .*'a,b'"),
        (
            ["MESHES", "--backgrounds", "BACKGROUNDS", "--objects", "3", "--canonical-background", "sea/1"],
            "--canonical-background is a photograph of the catalogue, .* found 'sea/1'",
        ),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], line: str, catalogues: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"MESHES": catalogues[0], "BACKGROUNDS": catalogues[1], "RAW": str(tmp_path)}
    with pytest.raises(SystemExit) as stop:
        main(["render", *(places.get(word, word) for word in words), "--out", str(tmp_path / "out")])
    assert stop.value.code in (1, 2)
    assert re.search(line, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", [0, 1])
def test_a_dataset_inside_of_a_catalogue_is_refused(inside: int, catalogues: tuple[str, str]) -> None:
    with pytest.raises(OptionError, match="lies inside of its source"):
        rendered(catalogues, f"{catalogues[inside]}/out")
    assert not (Path(catalogues[inside]) / "out").exists()
