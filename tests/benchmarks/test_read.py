"""The benchmark of reading, on a handful of small images: that it measures, not how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import process_tree, read, read_data, read_ours
from tests.helpers.pictures import jpeg, write_files

SCRIPT = Path(read.__file__)
NUM_IMAGES = 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {f"n{n % 4:08d}/n{n % 4:08d}_{n // 4}.JPEG": jpeg(n) for n in range(NUM_IMAGES)}
    return write_files(tmp_path_factory.mktemp("benchmark") / "corpus", files)


@pytest.fixture(scope="module")
def data(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    arguments = Namespace(corpus=corpus, data=tmp_path_factory.mktemp("data"), images=NUM_IMAGES)
    read_data.need(arguments, "tar")
    found: Path = arguments.data
    return found


def run(corpus: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--corpus", str(corpus), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_benchmark_prints_one_json_object_and_leaves_nothing_behind(corpus: Path) -> None:
    names = ["ours", "bound", "webdataset"]
    done = run(corpus, "--images", str(NUM_IMAGES), "--rounds", "1", "--json", "--only", ",".join(names))

    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert list(found["images_per_second"]) == list(found["contenders"]) == names
    assert list(found["ratio"]) == list(found["figures"]) == ["bound", "webdataset"]
    assert {name: bar["at_least"] for name, bar in found["bars"].items()} == {"webdataset": 2.2, "bound": 0.85}
    assert all(bar["met"] in (True, False) for bar in found["bars"].values())
    assert (found["failed"], found["images"], found["rounds"]) == ({}, NUM_IMAGES, 1)
    for one in found["contenders"].values():
        assert (one["images"], one["epochs"]) == (NUM_IMAGES, 3)
        assert min(one["images_per_second"], one["first_batch_seconds"], one["peak_mb_without_files"]) > 0
    assert [path.name for path in corpus.parent.iterdir()] == ["corpus"]


def test_a_corpus_with_too_few_images_is_one_line(corpus: Path) -> None:
    done = run(corpus, "--json")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"read: {corpus} holds 40 images, not 2000: make it with benchmarks/corpus.py"]


def test_a_contender_that_fails_is_named_and_the_others_are_measured(corpus: Path, data: Path) -> None:
    (data / "raw").mkdir()
    # Made by hand, and no dataset.
    (data / "raw.done").write_text(str(NUM_IMAGES))
    words = ("--images", str(NUM_IMAGES), "--rounds", "1", "--data", str(data))
    done = run(corpus, *words, "--only", "raw_ours,first_batch_small")

    found = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert list(found["failed"]) == ["raw_ours"]
    assert "DatasetError" in done.stderr
    assert list(found["contenders"]) == ["first_batch_small"]


@pytest.mark.parametrize("name", read.CONTENDERS)
def test_every_contender_is_in_a_section_with_one_to_hold_it_against(name: str) -> None:
    section = read.CONTENDERS[name].section
    assert sum(one.section == section for one in read.CONTENDERS.values()) > 1
    assert name.removeprefix(f"{section}_") != ""


def one(speed: float, **others: Any) -> read.Report:
    return {"images_per_second": speed, "first_batch_seconds": 0.5, "peak_mb_without_files": 100.0, **others}


def test_ratios_are_ours_over_the_peer_and_are_judged() -> None:
    results = {"ours": one(1000.0), "ffcv": one(800.0), "bound": one(1100.0)}
    results |= {"raw_ours": one(90.0), "raw_ffcv": one(100.0)}
    results |= {"s3_ours": one(90.0, epoch_seconds=10.0, images=2000), "s3_ranges": one(600.0), "s3_local": one(100.0)}
    results |= {"s3_view": one(70.0, epoch_seconds=2.0, images=200), "first_batch_large": one(1.0)}

    assert read.ratios(results, "crop") == {"bound": 1000 / 1100, "ffcv": 1.25}
    found = read.judge(read.figures(results))
    assert {name: (bar["found"], bar["met"]) for name, bar in found.items()} == {
        "ffcv": (1.25, False),
        "bound": (1000 / 1100, True),
        "raw_ffcv": (0.9, False),
        "s3_limit": (0.9, True),
        "s3_view_speedup": (5.0, True),
        "first_batch_large_seconds": (0.5, True),
    }


def test_the_first_epoch_is_left_out_and_medians_are_over_all_other_epochs() -> None:
    run = {"first_batch_seconds": 1.0, "cpu_ms_per_image": 2.0, "peak_mb": 9.0, "peak_mb_without_files": 8.0}
    runs = [
        run | {"images": [50, 100, 100], "seconds": [9.0, 1.0, 2.0]},
        run | {"images": [50, 100], "seconds": [9, 4]},
    ]
    found = read.summarize(runs)

    assert (found["images_per_second"], found["slowest_images_per_second"], found["epochs"]) == (50, 25, 3)
    assert (found["images"], found["epoch_seconds"], found["peak_mb"]) == (100, 2, 9)


def test_memory_and_time_are_those_of_all_processes_together() -> None:
    alone = process_tree.memory_mb()["peak_mb"]
    child = subprocess.Popen([sys.executable, "-c", "b = bytearray(90 << 20); input()"], stdin=subprocess.PIPE)
    try:
        with process_tree.MemoryPeak() as memory:
            while memory.found["peak_mb_without_files"] < 90 and child.poll() is None:
                pass
        assert child.pid in process_tree.tree()
        assert memory.found["peak_mb"] > alone
        assert process_tree.cpu_seconds() > 0
    finally:
        child.communicate(b"\n")
    assert child.pid not in process_tree.tree()


def test_the_bound_decodes_as_many_as_the_loader_delivers(data: Path) -> None:
    arguments = Namespace(data=data / "tar", url=None, view=None, batch_size=16, threads=2)
    arguments.shuffle, arguments.block_size = "global", 500

    assert list(read_ours.bound(arguments)()(0)) == list(read_ours.ours(arguments)()(0)) == [16, 16, 8]
