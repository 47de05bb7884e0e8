"""LitData chunks: packed and plain ones, put together here from the facts of the format, and their index.

What LitData sources share with MDS sources is in shards/test_chunks.py.
"""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError, ShardtoolsError
from shardtools.shards.chunks.litdata import litdata_index
from shardtools.shards.chunks.sample_table import IndexedShard
from shardtools.sources.chunks import litdata_packed as litdata_chunks
from tests.helpers.chunk_datasets import LITDATA, encoded, opened, sample, write
from tests.helpers.opened_sources import everything
from tests.helpers.pictures import drawing, encode, jpeg

Leaf = tuple[str, str]
LEAVES: tuple[Leaf, ...] = (("image", "jpeg"), ("label", "int"), ("key", "str"))


def refused(root: Path, index: Path, **options: Any) -> str:
    with pytest.raises(ShardtoolsError) as caught:
        everything(opened(LITDATA, root, index, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def row(number: int) -> list[bytes]:
    return [jpeg(number), struct.pack("<q", number), f"key{number}".encode()]


def item(values: list[bytes]) -> bytes:
    return struct.pack(f"<{len(values)}I", *map(len, values)) + b"".join(values)


def plain(items: list[bytes]) -> bytes:
    start = 4 * (len(items) + 2)
    offsets = [start + sum(map(len, items[:number])) for number in range(len(items) + 1)]
    return struct.pack(f"<{len(items) + 2}I", len(items), *offsets) + b"".join(items)


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return packed


def framed(items: list[bytes], rows_per_frame: int = 2) -> bytes:
    """LDFZ01: a header, offsets of the unpacked items, a table of frames, the frames."""
    groups = [items[start : start + rows_per_frame] for start in range(0, len(items), rows_per_frame)]
    offsets = [sum(map(len, items[:number])) for number in range(len(items) + 1)]
    place = 24 + 4 * len(offsets) + 24 * len(groups)
    table, frames = b"", b""
    for number, group in enumerate(groups):
        packed = zstd(b"".join(group))
        first, unpacked = number * rows_per_frame, sum(map(len, group))
        table += struct.pack("<IIQII", first, len(group), place + len(frames), len(packed), unpacked)
        frames += packed
    header = struct.pack("<8sHHIII", b"LDFZ01\0\0", 1, 0, len(items), rows_per_frame, len(groups))
    return header + struct.pack(f"<{len(offsets)}I", *offsets) + table + frames


def arrow_rows(rows: list[dict[str, Any]], compression: str | None = None) -> bytes:
    """LDARW01: an empty table, then an Arrow file in batches of 256 rows, its length and a mark."""
    table = pa.Table.from_pylist(rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        for batch in table.to_batches(max_chunksize=256):
            writer.write_batch(batch)
    arrow = sink.getvalue().to_pybytes()
    start = 4 * (len(rows) + 2)
    head = struct.pack(f"<{len(rows) + 2}I", len(rows), *[start] * (len(rows) + 1))
    return head + arrow + struct.pack("<I", len(arrow)) + b"LDARW01\0"


def treespec(names: list[str] | None, count: int = 3) -> str:
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    kind = "builtins.dict" if names is not None else "builtins.tuple"
    return json.dumps([1, {"type": kind, "context": json.dumps(names), "children_spec": [leaf] * count}])


def dataset(
    root: Path,
    content: bytes,
    count: int,
    leaves: tuple[Leaf, ...] = LEAVES,
    num_bytes: int | None = None,
    **config: Any,
) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "chunk-0-0.bin").write_bytes(content)
    length = len(content) if num_bytes is None else num_bytes
    settings_of = {
        "compression": None,
        "chunk_size": None,
        "chunk_bytes": 100,
        "data_format": [leaf_type for _, leaf_type in leaves],
        "data_spec": treespec([name for name, _ in leaves], len(leaves)),
        "encryption": None,
        "item_loader": "PyTreeLoader",
    }
    chunk = {"chunk_bytes": length, "chunk_size": count, "dim": None, "filename": "chunk-0-0.bin"}
    (root / "index.json").write_text(
        json.dumps({"chunks": [chunk], "config": settings_of | config, "updated_at": "1.5"})
    )
    return root


def read(root: Path, index: Path) -> list[tuple[str, bytes | None, int | None]]:
    source = opened(LITDATA, root, index)
    return [(one.key, one.image_bytes, one.class_index) for one in everything(source)["train"]]


EXPECTED = [(f"key{number}", jpeg(number), number) for number in range(5)]
ITEMS = [item(row(number)) for number in range(5)]
ROWS = [{"image": jpeg(number), "label": number, "key": f"key{number}"} for number in range(5)]


def test_the_index_names_chunks_and_leaves_and_has_no_times() -> None:
    shards = [
        IndexedShard(basename="chunk-0-0.bin", num_samples=2, num_bytes=100, sha256="ab"),
        IndexedShard(basename="chunk-0-1.bin", num_samples=0, num_bytes=8),
    ]
    content = json.loads(litdata_index(shards, ("json",)))
    assert content["chunks"] == [{"chunk_bytes": 100, "chunk_size": 2, "dim": None, "filename": "chunk-0-0.bin"}]
    assert content["config"]["data_format"] == ["bytes", "bytes", "int", "str"]
    assert litdata_index(shards, ("json",)) == litdata_index(shards, ("json",))
    other = [IndexedShard(basename="chunk-0-0.bin", num_samples=2, num_bytes=100, sha256="cd")]
    assert json.loads(litdata_index(other, ()))["updated_at"] != content["updated_at"]


def test_a_chunk_never_ends_like_an_arrow_one(tmp_path: Path) -> None:
    members = {"txt": b"LDARW01\0"}
    content, _ = encoded(LITDATA, [sample(0, **members)], ("txt",))
    assert content.endswith(b"key0000")
    root = write(LITDATA, tmp_path / "data", [[sample(0, **members)]], ("txt",))
    assert dict(everything(opened(LITDATA, root, tmp_path / "listing"))["train"][0].extra_members) == members


def test_plain_chunks_of_new_and_old_releases(tmp_path: Path) -> None:
    content = plain(ITEMS)
    assert read(dataset(tmp_path / "new", content, 5), tmp_path / "listing") == EXPECTED
    old = dataset(tmp_path / "old", content, 5, num_bytes=sum(map(len, ITEMS)))
    assert read(old, tmp_path / "listing") == EXPECTED
    assert "index says" in refused(dataset(tmp_path / "bad", content, 5, num_bytes=17), tmp_path / "listing")


def test_whole_chunks_in_zstd(tmp_path: Path) -> None:
    content = plain(ITEMS)
    root = dataset(tmp_path / "data", zstd(content), 5, num_bytes=len(content), compression="zstd:3")
    assert read(root, tmp_path / "listing") == EXPECTED
    root = dataset(tmp_path / "data", zstd(content + b"x" * 100), 5, num_bytes=len(content), compression="zstd")
    assert "more than the" in refused(root, tmp_path / "listing")


def test_samples_in_zstd(tmp_path: Path) -> None:
    content = plain([zstd(one) for one in ITEMS])
    root = dataset(tmp_path / "data", content, 5, compression="zstd", compression_level="sample")
    assert read(root, tmp_path / "listing") == EXPECTED
    source = opened(LITDATA, root, tmp_path / "listing", shuffle=True)
    assert sorted(one.key for one in source.samples("train", 0, 5)) == [key for key, _, _ in EXPECTED]


@pytest.mark.parametrize("rows_per_frame", [1, 2, 5, 256])
def test_frames_in_zstd(rows_per_frame: int, tmp_path: Path) -> None:
    content = framed(ITEMS, rows_per_frame)
    root = dataset(tmp_path / "data", content, 5, compression="zstd", compression_level="batch")
    assert read(root, tmp_path / "listing") == EXPECTED
    assert [one.key for one in opened(LITDATA, root, tmp_path / "listing").samples("train", 3, 5)] == ["key3", "key4"]
    with pytest.raises(OptionError, match="drop --shuffle"):
        opened(LITDATA, root, tmp_path / "listing", shuffle=True)


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_arrow_rows(compression: str | None, tmp_path: Path) -> None:
    leaves = (("image", "bytes"), ("label", "int"), ("key", "str"), ("tags", "json"), ("score", "float"))
    rows = [one | {"tags": ["a", "b"], "score": None if one["label"] else 0.5} for one in ROWS]
    content = arrow_rows(rows, compression)
    root = dataset(tmp_path / "data", content, 5, leaves)
    assert read(root, tmp_path / "listing") == EXPECTED
    first, second, *_ = everything(opened(LITDATA, root, tmp_path / "listing"))["train"]
    assert dict(first.extra_members) == {"tags": b'["a", "b"]', "score": b"0.5"}
    assert dict(second.extra_members) == {"tags": b'["a", "b"]'}


def test_arrow_rows_over_several_batches(tmp_path: Path) -> None:
    rows = [{"image": b"%d" % number, "label": number, "key": f"key{number}"} for number in range(600)]
    leaves = (("image", "bytes"), *LEAVES[1:])
    root = dataset(tmp_path / "data", arrow_rows(rows), 600, leaves)
    source = opened(LITDATA, root, tmp_path / "listing")
    assert [one.class_index for one in source.samples("train", 250, 520)] == list(range(250, 520))
    source.close()
    for count in (599, 601, 300):
        content = struct.pack("<I", count) + arrow_rows(rows)[4:]
        assert "damaged" in refused(dataset(tmp_path / "bad", content, count, leaves), tmp_path / "listing")


def test_items_that_are_tuples_or_nested(tmp_path: Path) -> None:
    content = plain([item(row(number)[:2]) for number in range(5)])
    root = dataset(tmp_path / "tuple", content, 5, LEAVES[:2], data_spec=treespec(None, 2))
    found = everything(opened(LITDATA, root, tmp_path / "listing"))["train"]
    assert [(one.image_bytes, one.class_index) for one in found] == [expected[1:] for expected in EXPECTED]

    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    inner = {"type": "builtins.dict", "context": json.dumps(["img", "label"]), "children_spec": [leaf] * 2}
    outer = {"type": "builtins.dict", "context": json.dumps(["a", "key"]), "children_spec": [inner, leaf]}
    root = dataset(tmp_path / "nested", plain(ITEMS), 5, data_spec=json.dumps([1, outer]))
    assert read(root, tmp_path / "listing") == EXPECTED


@pytest.mark.parametrize("leaf_type", ["tensor", "numpy", "no_header_tensor:7", "jpeg_array"])
def test_arrays_are_rows_without_images(leaf_type: str, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", plain(ITEMS), 5, (("image", leaf_type), *LEAVES[1:]))
    found = everything(opened(LITDATA, root, tmp_path / "listing"))["train"]
    assert {(one.status, one.reason) for one in found} == {
        ("not-an-image", f"an array ({leaf_type}), not an encoded image")
    }


@pytest.mark.parametrize("leaf_type", ["image:png", "tifffile", "file:png", "bytes"])
def test_images_of_other_leaf_types(leaf_type: str, tmp_path: Path) -> None:
    content = encode(drawing(1), "PNG")
    root = dataset(tmp_path / "data", plain([item([content])]), 1, (("image", leaf_type),))
    (found,) = everything(opened(LITDATA, root, tmp_path / "listing"))["train"]
    assert (found.key, found.image_bytes, found.image_format) == ("train_00000", content, "png")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"item_loader": "TokensLoader"}, "'TokensLoader'"),
        ({"encryption": {"algorithm": "fernet"}}, "encrypted"),
        ({"data_spec": None}, "not what LitData writes"),
        ({"data_spec": "[2, {}]"}, "not what LitData writes"),
        ({"data_spec": treespec(["image"], 1)}, "with 3 leaves, found version 1 with 1"),
        ({"data_spec": "[" * 100_000}, "not what LitData writes"),
        ({"data_format": ["jpeg", "pickle", "str"]}, "found encoding 'pickle'"),
        ({"data_format": ["jpeg", "float", "str"]}, "found encoding 'float'"),
        ({"data_format": ["int", "int", "str"]}, "no image column"),
        ({"compression": "lzma"}, "compressed with 'lzma'"),
        ({"compression": "zstd", "compression_level": "file"}, "compression level"),
        ({"compression": "zstd"}, "no intact zstd"),
        ({"compression": "zstd", "compression_level": "sample"}, "no intact zstd"),
    ],
)
def test_an_index_that_does_not_fit(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in refused(dataset(tmp_path / "data", plain(ITEMS), 5, **config), tmp_path / "listing")


@pytest.mark.parametrize("chunks", [None, {}, [7], [{"chunk_size": -1, "chunk_bytes": 1, "filename": "x"}], []])
def test_chunks_that_are_none(chunks: Any, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", plain(ITEMS), 5)
    content = json.loads((root / "index.json").read_bytes())
    (root / "index.json").write_text(json.dumps(content | {"chunks": chunks}))
    message = refused(root, tmp_path / "listing")
    assert "not what LitData writes" in message or "no samples" in message


def test_integers_and_frames_of_the_wrong_length_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = dataset(tmp_path / "int", plain([item([jpeg(0), b"123", b"key"])]), 1)
    assert "expected 8 bytes in column 'label', found 3" in refused(root, tmp_path / "listing")
    monkeypatch.setattr(litdata_chunks, "MAX_UNPACKED_BYTES", 100)
    for name, content in (("frames", framed(ITEMS)), ("rows", arrow_rows(ROWS))):
        assert "damaged" in refused(dataset(tmp_path / name, content, 5), tmp_path / "listing")


PACKED = {
    "frames": (framed(ITEMS), {"compression": "zstd", "compression_level": "batch"}),
    "rows": (arrow_rows(ROWS), {"data_format": ["bytes", "int", "str"]}),
    "samples": (plain([zstd(one) for one in ITEMS]), {"compression": "zstd", "compression_level": "sample"}),
}


@pytest.mark.parametrize("kind", list(PACKED))
def test_packed_chunks_cut_anywhere_are_refused(kind: str, tmp_path: Path) -> None:
    content, config = PACKED[kind]
    for length in (*range(0, 120, 7), *range(120, len(content), 211), len(content) - 1):
        # The index is made to agree, so that it is the chunk itself that is found out.
        root = dataset(tmp_path / "data", content[:length], 5, **config)
        assert "chunk-0-0.bin" in refused(root, tmp_path / "listing")


@pytest.mark.parametrize("kind", list(PACKED))
@settings(max_examples=80)
@given(data=st.data())
def test_altered_packed_chunks_make_errors_or_rows(kind: str, data: st.DataObject) -> None:
    content, config = bytearray(PACKED[kind][0]), PACKED[kind][1]
    # Tables stand at the beginning, Arrow's also at the end.
    places = st.integers(0, 150) | st.integers(0, len(content) - 1) | st.integers(len(content) - 700, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(places)] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as name:
        root = dataset(Path(name) / "data", bytes(content), 5, **config)
        try:
            found = everything(opened(LITDATA, root, Path(name) / "listing"))
        except ShardtoolsError as error:
            assert "\n" not in str(error)
        else:
            assert len(found["train"]) == 5
