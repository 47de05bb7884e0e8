"""Overlays of other versions of their dataset, damaged ones, and what a killed writer leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shardtools.dataset import commit_dataset, open_dataset
from shardtools.dataset.appends import keep_commit
from shardtools.errors import (
    DatasetError,
    FormatVersionError,
    ShardtoolsError,
)
from shardtools.manifest import digest
from shardtools.overlays import (
    accept_overlay,
    list_overlays,
    open_overlay,
    remove_overlay,
)
from shardtools.storage import open_storage
from tests.helpers.mounts import run_on_read_only
from tests.helpers.overlay_datasets import NUM_SAMPLES, PARTS, dataset, files, images, keys, table, write
from tests.helpers.sql_datasets import make_dataset

__all__ = ["dataset", "images"]

# Versions of the dataset.


def test_after_an_append_an_overlay_is_refused_until_it_is_accepted(tmp_path: Path, images: list[bytes]) -> None:
    url = str(tmp_path / "grown")
    make_dataset(url, images=images, commit=False)
    facts: dict[str, Any] = {"kind": "generated", "plan_id": "plan-1", "scale": 1}
    storage = open_storage(url)
    commit_dataset(storage, part_paths=PARTS[:1], **facts)
    write(url, table(0, 2))
    before = open_dataset(url).content
    keep_commit(storage, before)
    commit_dataset(storage, part_paths=PARTS, parent=digest(before), **facts)

    old = digest(before)[:8]
    words = (
        f"overlay fixes at .*overlays/fixes was written for commit {old} .6 rows. .* .12 rows.; appends since then "
        f"only added keys: `shardtools overlay accept {url} fixes` keeps the overlay, {url}@{old} is the "
        "dataset without them"
    )
    with pytest.raises(DatasetError, match=words):
        open_overlay(url, "fixes")
    assert open_overlay(f"{url}@{old}", "fixes").info.num_rows == 2
    assert accept_overlay(url, "fixes").dataset_num_rows == NUM_SAMPLES
    assert open_overlay(url, "fixes").read()["key"].to_pylist() == keys(0, 2)


def test_an_overlay_of_another_dataset_is_refused_and_not_accepted(
    dataset: str, tmp_path: Path, images: list[bytes]
) -> None:
    other = str(tmp_path / "other")
    make_dataset(other, images=images[:4], num_shards=1)
    write(dataset, table(0, 11), out=f"{other}/overlays/fixes")
    with pytest.raises(DatasetError, match=r"write the overlay again, or, if its facts hold here too, .* accept"):
        open_overlay(other, "fixes")
    with pytest.raises(DatasetError, match=r"overlay fixes has 1 key not in .*other: 'sample0011'"):
        accept_overlay(other, "fixes")
    assert open_overlay(other, "fixes", any_version=True).info.num_rows == 2


# Damage.


def test_missing_and_altered_parts_are_named(dataset: str) -> None:
    [part] = write(dataset, table(0, 1)).parts
    file = Path(dataset, "overlays/fixes", part.path)
    content = file.read_bytes()
    file.write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    with pytest.raises(DatasetError, match=f"{part.path} was altered: expected sha256 {part.sha256[:16]}"):
        open_overlay(dataset, "fixes").check_digests()
    file.write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=f"{part.path} is no intact Parquet file"):
        open_overlay(dataset, "fixes").read()
    with pytest.raises(DatasetError, match=f"{part.path}: expected {len(content)} bytes, found 4 bytes"):
        open_overlay(dataset, "fixes").files()
    file.unlink()
    with pytest.raises(DatasetError, match=f"{part.path} is missing though the overlay lists it"):
        open_overlay(dataset, "fixes").read()


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("{", DatasetError, "is not the overlay.json of an overlay"),
        ('{"format": "shardtools-overlay", "format_version": 2}', FormatVersionError, "version 2, this release reads"),
        ('{"format": "shardtools-overlay", "format_version": 1}', DatasetError, "has not the fields"),
    ],
)
def test_a_damaged_overlay_is_refused_and_can_be_removed(
    dataset: str, content: str, error: type[ShardtoolsError], words: str
) -> None:
    write(dataset, table(0))
    Path(dataset, "overlays/fixes/overlay.json").write_text(content)
    with pytest.raises(error, match=words):
        open_overlay(dataset, "fixes")
    write(dataset, table(1), replace=True)
    assert open_overlay(dataset, "fixes").read()["key"].to_pylist() == keys(1)
    Path(dataset, "overlays/fixes/overlay.json").write_text(content)
    remove_overlay(dataset, "fixes")
    assert list_overlays(dataset) == []


def test_unknown_overlays_and_columns_name_those_there_are(dataset: str) -> None:
    write(dataset, table(0, loss=[0.5]))
    with pytest.raises(DatasetError, match="has no overlay 'fix': it has fixes"):
        open_overlay(dataset, "fix")
    with pytest.raises(DatasetError, match="overlay fixes has no column 'los': it has key, loss"):
        open_overlay(dataset, "fixes").read(["los"])


_READ_ONLY = """
import sys
from shardtools.errors import AccessError
from shardtools.overlays import OverlayWriter
try:
    OverlayWriter({dataset!r}, "fixes", made_by="t", settings={{}}, out=sys.argv[1])
except AccessError as error:
    print("AccessError", error)
"""

_KILLED = """
import sys, time
from contextlib import ExitStack
import pyarrow as pa
from shardtools.overlays import OverlayWriter
with ExitStack() as stack:
    for name in ("fresh", "replaced"):
        writer = OverlayWriter(sys.argv[1], name, made_by="t", settings={}, replace=True)
        stack.enter_context(writer).add(pa.table({"key": ["sample0005"], "x": [5]}))
        writer.add(pa.table({"key": ["sample0006"], "x": [6]}))
    print("written", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_no_half_overlay(dataset: str) -> None:
    write(dataset, table(0, x=[1]), name="replaced")
    with subprocess.Popen([sys.executable, "-c", _KILLED, dataset], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert (len(files(dataset, "fresh")), len(files(dataset, "replaced"))) == (2, 4)
    assert [one.info.name for one in list_overlays(dataset)] == ["replaced"]
    assert open_overlay(dataset, "replaced").read().to_pylist() == [{"key": "sample0000", "x": 1}]
    for name in ("fresh", "replaced"):
        write(dataset, table(7, x=[7]), name=name, replace=name == "replaced")
        assert open_overlay(dataset, name).read().to_pylist() == [{"key": "sample0007", "x": 7}]
        assert len(files(dataset, name)) == 2


def test_a_place_that_cannot_be_written_names_the_way_out(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "read-only").mkdir()
    ran = run_on_read_only(tmp_path / "read-only", _READ_ONLY.format(dataset=dataset))
    assert ran.stdout.startswith("AccessError cannot write ")
    assert ran.stdout.endswith("an overlay may also be written elsewhere: give out (--out FOLDER)\n")
