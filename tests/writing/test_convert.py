"""From any format into any other: the same images, the same labels, and a manifest that knows its parent."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shardtools.cli import main
from shardtools.dataset import open_dataset
from shardtools.encoding import EncodingOptions
from shardtools.errors import OptionError, ShardError, ShardtoolsError, SourceError
from shardtools.manifest import decode_part, encode_part
from shardtools.shards import LAYOUT_NAMES
from shardtools.sources import SourceOptions
from shardtools.sql import find_query, query
from shardtools.storage import open_storage
from shardtools.verify import VerifyOptions, verify
from shardtools.writing import WriteOptions, write_dataset
from tests.helpers.pictures import drawing, encode, jpeg, write_files, write_tar
from tests.helpers.s3_server import S3Server
from tests.helpers.writing_jobs import write_in_process

NUM_PHOTOS = 40
PER_SHARD = 7


def convert(source: Path | str, out: Path | str, layout: str, **options: Any) -> None:
    names = ("kind", "split", "classes", "check", "shuffle", "flatten_keys")
    of_source = {name: options.pop(name) for name in names if name in options}
    write_in_process(
        WriteOptions(
            source=SourceOptions(source=str(source), **of_source),
            out=str(out),
            layout=layout,
            **{"samples_per_shard": PER_SHARD, **options},
        )
    )


def rows(out: Path | str) -> list[dict[str, Any]]:
    return [row for table in open_dataset(str(out)).tables() for row in table.to_pylist()]


def images(out: Path | str) -> dict[str, bytes]:
    """Key -> bytes, read by the manifest's places alone."""
    storage = open_storage(str(out))
    return {
        row["key"]: storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
        for row in rows(out)
        if row["status"] == "ok"
    }


def labels(out: Path | str) -> dict[str, tuple[Any, ...]]:
    names = ("split", "wnid", "class_index", "status", "sha256", "width", "height", "mode", "source_path")
    return {row["key"]: tuple(row[name] for name in names) for row in rows(out)}


