"""What a job says at its end: classes, images without a label, reasons, and numbers that others count otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardtools.cli.made import made_lines
from shardtools.dataset import commit as commit_module
from shardtools.dataset import open_dataset, read_contents
from shardtools.dataset.contents import Contents, folder_order
from shardtools.sources import SourceOptions
from shardtools.storage import open_storage
from shardtools.writing import WriteOptions
from tests.helpers.curated_datasets import apply_here, undo_here
from tests.helpers.engines import run_here
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.s3_server import S3Server
from tests.helpers.writing_jobs import write_in_process

FILES = {
    "train/ant/1.jpg": jpeg(1),
    "train/bee/1.jpg": jpeg(2),
    "train/bee/cut.jpg": jpeg(3)[:-40],
    "train/bee/notes.txt": b"words",
    "train/bee/more.txt": b"words",
    "train/0.jpg": jpeg(4),
    "val/ant/2.jpg": jpeg(5),
}


def contents(place: str) -> Contents:
    return read_contents(open_storage(place), open_dataset(place).commit)


@pytest.mark.parametrize("merged", [False, True])
def test_what_was_made_is_said(tmp_path: Path, merged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if merged:
        monkeypatch.setattr(commit_module, "COMPACT_FROM_PARTS", 1)
    source = SourceOptions(source=str(write_files(tmp_path / "in", FILES)))
    info = write_in_process(WriteOptions(source=source, out=str(tmp_path / "out"), samples_per_shard=3))
    assert bool(info.compact) is merged
    found = contents(str(tmp_path / "out"))

    assert (found.num_classes, found.class_names, found.num_unlabeled) == (2, ("ant", "bee"), 1)
    assert [(one.status, one.num_rows) for one in found.rejected] == [("not-an-image", 2), ("undecodable", 1)]
    lines = made_lines(found, info.statuses, {"train": 6, "val": 1})
    assert lines[0] == "2 classes (ant, bee); 1 image without a label; rows by split: train 6, val 1"
    assert lines[1] == "rejected: 2 not-an-image, 1 undecodable; each has a row that says why"
    assert lines[2] == "  2 not-an-image: its name ends in .txt and its bytes begin like no image's"


def test_every_job_gives_it(tmp_path: Path) -> None:
    from shardtools.writing import write_dataset

    source = SourceOptions(source=str(write_files(tmp_path / "in", FILES)))
    made = write_dataset(WriteOptions(source=source, out=str(tmp_path / "out"), num_processes=1), run=run_here)
    assert made.contents == contents(made.url)
    applied = apply_here(made.url, "select key from samples where wnid = 'bee'", tmp_path / "bees")
    assert (applied.contents.num_classes, applied.contents.class_names) == (1, ("bee",))
    assert undo_here(applied.url, made.url, tmp_path / "again").contents == made.contents


def test_many_classes_and_names_of_others() -> None:
    found = Contents(
        num_classes=7,
        class_names=("a", "b\x1b[31m", "c" * 200, "d", "e"),
        num_unlabeled=0,
        rejected=(),
        folder_order=None,
    )
    names = f"a, b\\x1b[31m, {'c' * 57}..., d, e, ..."
    assert made_lines(found, {"ok": 9}) == [f"7 classes ({names}); each image has a label"]
    none = Contents(num_classes=0, class_names=(), num_unlabeled=3, rejected=(), folder_order=None)
    assert made_lines(none, {"ok": 3}) == ["no classes; 3 images without a label"]


def test_folders_that_are_numbered_otherwise() -> None:
    same = {("train", "ant", 0): 2, ("train", "bee", 1): 2, ("val", "ant", 0): 1, ("val", "bee", 1): 1}
    assert folder_order("x", same) is None
    line = folder_order("x", {("train", "tench", 0): 1, ("train", "gold fish", 1): 1})
    assert line is not None and "gold fish is 0 there and 1 in the manifest; 2 of 2 classes differ" in line
    # A split that lacks a class is numbered by itself; so are images without a label, and names that become one folder.
    assert "bee is 0 there and 1" in (folder_order("x", {("train", "ant", 0): 1, ("val", "bee", 1): 1}) or "")
    assert "unlabelled is 1 there and none" in (
        folder_order("x", {("train", "a", 0): 1, ("train", None, None): 1}) or ""
    )
    assert "a_b is 0 there and 0 and 1" in (folder_order("x", {("train", "a/b", 0): 1, ("train", "a_b", 1): 1}) or "")
    assert folder_order("x", {("train", None, 0): 1, ("train", None, 1): 1}) is None


def test_an_image_folder_says_its_numbers_at_the_end(tmp_path: Path, s3_environment: S3Server) -> None:
    (tmp_path / "names.csv").write_text("name,definition,id\nbee,,bee\nant,,ant\n")
    source = SourceOptions(source=str(write_files(tmp_path / "in", FILES)), classes=str(tmp_path / "names.csv"))
    for out in (str(tmp_path / "out"), s3_environment.url("folders")):
        write_in_process(WriteOptions(source=source, out=out, layout="imagefolder"))
        found = contents(out)
        assert found.class_names == ("bee", "ant")
        assert "ant is 0 there and 1 in the manifest" in (found.folder_order or "")
