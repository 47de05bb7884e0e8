"""Folders of classes as a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import ShardError, SourceError, TaxonomyError
from shardtools.shards import check_key
from shardtools.sources.image.check import IMAGE_EXTENSIONS, extension_of
from shardtools.sources.tree.imagefolder import make_key
from shardtools.taxonomy import load_classes
from tests.helpers.opened_sources import by_key, everything, opened, refused
from tests.helpers.pictures import drawing, encode, jpeg, write_files

NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/\\"), min_size=1)


def test_folder_labels_are_torchvisions_and_bytes_are_the_files(tmp_path: Path) -> None:
    files = {f"{name}/{name}_{number}.JPEG": jpeg(number) for number, name in enumerate(("b", "a", "B", "c10", "c9"))}
    root = write_files(tmp_path / "in", files)
    found = by_key(opened(root, tmp_path / "listing"))

    expected = {name: position for position, name in enumerate(sorted(("b", "a", "B", "c10", "c9")))}
    assert {(sample.wnid, sample.class_index) for sample in found.values()} == set(expected.items())
    assert sorted(sample.image_bytes or b"" for sample in found.values()) == sorted(files.values())
    assert set(found) == {path.rpartition("/")[2].removesuffix(".JPEG") for path in files}
    assert {sample.label_source for sample in found.values()} == {"folder"}


def test_folders_that_are_numbers_are_labels(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {f"{number}/x.png": encode(drawing(number), "PNG") for number in range(12)})

    found = by_key(opened(root, tmp_path / "listing"))
    assert {sample.wnid: sample.class_index for sample in found.values()} == {str(n): n for n in range(12)}

    found = by_key(opened(root, tmp_path / "index2", classes="imagenet-1k"))
    wnids = [one.wnid for one in load_classes("imagenet-1k")]
    assert {sample.wnid: sample.class_index for sample in found.values()} == {wnids[n]: n for n in range(12)}

    assert "folder '11', --classes has indexes 0 to 9" in refused(root, tmp_path / "index3", classes="fashion")
    write_files(root, {"01/y.png": b""})
    assert "'01' and '1' for class 1" in refused(root, tmp_path / "index4")


def test_a_class_set_gives_the_labels(tmp_path: Path) -> None:
    classes = load_classes("imagenet-1k")
    chosen = [classes[7], classes[900], classes[3]]
    root = write_files(tmp_path / "in", {f"{one.wnid}/1.jpg": jpeg(one.class_index) for one in chosen})

    found = by_key(opened(root, tmp_path / "listing", classes="imagenet-1k"))
    assert {(sample.wnid, sample.class_index) for sample in found.values()} == {
        (one.wnid, one.class_index) for one in chosen
    }
    assert "3 of 3 class folders outside the 10 classes" in refused(root, tmp_path / "index2", classes="fashion")
    with pytest.raises(TaxonomyError):
        opened(root, tmp_path / "index3", classes="no-such-set")


def test_every_file_that_is_not_hidden_is_a_sample(tmp_path: Path) -> None:
    files = {
        "cat/1.jpg": jpeg(1),
        "cat/1.png": encode(drawing(2), "PNG"),
        "cat/1.txt": b"a cat",
        "cat/deeper/1.jpg": jpeg(3),
        "cat/png named.JPEG": encode(drawing(4), "PNG"),
        "cat/no extension": jpeg(5),
        "cat/README": b"words",
        "cat/cut.jpg": jpeg(6)[:-20],
        "cat/empty.jpg": b"",
        "cat/v1.0.final.jpg": jpeg(7),
        "dog/Thumbs.db": b"\0" * 40,
        "labels.csv": b"a,b",
        "loose.jpg": jpeg(8),
    }
    hidden = {".DS_Store": b"x", "cat/.DS_Store": b"x", ".git/config": b"x", "cat/.cache/1.jpg": jpeg(9)}
    root = write_files(tmp_path / "in", files | hidden)
    found = by_key(opened(root, tmp_path / "listing"))

    assert len(found) == len(files)
    assert {key: sample.status for key, sample in found.items() if sample.status != "ok"} == {
        "cat_1_txt": "not-an-image",
        "cat_README": "not-an-image",
        "cat_cut": "undecodable",
        "cat_empty": "undecodable",
        "dog_Thumbs_db": "not-an-image",
        "labels_csv": "not-an-image",
    }
    assert all(sample.image_bytes is None and sample.reason for sample in found.values() if sample.status != "ok")
    kept = {key: sample.image_bytes for key, sample in found.items() if sample.status == "ok"}
    assert kept == {
        "cat_1": files["cat/1.jpg"],
        "cat_1-2": files["cat/1.png"],
        "cat_deeper_1": files["cat/deeper/1.jpg"],
        "cat_png named": files["cat/png named.JPEG"],
        "cat_no extension": files["cat/no extension"],
        "cat_v1_0_final": files["cat/v1.0.final.jpg"],
        "loose": files["loose.jpg"],
    }
    assert found["cat_png named"].image_format == "png"
    assert found["cat_png named"].reason == "named .jpeg, the bytes are png"
    assert found["loose"].class_index is None and found["loose"].label_source is None
    assert (found["cat_1"].wnid, found["dog_Thumbs_db"].class_index) == ("cat", 1)


def test_equal_keys_are_told_apart_without_taking_another_files_key(tmp_path: Path) -> None:
    paths = ["a/x.jpg", "a/x.png", "a/x.bmp", "a/x-2.jpg", "a/x-2.png", "a_x.jpg", "a/a_x.gif"]
    root = write_files(tmp_path / "in", {path: jpeg(number) for number, path in enumerate(paths)})
    found = by_key(opened(root, tmp_path / "listing"))

    assert len(found) == len(paths)
    assert {sample.image_bytes for sample in found.values()} == {jpeg(number) for number in range(len(paths))}
    again = by_key(opened(root, tmp_path / "index2"))
    assert again == found


def test_split_folders_are_splits(tmp_path: Path) -> None:
    files = {"train/a/1.jpg": jpeg(1), "train/b/1.jpg": jpeg(2), "val/b/1.jpg": jpeg(3), "README.md": b"x"}
    root = write_files(tmp_path / "in", files)
    source = opened(root, tmp_path / "listing")

    assert source.splits == {"train": 3, "val": 1}
    found = by_key(source)
    assert set(found) == {"README_md", "train_a_1", "train_b_1", "val_b_1"}
    assert (found["val_b_1"].wnid, found["val_b_1"].class_index) == ("b", 1)
    assert opened(root, tmp_path / "index2", split="val").splits == {"val": 2}
    assert "has splits train, val, not 'test'" in refused(root, tmp_path / "index3", split="test")
    write_files(root, {"loose.jpg": jpeg(4)})
    assert "beside its split folders" in refused(root, tmp_path / "index4")


def test_a_folder_without_splits_takes_the_name_given(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1)})

    assert opened(root, tmp_path / "listing").splits == {"train": 1}
    assert opened(root, tmp_path / "index2", split="val").splits == {"val": 1}
    with pytest.raises(ShardError, match="a split is named by"):
        opened(root, tmp_path / "index3", split="../x")


def test_order_is_shuffled_by_key_and_seed(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {f"{n % 3}/{n:03d}.jpg": jpeg(n) for n in range(60)})

    def order(index: str, **options: Any) -> list[str]:
        return [sample.key for sample in opened(root, tmp_path / index, **options).samples("train", 0, 60)]

    plain, shuffled = order("1", shuffle=False), order("2")
    assert plain == sorted(plain) != shuffled
    assert sorted(shuffled) == plain
    assert shuffled == order("3", shuffle_seed=0) != order("4", shuffle_seed=1)
    assert len({key[0] for key in shuffled[:12]}) == 3
    write_files(root, {"1/new.jpg": jpeg(99)})
    assert [key for key in order("5") if key in shuffled] == shuffled[: len(order("6")) - 1]


def test_parts_of_a_source_are_the_whole(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {f"a/{n:03d}.jpg": jpeg(n) for n in range(10)})
    source = opened(root, tmp_path / "listing")

    whole = list(source.samples("train", 0, 10))
    assert [*source.samples("train", 7, 10), *source.samples("train", 0, 7)] == whole[7:] + whole[:7]


def test_a_file_that_changes_meanwhile_stops_the_job(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1)})
    source = opened(root, tmp_path / "listing")
    (root / "a/1.jpg").write_bytes(jpeg(1) + b"more")

    with pytest.raises(SourceError, match="let nothing write to the source"):
        everything(source)


def test_what_changes_the_result_is_in_the_settings(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1), "b/2.jpg": jpeg(2)})
    moved = write_files(tmp_path / "moved", {"a/1.jpg": jpeg(1), "b/2.jpg": jpeg(2)})
    settings = opened(root, tmp_path / "listing").settings

    assert opened(moved, tmp_path / "index1").settings == settings
    assert str(tmp_path) not in repr(settings)
    for number, options in enumerate(({"shuffle": False}, {"shuffle_seed": 1}, {"check": "header"}), start=2):
        assert opened(root, tmp_path / f"listing{number}", **options).settings != settings
    write_files(moved, {"a/1.jpg": jpeg(1) + b"x"})
    assert opened(moved, tmp_path / "index9").settings["source_listing"] != settings["source_listing"]


def test_names_that_no_storage_takes(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/1.jpg": jpeg(1)})
    for name in (b"line\nbreak.jpg", b"latin\xe9.jpg", b"back\\slash.jpg"):
        odd = bytes(root) + b"/a/" + name
        Path(odd.decode(errors="surrogateescape")).write_bytes(jpeg(2))
        assert "rename it" in refused(root, tmp_path / "listing")
        Path(odd.decode(errors="surrogateescape")).unlink()


def test_nothing_to_read(tmp_path: Path) -> None:
    assert "is not there" in refused(tmp_path / "missing", tmp_path / "listing")
    (tmp_path / "empty").mkdir()
    assert "holds nothing" in refused(tmp_path / "empty", tmp_path / "listing")
    (tmp_path / "empty" / ".hidden").write_bytes(b"x")
    assert "holds no files" in refused(tmp_path / "empty", tmp_path / "listing")
    (tmp_path / "file.txt").write_bytes(b"x")
    assert "expected a folder" in refused(tmp_path / "file.txt", tmp_path / "listing")


@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(["", ".jpg", ".JPEG", ".txt", "."]))
def test_a_path_always_gives_a_key(names: list[str], extension: str) -> None:
    path = "/".join(names) + extension

    assert check_key(make_key(path)) == make_key(path)


def test_keys_say_where_a_file_lay() -> None:
    assert make_key("n01440764/n01440764_10026.JPEG") == "n01440764_10026"
    assert make_key("train/n01440764/n01440764_10026.JPEG") == "train_n01440764_10026"
    assert make_key("__x/1.jpg") == "x__x_1"
    long = make_key("class/" + "ä" * 100 + ".jpg")
    assert long.startswith("class_ää") and len(long.encode()) <= 80
    assert long != make_key("class/" + "ä" * 101 + ".jpg")


def test_extensions() -> None:
    assert [extension_of(path) for path in ("a/b.JPG", "a.b/c", ".hidden", "x.tar.gz")] == ["jpg", "", "", "gz"]
    assert set(IMAGE_EXTENSIONS.values()) <= set(IMAGE_EXTENSIONS)
