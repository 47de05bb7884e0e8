"""Archives of class folders as a source: tars, tars in tars, zips, compressed tars."""

from __future__ import annotations

import io
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError, ShardError, ShardtoolsError, SourceError
from shardtools.shards.tar_headers import TarEntry, read_entries
from shardtools.sources import Source, SourceOptions
from shardtools.sources.archives import ARCHIVE_SUFFIXES, looks_like_archive, open_archives
from shardtools.sources.imagefolder import open_imagefolder
from shardtools.sources.patterns import find_files
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes
from tests.pictures import drawing, encode, jpeg, write_files, write_tar
from tests.reading import by_key, everything
from tests.s3_server import S3Server

FILES = {
    "cat/1.jpg": jpeg(1),
    "cat/2.jpg": jpeg(2)[:-30],
    "cat/deeper/3.png": encode(drawing(3), "PNG"),
    "dog/1.jpg": jpeg(4),
    "dog/1.txt": b"a dog",
    "dog/no extension": jpeg(5),
    "README.txt": b"read me",
}
HIDDEN = {".DS_Store": b"x", "cat/._1.jpg": b"x", "__MACOSX/._cat": b"x"}


def tar_bytes(files: Mapping[str, bytes], mode: str = "w", **options: Any) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, **options) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_bytes(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def opened(source: Path | str, index: Path, **options: Any) -> Source:
    index.mkdir(exist_ok=True)
    found = SourceOptions(source=str(source), **options)
    return open_archives(found, load_classes(found.classes) if found.classes else None, index)


def refused(source: Path | str, index: Path, **options: Any) -> str:
    with pytest.raises(ShardtoolsError) as caught:
        everything(opened(source, index, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def facts(source: Source) -> dict[str, tuple[Any, ...]]:
    return {
        key: (one.image_bytes, one.status, one.reason, one.wnid, one.class_index, one.label_source)
        for key, one in by_key(source).items()
    }


PACKERS = {
    "x.tar": tar_bytes,
    "gnu.tar": lambda files: tar_bytes(files, format=tarfile.GNU_FORMAT),
    "x.tar.gz": lambda files: tar_bytes(files, "w:gz"),
    "x.tgz": lambda files: tar_bytes(files, "w:gz"),
    "x.tar.bz2": lambda files: tar_bytes(files, "w:bz2"),
    "x.tar.xz": lambda files: tar_bytes(files, "w:xz"),
    "x.zip": zip_bytes,
    "stored.zip": lambda files: zip_bytes(files, zipfile.ZIP_STORED),
}


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("wrapper", ["", "imagenet-a/", "./a/b/"])
def test_an_archive_gives_what_its_folder_gives(tmp_path: Path, name: str, wrapper: str) -> None:
    root = write_files(tmp_path / "folder", FILES | HIDDEN)
    inside = {wrapper + path: content for path, content in (FILES | HIDDEN).items() if path != "README.txt"}
    path = write_files(tmp_path, {name: PACKERS[name]({"README.txt": b"read me"} | inside)}) / name
    (tmp_path / "index").mkdir()

    plain = open_imagefolder(open_storage(str(root)), SourceOptions(source=str(root)), None, tmp_path / "index")
    found = opened(path, tmp_path / "index")
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
        source = opened(tmp_path / name, tmp_path / "index", **options)
        assert [sample.key for sample in everything(source)["train"]] == list(source.keys("train"))
        return list(source.keys("train"))

    root = write_files(tmp_path / "folder", files)
    (tmp_path / "index").mkdir()
    shuffled = open_imagefolder(open_storage(str(root)), SourceOptions(source=str(root)), None, tmp_path / "index")
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
    source = opened(write_files(tmp_path, {name: PACKERS[name](files)}) / name, tmp_path / "index", shuffle=shuffle)
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
    found = by_key(opened(tmp_path / "in", tmp_path / "index"))

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
    source = opened(tmp_path / "in.zip", tmp_path / "index")
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


def test_links_and_devices_are_rows(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind in (("a", tarfile.DIRTYPE), ("a/l.jpg", tarfile.SYMTYPE), ("a/h.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a/1.jpg"
            archive.addfile(info)
        fifo = tarfile.TarInfo("a/f.jpg")
        fifo.type = tarfile.FIFOTYPE
        archive.addfile(fifo)
        info = tarfile.TarInfo("a/1.jpg")
        info.size = len(jpeg(1))
        archive.addfile(info, io.BytesIO(jpeg(1)))
    found = by_key(opened(write_files(tmp_path, {"x.tar": stream.getvalue()}) / "x.tar", tmp_path / "index"))

    assert {key: sample.status for key, sample in found.items()} == {
        "a_l": "not-an-image",
        "a_h": "not-an-image",
        "a_f": "not-an-image",
        "a_1": "ok",
    }
    assert "a link or a device" in (found["a_h"].reason or "")
    link = zipfile.ZipInfo("a/l.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(link, "a/1.jpg")
        packed.writestr("a/1.jpg", jpeg(1))
    found = by_key(opened(tmp_path / "x.zip", tmp_path / "index"))
    assert {key: sample.status for key, sample in found.items()} == {"a_l": "not-an-image", "a_1": "ok"}


@pytest.mark.parametrize(
    "name", ["../up.jpg", "a/../../up.jpg", "/etc/x.jpg", "a/line\nbreak.jpg", "a/back\\slash.jpg"]
)
@pytest.mark.parametrize("packer", ["x.tar", "x.tar.gz", "x.zip"])
def test_names_that_no_archive_may_have(tmp_path: Path, packer: str, name: str) -> None:
    content = PACKERS[packer]({"a/1.jpg": jpeg(1), name: jpeg(2)})
    message = refused(write_files(tmp_path, {packer: content}) / packer, tmp_path / "index")

    assert f"{packer}, byte " in message and repr(name) in message and "pack the archive anew" in message


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("a/\xe9.jpg")
        archive.addfile(info)
    message = refused(write_files(tmp_path, {"x.tar": stream.getvalue()}) / "x.tar", tmp_path / "index")
    assert "x.tar, byte 512: expected a relative path in UTF-8" in message

    content = zip_bytes({"a/\u00e9.jpg": jpeg(1)}).replace("\u00e9".encode(), b"\xff\xfe")
    message = refused(write_files(tmp_path, {"x.zip": content}) / "x.zip", tmp_path / "index")
    assert "x.zip, byte 0: expected a name in UTF-8" in message


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning:zipfile")
def test_a_name_twice_in_one_archive(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a/1.jpg", jpeg(1)), ("a/2.jpg", jpeg(2)), ("./a/1.jpg", jpeg(3))])
    with tarfile.open(path) as archive:
        offsets = [member.offset_data for member in archive]
    message = refused(path, tmp_path / "index")
    assert f"x.tar has 'a/1.jpg' twice, at byte {offsets[0]} and at byte {offsets[2]}" in message

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a/1.jpg", jpeg(1))
        packed.writestr("a/1.jpg", jpeg(2))
    assert "x.zip has 'a/1.jpg' twice, at byte 0 and at byte" in refused(tmp_path / "x.zip", tmp_path / "index")
    # In two archives they are two files.
    write_tar(tmp_path / "two/p.tar", [("a/1.jpg", jpeg(1)), ("b/1.jpg", jpeg(5))])
    write_tar(tmp_path / "two/q.tar", [("a/1.jpg", jpeg(2))])
    found = by_key(opened(tmp_path / "two", tmp_path / "index"))
    assert {key: sample.image_bytes for key, sample in found.items()} == {
        "a_1": jpeg(1),
        "a_1-2": jpeg(2),
        "b_1": jpeg(5),
    }


def test_damaged_tars(tmp_path: Path) -> None:
    inner = tar_bytes({f"n00004475_{n}.JPEG": jpeg(n) for n in range(3)})
    whole = tar_bytes({"n00004475.tar": inner, "n00005787.tar": inner})
    second = 512 + len(inner) + 512
    header = second + 512 + -(-len(jpeg(0)) // 512) * 512
    third = 3 * (header - second)
    cases = {
        "is cut off: member 'n00005787.tar'": whole[: second + 700],
        f"in n00005787.tar has no end mark at byte {header}": whole[:header] + b"\1" * 512 + whole[header + 512 :],
        "in n00004475.tar is cut off: member 'n00004475_2.JPEG'": tar_bytes({"n00004475.tar": inner[: third - 1000]}),
        f"in n00004475.tar has no end mark at byte {512 + third}": tar_bytes({"n00004475.tar": inner[:third]}),
        "in n00004475.tar is no intact tar at byte 512": tar_bytes({"n00004475.tar": b"<html>" * 100}),
        "goes on behind its end mark": whole + whole,
    }
    for words, content in cases.items():
        write_files(tmp_path, {"x.tar": content})
        message = refused(tmp_path / "x.tar", tmp_path / "index")
        assert words in message and "byte" in message and f"{tmp_path}/x.tar" in message, message


def test_damaged_compressed_tars(tmp_path: Path) -> None:
    whole = PACKERS["x.tar.gz"](FILES)
    flipped = bytearray(whole)
    flipped[-6] ^= 1
    for content in (whole[:-40], bytes(flipped), b"not gzip", b"", whole[: len(whole) // 2]):
        write_files(tmp_path, {"x.tar.gz": content})
        message = refused(tmp_path / "x.tar.gz", tmp_path / "index")
        assert "x.tar.gz is damaged at byte" in message or "x.tar.gz is no intact tar" in message, message
    # Nothing is lost where the archive changes under the reader's hands.
    write_files(tmp_path, {"x.tar.gz": whole})
    source = opened(tmp_path / "x.tar.gz", tmp_path / "index")
    write_files(tmp_path, {"x.tar.gz": whole[: len(whole) // 2]})
    with pytest.raises(SourceError, match=r"x.tar.gz"):
        everything(source)


def test_damaged_zips(tmp_path: Path) -> None:
    whole = zip_bytes(FILES)
    encrypted = bytearray(whole)
    directory = whole.index(b"PK\1\2")
    encrypted[directory + 8] |= 1
    other = bytearray(whole)
    other[directory + 10] = 12
    cases = {
        "no central directory": whole[:-30],
        "byte 0: b'cat/1.jpg' is encrypted": bytes(encrypted),
        "byte 0: b'cat/1.jpg' is compressed by method 12": bytes(other),
        "has no directory entry at byte": whole[:directory] + b"XX" + whole[directory + 2 :],
        "cut off, fetch it again": whole[200:],
        "has 6 members in its directory, its end record says 7": _forget_one(whole),
    }
    for words, content in cases.items():
        write_files(tmp_path, {"x.zip": content})
        assert words in refused(tmp_path / "x.zip", tmp_path / "index")


def _forget_one(whole: bytes) -> bytes:
    """The zip with the first entry of its directory taken out and the lengths set right, but not the count."""
    first = whole.index(b"PK\1\2")
    second = whole.index(b"PK\1\2", first + 4)
    end = bytearray(whole[whole.rindex(b"PK\5\6") :])
    struct.pack_into("<I", end, 12, struct.unpack_from("<I", end, 12)[0] - (second - first))
    return whole[:first] + whole[second : whole.rindex(b"PK\5\6")] + bytes(end)


def test_members_of_zips_that_do_not_hold_what_they_say(tmp_path: Path) -> None:
    whole = zip_bytes({"a/1.jpg": jpeg(1), "a/bomb.jpg": bytes(5_000_000), "a/2.jpg": jpeg(2)})
    content = bytearray(whole)
    bomb = whole.index(b"PK\1\2", whole.index(b"PK\1\2") + 4)
    struct.pack_into("<I", content, bomb + 24, 1000)
    last = whole.index(b"PK\1\2", bomb + 4)
    struct.pack_into("<I", content, last + 16, zlib.crc32(b"other"))
    found = by_key(opened(write_files(tmp_path, {"x.zip": bytes(content)}) / "x.zip", tmp_path / "index"))

    assert {key: sample.status for key, sample in found.items()} == {
        "a_1": "ok",
        "a_bomb": "undecodable",
        "a_2": "undecodable",
    }
    assert found["a_bomb"].reason == "the zip's packed bytes hold more than 1000 bytes, its directory says 1000"
    assert "checksum" in (found["a_2"].reason or "")
    # What says that it is large is never read.
    struct.pack_into("<I", content, bomb + 24, 300 << 20)
    found = by_key(opened(write_files(tmp_path, {"x.zip": bytes(content)}) / "x.zip", tmp_path / "index"))
    assert found["a_bomb"].status == "too-large"


def test_zips_of_other_writers(tmp_path: Path) -> None:
    stream = io.BytesIO(b"#!/bin/sh\n" * 30)
    stream.seek(0, 2)
    with zipfile.ZipFile(stream, "a") as packed:
        with packed.open("a/1.jpg", "w", force_zip64=True) as member:
            member.write(jpeg(1))
        packed.writestr("a/", b"")
        packed.writestr("b/\u00e4.jpg", jpeg(2))
        packed.comment = b"PK\5 a comment"
    found = by_key(opened(write_files(tmp_path, {"x.zip": stream.getvalue()}) / "x.zip", tmp_path / "index"))

    assert {key: sample.image_bytes for key, sample in found.items()} == {"a_1": jpeg(1), "b_\u00e4": jpeg(2)}


def test_what_is_no_archive(tmp_path: Path) -> None:
    write_files(tmp_path / "in", {"a.jpg": jpeg(1)})
    assert "holds no .tar files" in refused(tmp_path / "in", tmp_path / "index")
    assert "which is no archive" in refused(f"{tmp_path}/in/a.jp*", tmp_path / "index")
    write_files(tmp_path, {"x.tar": tar_bytes({})})
    assert "hold no files" in refused(tmp_path / "x.tar", tmp_path / "index")


def test_settings_name_what_changes_the_result(tmp_path: Path) -> None:
    for name in ("x.tar", "moved.tar"):
        write_files(tmp_path, {name: tar_bytes(FILES)})
    settings = opened(tmp_path / "x.tar", tmp_path / "index").settings

    assert opened(tmp_path / "moved.tar", tmp_path / "index").settings == settings
    assert str(tmp_path) not in repr(settings)
    for options in ({"shuffle": False}, {"shuffle_seed": 1}, {"check": "header"}):
        assert opened(tmp_path / "x.tar", tmp_path / "index", **options).settings != settings
    write_files(tmp_path, {"x.tar": tar_bytes(FILES | {"cat/new.jpg": jpeg(8)})})
    assert opened(tmp_path / "x.tar", tmp_path / "index").settings["source_listing"] != settings["source_listing"]


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


LONG = st.text("abcdefgh\u00e4", min_size=1, max_size=160)


@settings(max_examples=40)
@given(
    names=st.lists(st.tuples(LONG, LONG), min_size=1, max_size=6, unique=True),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_headers_are_read_as_tarfile_reads_them(names: list[tuple[str, str]], form: int) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for number, parts in enumerate(names):
            info = tarfile.TarInfo("/".join(parts))
            info.size = number * 300
            try:
                archive.addfile(info, io.BytesIO(bytes(info.size)))
            except ValueError:
                assert form == tarfile.USTAR_FORMAT
    content = stream.getvalue()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        expected = [TarEntry(info.name, "file", info.offset_data, info.size) for info in archive]
    found = read_entries(lambda start, count: content[start : start + count], where="x.tar", stop=len(content))
    assert list(found) == expected or not expected


def test_headers_of_large_and_odd_members() -> None:
    large = tarfile.TarInfo("large")
    large.size = 20 << 30
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        header = large.tobuf(format=form)
        entries = read_entries(
            lambda start, count, header=header: header[start : start + count], where="x", stop=1 << 40
        )
        assert next(entries).num_bytes == 20 << 30
    sparse = tarfile.TarInfo("s")
    sparse.type = tarfile.GNUTYPE_SPARSE
    content = sparse.tobuf()
    with pytest.raises(ShardError, match="at byte 0: 's' is a sparse file"):
        list(read_entries(lambda start, count: content[start : start + count], where="x.tar", stop=len(content)))


WHOLE = {
    "x.tar": tar_bytes({"n00004475.tar": tar_bytes({f"{n}.jpg": jpeg(n) for n in range(3)}), "b/1.jpg": jpeg(7)}),
    "x.zip": zip_bytes({f"a/{n}.jpg": jpeg(n) for n in range(4)}),
    "x.tar.gz": PACKERS["x.tar.gz"]({f"a/{n}.jpg": jpeg(n) for n in range(4)}),
}


@settings(max_examples=60)
@given(data=st.data(), name=st.sampled_from(list(WHOLE)))
def test_mutated_archives_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    content = bytearray(WHOLE[name])
    headers = [0, len(content) - 1]
    if name == "x.zip":
        headers = [content.index(b"PK\1\2"), len(content) - 1]
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(*headers))
        content[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    write_files(folder, {name: bytes(content)})
    try:
        source = opened(folder / name, folder / "index")
        found = everything(source)
    except ShardtoolsError as error:
        assert "\n" not in str(error)
        return
    assert {split: len(samples) for split, samples in found.items()} == dict(source.splits)
    # A changed byte may rename a file or damage a picture, but none goes missing.
    assert sum(source.splits.values()) == 4


def test_random_bytes_are_no_archive(tmp_path: Path) -> None:
    for name in ("x.tar", "x.zip", "x.tgz", "x.tar.xz"):
        write_files(tmp_path, {name: random.Random(name).randbytes(3000)})
        assert name in refused(tmp_path / name, tmp_path / "index")
