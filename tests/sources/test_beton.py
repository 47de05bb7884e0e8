"""`.beton` files as a source."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardtools.errors import ShardtoolsError, SourceError
from shardtools.shards.beton import format as beton_format
from shardtools.shards.beton.format import DESCRIPTOR, HEADER, FieldType
from shardtools.shards.encoder import ShardSample
from shardtools.sources.beton.source import BetonSource, open_beton_source
from shardtools.sources.options import SourceOptions
from shardtools.storage import Storage, open_storage
from shardtools.taxonomy import load_classes
from tests.helpers.beton_files import encode_beton, jpeg_sample, raw_sample
from tests.helpers.opened_sources import by_key, everything
from tests.helpers.pictures import encode, jpeg
from tests.helpers.s3_server import S3Server

FASHION = [one.wnid for one in load_classes("fashion")]


def opened(
    root: Path | Storage, files: dict[str, bytes], folder: Path, *, classes: str | None = None, **options: Any
) -> BetonSource:
    storage = open_storage(str(root)) if isinstance(root, Path) else root
    for name, content in files.items():
        storage.write(name, content)
    folder.mkdir(exist_ok=True)
    known = load_classes(classes) if classes else None
    return open_beton_source(storage, list(files), SourceOptions(source=storage.url, **options), known, folder)


def refused(root: Path, content: bytes, folder: Path, **options: Any) -> str:
    with pytest.raises(ShardtoolsError) as caught:
        everything(opened(root, {"x.beton": content}, folder, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labeled(count: int, first: int = 0) -> list[ShardSample]:
    return [jpeg_sample(number, label=number % 10) for number in range(first, first + count)]


def with_types(content: bytes, **types: FieldType) -> bytes:
    """The same file with other types in its field descriptors."""
    num_fields = np.frombuffer(content, HEADER, 1)[0]["num_fields"]
    descriptors = np.frombuffer(content, DESCRIPTOR, num_fields, HEADER.itemsize).copy()
    for descriptor in descriptors:
        name = bytes(descriptor["name"]).rstrip(b"\0").decode()
        descriptor["type_id"] = types.get(name, descriptor["type_id"])
    return content[: HEADER.itemsize] + descriptors.tobytes() + content[HEADER.itemsize + descriptors.nbytes :]


def renamed(content: bytes, old: str, new: str) -> bytes:
    return content.replace(old.encode().ljust(16, b"\0"), new.encode().ljust(16, b"\0"), 1)


def test_bytes_labels_keys_and_members_come_back(tmp_path: Path) -> None:
    samples = [
        jpeg_sample(0, label=3, json=b'{"wnid": "n1", "source": "generated"}', cls=b" 3\n", **{"seg.png": b"mask"}),
        jpeg_sample(1),
    ]
    content, _ = encode_beton(samples, ("key", "json", "cls", "seg.png"))
    first, second = by_key(opened(tmp_path, {"x.beton": content}, tmp_path / "listing")).values()

    assert (first.key, first.image_bytes, first.image_format, first.mode) == ("key_0000", jpeg(0), "jpg", "RGB")
    assert (first.class_index, first.wnid, first.label_source, first.source) == (3, "n1", "label", "generated")
    assert dict(first.extra_members) == {"json": samples[0].members["json"], "cls": b" 3\n", "seg.png": b"mask"}
    assert (second.key, second.class_index, second.label_source, second.wnid) == ("key_0001", None, None, None)
    assert dict(second.extra_members) == {}
    assert [one.provenance["source_path"] for one in (first, second)] == ["x.beton:sample 0", "x.beton:sample 1"]


def test_pixels_become_lossless_pngs(tmp_path: Path) -> None:
    pixels = random.Random(0).randbytes(7 * 5 * 3)
    content, _ = encode_beton([raw_sample("a", 7, 5, pixels, {})], ("key",))
    (sample,) = by_key(opened(tmp_path, {"x.beton": content}, tmp_path / "listing")).values()
    (tmp_path / "a.png").write_bytes(sample.image_bytes or b"")

    assert (sample.image_format, sample.width, sample.height, sample.mode) == ("png", 7, 5, "RGB")
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.tobytes()) == ("RGB", pixels)


def test_keys_from_json_else_from_positions(tmp_path: Path) -> None:
    facts = [b'{"key": "from_json"}', b'{"key": 5}', b"not json"]
    samples = [jpeg_sample(number, json=text) for number, text in enumerate(facts)]
    source = opened(tmp_path, {"x.beton": encode_beton(samples, ("json",))[0]}, tmp_path / "listing")

    assert list(by_key(source)) == list(source.keys("train")) == ["from_json", "train_00001", "train_00002"]
    bare = opened(tmp_path, {"y.beton": encode_beton(samples)[0]}, tmp_path / "listing")
    assert list(by_key(bare)) == list(bare.keys("train")) == ["train_00000", "train_00001", "train_00002"]


def test_several_files_with_splits_in_their_names(tmp_path: Path) -> None:
    files = {
        "a-train-0.beton": encode_beton(labeled(3))[0],
        "a-val.beton": encode_beton(labeled(2, 10))[0],
        "a-train-1.beton": encode_beton(labeled(4, 20))[0],
    }
    source = opened(tmp_path, files, tmp_path / "listing")
    found = everything(source)

    assert source.splits == {"train": 7, "val": 2}
    assert [one.image_bytes for one in found["train"]] == [jpeg(number) for number in (0, 1, 2, 20, 21, 22, 23)]
    assert [one.key for one in found["val"]] == ["val_00000", "val_00001"]
    assert [one.key for one in found["train"]][-1] == "train_00006"
    chosen = opened(tmp_path, files, tmp_path / "listing", split="val")
    assert chosen.splits == {"val": 2}
    with pytest.raises(SourceError, match="test"):
        opened(tmp_path, files, tmp_path / "listing", split="test")


def test_any_position_in_any_process_is_the_same_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.sources.beton.source._ROWS_TOGETHER", 4)
    monkeypatch.setattr("shardtools.sources.beton.source._GROUP_BYTES", 3000)
    files = {f"{number}.beton": encode_beton(labeled(7, 10 * number), ("key",))[0] for number in range(3)}
    for shuffle in (None, True):
        source = opened(tmp_path, files, tmp_path / "listing", shuffle=shuffle)
        again = pickle.loads(pickle.dumps(source))
        whole = everything(source)["train"]
        for start, stop in ((0, 1), (5, 9), (20, 21), (3, 3), (0, 21)):
            assert list(again.samples("train", start, stop)) == whole[start:stop]
        assert [one.key for one in whole] == list(source.keys("train"))


def test_a_random_order_has_every_sample_once(tmp_path: Path) -> None:
    files = {"a.beton": encode_beton(labeled(20))[0], "b.beton": encode_beton(labeled(20, 20))[0]}
    plain = opened(tmp_path, files, tmp_path / "listing")
    shuffled, other = (
        opened(tmp_path, files, tmp_path / "listing", shuffle=True, shuffle_seed=seed) for seed in (0, 1)
    )
    orders = [[one.key for one in everything(source)["train"]] for source in (plain, shuffled, other)]

    assert orders[0] == [f"train_{number:05d}" for number in range(40)] == sorted(orders[1]) == sorted(orders[2])
    assert len({tuple(order) for order in orders}) == 3
    assert orders[1][:4] == ["train_00028", "train_00020", "train_00007", "train_00001"]
    assert by_key(shuffled) == by_key(plain)


def test_settings_name_what_changes_the_samples(tmp_path: Path) -> None:
    content = encode_beton(labeled(3))[0]
    settings = opened(tmp_path / "a", {"x.beton": content}, tmp_path / "listing").settings

    assert opened(tmp_path / "b", {"y.beton": content}, tmp_path / "listing").settings == settings
    relabeled = encode_beton([*labeled(2), jpeg_sample(2, label=9)])[0]
    for files, options in (
        ({"x.beton": relabeled}, {}),
        ({"x.beton": content}, {"split": "val"}),
        ({"x.beton": content}, {"check": "header"}),
        ({"x.beton": content}, {"shuffle": True}),
        ({"x.beton": content}, {"classes": "fashion"}),
    ):
        assert opened(tmp_path / "c", files, tmp_path / "listing", **options).settings != settings


def test_classes_give_the_wnids_and_bound_the_labels(tmp_path: Path) -> None:
    content = encode_beton(
        [jpeg_sample(0, label=4), jpeg_sample(1, json=b'{"wnid": "%s"}' % FASHION[2].encode())], ("json",)
    )[0]
    found = everything(opened(tmp_path, {"x.beton": content}, tmp_path / "listing", classes="fashion"))["train"]

    assert [(one.class_index, one.wnid, one.label_source) for one in found] == [
        (4, FASHION[4], "label"),
        (2, FASHION[2], "json"),
    ]
    for label, classes, last in ((10, "fashion", 9), (-2, None, 2**31 - 1), (2**31, None, 2**31 - 1)):
        bad = encode_beton([jpeg_sample(0, label=1), jpeg_sample(1, label=label)])[0]
        message = refused(tmp_path, bad, tmp_path / "listing", classes=classes)
        assert f"x.beton, sample 1, byte {24 + 2 * 1041 + 24}: expected a label from 0 to {last}, or -1" in message
        assert f"found {label} in field 'label'" in message


def test_labels_that_contradict_each_other(tmp_path: Path) -> None:
    by_cls = encode_beton([jpeg_sample(0, label=1, cls=b"2")], ("cls",))[0]
    by_json = encode_beton([jpeg_sample(0, label=1, json=b'{"wnid": "n0"}')], ("json",))[0]

    assert "its label is 1, its field cls says 2" in refused(tmp_path, by_cls, tmp_path / "listing")
    assert "says 1, which is" in refused(tmp_path, by_json, tmp_path / "listing", classes="fashion")


def test_files_without_image_or_label(tmp_path: Path) -> None:
    content = encode_beton(labeled(1), ("key",))[0]

    message = refused(tmp_path, with_types(content, label=FieldType.FLOAT), tmp_path / "listing")
    assert "a field Int, found image (image), label (float), key (bytes)" in message
    assert "holds no samples" in refused(tmp_path, encode_beton([])[0], tmp_path / "listing")
    custom = refused(tmp_path, with_types(content, key=FieldType.CUSTOM, label=FieldType.CUSTOM), tmp_path / "listing")
    assert "not read: label, key" in custom


def test_keys_that_may_not_be_used(tmp_path: Path) -> None:
    sample = raw_sample("k", 1, 1, b"abc", {"x": b"a/b", "y": b"\xff"})
    content = encode_beton([sample], ("x", "y"))[0]

    assert "sample 0" in refused(tmp_path, renamed(content, "x", "key"), tmp_path / "listing")
    assert "UTF-8" in refused(tmp_path, renamed(content, "y", "key"), tmp_path / "listing")


def test_fields_with_odd_names_become_extensions(tmp_path: Path) -> None:
    sample = jpeg_sample(0, label=1, a=b"1", b=b"2", c=b"3")
    content = encode_beton([sample], ("a", "b", "c"))[0]
    odd = renamed(renamed(renamed(content, "a", "jpg"), "b", "My Field/1"), "c", "Text")
    (found,) = by_key(opened(tmp_path, {"x.beton": odd}, tmp_path / "listing")).values()

    assert dict(found.extra_members) == {"field.jpg": b"1", "my_field_1": b"2", "text": b"3"}
    assert found.image_format == "jpg"
    assert "one extension" in refused(tmp_path, renamed(odd, "Text", "my_field_1"), tmp_path / "listing")


def test_images_that_are_none_get_rows(tmp_path: Path) -> None:
    cut, png = jpeg(1)[:-200], jpeg(2)
    samples = [
        ShardSample(
            key=f"k{number}", image_bytes=image, image_format="jpg", width=48, height=36, class_index=0, members={}
        )
        for number, image in enumerate((jpeg(0), cut, png))
    ]
    content, offsets = encode_beton(samples, ("key",))
    other = encode(Image.new("RGB", (48, 36)), "PNG")
    content = content[: offsets[2]] + other + content[offsets[2] + len(other) :]
    found = by_key(opened(tmp_path, {"x.beton": content}, tmp_path / "listing"))

    assert [(one.status, one.image_format) for one in found.values()] == [
        ("ok", "jpg"),
        ("undecodable", None),
        ("ok", "png"),
    ]
    assert found["k2"].reason == "named .jpg, the bytes are png"
    header_only = by_key(opened(tmp_path, {"x.beton": content}, tmp_path / "listing", check="header"))
    assert header_only["k1"].status == "ok"


def test_one_huge_sample_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.sources.image.check.MAX_SAMPLE_BYTES", 20_000)
    samples = [jpeg_sample(0), raw_sample("big", 100, 100, bytes(30_000), {"json": b"{}"}), jpeg_sample(2)]
    source = opened(tmp_path, {"x.beton": encode_beton(samples, ("key", "json"))[0]}, tmp_path / "listing")
    found = by_key(source)

    assert [(key, one.status) for key, one in found.items() if one.image_bytes is None] == [("big", "too-large")]
    assert len(found) == 3


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    source = opened(tmp_path, {"x.beton": encode_beton(labeled(3))[0]}, tmp_path / "listing")
    (tmp_path / "x.beton").write_bytes(b"")

    with pytest.raises(ShardtoolsError, match="cut"):
        list(source.samples("train", 0, 3))


def test_files_in_an_object_store(tmp_path: Path, s3_environment: S3Server) -> None:
    files = {
        "d/train-0.beton": encode_beton(labeled(5), ("key",))[0],
        "d/val.beton": encode_beton(labeled(3, 10), ("key",))[0],
    }
    local = opened(tmp_path, files, tmp_path / "listing")
    for shuffle in (None, True):
        local = opened(tmp_path, files, tmp_path / "listing", shuffle=shuffle)
        remote = opened(open_storage(s3_environment.url("source")), files, tmp_path / "listing", shuffle=shuffle)
        assert everything(remote) == everything(local)
        assert remote.settings == local.settings
        assert list(remote.keys("train")) == list(local.keys("train"))


def test_random_mutations_never_hang_crash_or_lose_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beton_format, "MIN_PAGE_BYTES", 1)
    samples = [jpeg_sample(number, label=number, json=b'{"a": 1}') for number in range(4)]
    whole, _ = encode_beton(samples, ("key", "json"), page_bytes=4096)
    dice = random.Random(0)
    for _ in range(120):
        changed = bytearray(whole)
        changed[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        try:
            found = everything(opened(tmp_path, {"x.beton": bytes(changed)}, tmp_path / "listing"))["train"]
        except ShardtoolsError:
            continue
        assert len(found) == 4
