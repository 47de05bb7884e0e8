"""The catalogue of prepared photographs: `backgrounds.csv`, and pixels at the size of a picture.

Owns the form of the catalogue. A photograph is read through its digest, so rows of a rendered dataset never name a file
that was exchanged since; the price is one hash of a small file a read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

from shardtools.errors import NotFoundError, SourceError
from shardtools.rendering.backgrounds.pictures import Pixels, pixels_of
from shardtools.rendering.tables import checked_path, read_rows, table_bytes
from shardtools.storage import Storage, open_storage

CATALOGUE = "backgrounds.csv"
"""Written last: a folder without it was not finished."""

MAX_CATALOGUE_BYTES = 64 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAKE = "make it with `shardtools backgrounds`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A prepared photograph: a square JPEG, upright, RGB. The fields are the columns of the catalogue.

    Attributes:
        name: "type/stem".
        type: What it shows: home, city, grass, sky, water, or the user's own.
        path: Below the catalogue's folder.
        sha256: Of the prepared file.
        license: Empty where nobody says.
        author: Likewise.
        source: Where it comes from.
        width: Pixels of a side of the prepared square.
        height: The same.
    """

    name: str
    type: str
    path: str
    sha256: str
    license: str | None
    author: str | None
    source: str | None
    width: int
    height: int


COLUMNS = tuple(one.name for one in fields(Photo))


class Backgrounds:
    """A catalogue of photographs; may be pickled, and holds nothing open.

    Attributes:
        storage: Its folder.
        photos: In the order of the catalogue.
    """

    def __init__(self, storage: Storage, photos: Iterable[Photo]) -> None:
        self.storage = storage
        self.photos = tuple(photos)

    @property
    def types(self) -> tuple[str, ...]:
        """The types, in the order of their first photographs."""
        return tuple(dict.fromkeys(photo.type for photo in self.photos))

    def read(self, photo: Photo, size: int) -> Pixels:
        """Pixels of a photograph, uint8 RGB [size, size, 3]; the same in every process with one Pillow.

        Raises:
            SourceError: The file is missing, or is not what the catalogue says.
        """
        where = self.storage.object_url(photo.path)
        try:
            content = self.storage.read(photo.path)
        except NotFoundError:
            raise SourceError(f"{where} is missing, which {CATALOGUE} lists: {_MAKE} again") from None
        if hashlib.sha256(content).hexdigest() != photo.sha256:
            raise SourceError(f"{where} is not the file that {CATALOGUE} lists, its digest differs: {_MAKE} again")
        return pixels_of(content, size, where)


def open_backgrounds(folder: str | os.PathLike[str]) -> Backgrounds:
    """A catalogue of photographs that `make_backgrounds` made.

    Args:
        folder: A folder or s3://bucket/prefix.

    Raises:
        SourceError: There is none, it is damaged, or it has no photograph.
    """
    storage = open_storage(folder)
    where = storage.object_url(CATALOGUE)
    try:
        if storage.size(CATALOGUE) > MAX_CATALOGUE_BYTES:
            raise SourceError(f"{where} has over {MAX_CATALOGUE_BYTES} bytes: no catalogue of backgrounds is that long")
        content = storage.read(CATALOGUE)
    except NotFoundError:
        raise SourceError(f"there is no catalogue of backgrounds at {where}: {_MAKE}") from None
    photos = [_photo(row, f"{where}, line {line}") for line, row in read_rows(content, where, needed=COLUMNS)]
    if not photos:
        raise SourceError(f"{where} lists no photograph: {_MAKE}")
    if len({photo.name for photo in photos}) < len(photos):
        raise SourceError(f"{where} lists a photograph twice: {_MAKE}")
    backgrounds = Backgrounds(storage, photos)
    rank = {name: position for position, name in enumerate(backgrounds.types)}
    return Backgrounds(storage, sorted(photos, key=lambda photo: rank[photo.type]))


def write_catalogue(photos: Iterable[Photo]) -> bytes:
    """The catalogue's file; equal photographs give equal bytes."""
    return table_bytes(COLUMNS, map(astuple, photos))


def _photo(row: dict[str, str], where: str) -> Photo:
    path = checked_path(row["path"], where)
    if not _DIGEST.fullmatch(row["sha256"]):
        raise SourceError(f"{where}: expected a SHA-256 in 64 hexadecimal digits, found {row['sha256']!r}: {_MAKE}")
    if not row["width"].isdecimal() or not row["height"].isdecimal():
        raise SourceError(f"{where}: expected width and height in pixels: {_MAKE}")
    if not row["type"] or row["name"] != f"{row['type']}/{row['name'].rpartition('/')[2]}":
        raise SourceError(f"{where}: expected a name type/stem, found {row['name']!r} of type {row['type']!r}: {_MAKE}")
    return Photo(
        name=row["name"],
        type=row["type"],
        path=path,
        sha256=row["sha256"],
        license=row["license"] or None,
        author=row["author"] or None,
        source=row["source"] or None,
        width=int(row["width"]),
        height=int(row["height"]),
    )
