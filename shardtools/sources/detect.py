"""Which kind a source is, and opening it.

Owns the guess. It looks at names, and inside of a file only where two kinds are named alike: a tar may hold WebDataset
samples or class folders, an index.json may list MDS shards or LitData chunks. Where two readings are possible it stops
and names both; `--source-kind` overrules it. The price is a walk to the first image of a folder that has other signs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from shardtools.documents import read_json
from shardtools.errors import NotFoundError, OptionError, SourceError
from shardtools.sources.base import Source
from shardtools.sources.dataset import is_dataset
from shardtools.sources.idx import is_idx_name
from shardtools.sources.image.check import IMAGE_EXTENSIONS, extension_of
from shardtools.sources.kinds import OPENERS, PREFIXES, SUFFIXES
from shardtools.sources.options import SourceOptions
from shardtools.sources.patterns import find_files, has_pattern, is_local_folder
from shardtools.sources.top_level import DANGLING, FILE, Found, TopLevel, list_top_level, walk, walk_folder
from shardtools.sources.tree.archives import ARCHIVE_SUFFIXES, holds_class_folders
from shardtools.sources.tree.ilsvrc2012 import is_ilsvrc2012
from shardtools.storage import Storage, open_storage
from shardtools.taxonomy import load_classes

_INDEX = "index.json"
_DATA_FOLDERS = ("shards", "data")
_LOOKED_AT = 64
_LOOKED_AT_FAR = 8
"""Archives whose first headers tell what all of them hold, on a disk and in an object store."""


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
    if kind != "published" and (options.root is not None or options.allow_partial):
        flag = "--root" if options.root is not None else "--allow-partial"
        raise OptionError(f"{flag} is for published sets (SOURCE torchvision:NAME), found {options.source}: drop it")
    if kind == "archive" and options.kind == "auto" and options.flatten_keys:
        # Only tars of samples have keys to flatten.
        kind = "webdataset"
    classes = load_classes(options.classes) if options.classes is not None else None
    return OPENERS[kind](options, classes, folder)


def detect_kind(source: str) -> str:
    """The kind of a source, by its name or by the names that lie in the folder.

    Raises:
        SourceError: Nothing is there, it is a file of no known kind, or a folder that can be read in two ways.
    """
    if not is_local_folder(source):
        for prefix, kind in PREFIXES.items():
            if source.startswith(prefix):
                return kind
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
    # Datasets of this package hold shards of other kinds, and images; their opener refuses one that is not finished.
    if is_dataset(top.files) or ("plan.json" in top.files and "manifest" in top.folders):
        return "dataset"
    signs = _signs(source, storage, top)
    if not signs:
        return _kind_of_tree(source, storage, top)
    # Any folder at all may be one of images, so the first image outside of what was found is a second reading.
    image = next((found.path for found in walk(storage, top) if _is_image(found)), None)
    readings = [*signs.items(), *([("imagefolder", image)] if image is not None else [])]
    if len(readings) > 1:
        raise _two_readings(storage.url, readings)
    return readings[0][0]


def _two_readings(url: str, readings: Sequence[tuple[str, str]]) -> SourceError:
    listed = ", or ".join(f"--source-kind {kind} ({path}, ...)" for kind, path in readings)
    return SourceError(
        f"{url} can be read in {len(readings)} ways: give {listed}; or move what is not wanted away, or give one of "
        "them alone as SOURCE"
    )


def _signs(source: str, storage: Storage, top: TopLevel) -> dict[str, str]:
    """Kinds that names directly in the folder give away, or those in the one folder that datasets keep theirs in.

    Each with the path that does.
    """
    signs: dict[str, str] = {}
    idx = next((name for name in top.files if is_idx_name(name)), None)
    if idx is not None:
        signs["idx"] = idx
    published = next((name for name in top.files if is_ilsvrc2012([name])), None)
    if published is not None:
        signs["ilsvrc2012"] = published
    indexed = _kind_of_index(storage, top)
    if indexed is not None:
        kind, path = indexed
        signs[kind] = path
    for suffix, kind in SUFFIXES.items():
        path_of_kind = _file_with(storage, top, (suffix,))
        if path_of_kind is not None:
            signs[kind] = path_of_kind
    # The tars of a kind that is known by more than its suffix are that kind's.
    archive = None if published is not None else _file_with(storage, top, ARCHIVE_SUFFIXES)
    if archive is not None:
        signs[_kind_of_archives(source)] = archive
    return signs


def _file_with(storage: Storage, top: TopLevel, suffixes: tuple[str, ...]) -> str | None:
    """Such a file directly in the folder, or in one of `_DATA_FOLDERS`."""
    found = next((name for name in top.files if name.endswith(suffixes)), None)
    if found is not None:
        return found
    inside = (one for name in _DATA_FOLDERS if name in top.folders for one in walk_folder(storage, name))
    return next((one.path for one in inside if one.what == FILE and one.path.endswith(suffixes)), None)


def _kind_of_tree(source: str, storage: Storage, top: TopLevel) -> str:
    """The kind of a tree with no sign at its top: of images, if there is one; else of what lies deeper."""
    suffixes = {**SUFFIXES, **dict.fromkeys(ARCHIVE_SUFFIXES, "")}
    deeper: dict[str, str] = {}
    for found in walk(storage, top):
        if _is_image(found):
            return "imagefolder"
        for suffix, kind in suffixes.items():
            if found.what == FILE and found.path.endswith(suffix):
                deeper.setdefault(kind, found.path)
    if len(deeper) > 1:
        raise _two_readings(storage.url, [(kind or _kind_of_archives(source), path) for kind, path in deeper.items()])
    return next((kind or _kind_of_archives(source) for kind in deeper), "imagefolder")


def _is_image(found: Found) -> bool:
    return extension_of(found.path) in IMAGE_EXTENSIONS and found.what in (FILE, DANGLING)


def _kind_of_index(storage: Storage, top: TopLevel) -> tuple[str, str] | None:
    """Which of mds and litdata it is, by the first index.json in the folder or in those of its splits; and its path."""
    paths = [_INDEX] if _INDEX in top.files else [f"{name}/{_INDEX}" for name in top.folders]
    for path in paths:
        try:
            content = read_json(storage.read(path))
        except (NotFoundError, ValueError):
            continue
        kind = None
        if isinstance(content, dict):
            kind = "mds" if "shards" in content else "litdata" if "chunks" in content else None
        if kind is not None:
            return kind, path
    return None


def _kind_of_archives(source: str) -> str:
    """Tars of samples, or archives of class folders.

    Raises:
        SourceError: Some are the one and some the other.
    """
    files = find_files(source, ARCHIVE_SUFFIXES)
    # All of them where they are few. Of many, and of those far away, some from the first to the last.
    step = max(1, len(files.paths) // (_LOOKED_AT if files.storage.is_local else _LOOKED_AT_FAR))
    kinds: dict[str, str] = {}
    for path in files.paths[::step]:
        is_archive = holds_class_folders(files.storage, path)
        if is_archive is not None:
            kinds.setdefault("archive" if is_archive else "webdataset", path)
    if len(kinds) > 1:
        raise _two_readings(source, list(kinds.items()))
    # Whoever reads them as samples says what is wrong with those that say nothing.
    return next(iter(kinds), "webdataset")
