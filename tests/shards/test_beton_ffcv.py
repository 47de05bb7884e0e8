"""FFCV itself reads what is written here, and what FFCV writes is read here."""

from __future__ import annotations

import io
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardtools.dataset import open_dataset
from shardtools.sample import Sample
from shardtools.shards.beton.join import join_betons
from shardtools.shards.beton.writer import jpeg_obstacle
from shardtools.shards.encoder import ShardSample
from shardtools.sources.beton.source import open_beton_source
from shardtools.sources.options import SourceOptions
from shardtools.storage import open_storage
from shardtools.writing import WriteOptions
from tests.helpers import ffcv_peer
from tests.helpers.beton_files import encode_beton, jpeg_sample, opened_beton, raw_sample
from tests.helpers.pictures import drawing, encode, jpeg, rotated_jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

SIDES = (48, 36)
FIELDS = ("key", "json", "seg.png", "nothing")


@pytest.fixture(scope="module")
def ffcv() -> Iterator[ProcessPoolExecutor]:
    """A process that has FFCV."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield process


def pixels(number: int) -> np.ndarray:
    return np.asarray(drawing(number))


# First: these fork the process, which must have no threads of a loader yet.
@pytest.mark.parametrize(
    ("options", "formats"),
    [
        ({"write_mode": "jpg", "jpeg_quality": 95}, {"jpg"}),
        ({"write_mode": "raw"}, {"png"}),
        ({"write_mode": "smart", "smart_threshold": 1000}, {"jpg"}),
        ({"write_mode": "proportion", "compress_probability": 0.5}, {"jpg", "png"}),
    ],
    ids=["jpg", "raw", "smart", "proportion"],
)
def test_what_ffcv_writes_is_read(
    tmp_path: Path, ffcv: ProcessPoolExecutor, options: dict[str, Any], formats: set[str]
) -> None:
    path = tmp_path / "x.beton"
    ffcv.submit(ffcv_peer.write, str(path), **options).result()
    folder = tmp_path / "listing"
    folder.mkdir()
    storage = open_storage(str(tmp_path))
    source = open_beton_source(storage, [path.name], SourceOptions(source=str(path)), None, folder)
    found = list(source.samples("train", 0, source.splits["train"]))

    expected = [f"name{number}" for number in range(ffcv_peer.NUM_PICTURES)]
    assert [one.key for one in found] == list(source.keys("train")) == expected
    assert {one.image_format for one in found} == formats
    for number, sample in enumerate(found):
        check_picture(sample, number)


def check_picture(sample: Sample, number: int) -> None:
    assert (sample.class_index, sample.wnid, sample.label_source) == (number % 7, f"n{number % 7:08d}", "label")
    assert sample.provenance["source_path"] == f"x.beton:sample {number}"
    image = np.asarray(Image.open(io.BytesIO(sample.image_bytes or b"")), np.int16)
    difference = np.abs(image - pixels(number))
    if sample.image_format == "png":
        assert difference.max() == 0
    else:
        assert difference.mean() < 12
    members = dict(sample.extra_members)
    assert members.pop("weight") == repr(number / 4).encode()
    assert members.pop("text") == bytes([number % 256]) * (number % 5 + 1)
    assert json.loads(members.pop("json")) == {"key": f"name{number}", "wnid": f"n{number % 7:08d}"}
    box = np.load(io.BytesIO(members.pop("box.npy")))
    assert box.dtype == np.float32
    assert (box == np.arange(6).reshape(2, 3) + number).all()
    assert np.load(io.BytesIO(members.pop("ids.npy"))).tolist() == [number, number]
    assert not members


def samples_of_all_kinds() -> list[ShardSample]:
    """JPEGs and raw pixels of one size, with members that fill several pages of 2 MiB and one that exceeds a page."""
    found = []
    for number in range(13):
        members = {"json": json.dumps({"number": number, "text": "ä" * number}).encode()}
        if number % 3:
            members["seg.png"] = bytes([number]) * (700_000 + number)
        if number == 7:
            members["seg.png"] = b"7" * 3_000_000
        sample = jpeg_sample(number, label=number or None, **members)
        if number % 4 == 2:
            sample = raw_sample(sample.key, *SIDES, pixels(number).tobytes(), members)
        found.append(sample)
    return found


def assert_close(image: np.ndarray, content: bytes) -> None:
    """FFCV decodes with libjpeg-turbo's fast transform, Pillow with the exact one."""
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int16)
    assert np.abs(image.astype(np.int16) - expected).max() <= 8


