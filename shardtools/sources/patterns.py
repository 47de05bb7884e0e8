"""From what a user writes for a set of files to the files: one, a folder, braces, wildcards.

Owns the meaning of "{000000..000146}", "{a,b}", "*", "?" and "[...]" in a source. A name that exists is taken as it
stands, so odd names need no quoting.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from shardtools.errors import SourceError
from shardtools.shards import check_split
from shardtools.sources.top_level import check_name
from shardtools.storage import Storage, open_storage

MAX_EXPANDED = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_SPLIT_IN_NAME = re.compile(r"(?:^|[-_./])(train|val|valid|validation|test)(?=[-_./])")
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
TAR_SUFFIXES = (".tar", *_COMPRESSED)
"""How tars are named, those included that must be unpacked first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFiles:
    """Files below one root, in the order they are read."""

    storage: Storage
    paths: tuple[str, ...]


def has_pattern(source: str) -> bool:
    """Whether a source has characters that make it a pattern."""
    return any(character in source for character in "*?[{")


def expand_braces(pattern: str) -> list[str]:
    """All texts that a pattern with "{1..3}" or "{a,b}" stands for, in order; zero padding is kept as in shells.

    Raises:
        SourceError: The pattern stands for more than a million texts, or a brace holds neither form.
    """
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    choices = _choices(match[1], pattern)
    tails = expand_braces(pattern[match.end() :])
    if len(choices) * len(tails) > MAX_EXPANDED:
        raise SourceError(f"{pattern!r} stands for more than {MAX_EXPANDED} files: check the braces")
    return [pattern[: match.start()] + choice + tail for choice in choices for tail in tails]


def _choices(inside: str, pattern: str) -> list[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        if "," not in inside:
            raise SourceError(f"{pattern!r}: expected {{000000..000146}} or {{a,b}}, found {{{inside}}}")
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    if abs(last - first) >= MAX_EXPANDED:
        raise SourceError(f"{pattern!r} stands for more than {MAX_EXPANDED} files: check the braces")
    padded = any(text.startswith("0") and len(text) > 1 for text in numbers.groups())
    width = max(map(len, numbers.groups())) if padded else 0
    step = 1 if last >= first else -1
    return [str(number).zfill(width) for number in range(first, last + step, step)]


def find_tars(source: str) -> SourceFiles:
    """The tars that a source names.

    Raises:
        SourceError: There are none, one comes twice, or they are compressed.
        StorageError: The place cannot be read.
    """
    files = find_files(source, TAR_SUFFIXES)
    for path in files.paths:
        if path.endswith(_COMPRESSED):
            raise SourceError(
                f"{files.storage.object_url(path)} is compressed, ranges of it cannot be read: unpack it to a plain "
                ".tar first"
            )
    return files


def find_files(source: str, suffixes: tuple[str, ...]) -> SourceFiles:
    """The files that a source names: itself, those of a folder with one of the suffixes, or those of a pattern.

    Raises:
        SourceError: There are none, or one comes twice.
        StorageError: The place cannot be read.
    """
    # As it stands first: "photos[1].tar" may be a file of that name.
    storage, name = _parent(source)
    if storage is not None and storage.exists(name):
        return _checked(storage, [name], source, suffixes)
    if has_pattern(source) and not is_local_folder(source):
        return _find_by_pattern(source, suffixes)
    storage = open_storage(source)
    paths = [stored.path for stored in storage.list() if not _is_hidden(stored.path)]
    found = [path for path in paths if path.endswith(suffixes)]
    return _checked(storage, found, source, suffixes)


def is_local_folder(source: str) -> bool:
    """Whether a source is a folder of this machine, whatever characters its name has."""
    return "\0" not in source and os.path.isdir(source)


def _parent(source: str) -> tuple[Storage | None, str]:
    """The folder and the name of a source that may be one file; no folder for the root of a bucket or a disk."""
    head, slash, name = source.rpartition("/")
    if not name or name in (".", "..") or head.endswith("/"):
        return None, name
    storage = open_storage(head + slash or ".")
    check_name(name, storage)
    return storage, name


def _is_hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path


def _find_by_pattern(source: str, suffixes: tuple[str, ...]) -> SourceFiles:
    first = min(position for position, character in enumerate(source) if character in "*?[{")
    split = source.rfind("/", 0, first) + 1
    storage = open_storage(source[:split] or ".")
    paths: list[str] = []
    for name in expand_braces(source[split:]):
        if not has_pattern(name):
            paths.append(name)
            continue
        parts = name.split("/")
        found = [stored.path for stored in storage.list() if _matches(stored.path.split("/"), parts)]
        if not found:
            raise SourceError(f"no file in {storage.url} matches {name!r}: check the pattern")
        paths += found
    return _checked(storage, paths, source, suffixes)


def _matches(parts: list[str], patterns: list[str]) -> bool:
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _checked(storage: Storage, paths: list[str], source: str, suffixes: tuple[str, ...]) -> SourceFiles:
    if not paths:
        kind = suffixes[0]
        raise SourceError(f"{source} holds no {kind} files: give a {kind}, a folder of them, or a pattern")
    for path in paths:
        check_name(path, storage)
    path, count = Counter(paths).most_common(1)[0]
    if count > 1:
        raise SourceError(f"{source} names {path} {count} times: name every file once")
    return SourceFiles(storage=storage, paths=tuple(paths))


def by_split(paths: Sequence[str], wanted: str | None) -> dict[str, list[str]]:
    """Split -> files: by the files' names, or else their folders, where each names one; else all in one split.

    Raises:
        SourceError: The names hold several splits, and not the wanted one.
    """
    found: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        # The file's own name first: "train/val-notes.tar" says what it is nearer than its folder does.
        names = set(_SPLIT_IN_NAME.findall(name)) or set(_SPLIT_IN_NAME.findall(f"{folder}/"))
        found.setdefault(names.pop() if len(names) == 1 else "", []).append(path)
    # A file whose name says no split, or several: then those of the others are taken to say nothing either.
    if "" in found:
        return {check_split(wanted or "train"): list(paths)}
    if wanted is None:
        return found
    if len(found) == 1:
        return {check_split(wanted): list(paths)}
    if wanted not in found:
        raise SourceError(
            f"the files have splits {', '.join(found)} in their names, not {wanted!r}: choose one of them"
        )
    return {wanted: found[wanted]}
