"""The idx files of Fashion-MNIST and its relatives as a source."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardtools.errors import OptionError, SourceError
from shardtools.taxonomy import load_classes
from tests.helpers.opened_sources import everything, opened, refused
from tests.helpers.pictures import (
    FASHION,
    fashion_labels,
    fashion_pixels,
    idx_images,
    idx_labels,
    write_files,
)


def small_idx(root: Path, pixels: np.ndarray, labels: bytes, name: str = "train") -> Path:
    return write_files(
        root,
        {
            f"{name}-images-idx3-ubyte": idx_images(pixels),
            f"{name}-labels-idx1-ubyte.gz": gzip.compress(idx_labels(labels)),
        },
    )


def test_fashion_mnist_has_its_pixels_and_synsets(tmp_path: Path) -> None:
    source = opened(FASHION, tmp_path / "listing")
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
    found = everything(opened(root, tmp_path / "listing"))["train"]

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
        assert words in refused(root, tmp_path / "listing")


def test_an_idx_file_damaged_in_the_middle_is_found_before_the_first_image(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(idx_images(fashion_pixels(200))))
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    files = {"t10k-images.idx3-ubyte.gz": bytes(content), "t10k-labels.idx1-ubyte": idx_labels(bytes(200))}

    root = write_files(tmp_path / "in", files)
    with pytest.raises(SourceError, match="is damaged at byte"):
        opened(root, tmp_path / "listing")


def test_an_idx_file_that_is_cut_meanwhile_names_the_image(tmp_path: Path) -> None:
    root = small_idx(tmp_path / "in", fashion_pixels(20), fashion_labels(20))
    source = opened(root, tmp_path / "listing")
    small_idx(root, fashion_pixels(15), fashion_labels(15))

    with pytest.raises(SourceError, match="ends in image 15, expected 20 images"):
        everything(source)


def test_idx_files_come_in_pairs(tmp_path: Path) -> None:
    root = small_idx(tmp_path / "in", fashion_pixels(2), b"\0\1")
    (root / "train-labels-idx1-ubyte").write_bytes(b"")
    assert "has both" in refused(root, tmp_path / "listing")
    (root / "train-labels-idx1-ubyte").unlink()
    (root / "train-labels-idx1-ubyte.gz").unlink()
    assert "no file of labels for split train" in refused(root, tmp_path / "listing")
    (root / "train-images-idx3-ubyte").unlink()
    (root / "x").write_bytes(b"")
    assert "has no idx files" in refused(root, tmp_path / "listing", kind="idx")