@pytest.mark.parametrize("os_cache", [True, False])
@pytest.mark.parametrize("is_joined", [False, True])
def test_ffcv_reads_what_is_written(tmp_path: Path, ffcv: ProcessPoolExecutor, os_cache: bool, is_joined: bool) -> None:
    samples = samples_of_all_kinds()
    path = tmp_path / "x.beton"
    if is_joined:
        parts = [
            opened_beton(encode_beton(some, FIELDS, max_samples=9)[0], tmp_path, f"{number}.beton")
            for number, some in enumerate((samples[:5], [], samples[5:]))
        ]
        with path.open("wb") as stream:
            join_betons(parts, stream)
    else:
        # Room for more rows than came, as where images were rejected.
        path.write_bytes(encode_beton(samples, FIELDS, max_samples=70_000)[0])
    found = ffcv.submit(ffcv_peer.read_all, str(path), os_cache).result()
    texts = ffcv.submit(ffcv_peer.unpack_json, np.stack([text for _, _, _, text, _, _ in found])).result()

    assert texts == [json.loads(sample.members["json"]) for sample in samples]
    for number, (sample, (image, label, key, _, mask, nothing)) in enumerate(zip(samples, found, strict=True)):
        if sample.image_format == "raw":
            assert (image == pixels(number)).all()
        else:
            assert_close(image, sample.image_bytes)
        assert label[0] == (-1 if sample.class_index is None else sample.class_index)
        assert bytes(key) == sample.key.encode()
        expected = sample.members.get("seg.png", b"")
        assert bytes(mask[: len(expected)]) == expected
        assert nothing.size == 0


def test_ffcv_crops_images_of_any_size_in_a_random_order(tmp_path: Path, ffcv: ProcessPoolExecutor) -> None:
    samples = []
    for number in range(8):
        width, height = 20 + 9 * number, 30 + 5 * number
        image = encode(drawing(number, (width, height)), "JPEG", quality=95)
        facts: dict[str, Any] = {"width": width, "height": height, "class_index": number, "members": {}}
        samples.append(ShardSample(key=f"k{number}", image_bytes=image, image_format="jpg", **facts))
    (tmp_path / "x.beton").write_bytes(encode_beton(samples)[0])
    labels = ffcv.submit(ffcv_peer.read_labels_at_random, str(tmp_path / "x.beton")).result()

    assert sorted(labels) == list(range(8))
    assert labels != list(range(8))


@pytest.mark.parametrize(
    ("image", "is_fine"),
    [
        (jpeg(), True),
        (encode(drawing().convert("L"), "JPEG"), True),
        (encode(drawing(), "JPEG", progressive=True), True),
        (encode(drawing(), "JPEG", subsampling=0, restart_marker_blocks=1), True),
        (encode(drawing(), "JPEG", keep_rgb=True), True),
        (rotated_jpeg(), True),
        (encode(drawing().convert("CMYK"), "JPEG"), False),
        (encode(drawing(), "PNG"), False),
        (b"\xff\xd8\xff\xd9", False),
    ],
    ids=["plain", "grey", "progressive", "restarts", "rgb", "rotated", "cmyk", "png", "empty"],
)
def test_images_are_refused_where_ffcvs_decoder_fails(ffcv: ProcessPoolExecutor, image: bytes, is_fine: bool) -> None:
    code, found = ffcv.submit(ffcv_peer.decode, image, *SIDES).result()

    assert (code == 0) == is_fine == (jpeg_obstacle(image, *SIDES) is None)
    if is_fine:
        assert_close(found, image)
    else:
        assert not found.any()


@pytest.mark.parametrize("one_file", [True, False], ids=["one file", "shards"])
def test_ffcv_opens_what_the_command_writes(tmp_path: Path, ffcv: ProcessPoolExecutor, one_file: bool) -> None:
    photos = {f"class{number % 3}/{number}.jpg": jpeg(number) for number in range(23)}
    source = write_files(tmp_path / "photos", photos | {"class0/cut.jpg": jpeg(3)[:-60]})
    options = SourceOptions(source=str(source))
    out = tmp_path / "out"
    write_in_process(
        WriteOptions(source=options, out=str(out), layout="beton", one_file=one_file, samples_per_shard=12)
    )
    files = sorted((out / "shards").iterdir())
    found = [sample for path in files for sample in ffcv.submit(ffcv_peer.read_all, str(path), True).result()]

    rows = [row for table in open_dataset(out).tables() for row in table.to_pylist() if row["shard"]]
    # FFCV compiles its pipeline for each file, in a second and more: two are several.
    assert len(files) == (1 if one_file else 2) and len(found) == len(rows) == 23
    for (image, label), row in zip(found, rows, strict=True):
        number = int(row["key"].rpartition("_")[2])
        assert_close(image, jpeg(number))
        assert int(label[0]) == row["class_index"] == number % 3
