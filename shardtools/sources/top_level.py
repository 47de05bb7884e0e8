"""What lies in a source's root: folders and files, hidden ones left out.

Owns the walk. A local root is walked a folder at a time, and what a list of files would pass over is said: links whose
target is not there, devices, folders that hold nothing; a link to a folder above it ends the walk with an error. An
object store has no folders and no links and is listed at once, which costs some 200 bytes a file for the time of
listing.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from shardtools.errors import NotFoundError, SourceError
from shardtools.storage import Storage, StoredObject

_ODD_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\ud800-\udfff]")

FILE, EMPTY, DANGLING, DEVICE = "file", "empty folder", "dangling link", "device"
"""What the walk finds: a file with bytes; a folder that holds nothing; a link to what is not there; a pipe, a socket or
another thing without bytes of its own."""

MAC_FOLDER = "__MACOSX"
"""Folder of hidden files that macOS puts into the archives it makes; never a class."""


@dataclass(frozen=True, slots=True)
class TopLevel:
    """Names directly below a root, sorted."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """One thing in a tree.

    Attributes:
        path: Below the root.
        num_bytes: Length; 0 of what has none.
        what: `FILE`, `EMPTY`, `DANGLING` or `DEVICE`.
    """

    path: str
    num_bytes: int = 0
    what: str = FILE


def list_top_level(storage: Storage) -> TopLevel:
    """Folders and files directly below the root, without hidden ones; a dangling link counts as a file.

    Raises:
        SourceError: Nothing is there.
        StorageError: The root cannot be read.
    """
    folders, files = _scan_root(storage)
    if not folders and not files:
        raise SourceError(f"{storage.url} holds nothing: check the path of the source")
    return TopLevel(
        tuple(sorted(name for name in folders if not name.startswith("."))),
        tuple(sorted(name for name in files if not name.startswith("."))),
    )


def _scan_root(storage: Storage) -> tuple[set[str], set[str]]:
    """Names of folders and of files, hidden ones among them."""
    probe = storage.local_path("probe")
    if probe is None:
        paths = [stored.path.partition("/") for stored in storage.list()]
        return {name for name, slash, _ in paths if slash}, {name for name, slash, _ in paths if not slash}
    try:
        with os.scandir(probe.parent) as entries:
            is_folder = {entry.name: _is_folder(entry) for entry in entries}
    except FileNotFoundError:
        raise NotFoundError(f"{storage.url} is not there: check the path of the source") from None
    except OSError as error:
        raise SourceError(f"{storage.url} cannot be listed ({error.strerror}): give a folder of images") from None
    folders = {name for name, folder in is_folder.items() if folder}
    return folders, set(is_folder) - folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    status = _status(entry)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What an entry leads to; `None` for a link to what is not there, to itself among them, and for what vanished."""
    try:
        return entry.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and entry.is_symlink():
            return None
        raise


def walk(storage: Storage, top: TopLevel) -> Iterator[Found]:
    """All that is not hidden, sorted within each top-level folder; files directly below the root come first.

    Raises:
        SourceError: A name cannot be addressed on every storage, or a link leads to a folder above it.
        StorageError: A folder cannot be read.
    """
    for name in top.files:
        check_name(name, storage)
        yield from _walk_file(storage, name)
    for folder in top.folders:
        yield from walk_folder(storage, folder)


def _walk_file(storage: Storage, name: str) -> Iterator[Found]:
    path = storage.local_path(name)
    if path is None:
        if storage.exists(name):
            yield Found(name, storage.size(name))
        return
    try:
        status = os.stat(path)
    except OSError:
        # What is no link was deleted since the folder was listed.
        if path.is_symlink():
            yield Found(name, what=DANGLING)
        return
    yield _found(name, status)


def _found(path: str, status: os.stat_result) -> Found:
    return Found(path, status.st_size) if stat.S_ISREG(status.st_mode) else Found(path, what=DEVICE)


def walk_folder(storage: Storage, folder: str) -> Iterator[Found]:
    """All below a folder that is not hidden, sorted by path.

    Raises:
        SourceError, StorageError: As `walk`.
    """
    check_name(folder, storage)
    place = storage.local_path(folder)
    if place is not None:
        yield from _walk_local(storage, str(place.parent), folder, (_identity(os.stat(place.parent)),))
        return
    for stored in storage.list(f"{folder}/"):
        if "/." not in stored.path:
            check_name(stored.path, storage)
            yield Found(stored.path, stored.num_bytes)


def _walk_local(storage: Storage, root: str, folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[Found]:
    """Below one local folder; `above` identifies the folders that lead to it."""
    place = f"{root}/{folder}"
    try:
        own = _identity(os.stat(place))
        with os.scandir(place) as scanned:
            entries = [(entry, _status(entry)) for entry in scanned if not entry.name.startswith(".")]
    except OSError as error:
        raise SourceError(
            f"{storage.object_url(folder)} cannot be listed ({error.strerror}): make it readable, or move it away"
        ) from None
    if own in above:
        raise SourceError(
            f"{storage.object_url(folder)} is a link to a folder above it, whose files would come again and again: "
            "remove the link"
        )
    if not entries and folder.rpartition("/")[2] != MAC_FOLDER:
        yield Found(folder, what=EMPTY)
    # A folder sorts as its files do, by what stands behind its slash.
    entries.sort(key=lambda one: f"{one[0].name}/" if one[1] and stat.S_ISDIR(one[1].st_mode) else one[0].name)
    for entry, status in entries:
        path = f"{folder}/{entry.name}"
        check_name(path, storage)
        if status is None:
            if entry.is_symlink():
                yield Found(path, what=DANGLING)
        elif stat.S_ISDIR(status.st_mode):
            yield from _walk_local(storage, root, path, (*above, own))
        else:
            yield _found(path, status)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def find_all(storage: Storage) -> list[Found]:
    """All below the root that is not hidden, sorted by path; nothing where there is no such root.

    Raises:
        SourceError, StorageError: As `walk`.
    """
    if storage.local_path("probe") is None:
        stored = [one for one in storage.list() if not one.path.startswith(".") and "/." not in one.path]
        return [Found(one.path, one.num_bytes) for one in stored]
    try:
        top = list_top_level(storage) if any(_scan_root(storage)) else TopLevel((), ())
    except NotFoundError:
        return []
    return sorted(walk(storage, top), key=lambda one: one.path)


def list_files(storage: Storage) -> list[StoredObject]:
    """All files below the root that are not hidden, sorted by path.

    Raises:
        SourceError: A link leads nowhere: of shards none may be passed over; and as `walk`.
        StorageError: A folder cannot be read.
    """
    found = find_all(storage)
    missing = next((one.path for one in found if one.what == DANGLING), None)
    if missing is not None:
        raise dangling(storage, missing)
    return [StoredObject(one.path, one.num_bytes) for one in found if one.what == FILE]


def dangling(storage: Storage, path: str) -> SourceError:
    """The error for a link that may have been a folder of images, or a file of them."""
    return SourceError(
        f"{storage.object_url(path)} is a link to something that is not there, and what lay behind it would be missing "
        "without a word: mount its disk, or remove the link"
    )


def check_name(path: str, storage: Storage) -> None:
    """Raises `SourceError` for a name with a control character, a backslash, or bytes that are not UTF-8."""
    if _ODD_CHARACTER.search(path):
        raise SourceError(
            f"{storage.url} has a file named {path!r}: expected UTF-8 without control characters or backslashes: "
            "rename it"
        )
