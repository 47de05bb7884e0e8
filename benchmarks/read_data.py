"""What the contenders of `benchmarks/read.py` read: the corpus in each one's own format, the same images in all.

    python benchmarks/read_data.py --corpus /tmp/corpus --data /tmp/read --formats tar,beton

Owns the formats and the S3 server. Every format but `raw` holds the original JPEG bytes, also FFCV's, whose own writer
would decode and encode them anew; so no contender has fewer bytes to decode. A format that stands is not made again.
The price of `large`, a dataset with ImageNet's number of rows: its shards are hard links to a few real ones, so its
manifest and its reads are those of 1.28 million images, but its bytes fit into the page cache. Its digests are random,
as long as real ones, and true of nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

SAMPLES_PER_SHARD = 500
"""About 50 MB: near what MosaicML's and LitData's writers take by default (64 MB)."""
RAW_SIDE = 256
"""Shorter side in pixels of the raw images."""
LARGE_ROWS = 1_281_167
"""Training images of ImageNet-1K."""
SPLIT = "train"


def make_files(arguments: argparse.Namespace, out: Path) -> None:
    """The images as files in class folders."""
    from benchmarks.write import present

    present(arguments.corpus, out, arguments.images, 1)


def make_dataset(arguments: argparse.Namespace, out: Path, **options: Any) -> None:
    """A dataset of shards, as `shardtools write` makes it."""
    from shardtools.sources import SourceOptions
    from shardtools.writing import WriteOptions, write_dataset

    source = SourceOptions(source=str(need(arguments, "files")), kind="imagefolder", check="header")
    # At least as many shards as workers, whose peers share them out.
    per_shard = max(1, min(SAMPLES_PER_SHARD, arguments.images // 4))
    num_processes = 1 if arguments.images < SAMPLES_PER_SHARD else None
    result = write_dataset(
        WriteOptions(source=source, out=str(out), samples_per_shard=per_shard, num_processes=num_processes, **options)
    )
    if result.num_images != arguments.images:
        sys.exit(f"expected {arguments.images} images in {out}, found {result.num_images}: make the corpus anew")


def make_raw(arguments: argparse.Namespace, out: Path) -> None:
    """Pixels instead of JPEGs, in one `.beton`."""
    from shardtools.encoding import EncodingOptions

    encoding = EncodingOptions(min_side=RAW_SIDE, write_mode="raw")
    make_dataset(arguments, out, layout="beton", one_file=True, encoding=encoding)


def make_large(arguments: argparse.Namespace, out: Path) -> None:
    """The shards of `tar` again and again, under new keys."""
    from shardtools.dataset import DATASET_FILE, PartEntry, SplitInfo, open_dataset
    from shardtools.dataset.commit import Merger
    from shardtools.shards import part_path, shard_path
    from shardtools.storage import open_storage

    source = need(arguments, "tar")
    info = open_dataset(source).info
    if info is None:
        sys.exit(f"{source} is not finished: remove it")
    real_shards = sorted(info.shards, key=lambda shard: shard.path)
    out.mkdir()
    storage = open_storage(out)
    shards, parts, num_bytes = [], [], 0
    with Merger(storage) as merger:
        for index, (table, real) in enumerate(_repeated(source, [shard.path for shard in real_shards])):
            shard = real_shards[real]
            path = shard_path(SPLIT, index)
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).hardlink_to(source / shard.path)
            shards.append(dataclasses.replace(shard, path=path))
            parts.append(PartEntry(path=part_path(SPLIT, index), sha256="0" * 64, num_rows=table.num_rows))
            num_bytes += shard.num_bytes
            merger.add(table)
        compact = merger.finish()
    split = SplitInfo(num_rows=LARGE_ROWS, num_images=LARGE_ROWS, num_bytes=num_bytes)
    changed = dataclasses.replace(
        info,
        splits={SPLIT: split},
        statuses={"ok": LARGE_ROWS},
        parts=tuple(parts),
        shards=tuple(shards),
        compact=compact,
    )
    storage.write(DATASET_FILE, changed.to_json())


def _repeated(source: Path, paths: list[str]) -> Iterator[tuple[Any, int]]:
    """`LARGE_ROWS` rows as tables of one shard each, and which of the real shards it is."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from shardtools.dataset import open_dataset
    from shardtools.manifest import SCHEMA, decode_part
    from shardtools.shards import shard_path

    opened = open_dataset(source)
    found = [decode_part(opened.storage.read(path), where=path).table for path in opened.part_paths]
    rows = pa.concat_tables(found)
    by_shard = [rows.filter(pc.equal(rows["shard"], path)) for path in paths]
    random = np.random.default_rng(0)
    left = LARGE_ROWS
    for index, real in enumerate(itertools.cycle(range(len(paths)))):
        table = by_shard[real].slice(0, left)
        if left == 0:
            return
        left -= table.num_rows
        columns = {
            # Keys of one copy differ from those of the next.
            "key": pc.binary_join_element_wise(table["key"], f"{index:06d}", "-"),
            "shard": pa.array([shard_path(SPLIT, index)] * table.num_rows),
            "sha256": pa.array([random.bytes(32).hex() for _ in range(table.num_rows)]),
        }
        for name, column in columns.items():
            field = SCHEMA.field(name)
            table = table.set_column(SCHEMA.get_field_index(name), field, column.cast(field.type))
        yield table, real


