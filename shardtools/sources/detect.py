"""Which kind a source is, and opening it.

Owns the guess: it looks at names only, in the order idx, tars, class folders. `--source-kind` overrules it.
"""

from __future__ import annotations

from pathlib import Path

from shardtools.errors import NotFoundError, SourceError
from shardtools.sources.base import Source, SourceOptions
from shardtools.sources.idx import is_idx_name, open_idx
from shardtools.sources.imagefolder import open_imagefolder
from shardtools.sources.listing import list_top_level
from shardtools.sources.patterns import TAR_SUFFIXES, has_pattern, is_local_folder
from shardtools.sources.webdataset import open_webdataset
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes

_DATASET_SHARDS = "shards"
"""Folder of the tars in a dataset of this package."""


def open_source(options: SourceOptions, folder: Path) -> Source:
    """Indexes a source.

    Args:
        options: What to read, and as what.
        folder: An empty folder for the index; the source can be read as long as it exists.

    Raises:
        SourceError: There is nothing to read, or it is damaged.
        StorageError: The place cannot be read.
        TaxonomyError: No such classes.
        OptionError: Options that this kind of source does not have.
    """
    kind = detect_kind(options.source) if options.kind == "auto" else options.kind
    classes = load_classes(options.classes) if options.classes is not None else None
    if kind == "webdataset":
        return open_webdataset(options, classes, folder)
    storage = open_storage(options.source)
    if kind == "idx":
        return open_idx(storage, options, classes)
    return open_imagefolder(storage, options, classes, folder)


def detect_kind(source: str) -> str:
    """One of "idx", "webdataset" and "imagefolder", by the names that lie directly in the folder.

    Raises:
        SourceError: Nothing is there, or it is a file that is no tar.
    """
    if not is_local_folder(source) and (source.endswith(TAR_SUFFIXES) or has_pattern(source)):
        return "webdataset"
    storage = open_storage(source)
    try:
        top = list_top_level(storage)
    except NotFoundError:
        raise SourceError(f"{storage.url} is not there: give a folder of images, idx files or tars, or a tar") from None
    if any(is_idx_name(name) for name in top.files):
        return "idx"
    if any(name.endswith(TAR_SUFFIXES) for name in top.files):
        return "webdataset"
    if _DATASET_SHARDS in top.folders and any(
        stored.path.endswith(".tar") for stored in storage.list(f"{_DATASET_SHARDS}/")
    ):
        return "webdataset"
    return "imagefolder"
