"""The `.beton` format: what is written is read back byte for byte, joined, and refused where FFCV would fail."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError, ShardError
from shardtools.shards.beton import format as beton_format
from shardtools.shards.beton import tables as beton_tables
from shardtools.shards.beton.format import FieldType
from shardtools.shards.beton.join import join_betons
from shardtools.shards.beton.reader import open_beton
from shardtools.shards.beton.writer import BetonEncoder, jpeg_obstacle
from shardtools.shards.encoder import ShardSample
from shardtools.storage import open_storage
from tests.helpers.beton_files import (
    encode_beton,
    header,
    jpeg_sample,
    labels,
    opened_beton,
    payloads,
    raw_sample,
)
from tests.helpers.pictures import drawing, encode, jpeg, rotated_jpeg
from tests.helpers.s3_server import S3Server

MEMBERS = ("key", "json", "seg.png")


@pytest.fixture
def tiny_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of a few bytes, as FFCV would read but not write: many of them in a small file."""
    monkeypatch.setattr(beton_format, "MIN_PAGE_BYTES", 1)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    samples = [
        jpeg_sample(0, label=7, json=b'{"wnid": "n00000007"}'),
        jpeg_sample(1, **{"seg.png": b"\0mask\0"}),
        raw_sample("raw", 5, 3, bytes(range(45)), {"json": b"{}"}),
    ]
    content, offsets = encode_beton(samples, MEMBERS, max_samples=10)
    beton = opened_beton(content, tmp_path)

    assert [(one.name, one.type) for one in beton.fields] == [
        ("image", FieldType.IMAGE),
        ("label", FieldType.INT),
        ("key", FieldType.BYTES),
        ("json", FieldType.JSON),
        ("seg.png", FieldType.BYTES),
    ]
    assert payloads(beton, 0) == [jpeg(0), jpeg(1), bytes(range(45))]
    assert labels(beton) == [7, -1, -1]
    assert payloads(beton, 2) == [b"key_0000", b"key_0001", b"raw"]
    assert payloads(beton, 3) == [b'{"wnid": "n00000007"}\0', b"null\0", b"{}\0"]
    assert payloads(beton, 4) == [b"", b"\0mask\0", b""]
    images = beton.metadata.read(0, 3)["f0"]
    assert images["ptr"].tolist() == offsets
    assert images[["mode", "width", "height"]].tolist() == [(0, 48, 36), (0, 48, 36), (1, 5, 3)]
    assert [content[start : start + len(one.image_bytes)] for start, one in zip(offsets, samples, strict=True)] == [
        one.image_bytes for one in samples
    ]
    # Addresses are unique, also those of empty payloads: FFCV finds lengths by address.
    table = beton.allocations.read(0, beton.allocations.num_rows)
    assert len(set(table["ptr"].tolist())) == len(table) == 12
    assert header(content)[:4] == (2, 5, 1 << 21, 3)


def test_the_same_samples_give_the_same_bytes_and_room_for_more_changes_only_offsets(tmp_path: Path) -> None:
    samples = [jpeg_sample(number, label=number) for number in range(5)]

    assert encode_beton(samples, MEMBERS) == encode_beton(samples, MEMBERS)
    spacious, _ = encode_beton(samples, MEMBERS, max_samples=100_000)
    assert payloads(opened_beton(spacious, tmp_path), 0) == [jpeg(number) for number in range(5)]


def test_a_file_without_samples(tmp_path: Path) -> None:
    content, _ = encode_beton([], MEMBERS, max_samples=10)
    beton = opened_beton(content, tmp_path)

    assert (len(content), beton.num_samples, beton.allocations.num_rows) == (24 + 5 * 1041, 0, 0)
    assert list(beton.metadata.pieces()) == []


@settings(max_examples=40)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.binary(max_size=40)), min_size=1, max_size=30),
    page_bits=st.integers(4, 9),
)
def test_round_trip_over_many_tiny_pages(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int, bytes]], page_bits: int
) -> None:
    folder = tmp_path_factory.mktemp("round")
    dice = random.Random(repr(sizes))
    samples = [
        raw_sample(f"k{number}", width, height, dice.randbytes(3 * width * height), {"x": extra, "json": extra})
        for number, (width, height, extra) in enumerate(sizes)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beton_format, "MIN_PAGE_BYTES", 1)
        patch.setattr(beton_tables, "ALLOCATIONS_TOGETHER", 5)
        patch.setattr(beton_tables, "ROWS_TOGETHER", 7)
        content, _ = encode_beton(samples, ("key", "x", "json"), page_bytes=1 << page_bits)
        beton = opened_beton(content, folder)
        assert payloads(beton, 0) == [one.image_bytes for one in samples]
        assert payloads(beton, 2) == [one.key.encode() for one in samples]
        assert payloads(beton, 3) == [one.members["x"] for one in samples]
        assert payloads(beton, 4) == [one.members["json"] + b"\0" for one in samples]


