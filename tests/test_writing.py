"""A source becomes a dataset: same bytes, one row a file, exactly once, whoever is killed when."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools.cli import main
from shardtools.dataset import acquire, open_dataset, read_status
from shardtools.dataset.events import read_events
from shardtools.errors import DatasetError, OptionError, PlanMismatchError, ShardtoolsError, SourceError
from shardtools.sources import SourceOptions
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes
from shardtools.verify import VerifyOptions, verify
from shardtools.writing import WriteOptions, WriteResult, write_dataset
from tests.pictures import (
    drawing,
    encode,
    fashion_labels,
    fashion_pixels,
    idx_images,
    idx_labels,
    jpeg,
    write_files,
    write_tar,
)
from tests.s3_server import S3Server
from tests.writing_here import write_in_process

NUM_PHOTOS = 240
PER_SHARD = 12


def write_here(
    source: Path | str, out: Path | str, *, num_processes: int = 1, samples_per_shard: int = PER_SHARD, **options: Any
) -> None:
    """The whole job with its ranks one after the other in this process: no start of an interpreter for every case."""
    wanted = WriteOptions(
        source=SourceOptions(source=str(source), **options), out=str(out), samples_per_shard=samples_per_shard
    )
    write_in_process(wanted, num_processes)


def write(source: Path | str, out: Path | str, *, num_processes: int | None = 1, **options: Any) -> WriteResult:
    return write_dataset(
        WriteOptions(
            source=SourceOptions(source=str(source), **options),
            out=str(out),
            samples_per_shard=PER_SHARD,
            num_processes=num_processes,
        )
    )


def start(*words: Path | str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "shardtools", "write", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(out: Path | str) -> list[dict[str, Any]]:
    return [row for table in open_dataset(str(out)).tables() for row in table.to_pylist()]


def content(out: Path | str) -> dict[str, str]:
    """Path -> digest of all that the promises are about."""
    storage = open_storage(str(out))
    return {
        stored.path: hashlib.sha256(storage.read(stored.path)).hexdigest()
        for stored in storage.list()
        if not stored.path.startswith(("events/", "lease/"))
    }


def plain(out: Path, split: str = "train") -> list[dict[str, Any]]:
    """The samples as webdataset reads them, without any code of this project."""
    urls = [str(path) for path in sorted((out / "shards").glob(f"{split}-*.tar"))]
    with warnings.catch_warnings():
        # webdataset leaves the last tar to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        return list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)) if urls else []


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with good, odd and broken files."""
    files = {f"class{n % 7}/photo{n:04d}.jpg": jpeg(n) for n in range(NUM_PHOTOS - 6)}
    files |= {
        "class0/png.JPEG": encode(drawing(1), "PNG"),
        "class0/cmyk.jpg": encode(drawing(2).convert("CMYK"), "JPEG"),
        "class1/cut.jpg": jpeg(3)[:-50],
        "class1/empty.jpg": b"",
        "class2/README.txt": b"words",
        "class2/twin.png": encode(drawing(4), "PNG"),
    }
    return write_files(tmp_path_factory.mktemp("photos"), files)


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


