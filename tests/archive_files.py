"""Archives of class folders, packed in every way that is read, and their opening."""

from __future__ import annotations

import io
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError, ShardError, ShardtoolsError, SourceError
from shardtools.shards.tar_headers import TarEntry, read_entries
from shardtools.sources import Source, SourceOptions
from shardtools.sources.archives import ARCHIVE_SUFFIXES, looks_like_archive, open_archives
from shardtools.sources.imagefolder import open_imagefolder
from shardtools.sources.patterns import find_files
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes
from tests.pictures import drawing, encode, jpeg, write_files, write_tar
from tests.reading import by_key, everything
from tests.s3_server import S3Server


FILES = {
    "cat/1.jpg": jpeg(1),
    "cat/2.jpg": jpeg(2)[:-30],
    "cat/deeper/3.png": encode(drawing(3), "PNG"),
    "dog/1.jpg": jpeg(4),
    "dog/1.txt": b"a dog",
    "dog/no extension": jpeg(5),
    "README.txt": b"read me",
}
HIDDEN = {".DS_Store": b"x", "cat/._1.jpg": b"x", "__MACOSX/._cat": b"x"}


def tar_bytes(files: Mapping[str, bytes], mode: str = "w", **options: Any) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, **options) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_bytes(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def opened(source: Path | str, index: Path, **options: Any) -> Source:
    index.mkdir(exist_ok=True)
    found = SourceOptions(source=str(source), **options)
    return open_archives(found, load_classes(found.classes) if found.classes else None, index)


def refused(source: Path | str, index: Path, **options: Any) -> str:
    with pytest.raises(ShardtoolsError) as caught:
        everything(opened(source, index, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def facts(source: Source) -> dict[str, tuple[Any, ...]]:
    return {
        key: (one.image_bytes, one.status, one.reason, one.wnid, one.class_index, one.label_source)
        for key, one in by_key(source).items()
    }


PACKERS = {
    "x.tar": tar_bytes,
    "gnu.tar": lambda files: tar_bytes(files, format=tarfile.GNU_FORMAT),
    "x.tar.gz": lambda files: tar_bytes(files, "w:gz"),
    "x.tgz": lambda files: tar_bytes(files, "w:gz"),
    "x.tar.bz2": lambda files: tar_bytes(files, "w:bz2"),
    "x.tar.xz": lambda files: tar_bytes(files, "w:xz"),
    "x.zip": zip_bytes,
    "stored.zip": lambda files: zip_bytes(files, zipfile.ZIP_STORED),
}
