"""MDS shards: written as MDSWriter would, read as other people write them, and with suspicion."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from shardtools.errors import OptionError, ShardError, SourceError
from shardtools.shards.chunks.mds import mds_index
from shardtools.shards.chunks.sample_table import IndexedShard
from shardtools.sources.chunks import opening as chunk_opening
from shardtools.sources.chunks.files import unpack
from tests.helpers.chunk_datasets import MDS, encoded, opened, refused, sample, write
from tests.helpers.opened_sources import by_key, everything
from tests.helpers.pictures import drawing, encode, jpeg


def edit_index(root: Path, **changes: Any) -> None:
    """Changes entries of the first shard; "a.b" is b in a."""
    path = root / "index.json"
    content = json.loads(path.read_bytes())
    for name, value in changes.items():
        *outer, last = name.split(".")
        target = content["shards"][0]
        for part in outer:
            target = target[part]
        target[last] = value
    path.write_text(json.dumps(content))


def mds(
    root: Path, columns: dict[str, tuple[str, int | None]], rows: list[list[bytes]], name: str = "shard.00000.mds"
) -> Path:
    """A dataset with any columns, put together from the format's facts."""
    sized = [size is None for _, size in columns.values()]
    bodies = []
    for row in rows:
        lengths = [len(value) for value, has in zip(row, sized, strict=True) if has]
        bodies.append(struct.pack(f"<{len(lengths)}I", *lengths) + b"".join(row))
    start = 4 * (len(rows) + 2)
    offsets = [start + sum(map(len, bodies[:number])) for number in range(len(bodies) + 1)]
    content = struct.pack(f"<{len(rows) + 2}I", len(rows), *offsets) + b"".join(bodies)
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    shard = {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": None,
        "samples": len(rows),
        "column_names": list(columns),
        "column_encodings": [encoding for encoding, _ in columns.values()],
        "column_sizes": [size for _, size in columns.values()],
        "raw_data": {"basename": name, "bytes": len(content), "hashes": {}},
        "zip_data": None,
    }
    (root / "index.json").write_text(json.dumps({"version": 2, "shards": [shard]}))
    return root


def pil(image: Image.Image) -> bytes:
    mode = image.mode.encode()
    return struct.pack("<III", *image.size, len(mode)) + mode + image.tobytes()


# Writing


def test_json_that_is_none_is_refused_because_readers_would_fail() -> None:
    for payload in (b"{", b"\xff", b"", b"[" * 100_000):
        with pytest.raises(ShardError, match=r"key0001.*no JSON"):
            encoded(MDS, [sample(0), sample(1, json=payload)], ("json",))


def test_the_index_lists_shards_with_samples_and_has_no_times() -> None:
    shards = [
        IndexedShard(basename="shard.00000.mds", num_samples=2, num_bytes=100, sha256="ab"),
        IndexedShard(basename="shard.00001.mds", num_samples=0, num_bytes=8),
        IndexedShard(basename="train-000002.mds", num_samples=1, num_bytes=50),
    ]
    content = json.loads(mds_index(shards, ("json",)))
    assert [one["raw_data"]["basename"] for one in content["shards"]] == ["shard.00000.mds", "train-000002.mds"]
    assert [one["hashes"] for one in content["shards"]] == [["sha256"], []]
    assert content["shards"][0]["column_names"] == ["image", "json", "key", "label"]
    assert mds_index(shards, ("json",)) == mds_index(list(shards), ("json",))


# Reading what others write