def test_nothing_is_lost_and_no_byte_changed(photos: Path, tmp_path: Path) -> None:
    write_here(photos, tmp_path / "out", num_processes=3)
    files = [path for path in photos.rglob("*") if path.is_file()]
    found = rows(tmp_path / "out")
    kept = [row for row in found if row["status"] == "ok"]
    rejected = [row for row in found if row["status"] != "ok"]

    assert len(files) == len(kept) + len(rejected) == len({row["key"] for row in found}) == NUM_PHOTOS
    assert sorted((row["key"], row["status"]) for row in rejected) == [
        ("class1_cut", "undecodable"),
        ("class1_empty", "undecodable"),
        ("class2_README_txt", "not-an-image"),
    ]
    assert all(row["reason"] and row["shard"] is None and row["class_index"] is not None for row in rejected)
    broken = [_digest(photos / path) for path in ("class1/cut.jpg", "class1/empty.jpg", "class2/README.txt")]
    assert sorted([row["sha256"] for row in kept] + broken) == sorted(map(_digest, files))
    by_key = {row["key"]: row for row in found}
    samples = plain(tmp_path / "out")
    assert len(samples) == len(kept)
    for sample in samples:
        row = by_key[sample["__key__"]]
        assert hashlib.sha256(sample[row["image_format"]]).hexdigest() == row["sha256"]
        assert int(sample["cls"]) == row["class_index"] == int(row["wnid"].removeprefix("class"))
    assert (by_key["class0_png"]["image_format"], by_key["class0_png"]["reason"]) == (
        "png",
        "named .jpeg, the bytes are png",
    )
    assert by_key["class0_cmyk"]["mode"] == "CMYK"
    # Sorted by class would be a bad shard to train on.
    assert len({row["wnid"] for row in found[:PER_SHARD]}) > 3


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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


def test_another_source_or_option_is_another_plan(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {f"a/{n}.jpg": jpeg(n) for n in range(4)})
    out = tmp_path / "out"
    write_here(root, out)

    for options in ({"check": "header"}, {"shuffle_seed": 5}, {"samples_per_shard": 2}, {"split": "val"}):
        with pytest.raises(PlanMismatchError):
            write_here(root, out, **options)
    write_files(root, {"b/new.jpg": jpeg(9)})
    with pytest.raises(PlanMismatchError, match="source_listing"):
        write_here(root, out)
    # Nothing was harmed.
    (root / "b/new.jpg").unlink()
    (root / "b").rmdir()
    write_here(root, out)
    assert len(rows(out)) == 4


def test_targets_that_are_refused(photos: Path, tmp_path: Path) -> None:
    for inside in (photos, photos / "out", photos / "class0/../out"):
        with pytest.raises(OptionError, match="lies inside of its source"):
            write(photos, inside)
    write_files(tmp_path / "full", {"notes.txt": b"mine"})
    with pytest.raises(PlanMismatchError, match=r"notes\.txt"):
        write(photos, tmp_path / "full")
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["notes.txt"]
    with (
        acquire(open_storage(tmp_path / "held"), purpose="test"),
        pytest.raises(ShardtoolsError, match="being written"),
    ):
        write(photos, tmp_path / "held")


def test_errors_of_workers_arrive_as_they_are(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "in/x.tar", [("1.jpg", jpeg(1)), ("1.cls", b"cat")])

    with pytest.raises(SourceError, match=r"x\.tar, key '1', byte 512: expected an integer") as caught:
        write(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_json_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1), "a/2.jpg": b"broken"})
    with pytest.raises(SystemExit) as stop:
        main(["write", str(root), str(tmp_path / "out"), "--json", "--split", "val"])

    assert stop.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["statuses"] == {"ok": 1, "undecodable": 1}
    assert (found["splits"], found["num_rows"], found["num_shards"]) == ({"val": 2}, 2, 1)


def test_a_source_of_only_bad_files_is_a_dataset_of_reasons(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": b"", "a/2.jpg": b"x"})
    write_here(root, tmp_path / "out")

    assert [row["status"] for row in rows(tmp_path / "out")] == ["undecodable"] * 2
    assert not (tmp_path / "out/shards").exists()


def test_fashion_mnist_by_two_ranks(tmp_path: Path) -> None:
    labels, pixels = fashion_labels(500), fashion_pixels(500)
    files = {
        "t10k-images-idx3-ubyte.gz": gzip.compress(idx_images(pixels)),
        "t10k-labels-idx1-ubyte": idx_labels(labels),
    }
    out = tmp_path / "out"
    root = write_files(tmp_path / "in", files)
    write_here(root, out, classes="fashion", num_processes=2, samples_per_shard=150)
    wnids = [one.wnid for one in load_classes("fashion")]

    assert [(row["split"], row["wnid"]) for row in rows(out)] == [("test", wnids[label]) for label in labels]
    samples = plain(out, "test")
    assert [(sample["__key__"], int(sample["cls"])) for sample in samples] == [
        (f"test_{number:05d}", label) for number, label in enumerate(labels)
    ]
    for sample, expected in zip(samples, pixels, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(sample["png"]))), expected)
    assert verify(str(out), VerifyOptions()).problems == ()


