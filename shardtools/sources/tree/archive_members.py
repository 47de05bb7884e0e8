"""The files in an archive: one pass over the headers of a tar, of the tars in it, of a zip or of a compressed tar.

Owns which names an archive may have: paths below its root, in UTF-8, each once. An inner tar counts as a folder of its
name, its files are byte ranges of the outer one. A link or a device stays a row. On an object store headers are read
through windows: large ones where members are small, small ones where they are large.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from shardtools.errors import SourceError
from shardtools.shards.tar.headers import ReadAt, TarEntry, read_entries
from shardtools.sources.image.check import MAX_SAMPLE_BYTES, Rejection, extension_of
from shardtools.sources.top_level import MAC_FOLDER
from shardtools.sources.tree.archive_forward import COMPRESSED_SUFFIXES, ForwardReader
from shardtools.sources.tree.archive_zip import ZipMember, read_directory, unpack
from shardtools.sources.tree.shape import VIDEO_EXTENSION, read_corrupted_place
from shardtools.sources.tree.table import FOLDER, FORWARD, LINK, RANGE, ZIPPED, TreeFile
from shardtools.sources.tree.video import count_frames
from shardtools.storage import Storage, read_ahead

ARCHIVE_SUFFIXES = (".tar", ".zip", *COMPRESSED_SUFFIXES)
"""How archives that can be read are named."""

_ODD_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\ud800-\udfff]")
_MAX_DEPTH = 3
_INNER_TARS_TOGETHER = 8
_FILES_TOGETHER = 1000
_SMALL_WINDOW_BYTES = 64 * 1024
_LARGE_WINDOW_BYTES = 4 * 1024 * 1024
_LARGE_STRIDE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Place:
    """The tar that is being read: its archive's number, its path in that ("" or "n01440764.tar/"), and its depth."""

    archive: int
    prefix: str
    depth: int
    form: int
    where: str


def read_files(storage: Storage, path: str, archive: int) -> Iterator[TreeFile]:
    """Files and folders in an archive, hidden ones left out, in its order.

    Args:
        storage: Where it lies.
        path: The archive.
        archive: Its number.

    Raises:
        SourceError: A name that may not be used, or a zip or compressed stream that is damaged.
        ShardError: A tar that is cut off or damaged.
    """
    if path.endswith(".zip"):
        yield from _read_zip(storage, path, archive)
        return
    form = FORWARD if ForwardReader.reads(path) else RANGE
    place = _Place(archive, "", 0, form, storage.object_url(path))
    if form == FORWARD:
        reader = ForwardReader(storage, path)
        try:
            yield from _walk(reader.read_at, place, 0, None)
            # To its end, past the tar's: only there a compressed stream tells whether it is intact.
            reader.finish()
        finally:
            reader.close()
    elif storage.is_local:
        yield from _read_local(storage, path, place)
    else:
        calls = _remote_calls(storage, path, place)
        for files in read_ahead(calls, _INNER_TARS_TOGETHER):
            yield from files


def first_names(storage: Storage, path: str, count: int) -> list[str]:
    """Names of the first files in a tar, plain or compressed, those of inner tars themselves included.

    Raises:
        SourceError: As `read_files`.
        ShardError: As `read_files`.
    """
    where = storage.object_url(path)
    if ForwardReader.reads(path):
        reader = ForwardReader(storage, path)
        try:
            return _names(read_entries(reader.read_at, where=where), count)
        finally:
            reader.close()
    size = storage.size(path)
    return _names(read_entries(_Window(storage, path, size).read_at, where=where, stop=size), count)


def _names(entries: Iterator[TarEntry], count: int) -> list[str]:
    names = (clean_name(entry.name, f"byte {entry.offset}") for entry in entries if entry.kind == "file")
    return list(islice((name for name in names if name and not _is_hidden(name)), count))


def _read_local(storage: Storage, path: str, place: _Place) -> Iterator[TreeFile]:
    with storage.open(path) as stream:

        def read_at(offset: int, num_bytes: int) -> bytes:
            stream.seek(offset)
            return stream.read(num_bytes)

        yield from _walk(read_at, place, 0, storage.size(path))


def _remote_calls(storage: Storage, path: str, place: _Place) -> Iterator[Callable[[], list[TreeFile]]]:
    """Calls that give the files of an object in order: one an inner tar, and lists of what lies between these."""
    size = storage.size(path)
    window = _Window(storage, path, size)
    files: list[TreeFile] = []
    # Headers of the outer tar are read here, one after the other. Inner tars are walked by the threads that take the
    # calls, and what lies between two of them is handed over in lists, so that all files keep the archive's order.
    for entry in read_entries(window.read_at, where=place.where, stop=size):
        inner = _inner(entry, place)
        if inner is None:
            files += _files(window.read_at, entry, place)
        if files and (inner is not None or len(files) >= _FILES_TOGETHER):
            yield partial(list, files)
            files = []
        if inner is not None:
            yield partial(_read_inner, storage, path, size, inner, entry)
    yield partial(list, files)


