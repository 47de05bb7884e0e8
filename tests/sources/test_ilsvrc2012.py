"""ILSVRC2012's archives as published, and where their validation labels come from."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from shardtools.errors import OptionError, SourceError
from shardtools.sample import Sample
from shardtools.sources.tree.ilsvrc2012 import is_ilsvrc2012, open_ilsvrc2012
from shardtools.sources.tree.ilsvrc2012_labels import read_list
from shardtools.storage import open_storage
from tests.helpers.archive_files import tar_bytes
from tests.helpers.imagenet_files import CLASSES, LISTS, VAL_INDEXES, WNIDS, val_name
from tests.helpers.opened_sources import by_key, everything, opened_by, refused_by
from tests.helpers.pictures import drawing, encode, jpeg, write_files
from tests.helpers.s3_server import S3Server

IDS = {WNIDS[0]: 1000, WNIDS[1]: 7, WNIDS[2]: 490}
"""ILSVRC2012_IDs have an order of their own."""


def meta_mat(ids: Mapping[str, int] = IDS) -> bytes:
    """The kit's meta.mat: classes, and one synset above them."""
    kinds = [
        *(("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")),
        *(("children", "O"), ("wordnet_height", "O"), ("num_train_images", "O")),
    ]
    rows = [(number, wnid, "words", "gloss", 0, np.zeros((1, 0)), 0, 1300) for wnid, number in ids.items()]
    rows.append((1001, "n00001740", "entity", "all there is", 2, np.array([[1, 2]]), 19, 0))
    stream = io.BytesIO()
    savemat(stream, {"synsets": np.array(rows, dtype=kinds).reshape(-1, 1)})
    return stream.getvalue()


def kit(ids: Mapping[str, int] = IDS, truth: bytes | None = None) -> bytes:
    lines = "".join(f"{ids[CLASSES[index].wnid]}\n" for index in VAL_INDEXES).encode() if truth is None else truth
    files = {
        "readme.txt": b"words",
        "data/ILSVRC2012_validation_ground_truth.txt": lines,
        "data/meta.mat": meta_mat(ids),
    }
    return tar_bytes({f"ILSVRC2012_devkit_t12/{name}": content for name, content in files.items()}, "w:gz")


def archives() -> dict[str, bytes]:
    train = {
        f"{wnid}.tar": tar_bytes({f"{wnid}_{n}.JPEG": jpeg(10 * position + n) for n in range(3)})
        for position, wnid in enumerate(WNIDS)
    }
    return {
        "ILSVRC2012_img_train.tar": tar_bytes(train),
        "ILSVRC2012_img_val.tar": tar_bytes({val_name(n): jpeg(100 + n) for n in range(1, 6)}),
        "ILSVRC2012_devkit_t12.tar.gz": kit(),
    }


opened = functools.partial(opened_by, open_ilsvrc2012)
refused = functools.partial(refused_by, opened)


def check_ilsvrc(found: Mapping[str, Sample], label_source: str) -> None:
    assert len(found) == 14
    for position, wnid in enumerate(WNIDS):
        sample = found[f"{wnid}_2"]
        assert (sample.wnid, sample.class_index, sample.label_source) == (wnid, (0, 65, 999)[position], "folder")
        assert sample.image_bytes == jpeg(10 * position + 2)
        assert sample.provenance == {"source_path": f"ILSVRC2012_img_train.tar/{wnid}.tar/{wnid}_2.JPEG"}
    for number, class_index in enumerate(VAL_INDEXES, start=1):
        sample = found[f"ILSVRC2012_val_{number:08d}"]
        assert (sample.wnid, sample.class_index) == (CLASSES[class_index].wnid, class_index)
        assert (sample.label_source, sample.image_bytes) == (label_source, jpeg(100 + number))
        assert sample.provenance == {"source_path": f"ILSVRC2012_img_val.tar/{val_name(number)}"}


