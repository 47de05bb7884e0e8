"""Archives of class folders, packed in every way that is read, and their opening."""

from __future__ import annotations

import functools
import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

from shardtools.sources import Source
from shardtools.sources.tree.archives import open_archives
from tests.helpers.opened_sources import by_key, opened_by, refused_by
from tests.helpers.pictures import drawing, encode, jpeg

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


opened = functools.partial(opened_by, open_archives)
refused = functools.partial(refused_by, opened)


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
