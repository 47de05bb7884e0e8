"""Photographs become a catalogue.

Owns the order of writes: photographs, the contact sheet, and last the catalogue, so that a folder whose making was
killed is none; the same command makes it again, with the same bytes. What cannot be used is left out with its reason in
`left_out.csv`. The price of one process: BG-20k's 20,000 photographs take some ten minutes, once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass

from shardtools.errors import OptionError, SourceError
from shardtools.execution import Batch, Doing, Progress
from shardtools.quoting import shell_word
from shardtools.rendering.backgrounds.catalogue import CATALOGUE, Photo, open_backgrounds, write_catalogue
from shardtools.rendering.backgrounds.defaults import default_candidates
from shardtools.rendering.backgrounds.folder import Candidate, folder_candidates
from shardtools.rendering.backgrounds.options import DEFAULT_SET, BackgroundOptions
from shardtools.rendering.backgrounds.pictures import Prepared, prepare
from shardtools.rendering.backgrounds.sheet import ContactSheet
from shardtools.rendering.tables import begin_catalogue, table_bytes
from shardtools.sources import Rejection
from shardtools.storage import Storage, open_storage
from shardtools.words import counted

SHEET = "sheet.jpg"
LEFT_OUT = "left_out.csv"

MAX_PHOTO_BYTES = 128 * 1024 * 1024
"""A larger file is left out, so that one odd file cannot fill the memory."""

_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A photograph that was not taken.

    Attributes:
        path: Where it is.
        reason: Why.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBackgrounds:
    """What `make_backgrounds` made.

    Attributes:
        out: The folder.
        num_photos: Type -> photographs.
        left_out: Photographs that were not taken.
        small: Names of photographs whose square has fewer pixels than a picture: they will be enlarged.
        unlicensed: Names of photographs of which nobody says a license.
        notes: What a person should know of these, a line each.
    """

    out: str
    num_photos: dict[str, int]
    left_out: tuple[LeftOut, ...]
    small: tuple[str, ...]
    unlicensed: tuple[str, ...]
    notes: tuple[str, ...]


def make_backgrounds(
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    options: BackgroundOptions | None = None,
    *,
    progress: Progress | None = None,
) -> MadeBackgrounds:
    """Makes a catalogue of photographs that objects can be rendered before.

    Args:
        source: A folder or s3://bucket/prefix with TYPE/*.jpg (png, webp) and perhaps a backgrounds.csv; `None` or
            "default" for the set of the package.
        out: Where the catalogue goes, likewise.
        options: `None` for the defaults.
        progress: Called with a message on each photograph.

    Raises:
        SourceError: There is no photograph, a type has none that can be decoded, two are one file, or the table is
            wrong.
        RunError: Debian's packages with photographs of the default set are missing.
        AlreadyExistsError: There is a catalogue already, and `replace` is not set.
    """
    options = options or BackgroundOptions()
    target = open_storage(out)
    if source is None or source == DEFAULT_SET:
        candidates = default_candidates()
    else:
        candidates = _of_folder(open_storage(source), target)
    stale = _begin(target, options)
    if progress is not None:
        progress(Doing(text="preparing photos", total=len(candidates), noun="photos"))
    sheet, taken, left_out = ContactSheet(), list[Photo](), list[LeftOut]()
    small, digests = list[str](), dict[str, str]()
    for candidate, made, digest in _prepared(candidates, options.side):
        if digest and (first := digests.setdefault(digest, candidate.where)) != candidate.where:
            raise SourceError(f"{candidate.where} and {first} are one file: remove one, a picture counts once")
        if isinstance(made, Rejection):
            left_out.append(LeftOut(path=candidate.where, reason=made.reason))
        else:
            taken.append(_write(target, candidate, made))
            sheet.add(candidate.type, candidate.name, made.content)
            if made.found_side < options.image_size:
                small.append(candidate.name)
        if progress is not None:
            progress(Batch(rows=1))
    _check_all_types(candidates, taken, left_out)
    if left_out:
        target.write(LEFT_OUT, table_bytes(("path", "reason"), map(astuple, left_out)))
    target.write(SHEET, sheet.encoded())
    target.write(CATALOGUE, write_catalogue(taken))
    kept = {photo.path for photo in taken} | ({LEFT_OUT} if left_out else set())
    for path in stale - kept:
        target.delete(path)
    unlicensed = tuple(one.name for one in taken if one.license is None)
    return MadeBackgrounds(
        out=target.url,
        num_photos=dict(Counter(one.type for one in taken)),
        left_out=tuple(left_out),
        small=tuple(small),
        unlicensed=unlicensed,
        notes=tuple(_notes(left_out, small, unlicensed, options.image_size)),
    )


def _of_folder(source: Storage, target: Storage) -> list[Candidate]:
    inner, outer = target.place.rstrip("/"), source.place.rstrip("/")
    if f"{inner}/".startswith(f"{outer}/"):
        raise OptionError(f"the catalogue {target.url} lies inside of its photos {source.url}: choose a folder outside")
    return folder_candidates(source)


def _begin(target: Storage, options: BackgroundOptions) -> set[str]:
    """Takes away the catalogue that is there; paths of its photographs, which may be none of the new one's."""
    stale: set[str] = set()
    if options.replace and target.exists(CATALOGUE):
        # Of a damaged one, which is why it is made anew, the files stay.
        with contextlib.suppress(SourceError):
            stale = {LEFT_OUT, *(photo.path for photo in open_backgrounds(target.url).photos)}
    begin_catalogue(target, CATALOGUE, replace=options.replace)
    return stale


