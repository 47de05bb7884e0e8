"""A new version is the same in processes of its own, whoever is killed when, and on an object store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shardtools.curation import ApplyOptions, UndoOptions, apply_view, diff_datasets, undo
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetBusyError, DatasetError
from shardtools.execution import read_events
from shardtools.overlays import open_overlay
from shardtools.sources import SourceOptions
from shardtools.storage import open_storage
from shardtools.storage.copying import copy_object
from shardtools.verify import verify
from shardtools.writing import WriteOptions
from tests.helpers.curated_datasets import apply_here, make_dataset, make_photos, rows, undo_here
from tests.helpers.photo_datasets import content
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.s3_server import S3Server
from tests.helpers.writing_jobs import write_in_process

NUM_SHARDS = 24
VIEW = """
select key, case when hash(key) % 9 = 0 then 'drop' when hash(key) % 9 = 1 then 'relabel' else 'reweight' end as action,
    1 as class_index, 0.5 as weight from samples where hash(key) % 9 < 3 and class_index <> 1
"""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("parent")
    files = {f"class{n % 4}/p{n:04d}.jpg": jpeg(n) for n in range(4 * NUM_SHARDS)}
    source = SourceOptions(source=str(write_files(folder / "photos", files)))
    write_in_process(WriteOptions(source=source, out=str(folder / "out"), samples_per_shard=4))
    return str(folder / "out")


@pytest.fixture(scope="module")
def undisturbed(parent: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    apply_here(parent, VIEW, out)
    return content(out)


def start(parent: str, out: Path, num_processes: int) -> subprocess.Popen[str]:
    code = "import sys; from shardtools.cli.apply import command; command(sys.argv[1:])"
    words = [parent, VIEW, "--out", str(out), "--num-processes", str(num_processes)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def num_parts(out: Path) -> int:
    return len(list((out / "manifest").glob("*")))


def test_killed_at_any_moment_it_resumes_to_the_same_bytes(
    parent: str, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dice = random.Random(3)
    for num_processes in (1, 2):
        before = num_parts(out)
        process = start(parent, out, num_processes)
        deadline = time.monotonic() + 60
        while process.poll() is None and num_parts(out) < before + 6 and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(dice.random() / 50)
        workers = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        process.communicate()
        assert psutil.wait_procs(workers, timeout=10)[1] == []
    assert 0 < num_parts(out) < NUM_SHARDS and not (out / "dataset.json").exists()
    with pytest.raises(DatasetError, match="is not finished"):
        open_dataset(str(out))

    result = apply_view(ApplyOptions(dataset=parent, view=VIEW, out=str(out), num_processes=2))
    assert 0 < result.num_written < 4 * NUM_SHARDS
    assert content(out) == undisturbed
    assert verify(str(out)).problems == ()
    starts = [event for event in read_events(open_storage(out)) if event["event"] == "start"]
    assert len({event["pid"] for event in starts} | {os.getpid()}) >= 4
    again = apply_here(parent, VIEW, out)
    assert (again.num_written, again.num_processes) == (0, 0)
    assert content(out) == undisturbed


def test_killed_before_its_overlays_it_writes_them(parent: str, undisturbed: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    apply_here(parent, VIEW, out)
    (out / "overlays/changes/overlay.json").unlink()
    (out / "overlays/weights/overlay.json").unlink()
    (out / "dataset.json").unlink()
    apply_here(parent, VIEW, out)

    assert content(out) == undisturbed


def test_sigterm_finishes_the_part_in_hand_and_one_run_holds_the_place(
    parent: str, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(parent, out, 1)
    # While its processes start: the parts themselves take no time.
    while process.poll() is None and not list(out.glob("lease/*")):
        time.sleep(0.002)
    with pytest.raises(DatasetBusyError, match="is being written by another run"):
        apply_here(parent, VIEW, out)
    while process.poll() is None and num_parts(out) < 2:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)

    assert process.returncode != 0
    assert "run the same command again, it resumes" in errors
    assert {path.stem for path in (out / "shards").iterdir()} == {path.stem for path in (out / "manifest").iterdir()}
    apply_here(parent, VIEW, out)
    assert content(out) == undisturbed


@pytest.mark.usefixtures("s3_environment")
def test_object_stores_on_either_side(
    parent: str, undisturbed: dict[str, str], s3_server: S3Server, tmp_path: Path
) -> None:
    base = f"s3://{s3_server.bucket}/{tmp_path.name}"
    apply_view(ApplyOptions(dataset=parent, view=VIEW, out=f"{base}/child", num_processes=2))
    assert content(f"{base}/child") == undisturbed
    # All of it inside of the bucket: taken over by the store itself.
    undo(UndoOptions(dataset=f"{base}/child", parent=parent, out=f"{base}/back", num_processes=1))
    assert diff_datasets(parent, f"{base}/back").equal
    inside = apply_here(f"{base}/back", VIEW, f"{base}/again")
    assert verify(f"{base}/again").problems == ()
    assert inside.num_taken_over > 0
    local = apply_here(f"{base}/back", VIEW, tmp_path / "local")
    assert rows(local.url) == rows(inside.url)
    assert open_overlay(local.url, "weights").read() == open_overlay(inside.url, "weights").read()


@pytest.mark.usefixtures("s3_environment")
@pytest.mark.parametrize("layout", ["one-file", "imagefolder", "mds"])
def test_other_layouts_on_an_object_store(layout: str, s3_server: S3Server, tmp_path: Path) -> None:
    base = f"s3://{s3_server.bucket}/{tmp_path.name}"
    dataset = make_dataset(make_photos(tmp_path / "photos"), f"{base}/in", layout)
    sql = "select key from samples where split = 'val' or key like '%p03'"
    apply_here(dataset, sql, f"{base}/out", drop=True)
    undo_here(f"{base}/out", dataset, f"{base}/back")

    assert verify(f"{base}/out").problems == () and verify(f"{base}/back").problems == ()
    assert diff_datasets(dataset, f"{base}/back").equal


@pytest.mark.usefixtures("s3_environment")
def test_objects_are_copied_between_all_places(s3_server: S3Server, tmp_path: Path) -> None:
    places = [
        tmp_path / "a",
        tmp_path / "b",
        f"s3://{s3_server.bucket}/{tmp_path.name}/a b",
        f"s3://{s3_server.bucket}",
    ]
    storages = [open_storage(place) for place in places]
    payload = random.Random(5).randbytes(3_000_000)
    for number, source in enumerate(storages):
        path = f"shards/x{number}, ü.tar"
        source.write(path, payload)
        for target in storages:
            if target is not source:
                copy_object(source, path, target, num_bytes=len(payload))
                copy_object(source, path, target, link=True)
                assert target.read(path) == payload