def test_columns_of_other_people(tmp_path: Path) -> None:
    columns: dict[str, tuple[str, int | None]] = {
        "area": ("float32", 4),
        "caption": ("str", None),
        "id": ("uint16", 2),
        "jpg": ("bytes", None),
        "mask.png": ("png", None),
        "object": ("pkl", None),
        "png": ("bytes", None),
        "y": ("uint8", 1),
    }
    mask = encode(drawing(9), "PNG")
    rows = [
        [np.float32(0.5).tobytes(), b"a cat", struct.pack("<H", 300), jpeg(1), mask, b"\x80\x04N.", mask, b"\xff"],
        [np.float32(2).tobytes(), b"", struct.pack("<H", 0), mask, mask, b"", b"", b"\x00"],
    ]
    source = opened(MDS, mds(tmp_path / "data", columns, rows), tmp_path / "listing")
    first, second = everything(source)["train"]

    assert (first.key, first.image_bytes, first.class_index) == ("train_00000", jpeg(1), 255)
    assert dict(first.extra_members) == {
        "area": b"0.5",
        "caption": b"a cat",
        "id": b"300",
        "mask.png": mask,
        "object": b"\x80\x04N.",
        "other.png": mask,
    }
    assert (second.image_format, second.reason) == ("png", "named .jpg, the bytes are png")
    assert dict(second.extra_members) == {"area": b"2.0", "id": b"0", "mask.png": mask}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_raw_pixels_become_lossless_pngs(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(70, dtype=np.uint16).reshape(7, 10) * 900) if mode == "I;16" else None
    image = image or drawing(3, (13, 7)).convert(mode)
    root = mds(tmp_path / "data", {"image": ("pil", None)}, [[pil(image)]])
    (found,) = everything(opened(MDS, root, tmp_path / "listing"))["train"]

    assert (found.status, found.image_format, found.class_index) == ("ok", "png", None)
    assert found.reason == "raw pixels in the source, written as a lossless PNG"
    assert found.provenance["source_num_bytes"] == len(pil(image))
    decoded = Image.open(io.BytesIO(found.image_bytes or b""))
    assert found.mode == {"P": "L"}.get(mode, mode)
    assert (decoded.size, decoded.tobytes()) == (image.size, image.tobytes())


def test_pixels_and_arrays_that_make_no_image_are_rows(tmp_path: Path) -> None:
    whole = pil(drawing(1))
    rows = [
        [pil(drawing(1).convert("CMYK"))],
        [whole[:-1]],
        [whole[:5]],
        [b""],
        [struct.pack("<III", 0, 0, 1) + b"L"],
        [struct.pack("<III", 2**31, 2**31, 2**31) + b"L"],
    ]
    found = everything(opened(MDS, mds(tmp_path / "pil", {"x": ("pil", None)}, rows), tmp_path / "listing"))["train"]
    assert {one.status for one in found} == {"undecodable"}
    assert "mode 'CMYK'" in str(found[0].reason)

    array = mds(tmp_path / "array", {"image": ("ndarray:uint8", None)}, [[b"\x0d\x02\x02\x02" + bytes(8)]])
    (found_array,) = everything(opened(MDS, array, tmp_path / "listing"))["train"]
    assert (found_array.status, found_array.image_bytes) == ("not-an-image", None)


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    def data(encoding: str, size: int | None, value: bytes) -> Path:
        return mds(tmp_path / "data", {"image": ("jpeg", None), "label": (encoding, size)}, [[jpeg(1), value]])

    for value in (-2, 2**31):
        root = data("int", 8, struct.pack("<q", value))
        assert f"row 0, key 'train_00000', byte 12: expected a label from 0 to 2147483647 (or -1 for none) in column 'label', found {value}" in refused(MDS, root, tmp_path / "listing")  # noqa: E501  # fmt: skip
    assert "from 0 to 9" in refused(MDS, data("int", 8, struct.pack("<q", 10)), tmp_path / "listing", classes="fashion")
    assert "found encoding 'str'" in refused(MDS, data("str", None, b"7"), tmp_path / "listing")
    assert "found encoding 'float32'" in refused(MDS, data("float32", 4, bytes(4)), tmp_path / "listing")
    assert "found b'seven'" in refused(MDS, data("str_int", None, b"seven"), tmp_path / "listing")
    assert everything(opened(MDS, data("str_int", None, b"7"), tmp_path / "listing"))["train"][0].class_index == 7

    write(MDS, tmp_path / "both", [[sample(0, None, 3, cls=b"4")]], ("cls",))
    assert "column 'label' says 3, cls says b'4'" in refused(MDS, tmp_path / "both", tmp_path / "listing")


def test_datasets_without_images_are_refused(tmp_path: Path) -> None:
    root = mds(tmp_path / "data", {"label": ("int", 8), "text": ("str", None)}, [[bytes(8), b"words"]])
    assert "no image column" in refused(MDS, root, tmp_path / "listing")
    for names, said in ((["image", "a/b"], "without '/'"), (["image", "a", "a"], "two columns of one name")):
        columns = dict.fromkeys(map(str, range(len(names))), ("jpeg", None))
        root = mds(tmp_path / "data", columns, [[jpeg(1)] * len(names)])
        edit_index(root, column_names=names)
        assert said in refused(MDS, root, tmp_path / "listing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README").write_text("nothing")
    assert "no index.json" in refused(MDS, tmp_path / "empty", tmp_path / "listing")


PACKERS = {
    "zstd": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
    "zstd:7": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
    "br": lambda content: pa.Codec("brotli").compress(content, asbytes=True),
    "snappy": lambda content: pa.Codec("snappy").compress(content, asbytes=True),
    "gz": gzip.compress,
    "bz2:9": bz2.compress,
}


