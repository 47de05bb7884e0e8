"""One contender of `benchmarks/write.py`, once, in this process: the last line says how long it took.

    python benchmarks/peers_write.py loop --source /tmp/corpus --out /tmp/written

The source is a folder of class folders, the target an empty or missing folder on the same disk. Seconds count from
after the imports until the last file is durable: every contender lists the source itself, and calls fsync on each file
it has written and on their folder (shardtools does so itself, for the others it is done here, shard by shard where the
peer tells of a finished shard).

Peers get the same files as their documentation would have it: webdataset the encoded bytes, FFCV decoded images,
which it encodes again (it has no other way), MosaicML's writer the encoded bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROWS_PER_SHARD = 1000
Photo = tuple[str, str, int]
"""An image's key, path and label."""
Write = Callable[[], None]
"""Writes everything and makes it durable."""


def list_photos(source: Path) -> list[Photo]:
    """All files of class folders; labels count the sorted folders."""
    folders = sorted(entry.path for entry in os.scandir(source) if entry.is_dir())
    return [
        (entry.name.partition(".")[0], entry.path, label)
        for label, folder in enumerate(folders)
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
    ]


def flush(path: str | Path) -> None:
    """Makes a file's bytes, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_processes(write: Callable[[Sequence[Photo], str], None], source: Path, out: Path, num_processes: int) -> None:
    """Calls `write` on equal parts of the files, each part in a forked process; one part stays in this process.

    Args:
        write: Takes the files, and what the names of its own files must begin with.
        source: Class folders.
        out: Exists.
        num_processes: Parts.
    """
    photos = list_photos(source)
    bounds = [len(photos) * rank // num_processes for rank in range(num_processes + 1)]
    parts = [photos[start:stop] for start, stop in itertools.pairwise(bounds)]
    context = multiprocessing.get_context("fork")
    names = [str(out / f"part{rank}") for rank in range(num_processes)]
    others = [context.Process(target=write, args=job) for job in list(zip(parts, names, strict=True))[1:]]
    for process in others:
        process.start()
    write(parts[0], names[0])
    for process in others:
        process.join()
        if process.exitcode != 0:
            sys.exit(f"a process of {write.__name__} ended with {process.exitcode}")
    flush(out)


def write_loop(photos: Sequence[Photo], name: str) -> None:
    """Read, hash, write: the least that a writer of digests has to do."""
    digests = []
    for first in range(0, len(photos), ROWS_PER_SHARD):
        with open(f"{name}-{first // ROWS_PER_SHARD:06d}.bin", "wb") as stream:
            for _, path, _ in photos[first : first + ROWS_PER_SHARD]:
                with open(path, "rb") as file:
                    content = file.read()
                digests.append(hashlib.sha256(content).hexdigest())
                stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


def prepare_loop(arguments: argparse.Namespace) -> Write:
    """The lower bound."""
    return partial(_run_in_processes, write_loop, arguments)


def _run_in_processes(write: Callable[[Sequence[Photo], str], None], arguments: argparse.Namespace) -> None:
    arguments.out.mkdir(parents=True, exist_ok=True)
    in_processes(write, arguments.source, arguments.out, arguments.processes)


def write_webdataset(photos: Sequence[Photo], name: str) -> None:
    """The writer of webdataset itself; it is given bytes, and calls fsync for each finished shard."""
    import webdataset

    with webdataset.ShardWriter(
        f"{name}-%06d.tar", maxcount=ROWS_PER_SHARD, maxsize=1 << 40, post=flush, verbose=0
    ) as writer:
        for key, path, label in photos:
            with open(path, "rb") as file:
                content = file.read()
            facts = json.dumps({"key": key, "class_index": label, "source_path": path}).encode()
            writer.write({"__key__": key, "jpg": content, "cls": str(label).encode(), "json": facts})


def prepare_webdataset(arguments: argparse.Namespace) -> Write:
    """The tars' own peer."""
    # Here, so that no part's seconds hold the import.
    import webdataset  # noqa: F401

    return partial(_run_in_processes, write_webdataset, arguments)


