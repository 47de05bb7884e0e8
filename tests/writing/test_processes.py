"""A source becomes the same dataset in processes of its own, whoever is killed when."""

# Fixtures are imported by their names and come back as arguments.
# ruff: noqa: F401, F811
from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from shardtools.cli import main
from shardtools.dataset import open_dataset, read_status
from shardtools.errors import DatasetError
from shardtools.execution import read_events
from shardtools.storage import open_storage
from shardtools.verify import VerifyOptions, verify
from tests.helpers.photo_datasets import NUM_PHOTOS, PER_SHARD, content, photos, write, write_here


def start(*words: Path | str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "shardtools", "write", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    write_here(photos, out)
    return content(out)


def test_the_command_from_a_folder_to_a_verified_dataset(
    photos: Path, undisturbed: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        main(["write", str(photos), str(out), "--samples-per-shard", str(PER_SHARD), "--num-processes", "2"])

    assert stop.value.code == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"{NUM_PHOTOS} samples in 20 shards on 2 processes: starting\n")
    assert f"holds {NUM_PHOTOS - 3} images" in captured.out and "rows by split: train 240" in captured.out
    assert "rejected: 1 not-an-image, 2 undecodable" in captured.out
    assert re.findall(r"^  shardtools (\w+)", captured.out, re.MULTILINE) == ["query", "verify", "sql"]
    assert content(out) == undisturbed
    assert verify(str(out), VerifyOptions()).problems == ()
    starts = [event for event in read_events(open_storage(out)) if event["event"] == "start"]
    assert len({event["pid"] for event in starts} | {os.getpid()}) == 3
    assert {event["num_processes"] for event in starts} == {2}
    assert all(event["num_tasks"] for event in starts)
    status = read_status(str(out))
    assert (status.kind, status.committed, status.num_rows, status.num_shards) == ("real", True, NUM_PHOTOS, 20)


def test_killed_at_any_moment_it_resumes_to_the_same_bytes(
    photos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dice = random.Random(2)
    words = (photos, out, "--samples-per-shard", str(PER_SHARD), "--num-processes")

    def shards() -> int:
        return len(list((out / "shards").glob("*"))) if out.exists() else 0

    moments: list[Callable[[], bool]] = [
        lambda: (out / "plan.json").exists(),
        lambda: any((out / ".tmp").glob("*")) and shards() > 0,
        lambda: shards() > before + 2,
        lambda: shards() > before + 4,
    ]
    for number, moment in enumerate(moments):
        before = shards()
        process = start(*words, str(number % 3 + 1))
        deadline = time.monotonic() + 30
        while process.poll() is None and not moment() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(dice.random() / 50)
        workers = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        process.communicate()
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert alive == []
        assert not (out / "dataset.json").exists()
    assert 0 < shards() < 20
    with pytest.raises(DatasetError, match="is not finished"):
        open_dataset(str(out))

    result = write(photos, out, num_processes=2)
    assert content(out) == undisturbed
    assert 0 < result.num_written < NUM_PHOTOS
    assert (result.num_rows, result.num_images) == (NUM_PHOTOS, NUM_PHOTOS - 3)
    again = write(photos, out)
    assert (again.num_written, again.num_processes, again.statuses) == (0, 0, result.statuses)
    assert content(out) == undisturbed


def test_sigterm_finishes_the_shard_in_hand(photos: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(photos, out, "--samples-per-shard", PER_SHARD, "--num-processes", "1")
    while process.poll() is None and not list((out / "manifest").glob("*")):
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)

    assert (process.returncode, output) == (1, "")
    last = errors.splitlines()[-1]
    assert re.fullmatch(r"shardtools: stopped after \d+ samples, .* run the same command again, it resumes", last)
    tars = sorted(path.stem for path in (out / "shards").glob("*.tar"))
    assert tars == sorted(path.stem for path in (out / "manifest").glob("*.parquet"))
    assert not (out / ".tmp").exists()
    assert [event["reason"] for event in read_events(open_storage(out)) if event["event"] == "end"] == ["stopped"]
    write_here(photos, out)
    assert content(out) == undisturbed


def test_a_killed_worker_is_an_error_and_the_others_finish(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(photos, out, "--samples-per-shard", "4", "--num-processes", "2")
    while process.poll() is None and not list((out / "manifest").glob("*")):
        time.sleep(0.002)
    psutil.Process(process.pid).children()[0].kill()
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert re.search(r"process \d of 2 was killed by signal 9: .* run the same command again", errors)


def test_a_source_without_one_image_keeps_its_rows_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    (source / "cat").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        (source / "cat" / name).write_bytes(b"no image")
    with pytest.raises(SystemExit) as stop:
        main(["write", str(source), str(out), "--num-processes", "1"])

    assert stop.value.code == 1
    captured = capsys.readouterr()
    assert "rejected: 2 " in captured.out
    assert captured.err.endswith(
        f"{out} has no image, expected at least one: see the reasons above, or check the source\n"
    )
    assert read_status(str(out)).num_rows == 2
