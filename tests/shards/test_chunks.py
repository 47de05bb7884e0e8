"""What MDS and LitData share: written with verbatim images, read back the same anywhere, and read with suspicion."""

from __future__ import annotations

import pickle
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import ShardError, ShardtoolsError
from shardtools.storage import open_storage
from tests.helpers.chunk_datasets import LITDATA, MDS, Format, encoded, opened, refused, sample, write
from tests.helpers.opened_sources import by_key, everything
from tests.helpers.pictures import drawing, encode, jpeg
from tests.helpers.s3_server import S3Server

PICTURES = [
    jpeg(1),
    encode(drawing(2).convert("L"), "JPEG"),
    encode(drawing(3).convert("CMYK"), "JPEG"),
    encode(drawing(4), "PNG"),
    encode(drawing(5), "WEBP"),
    encode(drawing(6), "TIFF"),
]
SAMPLES = st.lists(
    st.tuples(
        st.sampled_from(PICTURES),
        st.none() | st.integers(0, 2**31 - 1),
        st.dictionaries(st.sampled_from(["txt", "seg"]), st.binary(min_size=1, max_size=30)),
    ),
    min_size=1,
    max_size=6,
)


# Writing


@pytest.mark.parametrize("form", [MDS, LITDATA])
def test_offsets_point_at_verbatim_images_and_bytes_are_the_same_again(form: Format) -> None:
    samples = [sample(number, json=b'{"a": 1}') for number in range(4)]
    content, offsets = encoded(form, samples, ("json", "txt"))
    assert [content[at:][: len(one.image_bytes)] for at, one in zip(offsets, samples, strict=True)] == [
        one.image_bytes for one in samples
    ]
    assert encoded(form, samples, ("json", "txt"))[0] == content


