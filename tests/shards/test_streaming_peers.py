"""MosaicML Streaming and LitData themselves read what is written here, and what they write is read here.

Importing them takes seconds, so these tests stand apart.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shardtools.dataset import open_dataset
from shardtools.manifest import digest
from shardtools.sources import SourceOptions
from shardtools.writing import WriteOptions
from tests.helpers.chunk_datasets import LITDATA, MDS, encoded, opened, sample, write
from tests.helpers.opened_sources import everything
from tests.helpers.pictures import drawing, encode, fashion_jpeg, jpeg, rotated_jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

# Streaming leaves the index open that it reads.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <_io.FileIO name='.*index.json':pytest.PytestUnraisableExceptionWarning"
)

PICTURES = {
    "jpeg": jpeg(1),
    "grey": fashion_jpeg(2),
    "cmyk": encode(drawing(3).convert("CMYK"), "JPEG"),
    "progressive": encode(drawing(4), "JPEG", progressive=True),
    "rotated": rotated_jpeg(),
    "png": encode(drawing(5), "PNG"),
    "png16": encode(Image.fromarray(np.full((5, 6), 40_000, np.uint16)), "PNG"),
    "webp": encode(drawing(6), "WEBP"),
    "bmp": encode(drawing(7), "BMP"),
}
MADE = [
    sample(number, content, number if number else None, json=b'{"wnid": "n1"}', txt=name.encode())
    for number, (name, content) in enumerate(PICTURES.items())
]
FIELDS = ("json", "txt")


@pytest.fixture
def streaming() -> Iterator[Any]:
    import streaming
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    yield streaming
    clean_stale_shared_memory()


def litdata_write(root: Path, items: list[Any], **options: Any) -> Path:
    from litdata.streaming.writer import BinaryWriter

    root.mkdir()
    writer = BinaryWriter(str(root), **({"chunk_size": 3} | options))
    for number, one in enumerate(items):
        writer[number] = one
    writer.done()
    writer.merge(1)
    return root


def litdata_read(root: Path) -> list[Any]:
    from litdata import StreamingDataset

    dataset = StreamingDataset(str(root))
    return [dataset[number] for number in range(len(dataset))]


def read(form: Any, root: Path, index: Path) -> list[tuple[bytes | None, int | None]]:
    source = opened(form, root, index)
    return [(one.image_bytes, one.class_index) for one in everything(source)["train"]]


# MosaicML Streaming


@pytest.mark.parametrize("spare", [0, 3])
def test_streaming_reads_what_is_written(spare: int, tmp_path: Path, streaming: Any) -> None:
    root = write(MDS, tmp_path / "data", [MADE[:4], MADE[4:]], FIELDS, spare)
    dataset = streaming.StreamingDataset(
        local=str(root), shuffle=False, batch_size=1, validate_hash="sha256", allow_unsafe_types=False
    )
    assert len(dataset) == len(MADE)
    for number, one in enumerate(MADE):
        found = dataset[number]
        stream = io.BytesIO(one.image_bytes)
        assert np.array_equal(np.asarray(found["image"]), np.asarray(Image.open(stream)))
        assert found["key"] == one.key
        assert found["label"] == (-1 if one.class_index is None else one.class_index)
        assert found["json"] == {"wnid": "n1"}
        assert found["txt"] == one.members["txt"]
        reader = dataset.shards[dataset.spanner[number][0]]
        assert one.image_bytes in reader.get_sample_data(dataset.spanner[number][1])


def test_a_full_shard_is_the_file_that_mdswriter_writes(tmp_path: Path, streaming: Any) -> None:
    jpegs = [sample(number, None, number, json=b"{}", txt=b"words") for number in range(4)]
    columns = {"image": "jpeg", "json": "json", "key": "str", "label": "int", "txt": "bytes"}
    theirs = tmp_path / "theirs"
    with streaming.MDSWriter(out=str(theirs), columns=columns, hashes=["sha256"], size_limit=None) as writer:
        for number, one in enumerate(jpegs):
            # MDSWriter takes the file's own bytes of a JPEG that was opened from a file.
            path = tmp_path / f"{number}.jpg"
            path.write_bytes(one.image_bytes)
            with Image.open(path) as image:
                facts = {"json": {}, "key": one.key, "label": one.class_index, "txt": b"words"}
                writer.write(facts | {"image": image})
    ours = write(MDS, tmp_path / "ours", [jpegs], FIELDS)
    assert (ours / "shard.00000.mds").read_bytes() == (theirs / "shard.00000.mds").read_bytes()
    assert (ours / "index.json").read_bytes() == (theirs / "index.json").read_bytes()


@pytest.mark.parametrize("compression", [None, "zstd", "zstd:9", "br:3", "bz2", "gz:4", "snappy"])
def test_what_mdswriter_writes_is_read(compression: str | None, tmp_path: Path, streaming: Any) -> None:
    columns = {"class": "int64", "png": "png", "size": "float64", "text": "str", "array": "ndarray:uint8:2,2"}
    pictures = [drawing(number) for number in range(7)]
    root = tmp_path / "data"
    with streaming.MDSWriter(out=str(root), columns=columns, compression=compression, size_limit=1500) as writer:
        for number, picture in enumerate(pictures):
            array = np.full((2, 2), number, np.uint8)
            writer.write({"class": number, "png": picture, "size": 0.5, "text": "hé", "array": array})
    assert len(list(root.glob("*.mds*"))) > 1
    found = everything(opened(MDS, root, tmp_path / "listing"))["train"]
    assert [one.class_index for one in found] == list(range(7))
    for one, picture in zip(found, pictures, strict=True):
        assert Image.open(io.BytesIO(one.image_bytes or b"")).tobytes() == picture.tobytes()
    assert dict(found[3].extra_members) == {"array": b"\x03" * 4, "size": b"0.5", "text": "hé".encode()}


def test_images_of_any_mode_that_mdswriter_writes_are_read(tmp_path: Path, streaming: Any) -> None:
    pictures = [drawing(1).convert(mode) for mode in ("RGB", "L", "RGBA", "1")]
    root = tmp_path / "data"
    with streaming.MDSWriter(out=str(root), columns={"x": "pil", "y": "uint8"}, size_limit=None) as writer:
        for number, picture in enumerate(pictures):
            writer.write({"x": picture, "y": np.uint8(number)})
    found = everything(opened(MDS, root, tmp_path / "listing"))["train"]
    assert [one.mode for one in found] == ["RGB", "L", "RGBA", "1"]
    for one, picture in zip(found, pictures, strict=True):
        assert Image.open(io.BytesIO(one.image_bytes or b"")).tobytes() == picture.tobytes()


# LitData


@pytest.mark.parametrize("spare", [0, 3])
def test_litdata_reads_what_is_written(spare: int, tmp_path: Path) -> None:
    root = write(LITDATA, tmp_path / "data", [MADE[:4], MADE[4:]], FIELDS, spare)
    found = litdata_read(root)
    # LitData may hand out views of its memory map.
    assert [bytes(one["image"]) for one in found] == list(PICTURES.values())
    assert [one["label"] for one in found] == [-1, *range(1, len(MADE))]
    assert [one["key"] for one in found] == [one.key for one in MADE]
    assert [(bytes(one["json"]), bytes(one["txt"]).decode()) for one in found] == [
        (b'{"wnid": "n1"}', name) for name in PICTURES
    ]


def test_litdata_reads_a_shuffled_dataset_with_its_loader(tmp_path: Path) -> None:
    from litdata import StreamingDataLoader, StreamingDataset

    root = write(LITDATA, tmp_path / "data", [MADE[:4], MADE[4:]], FIELDS)
    loader = StreamingDataLoader(
        StreamingDataset(str(root), shuffle=True), batch_size=1, collate_fn=lambda found: found
    )
    seen = {one["key"]: bytes(one["image"]) for batch in loader for one in batch}
    assert seen == {one.key: one.image_bytes for one in MADE}


ROWS = [{"image": jpeg(number), "label": number, "key": f"k{number}"} for number in range(7)]
EXPECTED = [(jpeg(number), number) for number in range(7)]


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_rows_of_bytes_that_litdata_writes_are_read(compression: str | None, tmp_path: Path) -> None:
    root = litdata_write(tmp_path / "data", ROWS, compression=compression)
    assert read(LITDATA, root, tmp_path / "listing") == EXPECTED


@pytest.mark.parametrize("level", [None, "chunk", "batch", "sample"])
def test_images_that_litdata_writes_are_read(level: str | None, tmp_path: Path) -> None:
    from litdata.types import Jpeg

    items = [one | {"image": Jpeg(bytes=one["image"])} for one in ROWS]
    packing = {} if level is None else {"compression": "zstd", "compression_level": level}
    root = litdata_write(tmp_path / "data", items, **packing)
    assert read(LITDATA, root, tmp_path / "listing") == EXPECTED


def test_other_items_that_litdata_writes_are_read(tmp_path: Path) -> None:
    from litdata.types import Image as LitImage

    pictures = [drawing(number) for number in range(4)]
    tuples = litdata_write(tmp_path / "tuples", list(zip(pictures, range(4), strict=True)))
    found = everything(opened(LITDATA, tuples, tmp_path / "listing"))["train"]
    assert [one.class_index for one in found] == [0, 1, 2, 3]
    assert [Image.open(io.BytesIO(one.image_bytes or b"")).tobytes() for one in found] == [
        picture.tobytes() for picture in pictures
    ]

    pngs = [{"image": LitImage(bytes=encode(picture, "PNG")), "ok": True, "size": 1.5} for picture in pictures]
    found = everything(opened(LITDATA, litdata_write(tmp_path / "pngs", pngs), tmp_path / "listing"))["train"]
    assert [one.image_bytes for one in found] == [encode(picture, "PNG") for picture in pictures]
    assert dict(found[0].extra_members) == {"ok": b"1", "size": b"1.5"}

    tensors = litdata_write(tmp_path / "tensors", [{"image": torch.zeros(3, 4, 4), "label": 1}])
    (rejected,) = everything(opened(LITDATA, tensors, tmp_path / "listing"))["train"]
    assert (rejected.status, rejected.class_index) == ("not-an-image", 1)


def test_a_shard_is_the_plain_chunk_that_litdata_writes(tmp_path: Path) -> None:
    """LitData writes plain chunks of media leaves only, whose bytes are the same as those of byte leaves."""
    from litdata.types import Jpeg

    made = [sample(number, None, number, txt=b"words") for number in range(3)]
    items = [
        {"image": Jpeg(bytes=one.image_bytes), "txt": b"words", "label": one.class_index, "key": one.key}
        for one in made
    ]
    root = litdata_write(tmp_path / "data", items)
    assert (root / "chunk-0-0.bin").read_bytes() == encoded(LITDATA, made, ("txt",))[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {f"train/class{number % 3}/{number}.jpg": jpeg(number) for number in range(23)}
    return write_files(tmp_path_factory.mktemp("photos"), files | {"train/class0/cut.jpg": jpeg(3)[:-60]})


def dataset(photos: Path, out: Path, layout: str) -> dict[str, dict[str, Any]]:
    """What `shardtools write` makes of them, several shards and one row without an image; its rows by key."""
    source = SourceOptions(source=str(photos))
    write_in_process(WriteOptions(source=source, out=str(out), layout=layout, samples_per_shard=7))
    return {row["key"]: row for table in open_dataset(out).tables() for row in table.to_pylist() if row["shard"]}


def test_streaming_opens_what_the_command_writes(photos: Path, tmp_path: Path, streaming: Any) -> None:
    rows = dataset(photos, tmp_path / "out", "mds")
    found = streaming.StreamingDataset(
        local=str(tmp_path / "out" / "shards"), split="train", batch_size=1, shuffle=False, validate_hash="sha256"
    )

    assert {found[number]["key"]: found[number]["label"] for number in range(len(found))} == {
        key: row["class_index"] for key, row in rows.items()
    }
    assert {found[number]["image"].size for number in range(len(found))} == {(48, 36)}


def test_litdata_opens_what_the_command_writes(photos: Path, tmp_path: Path) -> None:
    import litdata

    rows = dataset(photos, tmp_path / "out", "litdata")
    found = litdata.StreamingDataset(str(tmp_path / "out" / "shards" / "train"))

    assert {found[number]["key"]: digest(bytes(found[number]["image"])) for number in range(len(found))} == {
        key: row["sha256"] for key, row in rows.items()
    }