def packed(root: Path, compression: str) -> Path:
    write(MDS, root, [[sample(number) for number in range(3)]])
    content = (root / "shard.00000.mds").read_bytes()
    name = f"shard.00000.mds.{compression.partition(':')[0]}"
    (root / name).write_bytes(PACKERS[compression](content))
    (root / "shard.00000.mds").unlink()
    edit_index(root, compression=compression, zip_data={"basename": name, "bytes": 1, "hashes": {}})
    return root


@pytest.mark.parametrize("compression", list(PACKERS))
def test_compressed_shards(compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = packed(tmp_path / "data", compression)
    source = opened(MDS, root, tmp_path / "listing")
    assert [one.image_bytes for one in everything(source)["train"]] == [jpeg(number) for number in range(3)]
    with pytest.raises(OptionError, match="drop --shuffle"):
        opened(MDS, root, tmp_path / "listing", shuffle=True)

    (path,) = root.glob("*.mds.*")
    content = path.read_bytes()
    for damaged in (content[:-7], content[: len(content) // 2], b"", b"no such thing"):
        path.write_bytes(damaged)
        assert "shard.00000.mds" in refused(MDS, root, tmp_path / "listing")
    path.write_bytes(content)
    monkeypatch.setattr(chunk_opening, "MAX_UNPACKED_BYTES", 100)
    assert "unpack it first" in refused(MDS, root, tmp_path / "listing")


def test_a_cache_that_holds_unpacked_shards_is_read(tmp_path: Path) -> None:
    root = packed(tmp_path / "data", "zstd")
    (path,) = root.glob("*.zstd")
    path.unlink()
    (root / "shard.00000.mds").write_bytes(encoded(MDS, [sample(number) for number in range(3)])[0])
    assert len(by_key(opened(MDS, root, tmp_path / "listing"))) == 3
    edit_index(root, compression="lzma")
    (root / "shard.00000.mds").unlink()
    assert "compressed with 'lzma'" in refused(MDS, root, tmp_path / "listing")


# Damage


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 1}, "version 1"),
        ({"format": "json"}, "expected format 'mds' version 2, found 'json'"),
        ({"samples": 4}, "says 3 samples at byte 0, its index 4"),
        ({"samples": 10**9}, "is cut off: the table"),
        ({"samples": -1}, "not what MDS writes"),
        ({"raw_data.bytes": 5}, "its index says 5"),
        ({"raw_data.basename": "gone.mds"}, "gone.mds is missing"),
        ({"raw_data.basename": "../gone.mds"}, "bad path"),
        ({"raw_data": None}, "not what MDS writes"),
        ({"column_sizes": [None, None, 0]}, "row 0, byte"),
        ({"column_sizes": [None, None, 2**35]}, "row 0, byte"),
        ({"column_names": ["image"]}, "not what MDS writes"),
        ({"column_encodings": [1, 2, 3]}, "not what MDS writes"),
    ],
)
def test_an_index_that_does_not_fit(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    root = write(MDS, tmp_path / "data", [[sample(number) for number in range(3)]])
    edit_index(root, **changes)
    assert said in refused(MDS, root, tmp_path / "listing")


def test_an_index_that_is_none(tmp_path: Path) -> None:
    root = write(MDS, tmp_path / "data", [[sample(0)]])
    for content, said in (
        (b"", "no intact index"),
        (b"[]", "expected a JSON object"),
        (b"[" * 100_000, "no intact index"),
        (b'{"version": 3, "shards": []}', "version 3"),
        (b'{"version": 2, "shards": {}}', "list of shards"),
        (b'{"version": 2, "shards": []}', "no samples"),
        (b'{"version": 2, "shards": [7]}', "not what MDS writes"),
    ):
        (root / "index.json").write_bytes(content)
        assert said in refused(MDS, root, tmp_path / "listing")


def test_a_snappy_block_that_is_shorter_than_the_index_says() -> None:
    packed = pa.Codec("snappy").compress(b"x" * 300, asbytes=True)
    assert unpack(packed, "snappy", 1000, where="here") == b"x" * 300
    assert unpack(packed, "snappy", 300, where="here") == b"x" * 300
    for content, words in (
        (packed, "has 300 bytes unpacked, expected at most 299"),
        (b"", "no intact snappy"),
        (b"\xff" * 8, "no intact snappy"),
        (packed[:-5], "no intact snappy"),
    ):
        with pytest.raises(SourceError, match=words):
            unpack(content, "snappy", 299 if content is packed else 1000, where="here")
