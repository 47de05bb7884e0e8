"""Parquet that holds no images, does not belong together or is damaged: refused, or rows that say why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import ShardtoolsError, SourceError
from tests.helpers.parquet_files import IMAGE, WNIDS, images, opened, read, refused, write
from tests.helpers.pictures import drawing, encode, huge_png, jpeg


def test_rows_that_hold_no_image(tmp_path: Path) -> None:
    found = [
        {"bytes": None, "path": "elsewhere/1.jpg"},
        {"bytes": b"", "path": "2.jpg"},
        {"bytes": jpeg()[:-20], "path": "3.jpg"},
        {"bytes": b"hello", "path": "4.jpg"},
        {"bytes": huge_png(), "path": "5.png"},
        None,
        {"bytes": encode(drawing(), "PNG"), "path": "7.JPEG"},
    ]
    write(tmp_path / "a.parquet", {"image": pa.array(found, IMAGE), "label": [0] * 7})
    samples = read(tmp_path)["train"]
    assert [sample.status for sample in samples] == [
        "not-an-image", "undecodable", "undecodable", "undecodable", "undecodable", "not-an-image", "ok",
    ]  # fmt: skip
    assert samples[0].reason == "the row has no bytes, only the path of another file: elsewhere/1.jpg"
    assert samples[5].reason == "column image is null"
    assert samples[6].reason == "named .jpeg, the bytes are png"
    assert all(sample.class_index == 0 and sample.provenance["source_path"] for sample in samples)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"], "label": [0]}, "found text (string), label (int64): rename the column"),
        ({"image": ["a.jpg"]}, "names other files (string)"),
        ({"image": pa.array([{"path": "a.jpg"}])}, "names other files (struct<path: string>)"),
        ({"image": [[1, 2, 3]]}, "has no image column"),
        ({"image": pa.nulls(1)}, "found image (null)"),
        ({"a": pa.array([None], IMAGE), "b": pa.array([None], IMAGE)}, "a and b could each be the image column"),
        ({"jpg": pa.array([], pa.binary())}, "holds no rows"),
    ],
)
def test_tables_without_images(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    write(tmp_path / "a.parquet", columns)
    assert message in refused(tmp_path)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"jpg": [jpeg()], "label": [0]}, names=["cat", "dog"])
    write(tmp_path / "b.parquet", {"jpg": [jpeg()], "label": [0]}, names=["dog", "cat"])
    assert "b.parquet has other class names, unlike a.parquet" in refused(tmp_path)
    write(tmp_path / "b.parquet", {"png": [jpeg()], "label": [0]})
    assert "image 'png' instead of 'jpg'" in refused(tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": images(range(30)), "label": list(range(30))}, row_group_size=5)
    whole = path.read_bytes()
    for size in (0, 3, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "a.parquet" in refused(tmp_path)
    path.write_bytes(whole[:-8] + b"\xff\xff\xff\x7fPAR1")
    assert "expected a footer of at most" in refused(tmp_path)
    path.write_bytes(whole[:-4] + b"PARE")
    assert "is encrypted" in refused(tmp_path)
    footer = int.from_bytes(whole[-8:-4], "little")
    path.write_bytes(whole[: -8 - footer] + bytes(footer) + whole[-8:])
    assert "is no intact Parquet file" in refused(tmp_path)
    path.write_bytes(b"hello, I am a text and no Parquet file")
    assert "does not end like a Parquet file" in refused(tmp_path)


def test_a_damaged_page_with_a_checksum_names_the_row(tmp_path: Path) -> None:
    columns = {"image": images(range(30)), "label": list(range(30))}
    path = write(tmp_path / "a.parquet", columns, row_group_size=10, compression="none", write_page_checksum=True)
    content = bytearray(path.read_bytes())
    place = bytes(content).index(jpeg(15)) + 400
    content[place] ^= 1
    path.write_bytes(content)
    assert "a.parquet near row 10 is no intact Parquet file" in refused(tmp_path)


def test_a_file_that_changed_since_it_was_indexed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"jpg": [jpeg(1)], "label": [0]})
    source = opened(tmp_path)
    write(path, {"jpg": [jpeg(2)], "label": [0]})
    with pytest.raises(SourceError, match="let nothing write to the source"):
        list(source.samples("train", 0, 1))
    assert opened(tmp_path).settings["source_listing"] != source.settings["source_listing"]


@given(place=st.integers(0, 10**6), value=st.integers(1, 255), tail=st.booleans())
@settings(max_examples=120)
def test_a_changed_byte_is_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, tail: bool
) -> None:
    root = tmp_path_factory.mktemp("bytes")
    columns = {"image": images(range(6)), "label": [0, 1, 2, 0, 1, 2], "caption": list("abcdef")}
    path = write(root / "a.parquet", columns, names=list(WNIDS), row_group_size=3)
    content = bytearray(path.read_bytes())
    # Half of the changes hit the footer, where the structure is.
    place = -1 - place % min(len(content), 3000) if tail else place % len(content)
    content[place] ^= value
    path.write_bytes(content)
    try:
        samples = read(root)["train"]
    except ShardtoolsError as error:
        assert "\n" not in str(error)
        return
    assert len(samples) == 6
