"""WebDataset tars as a source."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest

from shardtools.errors import ShardtoolsError
from shardtools.sources import detect_kind, patterns
from shardtools.sources.patterns import expand_braces
from shardtools.sources.top_level import find_all
from shardtools.taxonomy import load_classes
from tests.helpers.opened_sources import by_key, everything, opened, refused
from tests.helpers.pictures import FASHION, drawing, encode, jpeg, write_files, write_tar


def labeled(number: int, class_index: int = 0) -> list[tuple[str, bytes]]:
    return [(f"{number:05d}.jpg", jpeg(number)), (f"{number:05d}.cls", str(class_index).encode())]


def test_tars_keep_bytes_members_and_order(tmp_path: Path) -> None:
    members = [
        ("one.jpeg", jpeg(1)),
        ("one.cls", b" 7\n"),
        ("one.json", b'{"wnid": "n00000007", "source": "generated"}'),
        ("one.seg.png", encode(drawing(5), "PNG")),
        ("two.PNG", encode(drawing(2), "PNG")),
        ("two.txt", b"\xff\0 any bytes"),
    ]
    first, second = by_key(opened(write_tar(tmp_path / "x.tar", members), tmp_path / "listing")).values()

    assert (first.key, first.image_bytes, first.image_format, first.reason) == ("one", jpeg(1), "jpg", None)
    assert (first.class_index, first.wnid, first.label_source, first.source) == (7, "n00000007", "cls", "generated")
    assert dict(first.extra_members) == {
        "cls": b" 7\n",
        "json": members[2][1],
        "seg.png": members[3][1],
    }
    assert (second.image_format, second.class_index, second.source) == ("png", None, "real")
    assert dict(second.extra_members) == {"txt": b"\xff\0 any bytes"}


def test_members_that_make_no_image_are_samples_too(tmp_path: Path) -> None:
    members = [
        *labeled(1),
        ("2.txt", b"only words"),
        ("3.jpg", jpeg(3)[:100]),
        ("README", b"no extension"),
        ("._4.jpg", b"hidden"),
        ("__meta__", b"skipped by every reader"),
        ("./5.jpg", jpeg(5)),
        ("6.mask.png", encode(drawing(6), "PNG")),
        ("7.jpg", encode(drawing(7), "PNG")),
        ("7.png", encode(drawing(8), "PNG")),
    ]
    found = by_key(opened(write_tar(tmp_path / "x.tar", members), tmp_path / "listing"))

    assert {key: sample.status for key, sample in found.items()} == {
        "00001": "ok",
        "2": "not-an-image",
        "3": "undecodable",
        "README": "not-an-image",
        "5": "ok",
        "6": "ok",
        "7": "ok",
    }
    assert found["2"].reason == "its members have no image extension: .txt"
    assert (found["6"].image_format, found["6"].reason) == ("png", None)
    # The second PNG keeps its name, so the first one keeps its own, wrong as it is.
    assert (found["7"].image_format, found["7"].reason) == ("jpg", "named .jpg, the bytes are png")
    assert dict(found["7"].extra_members) == {"png": encode(drawing(8), "PNG")}


@pytest.mark.parametrize(
    "key", ["../up", "a/../../up", "/etc/passwd", "a\nb", "tab\tbed", "back\\slash", "__x", "a" * 95]
)
@pytest.mark.parametrize("flatten_keys", [False, True])
def test_keys_that_are_never_written(tmp_path: Path, key: str, flatten_keys: bool) -> None:
    path = write_tar(tmp_path / "x.tar", [*labeled(1), (f"{key}.jpg", jpeg(2))])
    with tarfile.open(path) as archive:
        offset = archive.getmembers()[-1].offset_data
    message = refused(path, tmp_path / "listing", flatten_keys=flatten_keys)

    assert f"{path}, byte {offset}" in message and repr(key) in message


def test_folders_in_keys_are_flattened_on_request(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a/b/1.jpg", jpeg(1)), ("a/b/1.cls", b"4"), ("a/2.jpg", jpeg(2))])

    message = refused(path, tmp_path / "listing")
    assert "byte 512" in message and "'a/b/1'" in message and "--flatten-keys" in message and "'a__b__1'" in message
    assert set(by_key(opened(path, tmp_path / "listing", flatten_keys=True))) == {"a__b__1", "a__2"}

    clash = write_tar(tmp_path / "y.tar", [("a/1.jpg", jpeg(1)), ("a__1.jpg", jpeg(2))])
    message = refused(clash, tmp_path / "listing", flatten_keys=True)
    assert f"key 'a__1' comes twice: {clash}, byte 512 and {clash}, byte" in message


def test_damaged_tars(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", labeled(1) + labeled(2)).read_bytes()
    cases = {
        "cut off": whole[:1000],
        "no end mark": whole[:512] + jpeg(1).ljust(1024, b"\0")[: 2048 - 512],
        "no intact tar": b"\x1f\x8b" + whole[2:700],
        "not adjacent": write_tar(tmp_path / "a.tar", [labeled(1)[0], *labeled(2), labeled(1)[1]]).read_bytes(),
        "two members": write_tar(tmp_path / "b.tar", [labeled(1)[0]] * 2).read_bytes(),
    }
    for words, content in cases.items():
        (tmp_path / "x.tar").write_bytes(content)
        message = refused(tmp_path / "x.tar", tmp_path / "listing")
        assert "x.tar" in message and "byte" in message, words


def test_a_key_in_two_tars_names_both(tmp_path: Path) -> None:
    write_tar(tmp_path / "in/a.tar", labeled(1))
    write_tar(tmp_path / "in/b.tar", labeled(2) + labeled(1))
    message = refused(tmp_path / "in", tmp_path / "listing")

    assert "key '00001' comes twice" in message and "a.tar, byte 512" in message and "b.tar, byte" in message


@pytest.mark.parametrize("label", [b"", b"x", b"-1", b"1.0", b"99999999999", b"1" * 50, "٣".encode()])
def test_labels_that_are_no_labels(tmp_path: Path, label: bytes) -> None:
    path = write_tar(tmp_path / "x.tar", [("1.cls", label), ("1.jpg", jpeg(1))])

    assert "key '1', byte 512: expected an integer from 0" in refused(path, tmp_path / "listing")


def test_class_sets_of_tars(tmp_path: Path) -> None:
    classes = load_classes("fashion")
    by_name = b'{"wnid": "' + classes[4].wnid.encode() + b'"}'
    path = write_tar(
        tmp_path / "x.tar",
        [*labeled(1, 9), ("2.jpg", jpeg(2)), ("2.json", by_name), ("3.jpg", jpeg(3)), ("3.json", b"[")],
    )
    found = by_key(opened(path, tmp_path / "listing", classes="fashion"))

    assert [(sample.wnid, sample.class_index, sample.label_source) for sample in found.values()] == [
        (classes[9].wnid, 9, "cls"),
        (classes[4].wnid, 4, "json"),
        (None, None, None),
    ]
    write_tar(path, labeled(1, 10))
    assert "from 0 to 9 in .cls, found '10'" in refused(path, tmp_path / "listing", classes="fashion")
    write_tar(path, [*labeled(1, 3), ("00001.json", by_name)])
    assert ".cls says 3" in refused(path, tmp_path / "listing", classes="fashion")
    write_tar(path, [("1.jpg", jpeg(1)), ("1.json", b'{"wnid": "n99999999"}')])
    assert "not in --classes" in refused(path, tmp_path / "listing", classes="fashion")


def test_patterns_and_splits_of_tars(tmp_path: Path) -> None:
    for number in range(12):
        write_tar(tmp_path / f"in/set-train-{number:03d}.tar", labeled(number))
    write_tar(tmp_path / "in/set-val-000.tar", labeled(100))

    def count(pattern: str, **options: Any) -> dict[str, int]:
        return dict(opened(f"{tmp_path}/{pattern}", tmp_path / "listing", **options).splits)

    assert count("in") == {"train": 12, "val": 1}
    assert count("in", split="val") == {"val": 1}
    assert count("in/set-train-{000..004}.tar") == {"train": 5}
    assert count("in/set-{train-00[1-3],val-*}.tar") == {"train": 3, "val": 1}
    assert count("*/set-train-01?.tar", split="test") == {"test": 2}
    assert count("in/set-val-000.tar", split="other") == {"other": 1}
    assert "twice" not in refused(tmp_path / "in/{a,a}.tar", tmp_path / "listing")
    assert "2 times" in refused(tmp_path / "in/set-val-{000,000}.tar", tmp_path / "listing")
    assert "matches" in refused(tmp_path / "in/nothing-*.tar", tmp_path / "listing")
    assert "not 'test'" in refused(tmp_path / "in", tmp_path / "listing", split="test")
    assert "set-train-099.tar" in refused(tmp_path / "in/set-train-{011,099}.tar", tmp_path / "listing")
    assert "expected {000000..000146}" in refused(tmp_path / "in/set-{x}.tar", tmp_path / "listing")
    assert "more than 1000000" in refused(tmp_path / "in/{0..99999999}.tar", tmp_path / "listing")


def test_braces() -> None:
    assert expand_braces("a{08..11}b{x,y}") == [f"a{n:02d}b{c}" for n in range(8, 12) for c in "xy"]
    assert expand_braces("{3..1}") == ["3", "2", "1"]
    assert expand_braces("plain") == ["plain"]


def test_names_with_pattern_characters_are_taken_as_they_stand(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "odd [1]{2}.tar", labeled(1))
    folder = write_files(tmp_path / "photos {2019} [a]", {"a/1.jpg": jpeg(1)})

    assert opened(path, tmp_path / "listing").splits == {"train": 1}
    assert opened(folder, tmp_path / "index2").kind == "imagefolder"


def test_compressed_tars_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz"):
        pass

    assert "unpack it" in refused(tmp_path / "x.tar.gz", tmp_path / "listing")
    assert "unpack it" in refused(tmp_path, tmp_path / "listing")


def test_kinds_are_told_by_names_and_by_the_first_members(tmp_path: Path) -> None:
    write_tar(tmp_path / "dataset/shards/train-000000.tar", labeled(1))
    write_files(tmp_path / "folder", {"shards/1.jpg": jpeg(1)})

    assert detect_kind(str(tmp_path / "dataset")) == "webdataset"
    assert detect_kind(str(tmp_path / "folder")) == "imagefolder"
    assert detect_kind(str(FASHION)) == "idx"
    assert detect_kind(f"{tmp_path}/dataset/shards/train-{{000000..000000}}.tar") == "webdataset"


def test_tars_in_a_random_order(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [member for number in range(40) for member in labeled(number, number % 10)])
    plain = everything(opened(path, tmp_path / "listing"))["train"]
    shuffled = everything(opened(path, tmp_path / "index2", shuffle=True))["train"]

    assert [sample.key for sample in plain] == [f"{number:05d}" for number in range(40)]
    assert shuffled != plain
    assert sorted(shuffled, key=lambda sample: sample.key) == plain


def test_one_huge_sample_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.sources.image.check.MAX_SAMPLE_BYTES", 20_000)
    big = jpeg(2) + bytes(30_000)
    tar = write_tar(tmp_path / "x.tar", [*labeled(1), ("big.jpg", big), *labeled(3)])
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1), "a/big.jpg": big})

    for number, (source, key) in enumerate(((tar, "big"), (root, "a_big"))):
        found = by_key(opened(source, tmp_path / f"listing{number}"))
        assert [(one.key, one.image_bytes) for one in found.values() if one.status == "too-large"] == [(key, None)]


def test_random_mutations_of_a_tar_never_hang_or_lose_a_sample(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "x.tar", [member for number in range(4) for member in labeled(number)]).read_bytes()
    dice = random.Random(0)
    for _ in range(60):
        changed = bytearray(whole)
        changed[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        (tmp_path / "x.tar").write_bytes(changed)
        try:
            found = by_key(opened(tmp_path / "x.tar", tmp_path / "listing"))
        except ShardtoolsError:
            continue
        assert len(found) == 4


@pytest.mark.parametrize(
    "names",
    [
        ["1.05.jpg", "1.05.cls", "1.06.jpg", "1.06.cls"],
        ["1.left.png", "1.right.png", "1.cls"],
        ["a.1.jpg", "a.1.cls"],
        ["a.jpg", "a.cls", "a.1.JPG", "a.1.cls"],
    ],
)
def test_dots_in_names_that_hide_an_image_or_a_label(tmp_path: Path, names: list[str]) -> None:
    contents = [b"0" if name.endswith("cls") else jpeg(1) for name in names]
    message = refused(write_tar(tmp_path / "x.tar", list(zip(names, contents, strict=True))), tmp_path / "listing")
    assert "ends at the first dot" in message and "byte 512" in message and "rename files without dots" in message


def test_links_in_tars_are_rows_that_say_so(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in [
            ("1.jpg", jpeg(1)),
            ("1.cls", b"0"),
            ("2.jpg", "1.jpg"),
            ("2.cls", b"1"),
            ("4.jpg", jpeg(4)),
            ("4.cls", "1.cls"),
            ("README", "1.jpg"),
            ("5.jpg", "1.jpg"),
        ]:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE if name == "5.jpg" else tarfile.LNKTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    found = by_key(opened(path, tmp_path / "listing"))
    assert {key: one.status for key, one in found.items()} == {
        "1": "ok",
        "2": "not-an-image",
        "4": "not-an-image",
        "5": "not-an-image",
        "README": "not-an-image",
    }
    assert found["4"].reason == "a link or a device in the tar, without bytes of its own: .cls"


def test_a_pattern_lists_the_place_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        write_tar(tmp_path / f"x-{number}.tar", labeled(number))
    asked: list[str] = []
    monkeypatch.setattr(patterns, "find_all", lambda storage: asked.append(storage.url) or find_all(storage))
    assert len(patterns.find_files(f"{tmp_path}/x-{{0..5}}.ta?", (".tar",)).paths) == 6
    assert len(asked) == 1
