"""MosaicML Streaming's MDS datasets as a source: a folder with index.json, or such a folder for each split.

Owns the meaning of MDS's index file (version 2) and of its encodings. Streaming itself is not imported, and its `pkl`
columns are copied as bytes and never loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from shardtools.errors import SourceError
from shardtools.shards.chunks.mds import MDS_VERSION
from shardtools.sources.chunks.files import ChunkFile, Column, check_codec
from shardtools.sources.chunks.listing import open_chunked
from shardtools.sources.chunks.source import ChunkedSource
from shardtools.sources.options import SourceOptions
from shardtools.storage import Storage
from shardtools.taxonomy import ImageClass

_KINDS = {
    "bytes": ("bytes", None),
    "str": ("text", None),
    "int": ("integer", "<i8"),
    "str_int": ("digits", None),
    "str_float": ("text", None),
    "str_decimal": ("text", None),
    "pil": ("pixels", None),
    "jpeg": ("image", None),
    "png": ("image", None),
    "json": ("json", None),
}
"""Encoding -> (kind of column, NumPy type)."""

_NUMBER = re.compile(r"(u?)(int|float)(8|16|32|64)")


def open_mds_source(
    storage: Storage, options: SourceOptions, classes: Sequence[ImageClass] | None, folder: Path
) -> ChunkedSource:
    """Reads the index files and the tables of all shards.

    Args:
        storage: The root: a folder with index.json, or one with such a folder for each split.
        options: How to read it.
        classes: The class set given by the user, if any.
        folder: For the listing.

    Raises:
        SourceError: No index file, one of another version or format, no image column, or a shard that is missing or
            damaged.
        ShardError: A shard's table is damaged, or a key may not be used.
        OptionError: A shuffle of compressed shards is asked for.
    """
    return open_chunked("mds", storage, options, classes, folder, partial(_read_index, storage))


def _read_index(
    storage: Storage, content: Mapping[str, Any], split: str, prefix: str, where: str
) -> Iterator[tuple[ChunkFile, tuple[Column, ...]]]:
    shards = content.get("shards")
    if content.get("version") != MDS_VERSION or not isinstance(shards, list):
        raise SourceError(
            f"{where}: expected MDS version {MDS_VERSION} with a list of shards, found version "
            f"{content.get('version')!r}: write it anew with a current mosaicml-streaming"
        )
    for number, shard in enumerate(shards):
        place = f"{where}, shard {number}"
        try:
            yield _shard(storage, split, prefix, shard, place)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(f"{place} is not what MDS writes ({error!r}): fetch or make it again") from None


def _shard(
    storage: Storage, split: str, prefix: str, shard: Mapping[str, Any], where: str
) -> tuple[ChunkFile, tuple[Column, ...]]:
    if shard["version"] != MDS_VERSION or shard["format"] != "mds":
        raise SourceError(
            f"{where}: expected format 'mds' version {MDS_VERSION}, found {shard['format']!r} version "
            f"{shard['version']!r}: only MDS is read"
        )
    raw = shard["raw_data"]
    packed = None
    path = f"{prefix}{_text(raw['basename'])}"
    if shard["compression"] is not None:
        zipped = f"{prefix}{_text(shard['zip_data']['basename'])}"
        # A cache of Streaming's holds what it unpacked.
        if storage.exists(zipped) or not storage.exists(path):
            path, packed = zipped, check_codec(_text(shard["compression"]), where=where)
    file = ChunkFile(
        split=split,
        path=path,
        num_samples=_count(shard["samples"]),
        sizes=(_count(raw["bytes"]),),
        packed=packed,
    )
    named = zip(shard["column_names"], shard["column_encodings"], shard["column_sizes"], strict=True)
    return file, tuple(_column(*one) for one in named)


def _column(name: str, encoding: str, num_bytes: int | None) -> Column:
    kind, dtype = _KINDS.get(_text(encoding), ("opaque", None))
    number = _NUMBER.fullmatch(encoding)
    if number is not None:
        kind = "integer" if number[2] == "int" else "float"
        letter = "f" if kind == "float" else number[1] or "i"
        dtype = f"<{letter}{int(number[3]) // 8}"
    elif encoding.partition(":")[0] == "ndarray":
        kind = "array"
    # Streaming takes a size of 0 for none.
    length = _count(num_bytes) if num_bytes else None
    return Column(name=_text(name), kind=kind, encoding=encoding, dtype=dtype, num_bytes=length)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {value!r}")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise TypeError(f"expected a count, found {value!r}")
    return value