FORMATS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "files": make_files,
    "tar": make_dataset,
    "beton": partial(make_dataset, layout="beton", one_file=True),
    "mds": partial(make_dataset, layout="mds"),
    "litdata": partial(make_dataset, layout="litdata"),
    "raw": make_raw,
    "large": make_large,
}
"""Folder below --data -> what makes it."""


def need(arguments: argparse.Namespace, name: str) -> Path:
    """The folder of a format, made where it is missing."""
    folder: Path = arguments.data / name
    mark = arguments.data / f"{name}.done"
    if not (mark.exists() and mark.read_text() == str(arguments.images)):
        shutil.rmtree(folder, ignore_errors=True)
        FORMATS[name](arguments, folder)
        mark.write_text(str(arguments.images))
    return folder


def make(arguments: argparse.Namespace) -> None:
    """All formats that are asked for, and their files into the page cache."""
    arguments.data.mkdir(parents=True, exist_ok=True)
    for name in arguments.formats.split(","):
        folder = need(arguments, name)
        if name != "large":
            for path in folder.rglob("*"):
                if path.is_file():
                    path.read_bytes()


def serve(arguments: argparse.Namespace) -> None:
    """Stores `tar` in an S3 server, says on one line where, and keeps it running until the standard input ends."""
    import obstore
    from obstore.store import S3Store

    from tests.helpers.s3_server import S3Server

    # A short path: the server makes sockets in it, and their paths end at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="s3-", ignore_cleanup_errors=True) as home:
        server = S3Server(Path(home))
        try:
            store = S3Store(
                server.bucket,
                endpoint=server.environment["AWS_ENDPOINT_URL"],
                access_key_id=server.environment["AWS_ACCESS_KEY_ID"],
                secret_access_key=server.environment["AWS_SECRET_ACCESS_KEY"],
                region=server.environment["AWS_REGION"],
                client_options={"allow_http": True, "proxy_excludes": "127.0.0.1"},
            )
            source = arguments.data / "tar"
            for path in sorted(source.rglob("*")):
                if path.is_file():
                    obstore.put(store, f"tar/{path.relative_to(source)}", path)
            print(json.dumps({"url": server.url("tar"), "environment": server.environment}), flush=True)
            sys.stdin.read()
        finally:
            server.kill()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What the contenders of benchmarks/read.py read.")
    parser.add_argument("--formats", default=",".join(FORMATS), help="which to make, separated by commas")
    parser.add_argument("--serve", action="store_true", help="serve the tars from an S3 server instead")
    parser.add_argument("--corpus", type=Path, help="made by benchmarks/corpus.py")
    parser.add_argument("--data", type=Path, required=True, help="a folder, on the corpus's file system")
    parser.add_argument("--images", type=int, default=2000)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = parse()
    serve(chosen) if chosen.serve else make(chosen)