@settings(max_examples=30)
@given(tail=st.binary(max_size=300), label=st.none() | st.integers(0, 2**40))
def test_jpeg_bytes_stay_as_they_are(tmp_path_factory: pytest.TempPathFactory, tail: bytes, label: int | None) -> None:
    image = jpeg(3) + tail
    sample = ShardSample(
        key="a", image_bytes=image, image_format="jpg", width=48, height=36, class_index=label, members={}
    )
    content, offsets = encode_beton([sample])

    assert content[offsets[0] : offsets[0] + len(image)] == image
    beton = opened_beton(content, tmp_path_factory.mktemp("jpeg"))
    assert (payloads(beton, 0), labels(beton)) == ([image], [-1 if label is None else label])


def test_tables_larger_than_their_buffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.shards.beton.writer._SAMPLES_TOGETHER", 3)
    monkeypatch.setattr("shardtools.shards.beton.writer._TABLE_BYTES_IN_MEMORY", 100)
    monkeypatch.setattr("shardtools.shards.beton.writer._COPY_BYTES", 50)
    samples = [jpeg_sample(number, label=number) for number in range(20)]
    content, _ = encode_beton(samples, MEMBERS)
    monkeypatch.undo()

    assert content == encode_beton(samples, MEMBERS)[0]


def test_a_large_sample_makes_pages_grow(tmp_path: Path, tiny_pages: None) -> None:
    sizes = [(4, 4), (30, 30), (4, 4), (4, 4)]
    samples = [
        raw_sample(f"k{number}", width, height, bytes([number]) * (3 * width * height), {})
        for number, (width, height) in enumerate(sizes)
    ]
    content, _ = encode_beton(samples, page_bytes=64)

    assert header(content)[2] == 4096
    assert payloads(opened_beton(content, tmp_path), 0) == [one.image_bytes for one in samples]


def test_what_no_page_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.shards.beton.writer.MAX_PAGE_BYTES", 1 << 21)
    big = raw_sample("huge", 1000, 1000, bytes(3_000_000), {})

    with pytest.raises(ShardError, match=r"key 'huge' has 3000000 bytes, .* at most 2097152 "):
        encode_beton([big])


@pytest.mark.parametrize(
    ("image_format", "image", "side", "message"),
    [
        ("png", b"\x89PNG", 8, "found png, expected jpg or raw: give --write-mode raw"),
        ("jpg", encode(drawing().convert("CMYK"), "JPEG"), 0, r"4 colours \(CMYK\)"),
        ("jpg", jpeg(), 49, "48 x 36 pixels, expected 49 x 36"),
        ("jpg", b"\x89PNG", 0, "no intact JPEG"),
        ("jpg", jpeg()[:100], 0, "no intact JPEG"),
        ("jpg", jpeg(), 65_536, "65536 x 36 pixels, a side in a .beton has 1 to 65535"),
        ("raw", bytes(10), 0, "expected 5184 bytes for 48 x 36 RGB pixels, found 10"),
    ],
)
def test_images_that_ffcv_would_not_give_back(image_format: str, image: bytes, side: int, message: str) -> None:
    sample = ShardSample(
        key="k1", image_bytes=image, image_format=image_format, width=side or 48, height=36, class_index=0, members={}
    )
    with pytest.raises(ShardError, match=message) as caught:
        encode_beton([sample])
    assert "key 'k1'" in str(caught.value)


def test_jpegs_that_ffcv_decodes() -> None:
    gray = encode(drawing().convert("L"), "JPEG")
    progressive = encode(drawing(), "JPEG", progressive=True, optimize=True)
    commented = encode(drawing(), "JPEG", comment=b"\xff\xc0\xff\xda" * 9)
    filled = jpeg()[:2] + b"\xff\xff" + jpeg()[2:]
    for image in (gray, progressive, commented, filled, rotated_jpeg(), jpeg()):
        assert jpeg_obstacle(image, 48, 36) is None
    for marker, precision, reason in ((0xC3, 8, "lossless"), (0xC0, 12, "12 bits")):
        at = jpeg().index(b"\xff\xc0")
        changed = jpeg()[: at + 1] + bytes([marker]) + jpeg()[at + 2 : at + 4] + bytes([precision]) + jpeg()[at + 5 :]
        assert reason in (jpeg_obstacle(changed, 48, 36) or "")


@settings(max_examples=60)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_no_jpeg_or_one(content: bytes) -> None:
    jpeg_obstacle(b"\xff\xd8" + content, 1, 1)


