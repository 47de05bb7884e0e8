"""Finding and listing the files of an MDS or LitData dataset.

Owns splits, index files and the listing of samples. Every file's table is read before the first shard is written, and
its keys, if it has any, so that keys are known to be unique; the price is one small read a sample of a plain file, and
reading a packed file twice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.errors import NotFoundError, OptionError, SourceError, first_line
from shardtools.shards import check_key, check_split
from shardtools.sources.chunks.columns import find_roles
from shardtools.sources.chunks.files import ChunkFile, Column, column_values
from shardtools.sources.chunks.opening import open_chunk
from shardtools.sources.chunks.source import ChunkedSource, ChunkTable, Entry
from shardtools.sources.labels import labels_digest
from shardtools.sources.listing import Listing, ListingBuilder
from shardtools.sources.options import SourceOptions
from shardtools.sources.top_level import list_top_level
from shardtools.storage import Storage, read_ahead
from shardtools.taxonomy import ImageClass

INDEX_FILE = "index.json"

_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("file", pa.int32()),
        ("row", pa.int64()),
        ("offset", pa.int64()),
        ("num_bytes", pa.int64()),
    ]
)
_FILES_LISTED_TOGETHER = 8
_KEYS_PER_BATCH = 4096
_MAX_INDEX_BYTES = 256 * 1024 * 1024
_SHARDS_FOLDER = "shards"
"""Folder of the splits in a dataset of this package."""


def split_folders(storage: Storage, wanted: str | None) -> dict[str, str]:
    """Split -> folder of its index file, "" for the root.

    Raises:
        SourceError: There is no index file, or no such split.
    """
    # From the root inwards; the first level that has an index is taken for all.
    if storage.exists(INDEX_FILE):
        return {check_split(wanted or "train"): ""}
    folders: dict[str, str] = {}
    try:
        top = list_top_level(storage).folders
    except NotFoundError:
        top = ()
    for prefix in ("", f"{_SHARDS_FOLDER}/"):
        names = top if not prefix else _subfolders(storage, top)
        folders = {name: f"{prefix}{name}/" for name in names if storage.exists(f"{prefix}{name}/{INDEX_FILE}")}
        if folders:
            break
    if not folders:
        raise SourceError(
            f"{storage.url} has no {INDEX_FILE}, directly or in folders of splits (train/{INDEX_FILE}): check the path"
        )
    if wanted is not None:
        if len(folders) > 1 and wanted not in folders:
            raise SourceError(f"{storage.url} has splits {', '.join(folders)}, not {wanted!r}: choose one of them")
        return {check_split(wanted): folders.get(wanted) or next(iter(folders.values()))}
    order = sorted(folders, key=lambda name: (name != "train", name))
    return {check_split(name): folders[name] for name in order}


def _subfolders(storage: Storage, top: Sequence[str]) -> list[str]:
    if _SHARDS_FOLDER not in top:
        return []
    paths = (stored.path.split("/") for stored in storage.list(f"{_SHARDS_FOLDER}/"))
    return sorted({parts[1] for parts in paths if len(parts) == 3 and parts[2] == INDEX_FILE})


def read_index_file(storage: Storage, folder: str) -> dict[str, Any]:
    """The content of an index file.

    Raises:
        SourceError: It is no JSON object.
    """
    path = f"{folder}{INDEX_FILE}"
    where = storage.object_url(path)
    if storage.size(path) > _MAX_INDEX_BYTES:
        raise SourceError(f"{where} has over {_MAX_INDEX_BYTES} bytes, which no index of shards has: check the path")
    try:
        content = json.loads(storage.read(path).decode())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} is no intact index: {first_line(error)}: fetch or make it again") from None
    if not isinstance(content, dict):
        raise SourceError(f"{where}: expected a JSON object, found a {type(content).__name__}: fetch or make it again")
    return content


ReadFiles = Callable[[Mapping[str, Any], str, str, str], Iterable[tuple[ChunkFile, tuple[Column, ...]]]]
"""Takes the content of an index file, the split, its folder and the file's address."""


def open_chunked(
    kind: str,
    storage: Storage,
    options: SourceOptions,
    classes: Sequence[ImageClass] | None,
    folder: Path,
    read_files: ReadFiles,
) -> ChunkedSource:
    """Reads the index files and the tables of all files, and makes the listing.

    Args:
        kind: "mds" or "litdata".
        storage: The root.
        options: How to read it.
        classes: The class set given by the user, if any.
        folder: For the listing.
        read_files: The files and their columns, out of an index file.

    Raises:
        SourceError: There is no index file, are no samples, no image column, or a key that two samples have; or a file
            is missing or damaged.
        ShardError: A file's table is damaged, or a key may not be used.
        OptionError: A shuffle of packed files is asked for.
    """
    files: list[ChunkFile] = []
    columns: tuple[Column, ...] | None = None
    for split, prefix in split_folders(storage, options.split).items():
        content = read_index_file(storage, prefix)
        for file, found in read_files(content, split, prefix, storage.object_url(f"{prefix}{INDEX_FILE}")):
            if columns is not None and found != columns:
                raise SourceError(
                    f"{storage.object_url(file.path)}: its columns are not those of the files before: give --split, or "
                    "write the dataset anew"
                )
            columns = found
            files.append(file)
    if columns is None:
        raise SourceError(f"{storage.url} holds no samples, its index lists no files: check the path")
    chunks = ChunkTable(files=tuple(files), columns=columns)
    roles = find_roles(chunks.columns, where=storage.url)
    seed = options.shuffle_seed if options.shuffle else None
    with ListingBuilder(folder, _SCHEMA, seed) as builder:
        is_plain = _add_files(builder, chunks, storage, options, roles.key)
        listing = builder.finish()
    if not listing.ranges:
        raise SourceError(f"{storage.url} holds no samples, its index lists none: check the path")
    _refuse_repeats(listing, storage, chunks)
    return ChunkedSource(
        kind=kind,
        splits=listing.splits,
        settings={
            "source_kind": kind,
            "source_listing": listing.digest,
            "source_columns": _columns_digest(chunks),
            "labels": labels_digest(classes) if classes else None,
            "shuffle_seed": seed,
            "check": options.check,
            "flatten_keys": options.flatten_keys,
        },
        storage=storage,
        chunks=chunks,
        is_plain=is_plain,
        roles=roles,
        listing=listing,
        wnids=[one.wnid for one in classes] if classes else None,
        decode=options.check == "decode",
    )