def test_ilsvrc2012_as_published(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", archives())
    source = opened(root, tmp_path / "listing")

    assert source.kind == "ilsvrc2012" and source.splits == {"train": 9, "val": 5}
    check_ilsvrc(by_key(source), "devkit")
    train = list(source.samples("train", 0, 9))
    assert [*source.samples("train", 4, 9), *source.samples("train", 0, 4)] == train[4:] + train[:4]
    keys = [sample.key for sample in train]
    assert sorted(keys) == list(opened(root, tmp_path / "index2", shuffle=False).keys("train")) != keys
    assert opened(root, tmp_path / "index3").settings == source.settings
    assert opened(root, tmp_path / "index4", split="val").splits == {"val": 5}
    assert "has splits train, val, not 'test'" in refused(root, tmp_path / "index5", split="test")
    assert "is not among the 10 of --classes" in refused(root, tmp_path / "index6", classes="fashion")
    assert is_ilsvrc2012(path.name for path in root.iterdir()) and not is_ilsvrc2012(["val.tar"])


def test_ilsvrc2012_on_s3(tmp_path: Path, s3_environment: S3Server) -> None:
    storage = open_storage(s3_environment.url("ilsvrc"))
    for name, content in archives().items():
        storage.write(name, content)
    check_ilsvrc(by_key(opened(s3_environment.url("ilsvrc"), tmp_path / "listing")), "devkit")


def test_the_test_archive_has_no_labels(tmp_path: Path) -> None:
    files = archives()
    del files["ILSVRC2012_img_val.tar"], files["ILSVRC2012_devkit_t12.tar.gz"]
    files["ILSVRC2012_img_test_v10102019.tar"] = tar_bytes({"test/ILSVRC2012_test_00000001.JPEG": jpeg(5)})
    source = opened(write_files(tmp_path / "in", files), tmp_path / "listing")

    assert source.splits == {"train": 9, "test": 1}
    sample = by_key(source)["ILSVRC2012_test_00000001"]
    assert (sample.status, sample.wnid, sample.class_index, sample.label_source) == ("ok", None, None, None)


@pytest.mark.parametrize("name", LISTS)
def test_validation_labels_from_lists(tmp_path: Path, name: str) -> None:
    files = archives() | {name: LISTS[name].encode()}
    del files["ILSVRC2012_devkit_t12.tar.gz"]
    check_ilsvrc(by_key(opened(write_files(tmp_path / "in", files), tmp_path / "listing")), "list")


def test_an_unpacked_kit(tmp_path: Path) -> None:
    files = archives()
    del files["ILSVRC2012_devkit_t12.tar.gz"]
    folder = "ILSVRC2012_devkit_t12/data"
    truth = "".join(f"{IDS[CLASSES[index].wnid]}\n" for index in VAL_INDEXES).encode()
    files |= {f"{folder}/meta.mat": meta_mat(), f"{folder}/ILSVRC2012_validation_ground_truth.txt": truth}
    check_ilsvrc(by_key(opened(write_files(tmp_path / "in", files), tmp_path / "listing")), "devkit")


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", archives())
    path = root / "ILSVRC2012_devkit_t12.tar.gz"
    truth = f"{path}, ILSVRC2012_validation_ground_truth.txt"
    cases: dict[str, bytes | None] = {
        f"{truth} has 4 labels, {root}/ILSVRC2012_img_val.tar 5 images": kit(truth=b"7\n7\n7\n7\n"),
        f"{truth}, line 2: expected an ILSVRC2012_ID from 1 to 1000, found '0'": kit(truth=b"7\n0\n7\n7\n7\n"),
        f"{truth}, line 5: expected an ILSVRC2012_ID from 1 to 1000, found '1001'": kit(truth=b"7\n7\n7\n7\n1001\n"),
        f"{truth}, line 1: expected an ILSVRC2012_ID from 1 to 1000, found 'x'": kit(truth=b"x\n7\n7\n7\n7\n"),
        f"{truth}, line 3: meta.mat has no class with ILSVRC2012_ID 8": kit(truth=b"7\n7\n8\n7\n7\n"),
        f"{truth}, byte 2: expected text in UTF-8": kit(truth=b"7\n\xff\n"),
        "cut off, or not the kit": kit()[:200],
        "is no intact tar.gz": kit().replace(kit()[100:140], b"0" * 40),
        "holds no meta.mat": tar_bytes({"ILSVRC2012_validation_ground_truth.txt": b"7\n"}, "w:gz"),
        "meta.mat cannot be read": tar_bytes(
            {"ILSVRC2012_validation_ground_truth.txt": b"7\n", "meta.mat": b"no MATLAB file"}, "w:gz"
        ),
        "expected ILSVRC2012_devkit_t12.tar.gz or one list of labels": None,
    }
    for words, content in cases.items():
        path.unlink() if content is None else path.write_bytes(content)
        assert words in refused(root, tmp_path / "listing"), words
    write_files(root, {"val.txt": b"x", "LOC_val_solution.csv": b"x"})
    assert "found LOC_val_solution.csv, val.txt: move all but one away" in refused(root, tmp_path / "listing")
    # The training images need no labels.
    assert opened(root, tmp_path / "listing", split="train").splits == {"train": 9}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{val_name(2)} 1000", "expected a wnid or a position from 0 to 999, found '1000'"),
        (f"{val_name(2)} cat", "expected a wnid or a position from 0 to 999, found 'cat'"),
        (val_name(2), "expected an image and its class"),
        ("some words here", "expected an image and its class"),
        (f"{val_name(1)} 3", "ILSVRC2012_val_00000001 has a label in an earlier line"),
        (f"{val_name(1)} 65", "ILSVRC2012_val_00000001 has a label in an earlier line"),
        (f"{val_name(2)} n01440764 1 2 3 4 n01443537 1 2 3 4", "expected one class, found n01440764 and n01443537"),
        ("", "expected an image and its class"),
    ],
)
def test_lines_that_are_no_labels(line: str, words: str) -> None:
    content = f"{val_name(1)} 65\n{line}\n{val_name(3)} 1\n".encode()
    with pytest.raises(SourceError, match=r"val.txt, line 2: ") as caught:
        read_list(content, [one.wnid for one in CLASSES], "val.txt")
    assert words in str(caught.value)