class DecodedPhotos:
    """The images as FFCV's examples read them: torchvision's ImageFolder with Pillow."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        self._photos = photos

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        from PIL import Image

        _, path, label = self._photos[number]
        with open(path, "rb") as file:
            return Image.open(file).convert("RGB"), label


def prepare_ffcv(arguments: argparse.Namespace) -> Write:
    """FFCV's own writer, with JPEGs in full size at its default quality."""
    from ffcv.fields import IntField, RGBImageField  # type: ignore[import-untyped]
    from ffcv.writer import DatasetWriter  # type: ignore[import-untyped]

    def write() -> None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        path = arguments.out / "photos.beton"
        fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=90), "label": IntField()}
        writer = DatasetWriter(str(path), fields, num_workers=arguments.processes)
        photos = list_photos(arguments.source)
        # Its processes take 100 images at a time: fewer where that would leave one without work.
        chunksize = max(1, min(100, len(photos) // (4 * arguments.processes)))
        writer.from_indexed_dataset(DecodedPhotos(photos), chunksize=chunksize)
        flush(path)
        flush(arguments.out)
        # It leaves its processes to themselves; those that nobody waits for are missing from the CPU time.
        for process in multiprocessing.active_children():
            process.join()

    return write


def prepare_mds(arguments: argparse.Namespace) -> Write:
    """MosaicML's own writer with a digest a shard, in one process."""
    from streaming import MDSWriter

    def write() -> None:
        with MDSWriter(
            out=str(arguments.out), columns={"jpg": "bytes", "cls": "int", "key": "str"}, hashes=["sha256"]
        ) as writer:
            for key, path, label in list_photos(arguments.source):
                with open(path, "rb") as file:
                    content = file.read()
                writer.write({"jpg": content, "cls": label, "key": key})
        # It tells nobody of a finished shard.
        for path in arguments.out.iterdir():
            flush(path)
        flush(arguments.out)

    return write


def prepare_shardtools(arguments: argparse.Namespace) -> Write:
    """`shardtools write` and, with another layout, `shardtools convert`."""
    from shardtools.sources import SourceOptions
    from shardtools.writing import WriteOptions, write_dataset

    options = WriteOptions(
        source=SourceOptions(source=str(arguments.source), kind="imagefolder", check=arguments.check),
        out=str(arguments.out),
        layout=arguments.layout,
        one_file=arguments.one_file,
        samples_per_shard=ROWS_PER_SHARD,
        num_processes=arguments.processes,
    )

    def write() -> None:
        result = write_dataset(options)
        if result.num_images != result.num_rows:
            sys.exit(f"{result.num_rows - result.num_images} files of the corpus were rejected: {result.statuses}")

    return write


PEERS: dict[str, Callable[[argparse.Namespace], Write]] = {
    "loop": prepare_loop,
    "shardtools": prepare_shardtools,
    "webdataset": prepare_webdataset,
    "ffcv": prepare_ffcv,
    "mds": prepare_mds,
}
"""Name -> imports what it needs and returns what is timed."""


def measure(write: Write) -> dict[str, float]:
    """Seconds, CPU seconds of all processes, and the largest process's peak memory (MB)."""
    cpu, started = _cpu_seconds(), time.perf_counter()
    write()
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": _cpu_seconds() - cpu,
        "peak_mb": max(used.ru_maxrss for used in _usages()) * 1024 / 1e6,
    }


def _usages() -> list[resource.struct_rusage]:
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def _cpu_seconds() -> float:
    return sum(used.ru_utime + used.ru_stime for used in _usages())


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="One contender of benchmarks/write.py, once.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--source", type=Path, required=True, help="a folder of class folders")
    parser.add_argument("--out", type=Path, required=True, help="an empty or missing folder")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--check", default="header", help="for shardtools: header or decode")
    parser.add_argument("--layout", default="tar", help="for shardtools: tar, beton, mds or litdata")
    parser.add_argument("--one-file", action="store_true", help="for shardtools: one .beton instead of shards")
    return parser.parse_args(words)


def main() -> None:
    """Import, measure, print."""
    arguments = parse()
    print(json.dumps(measure(PEERS[arguments.peer](arguments))))


if __name__ == "__main__":
    main()
