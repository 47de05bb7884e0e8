"""Small datasets in every layout for the tests of curation, and apply and undo in the test's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shardtools.curation import ApplyOptions, CurationResult, UndoOptions, apply_view, undo
from shardtools.dataset import open_dataset
from shardtools.sources import SourceOptions
from shardtools.storage import open_storage
from shardtools.writing import WriteOptions
from tests.helpers.engines import run_here
from tests.helpers.pictures import drawing, encode, jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

NUM_CLASSES = 3
NUM_IMAGES = 18
PER_SHARD = 7
LAYOUTS = ("tar", "beton", "one-file", "mds", "litdata", "imagefolder")


def make_photos(folder: Path) -> Path:
    """Two splits of class folders, with one file that is no image."""
    files = {f"train/class{n % NUM_CLASSES}/p{n:02d}.jpg": jpeg(n) for n in range(NUM_IMAGES)}
    files |= {f"val/class{n % NUM_CLASSES}/v{n:02d}.jpg": jpeg(50 + n) for n in range(6)}
    files["train/class0/broken.jpg"] = jpeg(3)[:-60]
    return write_files(folder, files)


def make_dataset(photos: Path, out: Path | str, layout: str = "tar", **options: Any) -> str:
    """The photos as a dataset of four shards."""
    one_file = layout == "one-file"
    fields = ("json",) if layout in ("mds", "litdata", "one-file") else ()
    wanted = WriteOptions(
        source=SourceOptions(source=str(photos)),
        out=str(out),
        layout="beton" if one_file else layout,
        one_file=one_file,
        drop_members=bool(fields) or layout in ("beton", "imagefolder"),
        fields=fields,
        samples_per_shard=PER_SHARD,
        **options,
    )
    write_in_process(wanted)
    return str(out)


def apply_here(dataset: str, view: str, out: Path | str, **options: Any) -> CurationResult:
    wanted = ApplyOptions(dataset=dataset, view=view, out=str(out), **{"num_processes": 1, **options})
    return apply_view(wanted, run=run_here)


def undo_here(dataset: str, parent: str, out: Path | str, **options: Any) -> CurationResult:
    wanted = UndoOptions(dataset=dataset, parent=parent, out=str(out), **{"num_processes": 1, **options})
    return undo(wanted, run=run_here)


def rows(url: str) -> dict[str, dict[str, Any]]:
    """Key -> manifest row."""
    return {row["key"]: row for table in open_dataset(url).tables() for row in table.to_pylist()}


def images(url: str) -> dict[str, bytes]:
    """Key -> bytes of the image, read by the row's place."""
    storage = open_storage(url)
    return {
        key: storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
        for key, row in rows(url).items()
        if row["shard"] is not None
    }


def png(number: int) -> bytes:
    return encode(drawing(number), "PNG")
