"""Lightning's LitData datasets as a source: a folder with index.json, or such a folder for each split.

Owns the meaning of LitData's index file and of its leaf types. LitData itself is not imported, and pickled leaves are
copied as bytes and never loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shardtools.documents import read_json
from shardtools.errors import SourceError
from shardtools.shards.chunks.sample_table import table_bytes
from shardtools.sources.chunks.files import ChunkFile, Column, check_codec
from shardtools.sources.chunks.listing import open_chunked
from shardtools.sources.chunks.source import ChunkedSource
from shardtools.sources.options import SourceOptions
from shardtools.storage import Storage
from shardtools.taxonomy import ImageClass

_KINDS = {
    "bytes": ("bytes", None),
    "file": ("bytes", None),
    "str": ("text", None),
    "text": ("text", None),
    "int": ("integer", "<i8"),
    "bool": ("integer", "<i1"),
    "float": ("float", "<f8"),
    "pil": ("pixels", None),
    "jpeg": ("image", None),
    "image": ("image", None),
    "tifffile": ("image", None),
    "numpy": ("array", None),
    "no_header_numpy": ("array", None),
    "tensor": ("array", None),
    "no_header_tensor": ("array", None),
    "jpeg_array": ("array", None),
}
"""Leaf type, without what follows ":" -> (kind of column, NumPy type)."""

_LOADER = "PyTreeLoader"
_IN_FILE = ("batch", "sample")


def open_litdata_source(
    storage: Storage, options: SourceOptions, classes: Sequence[ImageClass] | None, folder: Path
) -> ChunkedSource:
    """Reads the index files and the tables of all chunks.

    Args:
        storage: The root: a folder with index.json, or one with such a folder for each split.
        options: How to read it.
        classes: The class set given by the user, if any.
        folder: For the listing.

    Raises:
        SourceError: No index file, one for another loader, encrypted chunks, no image leaf, or a chunk that is missing
            or damaged.
        ShardError: A chunk's table is damaged, or a key may not be used.
        OptionError: A shuffle of packed chunks is asked for.
    """
    return open_chunked("litdata", storage, options, classes, folder, _read_index)


def _read_index(
    content: Mapping[str, Any], split: str, prefix: str, where: str
) -> Iterator[tuple[ChunkFile, tuple[Column, ...]]]:
    try:
        columns = _columns(content["config"], where)
        for file in _chunks(content["config"], content["chunks"], split, prefix, where):
            yield file, columns
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SourceError(f"{where} is not what LitData writes ({error!r}): fetch or make it again") from None


def _columns(config: Mapping[str, Any], where: str) -> tuple[Column, ...]:
    loader = config.get("item_loader", _LOADER)
    if loader != _LOADER:
        raise SourceError(f"{where}: expected chunks for LitData's {_LOADER}, found {loader!r}: they hold no images")
    if config.get("encryption"):
        raise SourceError(f"{where}: the chunks are encrypted: write them anew without encryption")
    version, spec = read_json(config["data_spec"])
    names = list(_leaf_names(spec, ()))
    formats = config["data_format"]
    if version != 1 or len(names) != len(formats) or not all(isinstance(one, str) for one in formats):
        raise SourceError(
            f"{where}: expected a data_spec of version 1 with {len(formats)} leaves, found version {version!r} with "
            f"{len(names)}: fetch or make it again"
        )
    return tuple(_column(name, leaf_type) for name, leaf_type in zip(names, formats, strict=True))


def _leaf_names(spec: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Names of the leaves of a serialised pytree: keys of dicts and positions in all else, joined by "."."""
    if spec["type"] is None:
        yield ".".join(path) or "0"
        return
    children = spec["children_spec"]
    keys = read_json(spec["context"]) if spec["type"] == "builtins.dict" else range(len(children))
    for key, child in zip(keys, children, strict=True):
        yield from _leaf_names(child, (*path, str(key)))


def _column(name: str, leaf_type: str) -> Column:
    kind, dtype = _KINDS.get(leaf_type.partition(":")[0], ("opaque", None))
    return Column(name=name, kind=kind, encoding=leaf_type, dtype=dtype)


def _chunks(
    config: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]], split: str, prefix: str, where: str
) -> Iterator[ChunkFile]:
    compression, level = config["compression"], config.get("compression_level")
    codec = check_codec(compression, where=where) if compression is not None else None
    if level not in (None, "chunk", *_IN_FILE):
        raise SourceError(f"{where}: expected compression level chunk, batch or sample, found {level!r}: write it anew")
    for number, chunk in enumerate(chunks):
        count, num_bytes, name = chunk["chunk_size"], chunk["chunk_bytes"], chunk["filename"]
        if not isinstance(count, int) or not isinstance(num_bytes, int) or not isinstance(name, str):
            raise TypeError(f"chunk {number}: {chunk!r}"[:200])
        if not 0 <= count < 2**32 or not 0 <= num_bytes < 2**40:
            raise ValueError(f"chunk {number} has {count} samples and {num_bytes} bytes")
        yield ChunkFile(
            split=split,
            path=f"{prefix}{name}",
            num_samples=count,
            # Older releases counted the samples without the table.
            sizes=(num_bytes, num_bytes + table_bytes(count)),
            packed=codec if level not in _IN_FILE else None,
            item_packed=codec is not None and level == "sample",
            is_litdata=True,
        )