KEYS = st.text(
    st.characters(min_codepoint=33, exclude_characters="./\\\x7f", exclude_categories=("Cs", "Cc")),
    min_size=1,
    max_size=20,
)
SAMPLES = st.dictionaries(
    KEYS.filter(lambda key: not key.startswith("__")),
    st.fixed_dictionaries(
        {
            "image": st.sampled_from(
                [jpeg(1), jpeg(2), encode(drawing(3), "PNG"), encode(drawing(4).convert("L"), "JPEG")]
            )
        },
        optional={
            "cls": st.integers(0, 2**31 - 1).map(lambda label: str(label).encode()),
            "txt": st.binary(max_size=40),
        },
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25)
@given(SAMPLES, st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_tar_to_dataset_keeps_every_byte_and_label(
    samples: dict[str, dict[str, bytes]], samples_per_shard: int, num_processes: int, shuffle: bool
) -> None:
    def extension(image: bytes) -> str:
        return "png" if image.startswith(b"\x89PNG") else "jpg"

    members = [
        (f"{key}.{extension(parts['image']) if name == 'image' else name}", payload)
        for key, parts in samples.items()
        for name, payload in parts.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        source, out = write_tar(Path(folder) / "in/x.tar", members), Path(folder) / "out"
        write_here(source, out, samples_per_shard=samples_per_shard, num_processes=num_processes, shuffle=shuffle)
        found = {sample["__key__"]: sample for sample in plain(out)}
        expected_rows = {row["key"]: row for row in rows(out)}

    assert set(found) == set(expected_rows) == set(samples)
    for key, parts in samples.items():
        assert found[key][extension(parts["image"])] == parts["image"]
        assert found[key].get("cls") == parts.get("cls")
        assert found[key].get("txt") == parts.get("txt")
        assert expected_rows[key]["class_index"] == (int(parts["cls"]) if "cls" in parts else None)
        assert expected_rows[key]["sha256"] == hashlib.sha256(parts["image"]).hexdigest()


def test_object_stores_give_the_same_bytes(photos: Path, s3_environment: S3Server, tmp_path: Path) -> None:
    base = s3_environment.url(f"writing/{tmp_path.name}-{os.getpid()}")
    inputs = open_storage(f"{base}/in")
    files = sorted(path for path in photos.rglob("*") if path.is_file())[::8]
    members = []
    for number, path in enumerate(files):
        inputs.write(f"folder/{path.relative_to(photos)}", path.read_bytes())
        members.append((f"{number:03d}.jpg", path.read_bytes()))
    local = write_files(tmp_path / "folder", {str(path.relative_to(photos)): path.read_bytes() for path in files})
    for name, chosen in (("a-000.tar", members[:9]), ("a-001.tar", members[9:])):
        inputs.write(f"tars/{name}", write_tar(tmp_path / "tars" / name, chosen).read_bytes())

    for here, there in ((local, f"{base}/in/folder"), (tmp_path / "tars", f"{base}/in/tars/a-{{000..001}}.tar")):
        write_here(here, tmp_path / f"out-{here.name}")
        write_here(there, f"{base}/out-{here.name}", num_processes=2)
        assert content(f"{base}/out-{here.name}") == content(tmp_path / f"out-{here.name}")
    with pytest.raises(OptionError, match="lies inside"):
        write(f"{base}/in/folder", f"{base}/in/folder/out")
    assert write(f"{base}/in/folder", f"{base}/out-folder").num_written == 0


@pytest.mark.parametrize("changes", [{"samples_per_shard": 0}, {"num_processes": 0}])
def test_options_are_checked(changes: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        WriteOptions(source=SourceOptions(source="x"), out="y", **changes)
