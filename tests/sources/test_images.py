"""What the bytes of an image say, and which bytes are none."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shardtools.errors import OptionError, SourceError
from shardtools.sources import ImageFacts, Rejection, SourceOptions, check_image
from shardtools.sources.image.check import looks_like_image
from shardtools.storage import read_ahead
from shardtools.taxonomy import load_classes
from tests.helpers.opened_sources import by_key, opened
from tests.helpers.pictures import (
    drawing,
    encode,
    fashion_jpeg,
    fashion_labels,
    huge_png,
    jpeg,
    rotated_jpeg,
    write_files,
)

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


def test_fashion_photographs_go_through_a_folder(tmp_path: Path) -> None:
    wnids = [one.wnid for one in load_classes("fashion")]
    files = {f"{wnids[label]}/{number}.jpg": fashion_jpeg(number) for number, label in enumerate(fashion_labels(40))}
    found = by_key(opened(write_files(tmp_path / "in", files), tmp_path / "listing", classes="fashion"))

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
