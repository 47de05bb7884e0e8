"""The kinds of sources: what opens each, and which file names give it away.

Owns the one list of kinds, so that a new one is entered here and nowhere else. A kind's module is imported when such a
source is opened; the price is an import inside each function, for a list that the command line reads in no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from shardtools.sources.base import Source
    from shardtools.sources.options import SourceOptions
    from shardtools.storage import Storage
    from shardtools.taxonomy import ImageClass

    Classes = Sequence[ImageClass] | None
    Open = Callable[[SourceOptions, Classes, Path], Source]


def _dataset(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.dataset import open_dataset_source

    return open_dataset_source(options, classes, folder, _columns)


def _columns(storage: Storage, layout: str, paths: Sequence[str], folder: Path) -> Source:
    """The shards of a dataset as their format reads them; images are not looked into."""
    from shardtools.sources.beton.source import open_beton_source
    from shardtools.sources.options import SourceOptions
    from shardtools.storage import open_storage

    if layout == "beton":
        return open_beton_source(storage, paths, SourceOptions(source=storage.url, check="header"), None, folder)
    shards = open_storage(f"{storage.url.rstrip('/')}/shards")
    return OPENERS[layout](SourceOptions(source=shards.url, check="header"), None, folder)


def _imagefolder(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.tree.imagefolder import open_imagefolder
    from shardtools.storage import open_storage

    # Who asks for the kind by name wants torchvision's reading; who does not is asked where there are two.
    return open_imagefolder(open_storage(options.source), options, classes, folder, strict=options.kind == "auto")


def _archive(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.tree.archives import open_archives

    return open_archives(options, classes, folder)


def _ilsvrc2012(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.tree.ilsvrc2012 import open_ilsvrc2012

    return open_ilsvrc2012(options, classes, folder)


def _webdataset(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.tars.source import open_webdataset

    return open_webdataset(options, classes, folder)


def _parquet(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.parquet.source import open_parquet
    from shardtools.sources.patterns import find_files

    files = find_files(options.source, (".parquet",))
    return open_parquet(files.storage, files.paths, options, classes, folder)


def _beton(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.beton.source import open_beton_source
    from shardtools.sources.patterns import find_files

    files = find_files(options.source, (".beton",))
    return open_beton_source(files.storage, files.paths, options, classes, folder)


def _mds(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.chunks.mds import open_mds_source
    from shardtools.storage import open_storage

    return open_mds_source(open_storage(options.source), options, classes, folder)


def _litdata(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.chunks.litdata import open_litdata_source
    from shardtools.storage import open_storage

    return open_litdata_source(open_storage(options.source), options, classes, folder)


def _idx(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.idx import open_idx
    from shardtools.storage import open_storage

    return open_idx(open_storage(options.source), options, classes)


def _published(options: SourceOptions, classes: Classes, folder: Path) -> Source:
    from shardtools.sources.published.source import open_published

    return open_published(options, classes, folder)


OPENERS: dict[str, Open] = {
    "dataset": _dataset,
    "imagefolder": _imagefolder,
    "archive": _archive,
    "ilsvrc2012": _ilsvrc2012,
    "webdataset": _webdataset,
    "parquet": _parquet,
    "beton": _beton,
    "mds": _mds,
    "litdata": _litdata,
    "idx": _idx,
    "published": _published,
}
"""Kind -> what opens it: takes the options, the class set given by the user, and an empty folder for an index."""

SUFFIXES = {".beton": "beton", ".parquet": "parquet"}
"""Suffix of a file, or of files in a folder -> the kind that it gives away."""

PREFIXES = {"torchvision:": "published", "published:": "published"}
"""What a source begins with that is no address but the name of a set -> its kind."""

SOURCE_KINDS = ("auto", *OPENERS)
