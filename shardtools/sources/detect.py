"""Which kind a source is, and opening it.

Owns the guess. It looks at names, and inside of a file only where two kinds are named alike: a tar may hold WebDataset
samples or class folders, an index.json may list MDS shards or LitData chunks. `--source-kind` overrules it.
"""

from __future__ import annotations

import os
from pathlib import Path

from shardtools.documents import read_json
from shardtools.errors import NotFoundError, SourceError
from shardtools.sources.base import Source
from shardtools.sources.dataset import is_dataset
from shardtools.sources.idx import is_idx_name
from shardtools.sources.kinds import OPENERS, SUFFIXES
from shardtools.sources.options import SourceOptions
from shardtools.sources.patterns import find_files, has_pattern, is_local_folder
from shardtools.sources.top_level import TopLevel, list_top_level
from shardtools.sources.tree.archives import ARCHIVE_SUFFIXES, looks_like_archive
from shardtools.sources.tree.ilsvrc2012 import is_ilsvrc2012
from shardtools.storage import Storage, open_storage
from shardtools.taxonomy import load_classes

_INDEX = "index.json"
_DATA_FOLDERS = ("shards", "data")


def open_source(options: SourceOptions | Source, folder: Path) -> Source:
    """Indexes a source.

    Args:
        options: What to read, and as what; a source that is open already comes back as it is.
        folder: An empty folder for the listing; the source can be read as long as it exists.

    Raises:
        SourceError: There is nothing to read, or it is damaged.
        StorageError: The place cannot be read.
        TaxonomyError: No such classes.
        OptionError: Options that this kind of source does not have.
    """
    if isinstance(options, Source):
        return options
    kind = detect_kind(options.source) if options.kind == "auto" else options.kind
    if kind == "archive" and options.kind == "auto" and options.flatten_keys:
        # Only tars of samples have keys to flatten.
        kind = "webdataset"
    classes = load_classes(options.classes) if options.classes is not None else None
    return OPENERS[kind](options, classes, folder)


def detect_kind(source: str) -> str:
    """The kind of a source, by its name or by the names that lie directly in the folder.

    Raises:
        SourceError: Nothing is there, or it is a file of no known kind.
    """
    if not is_local_folder(source):
        for suffix, kind in SUFFIXES.items():
            if source.endswith(suffix):
                return kind
        if source.endswith(ARCHIVE_SUFFIXES) or has_pattern(source):
            return _kind_of_archives(source)
        if "\0" not in source and os.path.isfile(source):
            known = ", ".join((*ARCHIVE_SUFFIXES, *SUFFIXES))
            raise SourceError(f"{source} is a file of no known kind: expected a folder, {known}, or give --source-kind")
    # "photos@1a2b3c4d" is an earlier commit of a dataset; its folder tells the kind. A folder of that very name goes
    # first.
    place, at, commit = source.rpartition("@")
    storage = open_storage(place if at and not is_local_folder(source) and commit.isalnum() else source)
    try:
        top = list_top_level(storage)
    except NotFoundError:
        raise SourceError(
            f"{storage.url} is not there: give a folder of images or shards, an archive, or a dataset"
        ) from None
    return _kind_of_folder(source, storage, top)


def _kind_of_folder(source: str, storage: Storage, top: TopLevel) -> str:
    # From the surest sign to the weakest: datasets of this package hold shards of other kinds, and any folder at all
    # may be one of images.
    if is_dataset(top.files):
        return "dataset"
    if any(is_idx_name(name) for name in top.files):
        return "idx"
    if is_ilsvrc2012(top.files):
        return "ilsvrc2012"
    indexed = _kind_of_index(storage, top)
    if indexed is not None:
        return indexed
    for suffix, kind in SUFFIXES.items():
        if _has_files(storage, top, (suffix,)):
            return kind
    if _has_files(storage, top, ARCHIVE_SUFFIXES):
        return _kind_of_archives(source)
    return "imagefolder"


def _has_files(storage: Storage, top: TopLevel, suffixes: tuple[str, ...]) -> bool:
    """Whether such files lie directly in the folder, or in the one folder that datasets keep theirs in."""
    if any(name.endswith(suffixes) for name in top.files):
        return True
    return any(
        stored.path.endswith(suffixes)
        for name in _DATA_FOLDERS
        if name in top.folders
        for stored in storage.list(f"{name}/")
    )


def _kind_of_index(storage: Storage, top: TopLevel) -> str | None:
    """Which of mds and litdata it is, by the first index.json in the folder or in those of its splits."""
    paths = [_INDEX] if _INDEX in top.files else [f"{name}/{_INDEX}" for name in top.folders]
    for path in paths:
        try:
            content = read_json(storage.read(path))
        except (NotFoundError, ValueError):
            continue
        if isinstance(content, dict):
            return "mds" if "shards" in content else "litdata" if "chunks" in content else None
    return None


def _kind_of_archives(source: str) -> str:
    """Tars of samples, or of class folders; the first file tells for all."""
    return "archive" if looks_like_archive(find_files(source, ARCHIVE_SUFFIXES)) else "webdataset"
