"""Folders that can be read in two ways: the right reading, or one line that names both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardtools.sources import detect_kind
from shardtools.storage import open_storage
from tests.helpers.archive_files import tar_bytes, zip_bytes
from tests.helpers.opened_sources import by_key, opened, refused
from tests.helpers.parquet_files import images, write
from tests.helpers.pictures import jpeg, write_files, write_tar
from tests.helpers.s3_server import S3Server

FOLDERS = {f"{name}/{number}.jpg": jpeg(number) for name in ("cat", "dog") for number in range(2)}


def named(place: Path, *names: str) -> str:
    """A class set of these names."""
    place.write_text("name,definition,id\n" + "".join(f"{name},,{name}\n" for name in names))
    return str(place)


def classes(source: Path | str, index: Path, **options: object) -> dict[str | None, int | None]:
    found = by_key(opened(source, index, **options))
    return {sample.wnid: sample.class_index for sample in found.values() if sample.status == "ok"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("set.zip", "archive"),
        ("old.tar", "webdataset"),
        ("data/old.tar", "webdataset"),
        ("shards/set.zip", "archive"),
        ("set.tar.gz", "archive"),
        ("labels.parquet", "parquet"),
        ("data/train-00000-of-00001.parquet", "parquet"),
        ("t.beton", "beton"),
        ("ILSVRC2012_img_val.tar", "ilsvrc2012"),
        ("t10k-images-idx3-ubyte", "idx"),
        ("index.json", "mds"),
        ("cat/index.json", "litdata"),
    ],
)
def test_class_folders_beside_something_else(tmp_path: Path, name: str, kind: str) -> None:
    contents = {
        "archive": zip_bytes(FOLDERS) if name.endswith("zip") else tar_bytes(FOLDERS, "w:gz"),
        "webdataset": tar_bytes({"1.jpg": jpeg(1), "1.cls": b"0"}),
        "mds": b'{"shards": []}',
        "litdata": b'{"chunks": []}',
    }
    root = write_files(tmp_path / "in", FOLDERS | {name: contents.get(kind, b"x")})
    message = refused(root, tmp_path / "listing")
    assert f"--source-kind {kind} ({name}, ...)" in message and "--source-kind imagefolder (cat/0.jpg, ...)" in message

    found = by_key(opened(root, tmp_path / "listing", kind="imagefolder"))
    assert sorted(sample.image_bytes or b"" for sample in found.values() if sample.status == "ok") == sorted(
        FOLDERS.values()
    )
    assert {sample.class_index for sample in found.values() if sample.status == "ok"} <= {0, 1, 2}
    assert all(sample.class_index is not None for sample in found.values() if sample.status == "ok")


def test_who_asks_for_the_archive_gets_it_alone(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", FOLDERS | {"set.zip": zip_bytes(FOLDERS), "README": b"words"})
    found = by_key(opened(root, tmp_path / "listing", kind="archive"))

    assert sorted((one.wnid, one.class_index) for one in found.values() if one.status == "ok") == [
        ("cat", 0),
        ("cat", 0),
        ("dog", 1),
        ("dog", 1),
    ]
    beside = [one for one in found.values() if one.status == "left-out"]
    assert len(beside) == 4 and {one.reason for one in beside} == {"it lies beside the archives that were read"}
    assert len(found) == 9


def test_archives_of_two_kinds_and_archives_further_down(tmp_path: Path) -> None:
    samples = [("1.jpg", jpeg(1)), ("1.cls", b"0")]
    write_tar(tmp_path / "deep/train/a/x-000.tar", samples)
    assert detect_kind(str(tmp_path / "deep")) == "webdataset"
    write_files(tmp_path / "zips", {"a/cats.zip": zip_bytes(FOLDERS)})
    assert detect_kind(str(tmp_path / "zips")) == "archive"

    write_files(tmp_path / "mixed", {"a.tar": tar_bytes(FOLDERS)})
    write_tar(tmp_path / "mixed/b.tar", samples)
    message = refused(tmp_path / "mixed", tmp_path / "listing")
    assert "--source-kind archive (a.tar, ...)" in message and "--source-kind webdataset (b.tar, ...)" in message
    write_tar(tmp_path / "both/b.tar", samples)
    write(tmp_path / "both/a.parquet", {"image": images(range(1))})
    assert "--source-kind parquet" in refused(tmp_path / "both", tmp_path / "listing")


def test_a_dataset_that_is_not_finished_is_none(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"plan.json": b"{}", "manifest/train-000000.parquet": b""})
    write_tar(root / "shards/train-000000.tar", [("1.jpg", jpeg(1))])
    assert "is not finished" in refused(root, tmp_path / "listing")


def test_deep_json_is_no_index(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", FOLDERS | {"index.json": b"[" * 200_000})
    assert classes(root, tmp_path / "listing") == {"cat": 0, "dog": 1}


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "Val"), ("TRAIN", "TEST"), ("Training", "Testing")])
def test_splits_in_any_case_beside_a_folder_without_images(tmp_path: Path, names: tuple[str, str]) -> None:
    files = {f"{split}/{name}": content for split in names for name, content in FOLDERS.items()}
    notes = {f"annotations/{names[0]}/cat.xml": b"<a/>", "docs/README.md": b"words"}
    for number, root in enumerate(
        (write_files(tmp_path / "in", files | notes), write_files(tmp_path, {"in.zip": zip_bytes(files)}) / "in.zip")
    ):
        source = opened(root, tmp_path / f"listing{number}")
        found = by_key(source)
        kept = [sample for sample in found.values() if sample.status == "ok"]
        assert {(sample.wnid, sample.class_index) for sample in kept} == {("cat", 0), ("dog", 1)}
        assert set(source.splits) == {"train", "val" if names[1].lower() == "val" else "test"}
        assert len(found) == len(files) + (0 if number else len(notes))


def test_two_folders_for_one_split(tmp_path: Path) -> None:
    files = {f"{split}/cat/{split}.jpg": jpeg(1) for split in ("train", "Training", "val")}
    assert "folders 'Training' and 'train' for split train" in refused(
        write_files(tmp_path / "in", files), tmp_path / "listing"
    )


@pytest.mark.parametrize("split", ["train", "Test"])
def test_a_split_beside_other_images(tmp_path: Path, split: str) -> None:
    deep = {f"{split}/{name}": content for name, content in FOLDERS.items()} | {"extra/cat/9.jpg": jpeg(9)}
    root = write_files(tmp_path / "deep", deep)
    message = refused(root, tmp_path / "listing")
    assert f"named as splits ({split}) beside others" in message
    assert "--source-kind imagefolder" in message and "(extra)" in message
    assert set(classes(root, tmp_path / "listing", kind="imagefolder")) == {split, "extra"}
    # One folder of images beside it may be a split too; among several, "train" is a vehicle.
    flat = write_files(tmp_path / "flat", {f"{split}/1.jpg": jpeg(1), "test1/2.jpg": jpeg(2)})
    assert "can be read in two ways" in refused(flat, tmp_path / "listing")
    vehicles = write_files(tmp_path / "many", {f"{name}/1.jpg": jpeg(1) for name in ("bus", "car", split)})
    assert classes(vehicles, tmp_path / "listing") == {
        name: number for number, name in enumerate(sorted(("bus", "car", split)))
    }
    given = named(tmp_path / "names.csv", "test1", split)
    assert classes(flat, tmp_path / "listing", classes=given) == {split: 1, "test1": 0}


def test_a_lone_folder_around_everything(tmp_path: Path) -> None:
    wrapped = write_files(tmp_path / "wrapped", {f"photos/{name}": content for name, content in FOLDERS.items()})
    message = refused(wrapped, tmp_path / "listing")
    assert f"give {wrapped}/photos as SOURCE" in message and "--source-kind imagefolder" in message
    assert classes(wrapped, tmp_path / "listing", kind="imagefolder") == {"photos": 0}
    assert classes(f"{wrapped}/photos", tmp_path / "listing") == {"cat": 0, "dog": 1}
    for name in ("images", "Images", "data", "shards"):
        root = write_files(tmp_path / name, {f"{name}/1.jpg": jpeg(1), "notes/1.xml": b"<a/>"})
        message = refused(root, tmp_path / "listing")
        assert f"give {root}/{name} as SOURCE" in message and "--source-kind imagefolder" in message
    several = write_files(
        tmp_path / "several", {f"{name}/1.jpg": jpeg(1) for name in ("cat", "data", "images", "shards")}
    )
    assert classes(several, tmp_path / "listing") == {"cat": 0, "data": 1, "images": 2, "shards": 3}


def test_class_folders_without_images_count_as_torchvision_counts(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {f"{name}/1.jpg": jpeg(1) for name in "ace"})
    (root / "b").mkdir()
    (root / "d/deeper").mkdir(parents=True)
    source = opened(root, tmp_path / "listing")
    assert {one.wnid: one.class_index for one in by_key(source).values()} == {"a": 0, "c": 2, "e": 4}
    assert "allow_empty counts: b, d" in source.notes[0]

    given = opened(root, tmp_path / "listing", classes=named(tmp_path / "three.csv", "a", "c", "e"))
    assert ({one.wnid: one.class_index for one in by_key(given).values()}, given.notes) == (
        {"a": 0, "c": 1, "e": 2},
        (),
    )
    packed = {f"{name}/1.jpg": jpeg(1) for name in "ac"}
    for name, content in (("x.zip", zip_bytes({**packed, "b/": b""})), ("x.tar", _with_folder(packed, "b"))):
        write_files(tmp_path, {name: content})
        assert classes(tmp_path / name, tmp_path / "listing") == {"a": 0, "c": 2}

    split = write_files(
        tmp_path / "split", {"train/a/1.jpg": jpeg(1), "train/c/1.jpg": jpeg(2), "val/c/1.jpg": jpeg(3)}
    )
    (split / "train/b").mkdir()
    assert classes(split, tmp_path / "listing") == {"a": 0, "c": 2}


def _with_folder(files: dict[str, bytes], folder: str) -> bytes:
    import io
    import tarfile

    stream = io.BytesIO(tar_bytes(files))
    with tarfile.open(fileobj=stream, mode="a") as archive:
        for _ in range(2):
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
    return stream.getvalue()


def test_a_folder_of_notes_that_would_shift_the_classes(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", FOLDERS | {"annotations/1.xml": b"<a/>"})
    message = refused(root, tmp_path / "listing")
    assert (
        "folder annotations, before dog" in message
        and "--source-kind imagefolder" in message
        and "--classes" in message
    )
    assert classes(root, tmp_path / "listing", kind="imagefolder") == {"cat": 1, "dog": 2}
    given = named(tmp_path / "names.csv", "cat", "dog")
    assert classes(root, tmp_path / "listing", classes=given) == {"cat": 0, "dog": 1}
    numbers = write_files(tmp_path / "numbers", {f"{n}/1.jpg": jpeg(n) for n in range(11)} | {"notes/1.txt": b"x"})
    source = opened(numbers, tmp_path / "listing")
    assert {one.wnid: one.class_index for one in by_key(source).values() if one.wnid} == {str(n): n for n in range(11)}
    assert (
        source.notes[0].startswith("labels: folders that are numbers") and "10 is 10 in the manifest" in source.notes[0]
    )
    assert "there it is 2" in source.notes[0]


def test_doubts_in_archives_and_in_buckets(tmp_path: Path, s3_environment: S3Server) -> None:
    pets = {"set/images/1.jpg": jpeg(1), "set/annotations/1.xml": b"<a/>"}
    notes = FOLDERS | {"annotations/1.xml": b"<a/>"}
    write_files(tmp_path, {"pets.zip": zip_bytes(pets), "notes.tar": tar_bytes(notes)})
    assert "unpack images and give it as SOURCE" in refused(tmp_path / "pets.zip", tmp_path / "listing")
    assert "--source-kind archive to count annotations" in refused(tmp_path / "notes.tar", tmp_path / "listing")
    assert classes(tmp_path / "notes.tar", tmp_path / "listing", kind="archive") == {"cat": 1, "dog": 2}

    storage = open_storage(s3_environment.url("doubts"))
    for path, content in (notes | {"b/set.zip": zip_bytes(FOLDERS)} | {"c/set.zip": zip_bytes(FOLDERS)}).items():
        storage.write(path if path.startswith("c/") else f"a/{path}", content)
    for name, content in FOLDERS.items():
        storage.write(f"c/{name}", content)
        storage.write(f"d/Train/{name}", content)
        storage.write(f"d/val/{name}", content)
    assert "folder annotations, before dog" in refused(s3_environment.url("doubts/a"), tmp_path / "listing")
    message = refused(s3_environment.url("doubts/c"), tmp_path / "listing")
    assert "--source-kind archive (set.zip, ...)" in message and "--source-kind imagefolder (cat/0.jpg, ...)" in message
    assert classes(s3_environment.url("doubts/d"), tmp_path / "listing") == {"cat": 0, "dog": 1}


TINY = {
    **{f"train/{wnid}/images/{wnid}_{n}.JPEG": jpeg(n) for wnid in ("n02", "n01") for n in range(2)},
    **{f"train/{wnid}/{wnid}_boxes.txt": b"n01_0.JPEG\t0\t0\t62\t62\n" for wnid in ("n01", "n02")},
    **{f"val/images/val_{n}.JPEG": jpeg(10 + n) for n in range(3)},
    **{f"test/images/test_{n}.JPEG": jpeg(20 + n) for n in range(2)},
    "val/val_annotations.txt": b"val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t1\t2\t3\t4\nval_2.JPEG\tn02\n",
    "wnids.txt": b"n02\nn01\n",
    "words.txt": b"n01\tgoldfish\nn02\tnewt\n",
}


@pytest.mark.parametrize("form", ["folder", "wrapped", "zip"])
def test_tiny_imagenet_as_unpacked(tmp_path: Path, form: str) -> None:
    if form == "zip":
        packed = zip_bytes({f"tiny-imagenet-200/{name}": content for name, content in TINY.items()})
        root = write_files(tmp_path, {"tiny.zip": packed}) / "tiny.zip"
    else:
        root = write_files(
            tmp_path / "in", {f"{'tiny/' if form == 'wrapped' else ''}{one}": it for one, it in TINY.items()}
        )
    source = opened(root, tmp_path / "listing")
    found = by_key(source)
    kept = {key: sample for key, sample in found.items() if sample.status == "ok"}
    assert {key: one.class_index for key, one in kept.items() if key.startswith("val")} == {
        "val_images_val_0": 1,
        "val_images_val_1": 0,
        "val_images_val_2": 1,
    }
    assert {(one.wnid, one.class_index) for key, one in kept.items() if key.startswith("train")} == {
        ("n01", 0),
        ("n02", 1),
    }
    assert {one.class_index for key, one in kept.items() if key.startswith("test")} == {None}
    assert kept["val_images_val_0"].label_source == "list"
    assert len(found) == len(TINY) and set(source.splits) == {"train", "val", "test"}


def test_annotations_alone_and_wrong_ones(tmp_path: Path) -> None:
    val = {name.removeprefix("val/"): content for name, content in TINY.items() if name.startswith("val/")}
    alone = write_files(tmp_path / "val", val)
    assert classes(alone, tmp_path / "listing") == {"n01": 0, "n02": 1}
    for number, (lines, words) in enumerate(
        {
            b"val_0.JPEG\tn02\n": "found none for 'val_1.JPEG'",
            b"val_0.JPEG\tn02\nval_0.JPEG\tn01\n": "line 2: 'val_0.JPEG' is n01, in an earlier line n02",
            b"a b c\n": "line 1: expected an image's name, its class",
            b"val_0.JPEG\tn09\nval_1.JPEG\tn09\nval_2.JPEG\tn09\n": "n09 of 'val/images/val_0.JPEG' has no folder",
        }.items()
    ):
        root = write_files(tmp_path / str(number), TINY | {"val/val_annotations.txt": lines})
        assert words in refused(root, tmp_path / "listing")


def test_links(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {f"{name}/{n}.jpg": jpeg(n) for name in "ac" for n in range(2)})
    os.symlink(tmp_path / "gone.jpg", root / "a/9.jpg")
    os.symlink(tmp_path / "gone", root / "a/more")
    os.symlink("8.jpg", root / "a/8.jpg")
    os.mkfifo(root / "c/pipe.jpg")
    os.symlink(root / "a/0.jpg", root / "c/linked.jpg")
    found = by_key(opened(root, tmp_path / "listing"))
    assert {key: sample.status for key, sample in found.items() if sample.status != "ok"} == {
        "a_9": "undecodable",
        "a_8": "undecodable",
        "a_more": "not-an-image",
        "c_pipe": "not-an-image",
    }
    assert "is its disk mounted?" in (found["a_9"].reason or "")
    assert (found["c_linked"].image_bytes, found["c_linked"].class_index) == (jpeg(0), 1)

    os.symlink(tmp_path / "gone", root / "b")
    assert f"{root}/b is a link to something that is not there" in refused(root, tmp_path / "listing")
    assert "is not there" in refused(root, tmp_path / "listing", kind="imagefolder")
    (root / "b").unlink()
    os.symlink("..", root / "c/up")
    for kind in ("auto", "imagefolder", "archive", "webdataset"):
        assert f"{root}/c/up is a link to a folder above it" in refused(root, tmp_path / "listing", kind=kind)

    splits = write_files(tmp_path / "splits", {f"{split}/a/1.jpg": jpeg(1) for split in ("train", "val")})
    os.symlink(tmp_path / "gone", splits / "train/b")
    assert "train/b is a link" in refused(splits, tmp_path / "listing")


def test_shards_behind_links(tmp_path: Path) -> None:
    write_tar(tmp_path / "in/a-000.tar", [("1.jpg", jpeg(1)), ("1.cls", b"0")])
    os.symlink(tmp_path / "gone.tar", tmp_path / "in/a-001.tar")
    for source in (tmp_path / "in", f"{tmp_path}/in/a-*.tar"):
        assert "a-001.tar is a link to something that is not there" in refused(source, tmp_path / "listing")
