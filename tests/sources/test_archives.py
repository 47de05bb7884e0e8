"""Archives of class folders as a source: tars, tars in tars, zips, compressed tars."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from shardtools.errors import OptionError
from shardtools.sources import SourceOptions
from shardtools.sources.patterns import find_files
from shardtools.sources.tree.archives import ARCHIVE_SUFFIXES, looks_like_archive
from shardtools.sources.tree.imagefolder import open_imagefolder
from shardtools.storage import open_storage
from tests.helpers.archive_files import FILES, HIDDEN, PACKERS, facts, opened, refused, tar_bytes, zip_bytes
from tests.helpers.opened_sources import by_key, everything
from tests.helpers.pictures import drawing, encode, jpeg, write_files
from tests.helpers.s3_server import S3Server


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("wrapper", ["", "imagenet-a/", "./a/b/"])
def test_an_archive_gives_what_its_folder_gives(tmp_path: Path, name: str, wrapper: str) -> None:
    root = write_files(tmp_path / "folder", FILES | HIDDEN)
    inside = {wrapper + path: content for path, content in (FILES | HIDDEN).items() if path != "README.txt"}
    path = write_files(tmp_path, {name: PACKERS[name]({"README.txt": b"read me"} | inside)}) / name
    (tmp_path / "listing").mkdir()

    plain = open_imagefolder(open_storage(str(root)), SourceOptions(source=str(root)), None, tmp_path / "listing")
    found = opened(path, tmp_path / "listing")
    assert facts(found) == facts(plain)
    assert {sample.provenance["source_path"] for sample in by_key(plain).values()} == set(FILES)
    assert {sample.provenance["source_path"] for sample in by_key(found).values()} == {
        f"{name}/{path.removeprefix('./')}"
        for path in ({"README.txt": 1} | inside)
        if path.removeprefix(wrapper) in FILES
    }
    assert set(ARCHIVE_SUFFIXES) >= {f".{name.partition('.')[2]}"}


def test_orders_are_the_folders_or_the_archives(tmp_path: Path) -> None:
    files = {f"{n % 3}/{n:03d}.jpg": jpeg(n) for n in range(40)}
    for name in ("x.tar", "x.tar.gz", "x.zip"):
        write_files(tmp_path, {name: PACKERS[name](files)})

    def order(name: str, **options: Any) -> list[str]:
        source = opened(tmp_path / name, tmp_path / "listing", **options)
        assert [sample.key for sample in everything(source)["train"]] == list(source.keys("train"))
        return list(source.keys("train"))

    root = write_files(tmp_path / "folder", files)
    (tmp_path / "listing").mkdir()
    shuffled = open_imagefolder(open_storage(str(root)), SourceOptions(source=str(root)), None, tmp_path / "listing")
    plain = [path.replace("/", "_").removesuffix(".jpg") for path in files]
    assert order("x.tar") == order("x.zip") == list(shuffled.keys("train")) != plain
    assert order("x.tar", shuffle=False) == order("x.zip", shuffle=False) == order("x.tar.gz") == plain
    assert order("x.tar", shuffle_seed=1) != order("x.tar")
    with pytest.raises(OptionError, match=r"x.tar.gz is compressed as a whole .* drop --shuffle"):
        order("x.tar.gz", shuffle=True)


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.zip"])
@pytest.mark.parametrize("shuffle", [False, None])
def test_parts_are_the_whole_in_any_process(tmp_path: Path, name: str, shuffle: bool | None) -> None:
    files = {f"{n % 3}/{n:03d}.jpg": jpeg(n) for n in range(30)}
    source = opened(write_files(tmp_path, {name: PACKERS[name](files)}) / name, tmp_path / "listing", shuffle=shuffle)
    whole = list(source.samples("train", 0, 30))
    other = pickle.loads(pickle.dumps(source))

    assert sorted(sample.image_bytes or b"" for sample in whole) == sorted(files.values())
    assert [*other.samples("train", 20, 30), *other.samples("train", 0, 20)] == whole[20:] + whole[:20]
    assert list(other.samples("train", 5, 7)) == whole[5:7]
    source.close()
    other.close()


def test_a_folder_of_class_tars(tmp_path: Path) -> None:
    wnids = ["n00004475", "n00005787", "n00006024"]
    for number, wnid in enumerate(wnids):
        members = {f"{wnid}_{n}.JPEG": jpeg(10 * number + n) for n in range(3)}
        write_files(tmp_path / "in", {f"{wnid}.tar": tar_bytes(members)})
    write_files(tmp_path / "in", {"README.md": b"words", ".hidden.tar": b"x"})
    found = by_key(opened(tmp_path / "in", tmp_path / "listing"))

    assert len(found) == 10
    assert found["README_md"].status == "not-an-image" and found["README_md"].class_index is None
    for number, wnid in enumerate(wnids):
        for n in range(3):
            sample = found[f"{wnid}_{n}"]
            assert (sample.wnid, sample.class_index, sample.image_bytes) == (wnid, number, jpeg(10 * number + n))
            assert sample.provenance == {"source_path": f"{wnid}.tar/{wnid}_{n}.JPEG"}
    assert opened(f"{tmp_path}/in/n0000[56]*.tar", tmp_path / "index2").splits == {"train": 6}
    one = by_key(opened(tmp_path / "in/n00006024.tar", tmp_path / "index3"))
    assert {sample.wnid for sample in one.values()} == {"n00006024"}


@pytest.mark.parametrize("name", ["whole.tar", "whole.tar.gz"])
def test_tars_in_a_tar(tmp_path: Path, name: str) -> None:
    inner = {
        f"winter21_whole/{wnid}.tar": tar_bytes({f"{wnid}_{n}.JPEG": jpeg(n + ord(wnid[-1])) for n in range(4)})
        for wnid in ("n00004475", "n00005787")
    }
    source = opened(write_files(tmp_path, {name: PACKERS[name.replace("whole", "x")](inner)}) / name, tmp_path / "i")
    found = by_key(source)

    assert len(found) == 8
    sample = found["n00005787_2"]
    assert (sample.wnid, sample.class_index, sample.image_bytes) == ("n00005787", 1, jpeg(2 + ord("7")))
    assert sample.provenance["source_path"] == f"{name}/winter21_whole/n00005787.tar/n00005787_2.JPEG"


def test_splits_come_from_folders_or_from_the_archives_names(tmp_path: Path) -> None:
    files = {"train/a/1.jpg": jpeg(1), "train/b/2.jpg": jpeg(2), "val/b/3.jpg": jpeg(3)}
    kaggle = {f"ILSVRC/Data/CLS-LOC/{path}": content for path, content in files.items()}
    flat = {"ILSVRC/Data/CLS-LOC/test/9.JPEG": jpeg(9), "ILSVRC/ImageSets/val.txt": b"3 1"}
    write_files(tmp_path, {"in.zip": zip_bytes(kaggle | flat)})
    source = opened(tmp_path / "in.zip", tmp_path / "listing")
    found = by_key(source)

    assert source.splits == {"test": 2, "train": 2, "val": 1}
    assert (found["val_b_3"].class_index, found["train_a_1"].class_index) == (1, 0)
    assert (found["test_9"].status, found["test_9"].class_index) == ("ok", None)
    assert found["ILSVRC_ImageSets_val_txt"].status == "not-an-image"
    # The labels count the classes of all splits.
    assert by_key(opened(tmp_path / "in.zip", tmp_path / "index2", split="val"))["val_b_3"].class_index == 1
    assert "has splits test, train, val, not 'x'" in refused(tmp_path / "in.zip", tmp_path / "index3", split="x")

    for split in ("train", "val"):
        members = {path.partition("/")[2]: content for path, content in files.items() if path.startswith(split)}
        write_files(tmp_path / "two", {f"{split}.tar": tar_bytes(members)})
    two = opened(tmp_path / "two", tmp_path / "index4")
    assert two.splits == {"train": 2, "val": 1}
    assert by_key(two)["val_b_3"].class_index == 1
    write_files(tmp_path / "two", {"loose.jpg": jpeg(7)})
    assert "beside its split folders" in refused(tmp_path / "two", tmp_path / "index5")


def test_zips_of_other_writers(tmp_path: Path) -> None:
    stream = io.BytesIO(b"#!/bin/sh\n" * 30)
    stream.seek(0, 2)
    with zipfile.ZipFile(stream, "a") as packed:
        with packed.open("a/1.jpg", "w", force_zip64=True) as member:
            member.write(jpeg(1))
        packed.writestr("a/", b"")
        packed.writestr("b/\u00e4.jpg", jpeg(2))
        packed.comment = b"PK\5 a comment"
    found = by_key(opened(write_files(tmp_path, {"x.zip": stream.getvalue()}) / "x.zip", tmp_path / "listing"))

    assert {key: sample.image_bytes for key, sample in found.items()} == {"a_1": jpeg(1), "b_\u00e4": jpeg(2)}


def test_what_is_no_archive(tmp_path: Path) -> None:
    write_files(tmp_path / "in", {"a.jpg": jpeg(1)})
    assert "holds no .tar files" in refused(tmp_path / "in", tmp_path / "listing")
    assert "which is no archive" in refused(f"{tmp_path}/in/a.jp*", tmp_path / "listing")
    write_files(tmp_path, {"x.tar": tar_bytes({})})
    assert "hold no files" in refused(tmp_path / "x.tar", tmp_path / "listing")


def test_settings_name_what_changes_the_result(tmp_path: Path) -> None:
    for name in ("x.tar", "moved.tar"):
        write_files(tmp_path, {name: tar_bytes(FILES)})
    settings = opened(tmp_path / "x.tar", tmp_path / "listing").settings

    assert opened(tmp_path / "moved.tar", tmp_path / "listing").settings == settings
    assert str(tmp_path) not in repr(settings)
    for options in ({"shuffle": False}, {"shuffle_seed": 1}, {"check": "header"}):
        assert opened(tmp_path / "x.tar", tmp_path / "listing", **options).settings != settings
    write_files(tmp_path, {"x.tar": tar_bytes(FILES | {"cat/new.jpg": jpeg(8)})})
    assert opened(tmp_path / "x.tar", tmp_path / "listing").settings["source_listing"] != settings["source_listing"]


def test_archives_are_told_from_webdataset(tmp_path: Path) -> None:
    cases: dict[str, tuple[bool, dict[str, bytes]]] = {
        "samples.tar": (False, {"1.jpg": b"", "1.cls": b"", "2.jpg": b"", "2.cls": b""}),
        "folders.tar": (False, {"a/1.jpg": b"", "a/1.json": b""}),
        "labels-first.tar": (False, {"a/1.cls": b"", "a/1.jpg": b""}),
        "only-images.tar": (False, {"000001.jpg": b"", "000002.jpg": b""}),
        "nothing.tar": (False, {"a.txt": b""}),
        "classes.tar": (True, {"imagenet-r/README.txt": b"", "imagenet-r/n01443537/art_0.jpg": b""}),
        "tars.tar": (True, {"n01440764.tar": b"any"}),
        "n01440764.tar": (True, {"1.JPEG": b"", "2.JPEG": b""}),
        "n99.tar": (True, {"n99_1.JPEG": b"", "n99_2.JPEG": b""}),
        "v2.tar.gz": (True, {"imagenetv2/0/x.jpeg": b""}),
        "samples.tar.gz": (False, {"1.jpg": b"", "1.cls": b""}),
        "s.zip": (True, {"1.jpg": b""}),
    }
    for name, (expected, members) in cases.items():
        packer = zip_bytes if name.endswith(".zip") else PACKERS["x" + name[name.index(".") :]]
        path = write_files(tmp_path, {name: packer(members)}) / name
        assert looks_like_archive(find_files(str(path), ARCHIVE_SUFFIXES)) is expected, name
    write_files(tmp_path, {"bad.tar": b"no tar at all"})
    assert looks_like_archive(find_files(str(tmp_path / "bad.tar"), ARCHIVE_SUFFIXES)) is False


def test_s3_gives_what_a_folder_gives(tmp_path: Path, s3_environment: S3Server) -> None:
    inner = {
        f"n0000447{k}.tar": tar_bytes({f"n0000447{k}_{n}.JPEG": jpeg(9 * k + n) for n in range(9)}) for k in (4, 5)
    }
    pictures = {f"w/{n % 2}/{n:02d}.png": encode(drawing(n, (300, 300)), "BMP") for n in range(12)}
    contents = {
        "tars/n00004471.tar": tar_bytes({"n00004471_1.JPEG": jpeg(1)}),
        "tars/n00004472.tar": tar_bytes({"n00004472_1.JPEG": jpeg(2)}),
        "nested.tar": tar_bytes(inner),
        "x.zip": zip_bytes(FILES),
        "x.tar.gz": PACKERS["x.tar.gz"](FILES),
        "large.tar": tar_bytes(pictures),
    }
    storage = open_storage(s3_environment.url("archives"))
    for path, content in contents.items():
        storage.write(path, content)
    root = write_files(tmp_path / "in", contents)
    for name in ("tars", "nested.tar", "x.zip", "x.tar.gz", "large.tar"):
        for shuffle in (None, False):
            near = opened(root / name, tmp_path / "near", shuffle=shuffle)
            far = opened(s3_environment.url(f"archives/{name}"), tmp_path / "far", shuffle=shuffle)
            assert far.settings == near.settings
            assert everything(far) == everything(near)
