"""Parquet with image bytes: the layouts people have, labels and keys, splits, and memory."""

from __future__ import annotations

import io
import itertools
import json
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.dataset import ShardWriter
from shardtools.errors import OptionError, SourceError
from shardtools.storage import open_storage
from shardtools.storage.local import LocalStorage
from shardtools.taxonomy import load_classes
from tests.helpers.parquet_files import IMAGE, WNIDS, hugging_face, images, opened, read, refused, write
from tests.helpers.pictures import drawing, encode, jpeg
from tests.helpers.s3_server import S3Server


def test_the_hugging_face_layout(tmp_path: Path) -> None:
    samples = read(hugging_face(tmp_path))
    assert {split: len(found) for split, found in samples.items()} == {"train": 12, "validation": 2}
    for number, sample in enumerate(samples["train"]):
        assert sample.image_bytes == jpeg(number)
        assert sample.key == f"{WNIDS[number % 3]}_{number}"
        assert (sample.wnid, sample.class_index, sample.label_source) == (WNIDS[number % 3], number % 3, "label")
        assert (sample.image_format, sample.width, sample.height, sample.mode) == ("jpg", 48, 36, "RGB")
        assert (sample.status, sample.reason, dict(sample.extra_members)) == ("ok", None, {})
    assert samples["train"][8].provenance == {"source_path": "data/train-00001-of-00002.parquet:row 1"}
    assert [sample.class_index for sample in samples["validation"]] == [0, 2]


def test_any_range_gives_the_same_samples_in_any_process(tmp_path: Path) -> None:
    source = opened(hugging_face(tmp_path))
    whole = list(source.samples("train", 0, 12))
    for start, stop in ((5, 9), (0, 1), (11, 12), (2, 2), (6, 8), (3, 12)):
        assert list(source.samples("train", start, stop)) == whole[start:stop]
    # A generator that is left alone half-way does not move the next one.
    assert next(source.samples("train", 4, 9)) == whole[4]
    assert list(source.samples("train", 4, 9)) == whole[4:9]
    other = pickle.loads(pickle.dumps(source))
    assert list(other.samples("train", 6, 12)) == whole[6:]
    assert other.settings == source.settings
    other.close()
    source.close()
    assert next(source.samples("validation", 1, 2)).key == f"{WNIDS[0]}_21"
    source.close()