def _add_files(
    builder: ListingBuilder, chunks: ChunkTable, storage: Storage, options: SourceOptions, key: int | None
) -> tuple[bool, ...]:
    """Adds every sample; says for each file whether it is plain."""
    calls: list[Callable[[], _Inspected]] = [
        partial(_inspect, storage, file, chunks.columns, key) for file in chunks.files
    ]
    # Files that are unpacked to be looked at would fill the memory together.
    is_light = all(file.packed is None and (key is None or not file.is_litdata) for file in chunks.files)
    ahead = _FILES_LISTED_TOGETHER if is_light and not storage.is_local else 0
    namer = _Namer(chunks, options.flatten_keys)
    is_plain: list[bool] = []
    # Files are looked at in threads but added in their order, as keys made from positions count on it.
    for number, found in enumerate(read_ahead(calls, ahead)):
        file = chunks.files[number]
        if options.shuffle and not found.is_plain:
            raise OptionError(
                f"{storage.object_url(file.path)} is packed and can only be read in its own order: drop --shuffle"
            )
        is_plain.append(found.is_plain)
        _add(builder, storage, file, number, found, namer)
    return tuple(is_plain)


@dataclass(frozen=True, slots=True)
class _Inspected:
    """A file's table: whether it is plain, [n + 1] offsets if it has them, the keys in batches if there are any."""

    is_plain: bool
    offsets: npt.NDArray[np.int64] | None
    keys: list[pa.Array] | None

    def key(self, row: int) -> bytes | None:
        if self.keys is None:
            return None
        found: bytes = self.keys[row // _KEYS_PER_BATCH][row % _KEYS_PER_BATCH].as_py()
        return found


def _inspect(storage: Storage, file: ChunkFile, columns: Sequence[Column], key: int | None) -> _Inspected:
    chunk = open_chunk(storage, file, columns)
    try:
        keys: list[pa.Array] | None = None
        if key is not None:
            values = column_values(storage, file, chunk, columns, key)
            keys = []
            while batch := list(itertools.islice(values, _KEYS_PER_BATCH)):
                keys.append(pa.array(batch, pa.binary()))
        return _Inspected(chunk.is_plain, chunk.offsets, keys)
    finally:
        chunk.close()


class _Namer:
    """Keys of samples: those that the files hold, else split and position."""

    def __init__(self, chunks: ChunkTable, flatten_keys: bool) -> None:
        counts: dict[str, int] = {}
        for file in chunks.files:
            counts[file.split] = counts.get(file.split, 0) + file.num_samples
        self._digits = {split: max(5, len(str(count - 1))) for split, count in counts.items()}
        self._positions = dict.fromkeys(counts, 0)
        self._flatten_keys = flatten_keys

    def name(self, split: str, found: bytes | None, where: str) -> str:
        # Counted for every sample, also where the file has a key: positions stay those of the split.
        position = self._positions[split]
        self._positions[split] += 1
        if found is None:
            return f"{split}_{position:0{self._digits[split]}d}"
        key = found.decode(errors="surrogateescape")
        if "/" in key and self._flatten_keys:
            key = "__".join(part for part in key.split("/") if part not in ("", "."))
        return check_key(key, where=where)


def _add(
    builder: ListingBuilder, storage: Storage, file: ChunkFile, number: int, found: _Inspected, namer: _Namer
) -> None:
    url = storage.object_url(file.path)
    for row in range(file.num_samples):
        # Arrow rows have no length before they are read.
        offset, end = (int(found.offsets[row]), int(found.offsets[row + 1])) if found.offsets is not None else (0, 0)
        key = namer.name(file.split, found.key(row), f"{url}, row {row}")
        builder.add(file.split, key, number, row, offset, end - offset)


def _refuse_repeats(listing: Listing, storage: Storage, chunks: ChunkTable) -> None:
    for group in listing.repeats:
        first, second = (Entry(**listing.row(number)) for number in group[:2])
        if first.key == second.key:
            places = [f"{storage.object_url(chunks.files[one.file].path)}, row {one.row}" for one in (first, second)]
            raise SourceError(
                f"key {first.key!r} comes twice: {places[0]} and {places[1]}: keys are unique in a dataset, rename one"
            )


def _columns_digest(chunks: ChunkTable) -> str:
    """sha256 over columns and lengths of files."""
    facts = [(one.name, one.kind, one.encoding, one.dtype, one.num_bytes) for one in chunks.columns]
    files = [(one.split, one.num_samples, one.sizes, one.packed, one.item_packed) for one in chunks.files]
    return hashlib.sha256(json.dumps([facts, files]).encode()).hexdigest()
