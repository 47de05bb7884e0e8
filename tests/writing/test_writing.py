"""A source becomes a dataset: same bytes, one row a file, and refusals that harm nothing."""

# Fixtures are imported by their names and come back as arguments.
# ruff: noqa: F401, F811
from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools.cli import main
from shardtools.dataset import acquire, open_dataset
from shardtools.errors import OptionError, PlanMismatchError, ShardtoolsError, SourceError
from shardtools.sources import SourceOptions
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes
from shardtools.verify import VerifyOptions, verify
from shardtools.writing import WriteOptions
from tests.helpers.photo_datasets import NUM_PHOTOS, PER_SHARD, content, photos, write, write_here
from tests.helpers.pictures import (
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
from tests.helpers.s3_server import S3Server


def rows(out: Path | str) -> list[dict[str, Any]]:
    return [row for table in open_dataset(str(out)).tables() for row in table.to_pylist()]


def plain(out: Path, split: str = "train") -> list[dict[str, Any]]:
    """The samples as webdataset reads them, without any code of this project."""
    urls = [str(path) for path in sorted((out / "shards").glob(f"{split}-*.tar"))]
    with warnings.catch_warnings():
        # webdataset leaves the last tar to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        return list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)) if urls else []


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


def test_a_dataset_may_lie_beside_the_archive_it_is_made_from(photos: Path, tmp_path: Path) -> None:
    archive, out = tmp_path / "photos.tar", tmp_path / "photos-shards"
    with tarfile.open(archive, "w") as tar:
        for folder in sorted(photos.iterdir()):
            tar.add(folder, folder.name)
    # Its folder is no source: nothing that is written there is read by the next run.
    assert write(archive, out).num_images > 0
    [shard, *_] = sorted((out / "shards").iterdir())
    (tmp_path / "tars").mkdir()
    shard.rename(tmp_path / "tars" / "x-0.tar")
    assert write(f"{tmp_path}/tars/x-{{0..0}}.tar", tmp_path / "tars" / "inside").num_images > 0
    # A pattern that would take up the new shards is refused as a folder is.
    for pattern in (f"{tmp_path}/*/*.tar", f"{tmp_path}/tars/*.tar"):
        with pytest.raises(OptionError, match="lies inside of its source"):
            write(pattern, tmp_path / "tars" / "again")