@pytest.mark.parametrize("arrow_type", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("name", ["image", "image_bytes", "bytes", "jpg", "jpeg", "png", "img_bytes"])
def test_plain_columns_of_bytes(tmp_path: Path, name: str, arrow_type: pa.DataType) -> None:
    write(tmp_path / "photos.parquet", {name: pa.array([jpeg(1), jpeg(2)], arrow_type), "label": [4, 0]})
    samples = read(tmp_path)["train"]
    assert [sample.image_bytes for sample in samples] == [jpeg(1), jpeg(2)]
    assert [sample.key for sample in samples] == ["train_00000", "train_00001"]
    assert [(sample.wnid, sample.class_index) for sample in samples] == [("4", 4), ("0", 0)]
    expected = "named .png, the bytes are jpg" if name == "png" else None
    assert [sample.reason for sample in samples] == [expected, expected]


def test_a_struct_of_any_name_and_other_columns_kept(tmp_path: Path) -> None:
    picture = encode(drawing(5), "PNG")
    columns = {
        "picture": pa.array([{"bytes": picture, "path": None}, {"bytes": jpeg(), "path": "x/é.bin"}], IMAGE),
        "caption": ["a dög", None],
        "score": [0.5, float("nan")],
        "count": pa.array([2**60, 1], pa.uint64()),
        "day": pa.array([0, 1], pa.date32()),
        "a.b": ["dotted", ""],
        "boxes": [[1, 2], []],
        "points": [{"x": 1.5, "seen": [True]}, None],
        "kind": pa.array(["x", "y"]).dictionary_encode(),
    }
    write(tmp_path / "photos.parquet", columns)
    first, second = read(tmp_path)["train"]
    assert (first.image_bytes, first.image_format, first.class_index, first.wnid) == (picture, "png", None, None)
    facts = [json.loads(sample.extra_members["row.json"]) for sample in (first, second)]
    assert facts[0] == {
        "a.b": "dotted", "caption": "a dög", "count": 2**60, "day": "1970-01-01", "kind": "x", "score": 0.5,
        "boxes": [1, 2], "points": {"x": 1.5, "seen": [True]},
    }  # fmt: skip
    assert facts[1]["score"] == "nan"
    assert facts[1]["picture.path"] == "x/é.bin"
    assert list(facts[1]) == sorted(facts[1])
    assert second.reason is None
    assert first.label_source is None


def test_further_columns_of_bytes_are_members(tmp_path: Path) -> None:
    columns = {
        "image": pa.array([{"bytes": jpeg(n), "path": None} for n in range(2)], IMAGE),
        "mask": pa.array([{"bytes": b"mask", "path": None}, None], IMAGE),
        "raw.bin": pa.array([None, b"\0raw"], pa.binary()),
    }
    write(tmp_path / "photos.parquet", columns)
    first, second = read(tmp_path)["train"]
    assert (first.extra_members, second.extra_members) == ({"mask": b"mask"}, {"raw.bin": b"\0raw"})
    write(tmp_path / "photos.parquet", {"image": columns["image"], "A/B": columns["raw.bin"]})
    with pytest.raises(SourceError, match=r"column 'A/B' holds bytes.*rename the column"):
        read(tmp_path)


def test_img2dataset_with_failed_downloads(tmp_path: Path) -> None:
    columns = {
        "url": ["http://a/1", "http://a/2"],
        "key": ["000000000", "000000001"],
        "status": ["success", "failed_to_download"],
        "error_message": [None, "HTTP Error 404:\nNot Found"],
        "width": [48, None],
        "exif": ["{}", None],
        "jpg": pa.array([jpeg(), None], pa.binary()),
    }
    write(tmp_path / "00000.parquet", columns)
    good, bad = read(tmp_path)["train"]
    assert (good.key, good.image_bytes) == ("000000000", jpeg())
    assert json.loads(good.extra_members["row.json"])["url"] == "http://a/1"
    assert (bad.key, bad.status, bad.image_bytes) == ("000000001", "not-an-image", None)
    assert bad.reason == "column jpg is null: HTTP Error 404: Not Found"


def test_class_names_as_text(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"jpg": [jpeg(1)], "label": ["sea lion"]})
    write(tmp_path / "b.parquet", {"jpg": [jpeg(2), jpeg(3)], "label": pa.array(["cat", "sea lion"])})
    assert [(one.wnid, one.class_index) for one in read(tmp_path)["train"]] == [
        ("sea lion", 1), ("cat", 0), ("sea lion", 1),
    ]  # fmt: skip
    assert "outside the 10 classes" in refused(tmp_path, classes="fashion")
    write(tmp_path / "b.parquet", {"jpg": [jpeg(2)], "label": ["10"]})
    write(tmp_path / "a.parquet", {"jpg": [jpeg(1)], "label": ["9"]})
    assert [one.class_index for one in read(tmp_path)["train"]] == [9, 10]


def test_classes_given_by_the_user(tmp_path: Path) -> None:
    fashion = load_classes("fashion")
    path = tmp_path / "train.parquet"
    write(path, {"jpg": [jpeg(1), jpeg(2)], "label": [9, 0]})
    assert [one.wnid for one in read(tmp_path, classes="fashion")["train"]] == [fashion[9].wnid, fashion[0].wnid]
    # Names that are wnids take the number that the set gives them.
    write(path, {"jpg": [jpeg(1), jpeg(2)], "label": [1, 0]}, names=[fashion[7].wnid, fashion[3].wnid])
    assert [(one.wnid, one.class_index) for one in read(tmp_path, classes="fashion")["train"]] == [
        (fashion[3].wnid, 3), (fashion[7].wnid, 7),
    ]  # fmt: skip
    write(path, {"jpg": [jpeg(1)], "label": [0]}, names=["T-shirt", "shoe"])
    assert "names 2 classes, --classes has 10" in refused(tmp_path, classes="fashion")
    write(path, {"jpg": [jpeg(1)], "label": [0]}, names=[f"name {number}" for number in range(10)])
    assert read(tmp_path, classes="fashion")["train"][0].wnid == fashion[0].wnid
    assert read(tmp_path)["train"][0].wnid == "name 0"
    write(path, {"jpg": [jpeg(1), jpeg(2)], "label": [fashion[4].wnid, fashion[5].lemmas[0]]})
    assert [one.class_index for one in read(tmp_path, classes="fashion")["train"]] == [4, 5]


