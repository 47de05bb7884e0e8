"""Outside layouts as samples: class folders, idx files, WebDataset tars, and what is wrong with them."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shardtools.errors import OptionError, ShardError, ShardtoolsError, SourceError, TaxonomyError
from shardtools.sample import Sample
from shardtools.shards import check_key
from shardtools.sources import ImageFacts, Rejection, Source, SourceOptions, check_image, detect_kind, open_source
from shardtools.sources.base import read_ahead
from shardtools.sources.image_check import IMAGE_EXTENSIONS, extension_of, looks_like_image
from shardtools.sources.imagefolder import make_key
from shardtools.sources.patterns import expand_braces
from shardtools.taxonomy import load_classes
from tests.pictures import (
    FASHION,
    drawing,
    encode,
    fashion_jpeg,
    fashion_labels,
    fashion_pixels,
    huge_png,
    idx_images,
    idx_labels,
    jpeg,
    rotated_jpeg,
    write_files,
    write_tar,
)

NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/\\"), min_size=1)


def opened(source: Path | str, index: Path, **options: Any) -> Source:
    index.mkdir(exist_ok=True)
    return open_source(SourceOptions(source=str(source), **options), index)


def everything(source: Source) -> dict[str, list[Sample]]:
    try:
        return {split: list(source.samples(split, 0, count)) for split, count in source.splits.items()}
    finally:
        source.close()


def by_key(source: Source) -> dict[str, Sample]:
    samples = [sample for of_split in everything(source).values() for sample in of_split]
    assert len({sample.key for sample in samples}) == len(samples)
    return {sample.key: sample for sample in samples}


def refused(source: Path | str, index: Path, **options: Any) -> str:
    """The one line that a source is refused with, on opening or on reading."""
    with pytest.raises(ShardtoolsError) as caught:
        everything(opened(source, index, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- images ------------------------------------------------------------------------------------------------------------

GOOD = {
    "jpeg": (jpeg(), ("jpg", 48, 36, "RGB")),
    "progressive": (encode(drawing(), "JPEG", progressive=True), ("jpg", 48, 36, "RGB")),
    "grey jpeg": (encode(drawing().convert("L"), "JPEG"), ("jpg", 48, 36, "L")),
    "cmyk jpeg": (encode(drawing().convert("CMYK"), "JPEG"), ("jpg", 48, 36, "CMYK")),
    "exif-rotated": (rotated_jpeg(), ("jpg", 48, 36, "RGB")),
    "one pixel": (encode(Image.new("RGB", (1, 1)), "JPEG"), ("jpg", 1, 1, "RGB")),
    "png": (encode(drawing(), "PNG"), ("png", 48, 36, "RGB")),
    "16 bits": (encode(Image.new("I;16", (5, 4)), "PNG"), ("png", 5, 4, "I;16")),
    "palette": (encode(drawing().convert("P"), "GIF"), ("gif", 48, 36, "P")),
    "alpha": (encode(drawing().convert("RGBa").convert("RGBA").rotate(9), "WEBP"), ("webp", 48, 36, "RGBA")),
    "bmp": (encode(drawing(), "BMP"), ("bmp", 48, 36, "RGB")),
    "tiff": (encode(drawing(), "TIFF"), ("tiff", 48, 36, "RGB")),
    "pgm": (encode(drawing().convert("L"), "PPM"), ("ppm", 48, 36, "L")),
    "bytes behind the end": (jpeg() + b"trailing", ("jpg", 48, 36, "RGB")),
}


@pytest.mark.parametrize("name", GOOD)
def test_images_are_what_their_bytes_say(name: str) -> None:
    content, expected = GOOD[name]

    assert check_image(content, decode=True) == ImageFacts(*expected)
    assert check_image(content, decode=False) == ImageFacts(*expected)
    assert looks_like_image(content[:16])


BAD = {
    "empty": (b"", "empty"),
    "text": (b"<html>404</html>", "3c 68 74 6d 6c"),
    "zeros": (bytes(5000), "00 00 00"),
    "huge": (huge_png(), "exceeds limit"),
    "header only": (jpeg()[:20], ""),
    "cut in the middle": (jpeg()[: len(jpeg()) // 2], "runcated"),
    "cut by one byte": (jpeg()[:-1], "truncated"),
    "progressive, cut": (encode(drawing(), "JPEG", progressive=True)[:-30], "truncated"),
    "png, cut": (encode(drawing(), "PNG")[:-30], ""),
    "png, flipped": (encode(drawing(), "PNG")[:60] + b"\xff\xff" + encode(drawing(), "PNG")[62:], ""),
    "postscript, which would start a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "25 21"),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_images_have_a_reason_that_is_always_the_same(name: str) -> None:
    content, words = BAD[name]
    found = check_image(content, decode=True)

    assert isinstance(found, Rejection)
    assert found.status == "undecodable"
    assert words in found.reason
    assert found.reason and "\n" not in found.reason and " at 0x" not in found.reason
    assert check_image(bytes(bytearray(content)), decode=True) == found


def test_header_check_lets_a_cut_image_pass() -> None:
    assert check_image(jpeg()[:-100], decode=False) == ImageFacts("jpg", 48, 36, "RGB")


def test_a_large_image_is_no_error_and_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings(record=True) as seen:
        assert isinstance(check_image(jpeg(), decode=True), ImageFacts)
    assert seen == []


@given(st.binary(max_size=60), st.integers(0, len(jpeg())), st.integers(0, 255))
def test_any_bytes_are_an_image_or_a_rejection(tail: bytes, position: int, value: int) -> None:
    changed = bytearray(jpeg())
    changed[position : position + 1] = bytes([value])

    for content in (tail, jpeg()[:position] + tail, bytes(changed)):
        assert isinstance(check_image(content, decode=True), ImageFacts | Rejection)


# -- class folders -----------------------------------------------------------------------------------------------------


def test_folder_labels_are_torchvisions_and_bytes_are_the_files(tmp_path: Path) -> None:
    files = {f"{name}/{name}_{number}.JPEG": jpeg(number) for number, name in enumerate(("b", "a", "B", "c10", "c9"))}
    root = write_files(tmp_path / "in", files)
    found = by_key(opened(root, tmp_path / "index"))

    expected = {name: position for position, name in enumerate(sorted(("b", "a", "B", "c10", "c9")))}
    assert {(sample.wnid, sample.class_index) for sample in found.values()} == set(expected.items())
    assert sorted(sample.image_bytes or b"" for sample in found.values()) == sorted(files.values())
    assert set(found) == {path.rpartition("/")[2].removesuffix(".JPEG") for path in files}
    assert {sample.label_source for sample in found.values()} == {"folder"}


def test_folders_that_are_numbers_are_labels(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {f"{number}/x.png": encode(drawing(number), "PNG") for number in range(12)})

    found = by_key(opened(root, tmp_path / "index"))
    assert {sample.wnid: sample.class_index for sample in found.values()} == {str(n): n for n in range(12)}

    found = by_key(opened(root, tmp_path / "index2", classes="imagenet-1k"))
    wnids = [one.wnid for one in load_classes("imagenet-1k")]
    assert {sample.wnid: sample.class_index for sample in found.values()} == {wnids[n]: n for n in range(12)}

    assert "folder '11', --classes has indexes 0 to 9" in refused(root, tmp_path / "index3", classes="fashion")
    write_files(root, {"01/y.png": b""})
    assert "'01' and '1' for class 1" in refused(root, tmp_path / "index4")


def test_a_class_set_gives_the_labels(tmp_path: Path) -> None:
    classes = load_classes("imagenet-1k")
    chosen = [classes[7], classes[900], classes[3]]
    root = write_files(tmp_path / "in", {f"{one.wnid}/1.jpg": jpeg(one.class_index) for one in chosen})

    found = by_key(opened(root, tmp_path / "index", classes="imagenet-1k"))
    assert {(sample.wnid, sample.class_index) for sample in found.values()} == {
        (one.wnid, one.class_index) for one in chosen
    }
    assert "3 of 3 class folders outside the 10 classes" in refused(root, tmp_path / "index2", classes="fashion")
    with pytest.raises(TaxonomyError):
        opened(root, tmp_path / "index3", classes="no-such-set")


def test_every_file_that_is_not_hidden_is_a_sample(tmp_path: Path) -> None:
    files = {
        "cat/1.jpg": jpeg(1),
        "cat/1.png": encode(drawing(2), "PNG"),
        "cat/1.txt": b"a cat",
        "cat/deeper/1.jpg": jpeg(3),
        "cat/png named.JPEG": encode(drawing(4), "PNG"),
        "cat/no extension": jpeg(5),
        "cat/README": b"words",
        "cat/cut.jpg": jpeg(6)[:-20],
        "cat/empty.jpg": b"",
        "cat/v1.0.final.jpg": jpeg(7),
        "dog/Thumbs.db": b"\0" * 40,
        "labels.csv": b"a,b",
        "loose.jpg": jpeg(8),
    }
    hidden = {".DS_Store": b"x", "cat/.DS_Store": b"x", ".git/config": b"x", "cat/.cache/1.jpg": jpeg(9)}
    root = write_files(tmp_path / "in", files | hidden)
    found = by_key(opened(root, tmp_path / "index"))

    assert len(found) == len(files)
    assert {key: sample.status for key, sample in found.items() if sample.status != "ok"} == {
        "cat_1_txt": "not-an-image",
        "cat_README": "not-an-image",
        "cat_cut": "undecodable",
        "cat_empty": "undecodable",
        "dog_Thumbs_db": "not-an-image",
        "labels_csv": "not-an-image",
    }
    assert all(sample.image_bytes is None and sample.reason for sample in found.values() if sample.status != "ok")
    kept = {key: sample.image_bytes for key, sample in found.items() if sample.status == "ok"}
    assert kept == {
        "cat_1": files["cat/1.jpg"],
        "cat_1-2": files["cat/1.png"],
        "cat_deeper_1": files["cat/deeper/1.jpg"],
        "cat_png named": files["cat/png named.JPEG"],
        "cat_no extension": files["cat/no extension"],
        "cat_v1_0_final": files["cat/v1.0.final.jpg"],
        "loose": files["loose.jpg"],
    }
    assert found["cat_png named"].image_format == "png"
    assert found["cat_png named"].reason == "named .jpeg, the bytes are png"
    assert found["loose"].class_index is None and found["loose"].label_source is None
    assert (found["cat_1"].wnid, found["dog_Thumbs_db"].class_index) == ("cat", 1)


def test_equal_keys_are_told_apart_without_taking_another_files_key(tmp_path: Path) -> None:
    paths = ["a/x.jpg", "a/x.png", "a/x.bmp", "a/x-2.jpg", "a/x-2.png", "a_x.jpg", "a/a_x.gif"]
    root = write_files(tmp_path / "in", {path: jpeg(number) for number, path in enumerate(paths)})
    found = by_key(opened(root, tmp_path / "index"))

    assert len(found) == len(paths)
    assert {sample.image_bytes for sample in found.values()} == {jpeg(number) for number in range(len(paths))}
    again = by_key(opened(root, tmp_path / "index2"))
    assert again == found


def test_split_folders_are_splits(tmp_path: Path) -> None:
    files = {"train/a/1.jpg": jpeg(1), "train/b/1.jpg": jpeg(2), "val/b/1.jpg": jpeg(3), "README.md": b"x"}
    root = write_files(tmp_path / "in", files)
    source = opened(root, tmp_path / "index")

    assert source.splits == {"train": 3, "val": 1}
    found = by_key(source)
    assert set(found) == {"README_md", "train_a_1", "train_b_1", "val_b_1"}
    assert (found["val_b_1"].wnid, found["val_b_1"].class_index) == ("b", 1)
    assert opened(root, tmp_path / "index2", split="val").splits == {"val": 2}
    assert "has splits train, val, not 'test'" in refused(root, tmp_path / "index3", split="test")
    write_files(root, {"loose.jpg": jpeg(4)})
    assert "beside its split folders" in refused(root, tmp_path / "index4")


def test_a_folder_without_splits_takes_the_name_given(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1)})

    assert opened(root, tmp_path / "index").splits == {"train": 1}
    assert opened(root, tmp_path / "index2", split="val").splits == {"val": 1}
    with pytest.raises(ShardError, match="a split is named by"):
        opened(root, tmp_path / "index3", split="../x")


def test_order_is_shuffled_by_key_and_seed(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {f"{n % 3}/{n:03d}.jpg": jpeg(n) for n in range(60)})

    def order(index: str, **options: Any) -> list[str]:
        return [sample.key for sample in opened(root, tmp_path / index, **options).samples("train", 0, 60)]

    plain, shuffled = order("1", shuffle=False), order("2")
    assert plain == sorted(plain) != shuffled
    assert sorted(shuffled) == plain
    assert shuffled == order("3", shuffle_seed=0) != order("4", shuffle_seed=1)
    assert len({key[0] for key in shuffled[:12]}) == 3
    write_files(root, {"1/new.jpg": jpeg(99)})
    assert [key for key in order("5") if key in shuffled] == shuffled[: len(order("6")) - 1]


def test_parts_of_a_source_are_the_whole(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {f"a/{n:03d}.jpg": jpeg(n) for n in range(10)})
    source = opened(root, tmp_path / "index")

    whole = list(source.samples("train", 0, 10))
    assert [*source.samples("train", 7, 10), *source.samples("train", 0, 7)] == whole[7:] + whole[:7]


def test_a_file_that_changes_meanwhile_stops_the_job(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1)})
    source = opened(root, tmp_path / "index")
    (root / "a/1.jpg").write_bytes(jpeg(1) + b"more")

    with pytest.raises(SourceError, match="let nothing write to the source"):
        everything(source)


def test_what_changes_the_result_is_in_the_settings(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1), "b/2.jpg": jpeg(2)})
    moved = write_files(tmp_path / "moved", {"a/1.jpg": jpeg(1), "b/2.jpg": jpeg(2)})
    settings = opened(root, tmp_path / "index").settings

    assert opened(moved, tmp_path / "index1").settings == settings
    assert str(tmp_path) not in repr(settings)
    for number, options in enumerate(({"shuffle": False}, {"shuffle_seed": 1}, {"check": "header"}), start=2):
        assert opened(root, tmp_path / f"index{number}", **options).settings != settings
    write_files(moved, {"a/1.jpg": jpeg(1) + b"x"})
    assert opened(moved, tmp_path / "index9").settings["source_listing"] != settings["source_listing"]


def test_names_that_no_storage_takes(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1)})
    for name in (b"line\nbreak.jpg", b"latin\xe9.jpg", b"back\\slash.jpg"):
        odd = bytes(root) + b"/a/" + name
        Path(odd.decode(errors="surrogateescape")).write_bytes(jpeg(2))
        assert "rename it" in refused(root, tmp_path / "index")
        Path(odd.decode(errors="surrogateescape")).unlink()


def test_nothing_to_read(tmp_path: Path) -> None:
    assert "is not there" in refused(tmp_path / "missing", tmp_path / "index")
    (tmp_path / "empty").mkdir()
    assert "holds nothing" in refused(tmp_path / "empty", tmp_path / "index")
    (tmp_path / "empty" / ".hidden").write_bytes(b"x")
    assert "holds no files" in refused(tmp_path / "empty", tmp_path / "index")
    (tmp_path / "file.txt").write_bytes(b"x")
    assert "give a folder of images" in refused(tmp_path / "file.txt", tmp_path / "index")


@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(["", ".jpg", ".JPEG", ".txt", "."]))
def test_a_path_always_gives_a_key(names: list[str], extension: str) -> None:
    path = "/".join(names) + extension

    assert check_key(make_key(path)) == make_key(path)


def test_keys_say_where_a_file_lay() -> None:
    assert make_key("n01440764/n01440764_10026.JPEG") == "n01440764_10026"
    assert make_key("train/n01440764/n01440764_10026.JPEG") == "train_n01440764_10026"
    assert make_key("__x/1.jpg") == "x__x_1"
    long = make_key("class/" + "ä" * 100 + ".jpg")
    assert long.startswith("class_ää") and len(long.encode()) <= 80
    assert long != make_key("class/" + "ä" * 101 + ".jpg")


def test_extensions() -> None:
    assert [extension_of(path) for path in ("a/b.JPG", "a.b/c", ".hidden", "x.tar.gz")] == ["jpg", "", "", "gz"]
    assert set(IMAGE_EXTENSIONS.values()) <= set(IMAGE_EXTENSIONS)


# -- idx files ---------------------------------------------------------------------------------------------------------


def small_idx(root: Path, pixels: np.ndarray, labels: bytes, name: str = "train") -> Path:
    return write_files(
        root,
        {
            f"{name}-images-idx3-ubyte": idx_images(pixels),
            f"{name}-labels-idx1-ubyte.gz": gzip.compress(idx_labels(labels)),
        },
    )


def test_fashion_mnist_has_its_pixels_and_synsets(tmp_path: Path) -> None:
    source = opened(FASHION, tmp_path / "index")
    classes = load_classes("fashion")

    assert (source.kind, source.splits) == ("idx", {"train": 60000, "test": 10000})
    samples = list(source.samples("test", 0, 300))
    assert [sample.key for sample in samples[:2]] == ["test_00000", "test_00001"]
    for sample, pixels, label in zip(samples, fashion_pixels(300), fashion_labels(300), strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(sample.image_bytes or b""))), pixels)
        assert (sample.class_index, sample.wnid) == (label, classes[label].wnid)
        assert (sample.image_format, sample.mode, sample.width, sample.label_source) == ("png", "L", 28, "idx")
    # Backwards too: the file is opened anew.
    assert list(source.samples("test", 5, 7)) == samples[5:7]
    assert list(source.samples("test", 290, 300)) == samples[290:]
    source.close()


def test_other_idx_files_have_their_numbers_for_names(tmp_path: Path) -> None:
    pixels = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
    root = small_idx(tmp_path / "in", pixels, bytes([3, 0, 9, 255, 1]))
    found = everything(opened(root, tmp_path / "index"))["train"]

    assert [(sample.wnid, sample.class_index) for sample in found] == [
        (str(label), label) for label in (3, 0, 9, 255, 1)
    ]
    assert (found[0].width, found[0].height) == (4, 3)
    assert [
        np.asarray(Image.open(io.BytesIO(sample.image_bytes or b""))).tolist() for sample in found
    ] == pixels.tolist()
    assert "label 255" in refused(root, tmp_path / "index2", classes="fashion")
    assert opened(root, tmp_path / "index3", split="val").splits == {"val": 5}
    with pytest.raises(OptionError, match="drop --shuffle"):
        opened(root, tmp_path / "index4", shuffle=True)


def test_damaged_idx_files(tmp_path: Path) -> None:
    pixels = fashion_pixels(20)
    labels = fashion_labels(20)
    images = gzip.compress(idx_images(pixels))
    other = gzip.compress(idx_images(pixels[:19]))
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte")
    cases = {
        "stream marker was reached": (images[:-9], idx_labels(labels)),
        "is damaged": (images[:9], idx_labels(labels)),
        "cut off in its header": (gzip.compress(b"\0\0\x08"), idx_labels(labels)),
        "19 images": (other, idx_labels(labels)),
        "begins with 0x00000801": (gzip.compress(idx_labels(labels) + bytes(8)), idx_labels(labels)),
        "expected 28 bytes unpacked, found 27": (images, idx_labels(labels)[:-1]),
        "nothing to write": (gzip.compress(struct.pack(">IIII", 0x803, 0, 28, 28)), idx_labels(b"")),
    }
    for number, (words, contents) in enumerate(cases.items()):
        root = write_files(tmp_path / f"in{number}", dict(zip(names, contents, strict=True)))
        assert words in refused(root, tmp_path / "index")


def test_an_idx_file_damaged_in_the_middle_is_found_before_the_first_image(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(idx_images(fashion_pixels(200))))
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    files = {"t10k-images.idx3-ubyte.gz": bytes(content), "t10k-labels.idx1-ubyte": idx_labels(bytes(200))}

    root = write_files(tmp_path / "in", files)
    with pytest.raises(SourceError, match="is damaged at byte"):
        opened(root, tmp_path / "index")


def test_an_idx_file_that_is_cut_meanwhile_names_the_image(tmp_path: Path) -> None:
    root = small_idx(tmp_path / "in", fashion_pixels(20), fashion_labels(20))
    source = opened(root, tmp_path / "index")
    small_idx(root, fashion_pixels(15), fashion_labels(15))

    with pytest.raises(SourceError, match="ends in image 15, expected 20 images"):
        everything(source)


def test_idx_files_come_in_pairs(tmp_path: Path) -> None:
    root = small_idx(tmp_path / "in", fashion_pixels(2), b"\0\1")
    (root / "train-labels-idx1-ubyte").write_bytes(b"")
    assert "has both" in refused(root, tmp_path / "index")
    (root / "train-labels-idx1-ubyte").unlink()
    (root / "train-labels-idx1-ubyte.gz").unlink()
    assert "no file of labels for split train" in refused(root, tmp_path / "index")
    (root / "train-images-idx3-ubyte").unlink()
    (root / "x").write_bytes(b"")
    assert "has no idx files" in refused(root, tmp_path / "index", kind="idx")


# -- tars --------------------------------------------------------------------------------------------------------------


def labelled(number: int, class_index: int = 0) -> list[tuple[str, bytes]]:
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
    first, second = by_key(opened(write_tar(tmp_path / "x.tar", members), tmp_path / "index")).values()

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
        *labelled(1),
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
    found = by_key(opened(write_tar(tmp_path / "x.tar", members), tmp_path / "index"))

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
    path = write_tar(tmp_path / "x.tar", [*labelled(1), (f"{key}.jpg", jpeg(2))])
    with tarfile.open(path) as archive:
        offset = archive.getmembers()[-1].offset_data
    message = refused(path, tmp_path / "index", flatten_keys=flatten_keys)

    assert f"{path}, byte {offset}" in message and repr(key) in message


def test_folders_in_keys_are_flattened_on_request(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a/b/1.jpg", jpeg(1)), ("a/b/1.cls", b"4"), ("a/2.jpg", jpeg(2))])

    message = refused(path, tmp_path / "index")
    assert "byte 512" in message and "'a/b/1'" in message and "--flatten-keys" in message and "'a__b__1'" in message
    assert set(by_key(opened(path, tmp_path / "index", flatten_keys=True))) == {"a__b__1", "a__2"}

    clash = write_tar(tmp_path / "y.tar", [("a/1.jpg", jpeg(1)), ("a__1.jpg", jpeg(2))])
    message = refused(clash, tmp_path / "index", flatten_keys=True)
    assert f"key 'a__1' comes twice: {clash}, byte 512 and {clash}, byte" in message


def test_damaged_tars(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", labelled(1) + labelled(2)).read_bytes()
    cases = {
        "cut off": whole[:1000],
        "no end mark": whole[:512] + jpeg(1).ljust(1024, b"\0")[: 2048 - 512],
        "no intact tar": b"\x1f\x8b" + whole[2:700],
        "not adjacent": write_tar(tmp_path / "a.tar", [labelled(1)[0], *labelled(2), labelled(1)[1]]).read_bytes(),
        "two members": write_tar(tmp_path / "b.tar", [labelled(1)[0]] * 2).read_bytes(),
    }
    for words, content in cases.items():
        (tmp_path / "x.tar").write_bytes(content)
        message = refused(tmp_path / "x.tar", tmp_path / "index")
        assert "x.tar" in message and "byte" in message, words


def test_a_key_in_two_tars_names_both(tmp_path: Path) -> None:
    write_tar(tmp_path / "in/a.tar", labelled(1))
    write_tar(tmp_path / "in/b.tar", labelled(2) + labelled(1))
    message = refused(tmp_path / "in", tmp_path / "index")

    assert "key '00001' comes twice" in message and "a.tar, byte 512" in message and "b.tar, byte" in message


@pytest.mark.parametrize("label", [b"", b"x", b"-1", b"1.0", b"99999999999", b"1" * 50, "٣".encode()])
def test_labels_that_are_no_labels(tmp_path: Path, label: bytes) -> None:
    path = write_tar(tmp_path / "x.tar", [("1.cls", label), ("1.jpg", jpeg(1))])

    assert "key '1', byte 512: expected an integer from 0" in refused(path, tmp_path / "index")


def test_class_sets_of_tars(tmp_path: Path) -> None:
    classes = load_classes("fashion")
    by_name = b'{"wnid": "' + classes[4].wnid.encode() + b'"}'
    path = write_tar(
        tmp_path / "x.tar",
        [*labelled(1, 9), ("2.jpg", jpeg(2)), ("2.json", by_name), ("3.jpg", jpeg(3)), ("3.json", b"[")],
    )
    found = by_key(opened(path, tmp_path / "index", classes="fashion"))

    assert [(sample.wnid, sample.class_index, sample.label_source) for sample in found.values()] == [
        (classes[9].wnid, 9, "cls"),
        (classes[4].wnid, 4, "json"),
        (None, None, None),
    ]
    write_tar(path, labelled(1, 10))
    assert "from 0 to 9 in .cls, found '10'" in refused(path, tmp_path / "index", classes="fashion")
    write_tar(path, [*labelled(1, 3), ("00001.json", by_name)])
    assert ".cls says 3" in refused(path, tmp_path / "index", classes="fashion")
    write_tar(path, [("1.jpg", jpeg(1)), ("1.json", b'{"wnid": "n99999999"}')])
    assert "not in --classes" in refused(path, tmp_path / "index", classes="fashion")


def test_patterns_and_splits_of_tars(tmp_path: Path) -> None:
    for number in range(12):
        write_tar(tmp_path / f"in/set-train-{number:03d}.tar", labelled(number))
    write_tar(tmp_path / "in/set-val-000.tar", labelled(100))

    def count(pattern: str, **options: Any) -> dict[str, int]:
        return dict(opened(f"{tmp_path}/{pattern}", tmp_path / "index", **options).splits)

    assert count("in") == {"train": 12, "val": 1}
    assert count("in", split="val") == {"val": 1}
    assert count("in/set-train-{000..004}.tar") == {"train": 5}
    assert count("in/set-{train-00[1-3],val-*}.tar") == {"train": 3, "val": 1}
    assert count("*/set-train-01?.tar", split="test") == {"test": 2}
    assert count("in/set-val-000.tar", split="other") == {"other": 1}
    assert "twice" not in refused(tmp_path / "in/{a,a}.tar", tmp_path / "index")
    assert "2 times" in refused(tmp_path / "in/set-val-{000,000}.tar", tmp_path / "index")
    assert "matches" in refused(tmp_path / "in/nothing-*.tar", tmp_path / "index")
    assert "not 'test'" in refused(tmp_path / "in", tmp_path / "index", split="test")
    assert "set-train-099.tar" in refused(tmp_path / "in/set-train-{011,099}.tar", tmp_path / "index")
    assert "expected {000000..000146}" in refused(tmp_path / "in/set-{x}.tar", tmp_path / "index")
    assert "more than 1000000" in refused(tmp_path / "in/{0..99999999}.tar", tmp_path / "index")


def test_braces() -> None:
    assert expand_braces("a{08..11}b{x,y}") == [f"a{n:02d}b{c}" for n in range(8, 12) for c in "xy"]
    assert expand_braces("{3..1}") == ["3", "2", "1"]
    assert expand_braces("plain") == ["plain"]


def test_names_with_pattern_characters_are_taken_as_they_stand(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "odd [1]{2}.tar", labelled(1))
    folder = write_files(tmp_path / "photos {2019} [a]", {"a/1.jpg": jpeg(1)})

    assert opened(path, tmp_path / "index").splits == {"train": 1}
    assert opened(folder, tmp_path / "index2").kind == "imagefolder"


def test_compressed_tars_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz"):
        pass

    assert "unpack it" in refused(tmp_path / "x.tar.gz", tmp_path / "index")
    assert "unpack it" in refused(tmp_path, tmp_path / "index")


def test_kinds_are_told_by_names(tmp_path: Path) -> None:
    write_tar(tmp_path / "dataset/shards/train-000000.tar", labelled(1))
    write_files(tmp_path / "folder", {"shards/1.jpg": jpeg(1)})

    assert detect_kind(str(tmp_path / "dataset")) == "webdataset"
    assert detect_kind(str(tmp_path / "folder")) == "imagefolder"
    assert detect_kind(str(FASHION)) == "idx"
    assert detect_kind("s3://bucket/x-{000..100}.tar") == "webdataset"


def test_tars_in_a_random_order(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [member for number in range(40) for member in labelled(number, number % 10)])
    plain = everything(opened(path, tmp_path / "index"))["train"]
    shuffled = everything(opened(path, tmp_path / "index2", shuffle=True))["train"]

    assert [sample.key for sample in plain] == [f"{number:05d}" for number in range(40)]
    assert shuffled != plain
    assert sorted(shuffled, key=lambda sample: sample.key) == plain


def test_one_huge_sample_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.sources.image_check.MAX_SAMPLE_BYTES", 20_000)
    big = jpeg(2) + bytes(30_000)
    tar = write_tar(tmp_path / "x.tar", [*labelled(1), ("big.jpg", big), *labelled(3)])
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1), "a/big.jpg": big})

    for number, (source, key) in enumerate(((tar, "big"), (root, "a_big"))):
        found = by_key(opened(source, tmp_path / f"index{number}"))
        assert [(one.key, one.image_bytes) for one in found.values() if one.status == "too-large"] == [(key, None)]


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_fashion_photographs_go_through_a_folder(tmp_path: Path) -> None:
    wnids = [one.wnid for one in load_classes("fashion")]
    files = {f"{wnids[label]}/{number}.jpg": fashion_jpeg(number) for number, label in enumerate(fashion_labels(40))}
    found = by_key(opened(write_files(tmp_path / "in", files), tmp_path / "index", classes="fashion"))

    assert {sample.image_bytes for sample in found.values()} == set(files.values())
    assert all(sample.wnid == wnids[sample.class_index or 0] for sample in found.values())


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(0, 4))
def test_read_ahead_keeps_the_order(delays: list[int], depth: int) -> None:
    def call(position: int) -> int:
        time.sleep(delays[position] / 10_000)
        return position

    calls = [lambda position=position: call(position) for position in range(len(delays))]
    assert list(read_ahead(calls, depth)) == list(range(len(delays)))


def test_read_ahead_hands_on_a_failure() -> None:
    def fail() -> int:
        raise SourceError("gone")

    with pytest.raises(SourceError, match="gone"):
        list(read_ahead([lambda: 1, fail, lambda: 2], 2))


@pytest.mark.parametrize("options", [{"kind": "zip"}, {"check": "maybe"}, {"shuffle_seed": -1}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        SourceOptions(source="x", **options)


def test_random_mutations_of_a_tar_never_hang_or_lose_a_sample(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "x.tar", [member for number in range(4) for member in labelled(number)]).read_bytes()
    dice = random.Random(0)
    for _ in range(60):
        changed = bytearray(whole)
        changed[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        (tmp_path / "x.tar").write_bytes(changed)
        try:
            found = by_key(opened(tmp_path / "x.tar", tmp_path / "index"))
        except ShardtoolsError:
            continue
        assert len(found) == 4