@pytest.mark.parametrize("name", ["", "seventeen_letters", "métal", "a\nb", "image", "label"])
def test_names_that_do_not_fit(name: str) -> None:
    with pytest.raises(ShardError, match=r"16 ASCII|names each field once"):
        BetonEncoder(io.BytesIO(), max_samples=1, fields=(name,))


@pytest.mark.parametrize("page_bytes", [0, 1 << 20, (1 << 21) + 1, 1 << 32])
def test_page_sizes_that_are_none(page_bytes: int) -> None:
    with pytest.raises(OptionError, match="power of two"):
        BetonEncoder(io.BytesIO(), max_samples=1, fields=(), page_bytes=page_bytes)


def test_more_samples_than_announced() -> None:
    with pytest.raises(ValueError, match="announced"):
        encode_beton([jpeg_sample(0), jpeg_sample(1)], max_samples=1)


def test_joined_files_hold_all_samples(tmp_path: Path) -> None:
    parts = []
    expected: list[ShardSample] = []
    for number, count in enumerate((3, 0, 4, 1)):
        samples = [jpeg_sample(10 * number + one, label=one, json=b"[%d]" % one) for one in range(count)]
        if number == 2:
            samples.append(raw_sample("big", 900, 900, bytes(range(256)) * 9492 + bytes(48), {}))
        content, _ = encode_beton(samples, ("json", "key", "x"), max_samples=50)
        parts.append(opened_beton(content, tmp_path, f"{number}.beton"))
        expected += samples
    streams = [io.BytesIO(), io.BytesIO()]
    shifts = [join_betons(parts, stream) for stream in streams]
    joined = opened_beton(streams[0].getvalue(), tmp_path, "joined.beton")

    assert streams[0].getvalue() == streams[1].getvalue()
    assert shifts[0] == shifts[1]
    assert joined.page_bytes == 4 << 20
    assert payloads(joined, 0) == [one.image_bytes for one in expected]
    assert payloads(joined, 3) == [one.key.encode() for one in expected]
    assert payloads(joined, 4) == [b""] * 9
    assert labels(joined) == [-1 if one.class_index is None else one.class_index for one in expected]
    moved = np.concatenate(
        [
            part.metadata.read(0, part.num_samples)["f0"]["ptr"] + np.uint64(shift)
            for part, shift in zip(parts, shifts[0], strict=True)
        ]
    )
    assert moved.tolist() == joined.metadata.read(0, 9)["f0"]["ptr"].tolist()


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=5), bits=st.lists(st.integers(5, 8), min_size=5, max_size=5)
)
def test_joining_tiny_pages(tmp_path_factory: pytest.TempPathFactory, counts: list[int], bits: list[int]) -> None:
    folder = tmp_path_factory.mktemp("join")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beton_format, "MIN_PAGE_BYTES", 1)
        patch.setattr("shardtools.shards.beton.join._COPY_BYTES", 20)
        parts, expected = [], []
        for number, count in enumerate(counts):
            samples = [raw_sample("k", 3, one + 1, bytes([one]) * (9 * one + 9), {}) for one in range(count)]
            content, _ = encode_beton(samples, ("x",), page_bytes=1 << bits[number])
            parts.append(opened_beton(content, folder, f"{number}.beton"))
            expected += [one.image_bytes for one in samples]
        stream = io.BytesIO()
        join_betons(parts, stream)
        assert payloads(opened_beton(stream.getvalue(), folder, "joined.beton"), 0) == expected


def test_only_files_of_the_same_fields_are_joined(tmp_path: Path) -> None:
    first = opened_beton(encode_beton([jpeg_sample(0)], ("key",))[0], tmp_path, "a.beton")
    second = opened_beton(encode_beton([jpeg_sample(0)], ("json",))[0], tmp_path, "b.beton")

    with pytest.raises(ShardError, match=r"b.beton has fields .*json \(json\), .*a.beton has .*key \(bytes\)"):
        join_betons([first, second], io.BytesIO())


def test_tables_in_an_object_store(tmp_path: Path, s3_environment: S3Server) -> None:
    storage = open_storage(s3_environment.url("betons"))
    content, _ = encode_beton([jpeg_sample(number, label=number) for number in range(6)], MEMBERS)
    storage.write("a/x.beton", content)
    beton = open_beton(storage, "a/x.beton", tmp_path)

    assert payloads(beton, 0) == [jpeg(number) for number in range(6)]
    assert beton.digest() == opened_beton(content, tmp_path).digest()
    storage.write("a/cut.beton", content[:-30])
    with pytest.raises(ShardError, match=r"s3://.*/a/cut.beton is cut off"):
        open_beton(storage, "a/cut.beton", tmp_path)