def test_rows_without_a_label_say_so(tmp_path: Path) -> None:
    columns = {"image": images(range(3)), "label": [1, -1, None]}
    write(tmp_path / "test.parquet", columns, names=["cat", "dog"])
    samples = read(tmp_path)["test"]
    assert [sample.class_index for sample in samples] == [1, None, None]
    assert [sample.label_source for sample in samples] == ["label", None, None]
    assert [sample.reason for sample in samples] == [
        None, "column label is -1: no label", "column label is null: no label",
    ]  # fmt: skip
    write(tmp_path / "test.parquet", {"jpg": [jpeg()], "label": pa.nulls(1)})
    assert read(tmp_path)["test"][0].reason is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pa.array([0, 2]), "test.parquet:row 1: expected a label from 0 to 1, found 2"),
        (pa.array([-2, 0]), "row 0: expected a label from 0 to 1, found -2"),
        (pa.array([0, 2**63], pa.uint64()), f"found {2**63}"),
        (pa.array([0.0, 1.0]), "expected integers or class names in column 'label', found double"),
        (pa.array([[0], [1]]), "found list<"),
        (pa.array([True, False]), "found bool"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, labels: pa.Array, message: str) -> None:
    write(tmp_path / "test.parquet", {"image": images(range(2)), "label": labels}, names=["cat", "dog"])
    assert message in refused(tmp_path)


def test_plain_integers_have_no_minus_one(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"jpg": [jpeg()], "label": [-1]})
    assert "row 0: expected a label from 0 to 2147483647, found -1" in refused(tmp_path)


def test_captions_are_no_class_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.sources.parquet.labels.MAX_CLASSES", 3)
    write(tmp_path / "a.parquet", {"jpg": [jpeg()] * 4, "label": list("abcd")})
    assert "more than 3 different texts" in refused(tmp_path)


def test_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, {"jpg": [jpeg(1), jpeg(2)], "__key__": ["x/1", "x/2"]})
    assert "rename" in refused(tmp_path)
    assert [one.key for one in read(tmp_path, flatten_keys=True)["train"]] == ["x__1", "x__2"]
    write(path, {"jpg": [jpeg(1), jpeg(2)], "key": ["a", None]})
    assert "a.parquet:row 1" in refused(tmp_path)
    # Stems of paths are taken only where all can be keys and no two are alike.
    for paths in (["a/1.jpg", "b/1.jpg"], ["1.jpg", None], ["1.x.jpg", "2.jpg"]):
        write(path, {"image": images(range(2), paths=paths)})
        assert [one.key for one in read(tmp_path)["train"]] == ["train_00000", "train_00001"]
    write(path, {"image": images(range(2), paths=["a/1.jpg", "a/2.jpg"])})
    assert [one.key for one in read(tmp_path)["train"]] == ["1", "2"]


def test_a_key_twice_names_both_places(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"jpg": [jpeg(1), jpeg(2)], "key": ["a", "b"]})
    write(tmp_path / "b.parquet", {"jpg": [jpeg(3), jpeg(4)], "key": ["c", "b"]})
    message = refused(tmp_path)
    assert "a.parquet:row 1 and " in message and "b.parquet:row 1" in message


def test_one_image_under_two_labels_is_two_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"jpg": [jpeg(1), jpeg(1)], "label": [0, 1]})
    first, second = read(tmp_path)["train"]
    assert first.image_bytes == second.image_bytes
    assert (first.class_index, second.class_index) == (0, 1)


def test_splits(tmp_path: Path) -> None:
    for name in ("default/train/0000", "default/test/0000"):
        write(tmp_path / f"{name}.parquet", {"jpg": [jpeg()]})
    assert set(read(tmp_path)) == {"train", "test"}
    assert set(read(tmp_path, split="test")) == {"test"}
    assert "not 'val'" in refused(tmp_path, split="val")
    write(tmp_path / "extra.parquet", {"jpg": [jpeg(2)]})
    assert {split: len(found) for split, found in read(tmp_path, split="val").items()} == {"val": 3}


def test_shuffling_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"jpg": [jpeg()]})
    with pytest.raises(OptionError, match="drop --shuffle"):
        opened(tmp_path, shuffle=True)


def test_the_settings_do_not_say_where_the_source_lies(tmp_path: Path) -> None:
    here, there = opened(hugging_face(tmp_path / "here")), opened(hugging_face(tmp_path / "there"))
    assert here.settings == there.settings
    assert opened(tmp_path / "there", check="header").settings != there.settings