def _read_inner(storage: Storage, path: str, size: int, place: _Place, entry: TarEntry) -> list[TreeFile]:
    read_at = _Window(storage, path, size).read_at
    return list(_walk(read_at, place, entry.offset, entry.offset + entry.num_bytes))


def _walk(read_at: ReadAt, place: _Place, start: int, stop: int | None) -> Iterator[TreeFile]:
    for entry in read_entries(read_at, where=place.where, start=start, stop=stop):
        inner = _inner(entry, place)
        if inner is None:
            yield from _files(read_at, entry, place)
        else:
            yield from _walk(read_at, inner, entry.offset, entry.offset + entry.num_bytes)


def _inner(entry: TarEntry, place: _Place) -> _Place | None:
    """The tar that an entry is, if it is one."""
    if entry.kind != "file" or not entry.name.endswith(".tar") or place.depth == _MAX_DEPTH:
        return None
    name = clean_name(entry.name, f"{place.where}, byte {entry.offset}")
    if _is_hidden(name):
        return None
    return _Place(place.archive, f"{place.prefix}{name}/", place.depth + 1, place.form, f"{place.where}, in {name}")


def _files(read_at: ReadAt, entry: TarEntry, place: _Place) -> Iterator[TreeFile]:
    """The row of one entry of a tar, none for a hidden one."""
    name = clean_name(entry.name, f"{place.where}, byte {entry.offset}")
    if not name or _is_hidden(name):
        return
    path = place.prefix + name
    if entry.kind == "folder":
        yield TreeFile(place.archive, f"{path}/", FOLDER, entry.offset, 0, 0)
        return
    if entry.kind != "file":
        yield TreeFile(place.archive, path, LINK, entry.offset, 0, 0)
        return
    num_frames = 0
    if is_video(path) and entry.num_bytes <= MAX_SAMPLE_BYTES:
        # A damaged video is one row too, so that its reason is found in the manifest.
        num_frames = max(1, count_frames(read_at(entry.offset, entry.num_bytes)))
    yield TreeFile(
        place.archive, path, place.form, entry.offset, entry.num_bytes, entry.num_bytes, num_frames=num_frames
    )


def _read_zip(storage: Storage, path: str, archive: int) -> Iterator[TreeFile]:
    where = storage.object_url(path)
    for member in read_directory(storage, path):
        name = clean_name(member.name, f"{where}, byte {member.offset}")
        if not name or _is_hidden(name):
            continue
        if member.kind == "folder":
            yield TreeFile(archive, f"{name}/", FOLDER, member.offset, 0, 0)
            continue
        if member.kind == "link":
            yield TreeFile(archive, name, LINK, member.offset, 0, 0)
            continue
        num_frames = _count_zipped(storage, path, member) if is_video(name) else 0
        yield TreeFile(archive, name, ZIPPED, member.offset, member.num_bytes, member.span, member.crc, num_frames)


def _count_zipped(storage: Storage, path: str, member: ZipMember) -> int:
    if member.num_bytes > MAX_SAMPLE_BYTES:
        return 0
    content = unpack(storage.read_range(path, member.offset, member.span), member.num_bytes, member.crc)
    return 1 if isinstance(content, Rejection) else max(1, count_frames(content))


def is_video(path: str) -> bool:
    """Whether a file is named as a video of ImageNet-P, whose frames are samples."""
    return extension_of(path) == VIDEO_EXTENSION and read_corrupted_place(tree_parts(path)) is not None


def tree_parts(path: str) -> list[str]:
    """Folders and file name of a path in an archive; inner tars are folders, named without their extension."""
    parts = path.split("/")
    return [*(folder.removesuffix(".tar") for folder in parts[:-1]), parts[-1]] if ".tar/" in path else parts


def clean_name(name: str, where: str) -> str:
    """A member's path without "." and empty parts; "" for the root itself.

    Raises:
        SourceError: It is absolute, climbs out of the archive, has control characters or backslashes, or is not UTF-8.
    """
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or _ODD_CHARACTER.search(name):
        raise SourceError(
            f"{where}: expected a relative path in UTF-8 without '..', backslashes or control characters, found "
            f"{name!r}: pack the archive anew"
        )
    return "/".join(part for part in parts if part not in ("", "."))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or "/." in name or name == MAC_FOLDER


class _Window:
    """Bytes of an object, fetched a window at a time."""

    def __init__(self, storage: Storage, path: str, size: int) -> None:
        self._storage = storage
        self._path = path
        self._size = size
        self._start = 0
        self._content = b""
        self._last = 0

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """The bytes there, fewer where the object ends."""
        stop = min(offset + num_bytes, self._size)
        if stop <= offset:
            return b""
        if offset < self._start or stop > self._start + len(self._content):
            # Headers close to each other: one large request brings many. Far apart, all but one header of it would be
            # in vain.
            is_near = offset - self._last <= _LARGE_STRIDE_BYTES
            ahead = _LARGE_WINDOW_BYTES if is_near and self._last else _SMALL_WINDOW_BYTES
            fetched = min(max(ahead, num_bytes), self._size - offset)
            self._start, self._content = offset, self._storage.read_range(self._path, offset, fetched)
        self._last = offset
        return self._content[offset - self._start : stop - self._start]
