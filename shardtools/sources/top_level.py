"""What lies in a source's root: folders and files, hidden ones left out.

Owns the walk. A local root is listed a class folder at a time; an object store has no folders and is listed at once,
which costs some 200 bytes a file for the time of listing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shardtools.errors import NotFoundError, SourceError
from shardtools.storage import Storage, StoredObject

_ODD_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TopLevel:
    """Names directly below a root, sorted."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


def list_top_level(storage: Storage) -> TopLevel:
    """Folders and files directly below the root, without hidden ones.

    Raises:
        SourceError: Nothing is there.
        StorageError: The root cannot be read.
    """
    probe = storage.local_path("probe")
    if probe is None:
        paths = [stored.path.partition("/") for stored in storage.list()]
        folders = {name for name, slash, _ in paths if slash}
        files = {name for name, slash, _ in paths if not slash}
    else:
        try:
            with os.scandir(probe.parent) as entries:
                is_folder = {entry.name: entry.is_dir() for entry in entries}
        except FileNotFoundError:
            raise NotFoundError(f"{storage.url} is not there: check the path of the source") from None
        except OSError as error:
            raise SourceError(f"{storage.url} cannot be listed ({error.strerror}): give a folder of images") from None
        folders = {name for name, folder in is_folder.items() if folder}
        files = {name for name, folder in is_folder.items() if not folder}
    if not folders and not files:
        raise SourceError(f"{storage.url} holds nothing: check the path of the source")
    return TopLevel(
        tuple(sorted(name for name in folders if not name.startswith("."))),
        tuple(sorted(name for name in files if not name.startswith("."))),
    )


def walk(storage: Storage, top: TopLevel) -> Iterator[StoredObject]:
    """All files that are not hidden, sorted within each top-level folder; those directly below the root come first.

    Raises:
        SourceError: A name cannot be addressed on every storage.
    """
    for name in top.files:
        check_name(name, storage)
        if storage.exists(name):
            yield StoredObject(name, storage.size(name))
    for folder in top.folders:
        yield from walk_folder(storage, folder)


def walk_folder(storage: Storage, folder: str) -> Iterator[StoredObject]:
    """All files below a folder that are not hidden, sorted by path.

    Raises:
        SourceError: A name cannot be addressed on every storage.
    """
    check_name(folder, storage)
    for stored in storage.list(f"{folder}/"):
        if "/." not in stored.path:
            check_name(stored.path, storage)
            yield stored


def check_name(path: str, storage: Storage) -> None:
    """Raises `SourceError` for a name with a control character, a backslash, or bytes that are not UTF-8."""
    if _ODD_CHARACTER.search(path):
        raise SourceError(
            f"{storage.url} has a file named {path!r}: expected UTF-8 without control characters or backslashes: "
            "rename it"
        )