class CountingStorage(LocalStorage):
    """Counts how many bytes are read, and has no files that others could open by path."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.num_bytes = 0

    def local_path(self, path: str) -> Path | None:
        return None

    def open(self, path: str) -> BinaryIO:
        storage = self

        class Counting(io.FileIO):
            def readinto(self, buffer: Any) -> int:
                found = super().readinto(buffer) or 0
                storage.num_bytes += found
                return found

        return io.BufferedReader(Counting(self._file(path)), 1 << 16)


def test_one_large_row_group_is_read_once_and_a_little_at_a_time(tmp_path: Path) -> None:
    padding = bytes(range(256)) * 160
    contents = [jpeg(number) + padding for number in range(1200)]
    path = write(
        tmp_path / "a.parquet", {"jpg": contents, "label": [0] * 1200}, compression="none", write_batch_size=16,
        use_dictionary=False,
    )  # fmt: skip
    assert pq.ParquetFile(path).num_row_groups == 1
    storage = CountingStorage(tmp_path)
    source = opened(storage, check="header")
    storage.num_bytes = 0
    at_first, most, keys = pa.total_allocated_bytes(), 0, []
    for start in range(0, 1200, 50):
        for sample in source.samples("train", start, start + 50):
            most = max(most, pa.total_allocated_bytes() - at_first)
            keys.append(sample.key)
    source.close()
    assert len(set(keys)) == 1200
    assert storage.num_bytes < 1.1 * path.stat().st_size
    assert most < 24e6 < path.stat().st_size


def test_rows_reach_a_dataset_and_come_back(tmp_path: Path) -> None:
    source = opened(hugging_face(tmp_path / "in"))
    storage = open_storage(tmp_path / "out")
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        for sample in source.samples("train", 0, 12):
            writer.add(sample)
        writer.commit()
    source.close()
    table = pq.read_table(tmp_path / "out/manifest/train-000000.parquet")
    assert table["class_index"].to_pylist() == [number % 3 for number in range(12)]
    assert table["source_path"][11].as_py() == "data/train-00001-of-00002.parquet:row 4"


def test_a_bucket(s3_environment: S3Server, tmp_path: Path) -> None:
    hugging_face(tmp_path)
    bucket = open_storage(s3_environment.url("parquet"))
    for stored in open_storage(tmp_path).list():
        bucket.write(stored.path, open_storage(tmp_path).read(stored.path))
    here, there = read(tmp_path), read(bucket)
    assert here == there


@given(
    rows=st.lists(
        st.tuples(st.binary(max_size=40), st.one_of(st.none(), st.integers(0, 9)), st.text(max_size=12)), min_size=1
    ),
    group=st.integers(1, 5),
    cuts=st.lists(st.integers(0, 30), max_size=4),
)
@settings(max_examples=40)
def test_every_row_is_kept_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[bytes, int | None, str]], group: int, cuts: list[int]
) -> None:
    root = tmp_path_factory.mktemp("rows")
    contents = [jpeg(number) + tail for number, (tail, _, _) in enumerate(rows)]
    columns = {
        "image": pa.array(
            [{"bytes": content, "path": name} for content, (_, _, name) in zip(contents, rows, strict=True)], IMAGE
        ),
        "label": pa.array([label for _, label, _ in rows], pa.int8()),
        "caption": [text for _, _, text in rows],
    }
    write(root / "a.parquet", columns, row_group_size=group)
    source = opened(root)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    samples = [one for start, stop in itertools.pairwise(edges) for one in source.samples("train", start, stop)]
    source.close()
    assert [sample.image_bytes for sample in samples] == contents
    assert [sample.class_index for sample in samples] == [label for _, label, _ in rows]
    assert [json.loads(sample.extra_members["row.json"])["caption"] for sample in samples] == [row[2] for row in rows]
    assert len({sample.key for sample in samples}) == len(rows)


def test_columns_that_would_take_each_others_names(tmp_path: Path) -> None:
    picture = pa.array([encode(drawing(1), "PNG")])
    two = write(tmp_path / "two/a.parquet", {"image": picture, "png": pa.array([encode(drawing(2), "PNG")])})
    message = refused(two.parent)
    assert "columns 'image' and 'png' could each be the image" in message and "'mask.png'" in message
    facts = write(tmp_path / "facts/a.parquet", {"image": picture, "row.json": pa.array([b"{}"]), "size": [1]})
    assert "'row.json' holds bytes and has the name of the member" in refused(facts.parent)
    mask = write(tmp_path / "mask/a.parquet", {"image": picture, "mask.png": pa.array([b"any"])})
    [sample] = read(mask.parent)["train"]
    assert (sample.image_format, dict(sample.extra_members)) == ("png", {"mask.png": b"any"})