@pytest.mark.parametrize("form", [MDS, LITDATA])
def test_what_a_format_cannot_hold_is_refused(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = sample(0)
    object.__setattr__(raw, "image_format", "raw")
    with pytest.raises(ShardError, match="raw pixels"):
        encoded(form, [raw])
    with pytest.raises(ShardError, match="room for 1"):
        encoded(form, [sample(0), sample(1)], max_samples=1)
    with pytest.raises(ShardError, match="--fields names 'key'"):
        encoded(form, [], ("key",))
    monkeypatch.setattr("shardtools.shards.chunks.sample_table.MAX_FILE_BYTES", 2000)
    with pytest.raises(ShardError, match="4 GiB"):
        encoded(form, [sample(0), sample(1)])


# Reading what was written


@pytest.mark.parametrize("form", [MDS, LITDATA])
@settings(max_examples=25)
@given(samples=SAMPLES, spare=st.integers(0, 3), flat=st.booleans())
def test_what_is_written_is_read(form: Format, samples: list[Any], spare: int, flat: bool) -> None:
    made = [sample(number, content, label, **members) for number, (content, label, members) in enumerate(samples)]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "data"
        write(form, root if flat else root / "train", [made[:2], made[2:]], ("txt", "seg"), spare)
        source = opened(form, root, Path(name) / "listing")
        found = everything(source)["train"]
        assert list(source.keys("train")) == [one.key for one in made]
    assert [(one.key, one.image_bytes, one.class_index, dict(one.extra_members), one.status) for one in found] == [
        (one.key, one.image_bytes, one.class_index, one.members, "ok") for one in made
    ]


@pytest.mark.parametrize("form", [MDS, LITDATA])
def test_splits_labels_and_members(form: Format, tmp_path: Path) -> None:
    facts = {"json": b'{"wnid": "n00000007", "source": "generated"}', "cls": b"7"}
    write(form, tmp_path / "data" / "train", [[sample(0, None, 7, **facts), sample(1, None, None)]], ("json", "cls"))
    write(form, tmp_path / "data" / "val", [[sample(2), sample(3, b"no image")]], ("json", "cls"))
    source = opened(form, tmp_path / "data", tmp_path / "listing")
    assert source.splits == {"train": 2, "val": 2}
    first, second, third, fourth = by_key(source).values()

    assert (first.class_index, first.wnid, first.label_source, first.source) == (7, "n00000007", "label", "generated")
    assert dict(first.extra_members) == facts
    assert first.provenance == {"source_path": f"train/{form[2].format(0)}:row 0"}
    assert (second.class_index, second.label_source, dict(second.extra_members)) == (None, None, {})
    assert (third.class_index, fourth.status) == (0, "undecodable")

    only = opened(form, tmp_path / "data", tmp_path / "listing", split="val", classes="fashion")
    assert only.splits == {"val": 2}
    assert next(only.samples("val", 0, 1)).wnid is not None
    assert "not 'test'" in refused(form, tmp_path / "data", tmp_path / "listing", split="test")
    # A dataset of this package keeps its shards in a folder of that name.
    (tmp_path / "whole").mkdir()
    (tmp_path / "data").rename(tmp_path / "whole" / "shards")
    assert opened(form, tmp_path / "whole", tmp_path / "listing").splits == {"train": 2, "val": 2}


@pytest.mark.parametrize("form", [MDS, LITDATA])
def test_positions_are_the_same_in_every_process_and_shuffled_order_is_fixed(form: Format, tmp_path: Path) -> None:
    root = write(form, tmp_path / "data", [[sample(number) for number in range(start, start + 5)] for start in (0, 5)])
    plain = opened(form, root, tmp_path / "listing")
    shuffled = opened(form, root, tmp_path / "listing", shuffle=True)
    keys = [one.key for one in everything(plain)["train"]]
    order = [one.key for one in everything(shuffled)["train"]]

    assert keys == [f"key{number:04d}" for number in range(10)]
    assert sorted(order) == keys != order
    for source, expected in ((plain, keys), (shuffled, order)):
        copy = pickle.loads(pickle.dumps(source))
        assert [one.key for one in copy.samples("train", 3, 8)] == expected[3:8]
    assert plain.settings != shuffled.settings
    assert opened(form, root, tmp_path / "listing").settings == plain.settings


@pytest.mark.parametrize("form", [MDS, LITDATA])
def test_a_bucket_gives_the_same_samples(form: Format, tmp_path: Path, s3_environment: S3Server) -> None:
    root = write(form, tmp_path / "data" / "val", [[sample(number) for number in range(4)], [sample(4)]], ("txt",), 1)
    url = s3_environment.url(f"streamed-{form[2].format(0)}")
    storage = open_storage(url)
    for path in root.iterdir():
        storage.write(f"val/{path.name}", path.read_bytes())
    local, remote = (opened(form, where, tmp_path / "listing") for where in (tmp_path / "data", url))
    assert remote.settings == local.settings
    assert everything(remote) == everything(local)


@pytest.mark.parametrize("form", [MDS, LITDATA])
def test_two_samples_with_one_key_and_keys_that_may_not_be_are_refused(form: Format, tmp_path: Path) -> None:
    root = write(form, tmp_path / "twice", [[sample(1)], [sample(2), sample(1)]])
    message = refused(form, root, tmp_path / "listing")
    assert f"{form[2].format(0)}, row 0" in message and f"{form[2].format(1)}, row 1" in message

    odd = sample(1)
    object.__setattr__(odd, "key", "a/b")
    root = write(form, tmp_path / "slash", [[odd]])
    assert "row 0" in refused(form, root, tmp_path / "listing")
    assert by_key(opened(form, root, tmp_path / "listing", flatten_keys=True)).keys() == {"a__b"}


# Damage


@pytest.mark.parametrize("form", [MDS, LITDATA])
def test_a_shard_cut_anywhere_is_refused(form: Format, tmp_path: Path) -> None:
    root = write(form, tmp_path / "data", [[sample(number, b"x" * 20) for number in range(3)]])
    path = root / form[2].format(0)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert path.name in refused(form, root, tmp_path / "listing")
    for offset, value in ((8, 5), (8, 2**31), (4, 3), (16, len(content) - 1)):
        path.write_bytes(content[:offset] + struct.pack("<I", value) + content[offset + 4 :])
        assert path.name in refused(form, root, tmp_path / "listing")


@pytest.mark.parametrize("form", [MDS, LITDATA])
@settings(max_examples=60)
@given(data=st.data())
def test_altered_bytes_make_errors_or_rows(form: Format, data: st.DataObject) -> None:
    made = [sample(number, b"", json=b"{}") for number in range(3)]
    with tempfile.TemporaryDirectory() as name:
        root = write(form, Path(name) / "data", [made], ("json",))
        path = root / data.draw(st.sampled_from([form[2].format(0), "index.json"]))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            source = opened(form, root, Path(name) / "listing")
            found = everything(source)
        except ShardtoolsError as error:
            assert "\n" not in str(error)
        else:
            assert [len(one) for one in found.values()] == [3]
