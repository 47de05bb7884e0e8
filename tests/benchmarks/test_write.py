"""The benchmark of writing, on a handful of small images: that it measures, not how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from benchmarks import peers_write, write
from tests.helpers.pictures import jpeg, write_files

SCRIPT = Path(write.__file__)
NUM_IMAGES = 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {f"n{n % 3:08d}/n{n % 3:08d}_{n // 3}.JPEG": jpeg(n) for n in range(NUM_IMAGES)}
    return write_files(tmp_path_factory.mktemp("benchmark") / "corpus", files)


def test_the_benchmark_prints_one_json_object_and_leaves_nothing_behind(corpus: Path) -> None:
    names = ["loop", "header"]
    words = f"--corpus {corpus} --images {NUM_IMAGES} --rounds 1 --repeat 2 --memory-rows 200 --json --only"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words.split(), ",".join(names)], capture_output=True, text=True, check=True
    )

    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert list(found["images_per_second"]) == list(found["mb_per_second"]) == list(found["contenders"]) == names
    assert list(found["ratio"]) == list(found["ratio_with_startup"]) == ["loop"]
    assert list(found["bars"]) == ["loop", "peak_mb"]
    assert all(bar["met"] in (True, False) for bar in found["bars"].values())
    assert {size: one["rows"] for size, one in found["memory"].items()} == {"small": 100, "large": 200}
    assert (found["images"], found["rounds"]) == (2 * NUM_IMAGES, 1)
    assert all(one["images"] == 2 * NUM_IMAGES and one["seconds"] > 0 for one in found["contenders"].values())
    assert [path.name for path in corpus.parent.iterdir()] == ["corpus"]


def test_a_corpus_with_too_few_images_is_one_line(corpus: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--corpus", str(corpus), "--json"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"write: {corpus} holds 30 images, not 2000: make it with benchmarks/corpus.py"]


def test_links_are_the_same_bytes_in_other_classes(corpus: Path, tmp_path: Path) -> None:
    num_bytes = write.present(corpus, tmp_path / "twice", NUM_IMAGES, 2)

    photos = peers_write.list_photos(tmp_path / "twice")
    assert num_bytes == 2 * sum(len(jpeg(number)) for number in range(NUM_IMAGES))
    assert len({key for key, _, _ in photos}) == len(photos) == 2 * NUM_IMAGES
    assert {label for _, _, label in photos} == set(range(6))
    assert {Path(path).read_bytes() for _, path, _ in photos} == {jpeg(number) for number in range(NUM_IMAGES)}


def test_the_loop_writes_every_byte_once_in_any_number_of_processes(corpus: Path, tmp_path: Path) -> None:
    photos = peers_write.list_photos(corpus)
    for processes in ("1", "2", "3"):
        out = tmp_path / processes
        arguments = peers_write.parse(["loop", "--source", str(corpus), "--out", str(out), "--processes", processes])
        found = peers_write.measure(peers_write.PEERS["loop"](arguments))

        assert found["seconds"] > 0 and found["cpu_seconds"] > 0 and found["peak_mb"] > 1
        written = b"".join(path.read_bytes() for path in sorted(out.iterdir()))
        assert written == b"".join(Path(path).read_bytes() for _, path, _ in photos)


def test_webdatasets_writer_gets_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    peers_write.write_webdataset(peers_write.list_photos(corpus), str(tmp_path / "part0"))

    with tarfile.open(tmp_path / "part0-000000.tar") as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    assert len(members) == 3 * NUM_IMAGES
    assert members["n00000001_4.jpg"] == jpeg(13)
    assert members["n00000001_4.cls"] == b"1"
    assert json.loads(members["n00000001_4.json"])["class_index"] == 1


def test_start_up_is_taken_off_and_ratios_are_judged() -> None:
    tiny = [{"seconds": seconds, "cpu_seconds": 1.0, "peak_mb": 80.0, "wall_seconds": 2.0} for seconds in (1.0, 1.5)]
    runs = [{"seconds": 5.0, "cpu_seconds": 2.0, "peak_mb": 90.0, "wall_seconds": 6.0}]
    header, loop = write.summarize(runs, tiny, 500, 10**7), write.summarize(runs, tiny, 900, 10**7)

    assert (header["images_per_second"], header["mb_per_second"]) == (100, 2)
    assert (header["startup_seconds"], header["seconds"], header["cpu_ms_per_image"]) == (2, 5, 4)
    speeds = {"header": header["images_per_second"], "loop": loop["images_per_second"]}
    assert write.ratios(speeds.get) == {"loop": 0.5}
    assert write.judge({"loop": 0.5}, [90.0, 600.0]) == {
        "loop": {"at_least": 0.7, "found": 0.5, "met": False},
        "peak_mb": {"at_most": 500, "found": 600.0, "met": False},
    }


def test_a_run_as_short_as_its_start_up_counts_in_full() -> None:
    run = {"seconds": 1.5, "cpu_seconds": 1.0, "peak_mb": 80.0, "wall_seconds": 2.0}

    assert write.summarize([run], [run], 300, 10**6)["images_per_second"] == 200