def content(out: Path) -> dict[str, str]:
    return {
        stored.path: hashlib.sha256(open_storage(str(out)).read(stored.path)).hexdigest()
        for stored in open_storage(str(out)).list()
        if not stored.path.startswith(("events/", "lease/"))
    }


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs of two splits and three classes, and two files that are none."""
    files = {f"train/class{n % 3}/photo{n:04d}.jpg": jpeg(n) for n in range(NUM_PHOTOS)}
    files |= {f"val/class{n % 3}/v{n}.jpg": jpeg(100 + n) for n in range(5)}
    files |= {"train/class0/cut.jpg": jpeg(3)[:-60], "train/class1/notes.txt": b"words"}
    return write_files(tmp_path_factory.mktemp("photos"), files)


@pytest.fixture(scope="module")
def tars(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tars") / "out"
    convert(photos, out, "tar")
    return out


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_there_and_back_gives_the_same_bytes_labels_and_tars(tars: Path, tmp_path: Path, layout: str) -> None:
    convert(tars, tmp_path / "there", layout)
    convert(tmp_path / "there", tmp_path / "back", "tar")

    assert images(tmp_path / "there") == images(tmp_path / "back") == images(tars)
    assert labels(tmp_path / "there") == labels(tmp_path / "back") == labels(tars)
    shards = {path: digest for path, digest in content(tars).items() if path.startswith("shards/")}
    assert {path: digest for path, digest in content(tmp_path / "back").items() if path in shards} == shards
    for name, parent in (("there", tars), ("back", tmp_path / "there")):
        info = open_dataset(tmp_path / name).info
        assert info is not None and info.kind == "derived"
        assert info.parent == hashlib.sha256((parent / "dataset.json").read_bytes()).hexdigest()
        report = verify(tmp_path / name)
        assert report.sound and report.num_images == NUM_PHOTOS + 5
    assert {row["status"] for row in rows(tmp_path / "back")} == {"ok", "undecodable", "not-an-image"}


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_an_outside_copy_is_read_without_its_manifest(tars: Path, tmp_path: Path, layout: str) -> None:
    convert(tars, tmp_path / "there", layout, **({"fields": ("key",)} if layout == "beton" else {}))
    there = tmp_path / "there"
    for name in ("dataset.json", "plan.json"):
        (there / name).unlink()
    source = {"imagefolder": there, "mds": there / "shards", "litdata": there / "shards"}.get(layout, there)
    if layout == "imagefolder":
        # What lies beside the split folders belongs to the dataset that it was.
        source = tmp_path / "plain"
        source.mkdir()
        for split in ("train", "val"):
            (there / split).rename(source / split)
    convert(source, tmp_path / "again", "tar", check="header")

    found = {
        (row["split"], row["class_index"], row["sha256"]) for row in rows(tmp_path / "again") if row["status"] == "ok"
    }
    assert found == {(row["split"], row["class_index"], row["sha256"]) for row in rows(tars) if row["status"] == "ok"}
    if layout != "imagefolder":
        assert images(tmp_path / "again") == images(tars)


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_the_bytes_do_not_depend_on_the_number_of_processes(tars: Path, tmp_path: Path, layout: str) -> None:
    for name, num_processes in (("one", 1), ("three", 3)):
        write_in_process(
            WriteOptions(
                source=SourceOptions(source=str(tars)),
                out=str(tmp_path / name),
                layout=layout,
                samples_per_shard=PER_SHARD,
            ),
            num_processes,
        )

    assert content(tmp_path / "one") == content(tmp_path / "three")


def test_one_beton_a_split(tars: Path, tmp_path: Path) -> None:
    convert(tars, tmp_path / "one", "beton", one_file=True, fields=("key", "json"))

    files = sorted(path.name for path in (tmp_path / "one" / "shards").iterdir())
    assert files == ["train.beton", "val.beton"]
    assert images(tmp_path / "one") == images(tars) and labels(tmp_path / "one") == labels(tars)
    assert verify(tmp_path / "one").sound
    before = content(tmp_path / "one")
    convert(tars, tmp_path / "one", "beton", one_file=True, fields=("key", "json"))
    assert content(tmp_path / "one") == before
    indexes = [row["sample_index"] for row in rows(tmp_path / "one") if row["split"] == "train" and row["shard"]]
    assert indexes == list(range(NUM_PHOTOS))


@pytest.mark.parametrize("kept", ["nothing", "joined file", "joined file and one part"])
def test_a_killed_join_is_done_again(tars: Path, tmp_path: Path, kept: str) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    convert(tars, whole, "beton", one_file=True)
    convert(tars, out, "beton")
    # As a run leaves it that was killed while it joined: shards and parts are there, the commit is not.
    (out / "dataset.json").unlink()
    (out / "plan.json").write_bytes((whole / "plan.json").read_bytes())
    plan_id = open_dataset(whole).commit.plan_id
    for path in (out / "manifest").iterdir():
        part = decode_part(path.read_bytes(), where=path.name)
        assert part.origin is not None
        path.write_bytes(encode_part(part.table, part.shards, replace(part.origin, plan_id=plan_id)))
    if kept != "nothing":
        (out / "shards" / "train.beton").write_bytes((whole / "shards" / "train.beton").read_bytes())
    if kept == "joined file and one part":
        name = "manifest/train-000001.parquet"
        (out / name).write_bytes((whole / name).read_bytes())
    convert(tars, out, "beton", one_file=True)

    assert content(out) == content(whole)


def test_the_command_killed_at_any_moment_ends_in_the_same_bytes(tars: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    convert(tars, whole, "beton", one_file=True)
    moments: list[Callable[[], bool]] = [
        lambda: any((out / "manifest").glob("*")),
        lambda: len(list((out / "manifest").glob("*"))) > 4,
        lambda: (out / "shards" / "train.beton").exists(),
        lambda: (out / "dataset.json").exists(),
    ]
    words = ["convert", str(tars), str(out), "--to", "beton", "--one-file", "--samples-per-shard", str(PER_SHARD)]
    for number, moment in enumerate(moments):
        command = [sys.executable, "-m", "shardtools", *words, "--num-processes", str(number % 2 + 1)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while process.poll() is None and not moment() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        process.wait()
    options = WriteOptions(
        source=SourceOptions(source=str(tars)),
        out=str(out),
        layout="beton",
        one_file=True,
        samples_per_shard=PER_SHARD,
        num_processes=1,
    )
    write_dataset(options)

    assert content(out) == content(whole)
    assert not any((out / "lease").glob("*")) and not (out / ".tmp").exists()


def test_an_image_under_two_labels_is_kept_and_found(tmp_path: Path) -> None:
    photos = write_files(tmp_path / "photos", {"a/1.jpg": jpeg(1), "b/2.jpg": jpeg(1), "b/3.jpg": jpeg(2)})
    convert(photos, tmp_path / "out", "tar")

    found = query(find_query("duplicates").sql, [str(tmp_path / "out")], {"min_copies": 2}).to_pylist()
    assert [(row["num_copies"], row["num_classes"], row["wnids"]) for row in found] == [(2, 2, ["a", "b"])]


def test_torchvision_reads_the_folder_of_images(tars: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    convert(tars, tmp_path / "out", "imagefolder")
    found = ImageFolder(str(tmp_path / "out" / "train"))

    assert found.classes == ["class0", "class1", "class2"] and len(found) == NUM_PHOTOS
    by_name = {Path(path).stem: label for path, label in found.samples}
    assert by_name == {row["key"]: row["class_index"] for row in rows(tars) if row["shard"] and row["split"] == "train"}


@pytest.mark.parametrize("damage", ["joined", "row", "image file", "index"])
def test_verify_finds_damage_in_every_layout(tars: Path, tmp_path: Path, damage: str) -> None:
    layout = {"joined": "beton", "row": "mds", "image file": "imagefolder", "index": "litdata"}[damage]
    out = tmp_path / "out"
    convert(tars, out, layout, one_file=layout == "beton")
    row = next(row for row in rows(out) if row["shard"])
    if damage == "image file":
        (out / row["shard"]).unlink()
    else:
        file = out / ("shards/train/index.json" if damage == "index" else row["shard"])
        bytes_there = bytearray(file.read_bytes())
        bytes_there[row["member_offset"] + 5 if damage != "index" else 5] ^= 1
        file.write_bytes(bytes_there)

    report = verify(out)

    kinds = {problem.kind for problem in report.problems}
    expected = {
        "joined": "image-altered",
        "row": "image-altered",
        "image file": "shard-missing",
        "index": "shard-altered",
    }
    assert expected[damage] in kinds
    if damage in ("joined", "row"):
        assert any(problem.key == row["key"] for problem in report.problems)
        assert not verify(out, VerifyOptions(sample=1000)).sound


def test_members_are_not_lost_without_a_word(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "train-000000.tar",
        [
            (f"{n:03d}.{extension}", payload)
            for n in range(4)
            for extension, payload in (
                ("cls", str(n).encode()),
                ("jpg", jpeg(n)),
                ("mask.png", encode(drawing(n), "PNG")),
                ("txt", b"caption"),
            )
        ],
    )
    for layout in ("beton", "mds", "litdata", "imagefolder"):
        with pytest.raises(ShardError, match=r"'000' has member \.mask\.png, which is not among --fields"):
            convert(tar, tmp_path / f"refused-{layout}", layout)
        convert(tar, tmp_path / f"dropped-{layout}", layout, drop_members=True)
        if layout == "imagefolder":
            continue
        convert(tar, tmp_path / layout, layout, fields=("mask.png", "txt"))
        convert(tmp_path / layout, tmp_path / f"{layout}-tar", "tar")
        text = (tmp_path / f"{layout}-tar" / "shards" / "train-000000.tar").read_bytes()
        assert text.count(b"caption") == 4 and text.count(encode(drawing(2), "PNG")) == 1


def test_smaller_images_on_the_way_know_what_they_were(tars: Path, tmp_path: Path) -> None:
    convert(tars, tmp_path / "small", "tar", encoding=EncodingOptions(max_side=20, quality=80))
    convert(tars, tmp_path / "raw", "beton", encoding=EncodingOptions(write_mode="raw"))

    before = {row["key"]: row for row in rows(tars)}
    for row in rows(tmp_path / "small"):
        if row["status"] == "ok":
            assert max(row["width"], row["height"]) == 20 and row["jpeg_quality"] == 80
            assert row["source_sha256"] == before[row["key"]]["sha256"]
            assert (row["source_width"], row["source_height"]) == (48, 36)
    assert verify(tmp_path / "small").sound and verify(tmp_path / "raw").sound
    convert(tmp_path / "raw", tmp_path / "png", "tar")
    key, payload = next(iter(images(tmp_path / "png").items()))
    storage = open_storage(str(tars))
    row = before[key]
    (tmp_path / "one.jpg").write_bytes(storage.read_range(row["shard"], row["member_offset"], row["num_bytes"]))
    (tmp_path / "one.png").write_bytes(payload)
    with Image.open(tmp_path / "one.jpg") as source, Image.open(tmp_path / "one.png") as copy:
        assert source.convert("RGB").tobytes() == copy.tobytes()


def test_an_altered_image_stops_a_copy(tars: Path, tmp_path: Path) -> None:
    convert(tars, tmp_path / "a", "tar")
    row = next(row for row in rows(tmp_path / "a") if row["shard"])
    file = tmp_path / "a" / row["shard"]
    altered = bytearray(file.read_bytes())
    altered[row["member_offset"] + 30] ^= 1
    file.write_bytes(altered)

    with pytest.raises(SourceError, match=f"{row['key']!r}.*not the one that was recorded.*shardtools verify"):
        convert(tmp_path / "a", tmp_path / "b", "tar")


def test_the_command(tars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "convert",
                str(tars),
                str(tmp_path / "out"),
                "--to",
                "beton",
                "--one-file",
                "--num-processes",
                "1",
                "--json",
            ]
        )

    assert stop.value.code == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["layout"], result["num_images"], result["num_shards"]) == ("beton", NUM_PHOTOS + 5, 2)
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(tmp_path / "out")])
    assert stop.value.code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "tar", "one_file": True}, "--one-file is for --to beton"),
        ({"layout": "tar", "fields": ("txt",)}, "--to tar writes every member"),
        ({"layout": "mds", "fields": ("label",)}, "found 'label'"),
        ({"layout": "mds", "encoding": EncodingOptions(write_mode="raw")}, "only --to beton holds, found --to mds"),
        ({"layout": "zip"}, "--to is one of tar, beton, mds, litdata, imagefolder"),
        ({"layout": "beton", "one_file": True, "append": True}, "drop one of them"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        WriteOptions(source=SourceOptions(source="a"), out="b", **options)


def test_through_a_bucket(tars: Path, tmp_path: Path, s3_environment: S3Server) -> None:
    url = s3_environment.url("convert")
    convert(tars, f"{url}/beton", "beton", one_file=True, fields=("key",))
    convert(f"{url}/beton", f"{url}/mds", "mds")
    convert(f"{url}/mds", tmp_path / "back", "tar")

    assert images(tmp_path / "back") == images(tars)
    assert verify(f"{url}/beton").sound and verify(f"{url}/mds").sound


def test_a_file_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match=r"notes\.txt is a file of no known kind: expected a folder, \.tar"):
        convert(tmp_path / "notes.txt", tmp_path / "out", "tar")


def test_what_cannot_be_copied(tars: Path, tmp_path: Path) -> None:
    for options in ({"split": "test"}, {"shuffle": True}, {"classes": "imagenet-1k"}):
        with pytest.raises(ShardtoolsError) as caught:
            convert(tars, tmp_path / "out", "tar", **options)
        assert "\n" not in str(caught.value)