def _prepared(
    candidates: Sequence[Candidate], side: int
) -> Iterator[tuple[Candidate, Prepared | Rejection, str | None]]:
    """Each photograph in order, prepared, with the digest of its file; a few threads work a few ahead."""

    def work(candidate: Candidate) -> tuple[Candidate, Prepared | Rejection, str | None]:
        if candidate.num_bytes > MAX_PHOTO_BYTES:
            too_long = f"{candidate.num_bytes} bytes, at most {MAX_PHOTO_BYTES} are read"
            return candidate, Rejection("too-large", too_long), None
        content = candidate.read()
        # The same file cut in two places makes two pictures.
        digest = hashlib.sha256(content).hexdigest() + f" {candidate.crop}"
        return candidate, prepare(content, side, candidate.crop), digest

    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, os.cpu_count() or 1)) as pool:
        for first in range(0, len(candidates), _AT_ONCE):
            yield from pool.map(work, candidates[first : first + _AT_ONCE])


def _write(target: Storage, candidate: Candidate, made: Prepared) -> Photo:
    path = f"{candidate.name}.jpg"
    target.write(path, made.content)
    return Photo(
        name=candidate.name,
        type=candidate.type,
        path=path,
        sha256=hashlib.sha256(made.content).hexdigest(),
        license=candidate.license,
        author=candidate.author,
        source=candidate.source,
        width=made.side,
        height=made.side,
    )


def _check_all_types(candidates: Iterable[Candidate], taken: Iterable[Photo], left_out: Sequence[LeftOut]) -> None:
    types = {photo.type for photo in taken}
    for candidate in candidates:
        if candidate.type not in types:
            why = next(one.reason for one in left_out if one.path == candidate.where)
            raise SourceError(
                f"no photo of type {shell_word(candidate.type)} can be used: {candidate.where}: {why}; put other files "
                "there"
            )


def _notes(left_out: Sequence[LeftOut], small: Sequence[str], unlicensed: Sequence[str], size: int) -> Iterator[str]:
    if left_out:
        first = left_out[0]
        yield f"{counted(len(left_out), 'photo')} left out ({LEFT_OUT}), first {first.path}: {first.reason}"
    if small:
        yield (
            f"{counted(len(small), 'photo')} with less than {size} pixels a side, which rendering enlarges: "
            f"{_named(small)}"
        )
    if unlicensed:
        yield (
            f"{counted(len(unlicensed), 'photo')} without a license: {_named(unlicensed)}; say it in "
            f"SOURCE/{CATALOGUE} (type,name,license,author,source)"
        )


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
