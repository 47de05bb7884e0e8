"""Class folders with good, odd and broken files, and datasets written from them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from shardtools.sources import SourceOptions
from shardtools.storage import open_storage
from shardtools.writing import WriteOptions, WriteResult, write_dataset
from tests.helpers.pictures import drawing, encode, jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

NUM_PHOTOS = 240
PER_SHARD = 12


def write_here(
    source: Path | str, out: Path | str, *, num_processes: int = 1, samples_per_shard: int = PER_SHARD, **options: Any
) -> None:
    """The whole job with its ranks one after the other in this process: no start of an interpreter for every case."""
    wanted = WriteOptions(
        source=SourceOptions(source=str(source), **options), out=str(out), samples_per_shard=samples_per_shard
    )
    write_in_process(wanted, num_processes)


def write(source: Path | str, out: Path | str, *, num_processes: int | None = 1, **options: Any) -> WriteResult:
    return write_dataset(
        WriteOptions(
            source=SourceOptions(source=str(source), **options),
            out=str(out),
            samples_per_shard=PER_SHARD,
            num_processes=num_processes,
        )
    )


def content(out: Path | str) -> dict[str, str]:
    """Path -> digest of all that the promises are about."""
    storage = open_storage(str(out))
    return {
        stored.path: hashlib.sha256(storage.read(stored.path)).hexdigest()
        for stored in storage.list()
        if not stored.path.startswith(("events/", "lease/"))
    }


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with good, odd and broken files."""
    files = {f"class{n % 7}/photo{n:04d}.jpg": jpeg(n) for n in range(NUM_PHOTOS - 6)}
    files |= {
        "class0/png.JPEG": encode(drawing(1), "PNG"),
        "class0/cmyk.jpg": encode(drawing(2).convert("CMYK"), "JPEG"),
        "class1/cut.jpg": jpeg(3)[:-50],
        "class1/empty.jpg": b"",
        "class2/README.txt": b"words",
        "class2/twin.png": encode(drawing(4), "PNG"),
    }
    return write_files(tmp_path_factory.mktemp("photos"), files)