@settings(max_examples=100)
@given(st.binary(max_size=60) | st.text("0123456789n, \n_ILSVRCval", max_size=80).map(str.encode))
def test_any_list_is_read_or_refused(content: bytes) -> None:
    try:
        found = read_list(content, WNIDS, "val.txt")
    except SourceError as error:
        assert "val.txt" in str(error) and "\n" not in str(error)
    else:
        lines = content.decode("utf-8-sig").rstrip().splitlines()
        assert len(lines) - 1 <= len(found) <= len(lines)


def test_archives_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    files = archives()
    outer = files["ILSVRC2012_img_train.tar"]
    name = "ILSVRC2012_img_train.tar"
    root = write_files(tmp_path / "in", files)

    write_files(root, {name: outer[:-3000].rstrip(b"\0")[:-700]})
    assert "is cut off: member" in refused(root, tmp_path / "listing")
    write_files(root, {name: tar_bytes({f"{WNIDS[0]}.tar": tar_bytes({"a.JPEG": jpeg(1)})[:1000]})})
    assert f"{name}, in {WNIDS[0]}.tar is cut off" in refused(root, tmp_path / "listing")
    write_files(root, {name: tar_bytes({"a.JPEG": jpeg(1)})})
    assert "expected an image in the tar of its class" in refused(root, tmp_path / "listing")
    write_files(root, {name: tar_bytes({"n99999999.tar": tar_bytes({"a.JPEG": jpeg(1)})})})
    assert "its class n99999999 is not among the 1000" in refused(root, tmp_path / "listing")
    write_files(root, {name: outer, "ILSVRC2012_img_train.tar.gz": b""})
    assert "for split train: move one of them away" in refused(root, tmp_path / "listing")
    (root / "ILSVRC2012_img_train.tar.gz").unlink()
    write_files(root, {"ILSVRC2012_img_val.tar": tar_bytes({val_name(n): jpeg(n) for n in (1, 2, 3, 4, 9)})})
    assert f"'{val_name(9)}', byte" in refused(root, tmp_path / "listing")
    (tmp_path / "none").mkdir()
    write_files(tmp_path / "none", {"x.tar": b""})
    assert "has no ILSVRC2012_img_train.tar" in refused(tmp_path / "none", tmp_path / "listing")


def test_odd_members_are_rows(tmp_path: Path) -> None:
    files = archives()
    files["ILSVRC2012_img_train.tar"] = tar_bytes(
        {
            "README": b"words",
            f"{WNIDS[0]}.tar": tar_bytes({"a.JPEG": jpeg(1), "b.JPEG": b"", "c.JPEG": encode(drawing(2), "PNG")}),
        }
    )
    found = by_key(opened(write_files(tmp_path / "in", files), tmp_path / "listing", split="train"))

    assert {key: sample.status for key, sample in found.items()} == {
        "README": "not-an-image",
        f"{WNIDS[0]}_a": "ok",
        f"{WNIDS[0]}_b": "undecodable",
        f"{WNIDS[0]}_c": "ok",
    }
    assert (found["README"].wnid, found[f"{WNIDS[0]}_c"].image_format) == (None, "png")


def test_compressed_archives_are_read_forward(tmp_path: Path) -> None:
    files = archives()
    inner = {f"{WNIDS[0]}.tar": tar_bytes({"a.JPEG": jpeg(1), "b.JPEG": jpeg(2)})}
    del files["ILSVRC2012_img_train.tar"]
    files["ILSVRC2012_img_train.tar.gz"] = tar_bytes(inner, "w:gz")
    root = write_files(tmp_path / "in", files)
    source = opened(root, tmp_path / "listing")

    assert [sample.image_bytes for sample in everything(source)["train"]] == [jpeg(1), jpeg(2)]
    with pytest.raises(OptionError, match="drop --shuffle"):
        opened(root, tmp_path / "listing", shuffle=True)
