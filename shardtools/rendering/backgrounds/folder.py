"""A folder of photographs, one folder a type, and what a table beside them says of each.

Owns which files are photographs, their order and their names. Files directly in the folder belong to no type and are no
photographs of it: a contact sheet lies there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shardtools.errors import SourceError
from shardtools.rendering.backgrounds.catalogue import CATALOGUE, MAX_CATALOGUE_BYTES
from shardtools.rendering.backgrounds.options import TYPES
from shardtools.rendering.backgrounds.pictures import Crop
from shardtools.rendering.tables import checked_path, read_rows
from shardtools.storage import Storage, StoredObject

EXTENSIONS = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A photograph that is to be prepared.

    Attributes:
        type: Its folder.
        name: "type/stem".
        where: The file, for messages and as its source where nobody says one.
        num_bytes: Its length.
        read: Gives its bytes.
        license: `None` where nobody says.
        author: Likewise.
        source: Likewise.
        crop: `None` for the middle.
    """

    type: str
    name: str
    where: str
    num_bytes: int
    read: Callable[[], bytes]
    license: str | None
    author: str | None
    source: str | None
    crop: Crop | None


def folder_candidates(storage: Storage) -> list[Candidate]:
    """The photographs of a folder: types in the order of `TYPES`, then by name; those of the table first, in its order.

    Raises:
        SourceError: There is none, a type has none, two have one name, or the table says what cannot be.
    """
    found = storage.list()
    photos = [one for one in found if _is_photo(one.path)]
    _check_types(storage, found, photos)
    _check_names(storage, photos)
    known = {one.path: one for one in photos}
    table = _table(storage, found, known)
    paths = [*table, *(path for path in known if path not in table)]
    candidates = [_candidate(storage, known[path], table.get(path, {})) for path in paths]
    return sorted(candidates, key=lambda one: type_rank(one.type))


def type_rank(name: str) -> tuple[int, str]:
    """Sorts types."""
    return (TYPES.index(name) if name in TYPES else len(TYPES), name)


def parse_crop(text: str, where: str) -> Crop | None:
    """A square out of "left top side"; `None` of an empty text.

    Raises:
        SourceError: It is none.
    """
    if not text:
        return None
    numbers = text.split()
    if len(numbers) != 3 or not all(number.isdecimal() and len(number) < 7 for number in numbers):
        raise SourceError(f"{where}: expected a crop as left, top and side in pixels, '0 80 1200' say, found {text!r}")
    return Crop(*map(int, numbers))


def _check_types(storage: Storage, found: Iterable[StoredObject], photos: Iterable[StoredObject]) -> None:
    kinds = ", ".join(f"*.{one}" for one in EXTENSIONS)
    with_photos = {_type(one.path) for one in photos}
    if not with_photos:
        raise SourceError(
            f"{storage.url} has no photo: expected {storage.object_url('TYPE')}/{kinds}, a folder a type of background"
        )
    folders = {_type(one.path) for one in found if "/" in one.path} | _empty_folders(storage)
    if lacking := sorted(folders - with_photos):
        where = storage.object_url(lacking[0])
        raise SourceError(f"{where} has no photo: expected {kinds} directly in it, or remove the folder")


def _empty_folders(storage: Storage) -> set[str]:
    """Folders that no listing shows, as they hold nothing; object stores have none."""
    root = storage.local_path("x")
    if root is None:
        return set()
    return {one.name for one in root.parent.iterdir() if one.is_dir() and not one.name.startswith(".")}


def _check_names(storage: Storage, photos: Iterable[StoredObject]) -> None:
    paths_of: dict[str, list[str]] = defaultdict(list)
    for one in photos:
        paths_of[_stem(one.path)].append(one.path)
    for name, paths in paths_of.items():
        if len(paths) > 1:
            where = storage.object_url(paths[0])
            raise SourceError(f"{where} and {paths[1]} have one name, {name}: rename one of them")


def _table(
    storage: Storage, found: Iterable[StoredObject], known: dict[str, StoredObject]
) -> dict[str, dict[str, str]]:
    """Path -> what the table says of it, in its order."""
    listed = next((one for one in found if one.path == CATALOGUE), None)
    if listed is None:
        return {}
    where = storage.object_url(CATALOGUE)
    if listed.num_bytes > MAX_CATALOGUE_BYTES:
        raise SourceError(f"{where} has {listed.num_bytes} bytes, at most {MAX_CATALOGUE_BYTES} are read")
    by_name = {_stem(path): path for path in known}
    table: dict[str, dict[str, str]] = {}
    for line, row in read_rows(storage.read(CATALOGUE), where, needed=("type",)):
        at = f"{where}, line {line}"
        path = _path_of(row, by_name, at)
        if path not in known:
            raise SourceError(f"{at}: there is no photo {path}: remove the line, or put the file there")
        if path in table:
            raise SourceError(f"{at}: {path} stands in another line already: remove one")
        table[path] = {**row, "at": at}
    return table


def _path_of(row: dict[str, str], by_name: dict[str, str], at: str) -> str:
    if path := row.get("path"):
        checked_path(path, at)
        if _type(path) != row["type"]:
            raise SourceError(f"{at}: expected a path below {row['type']}/, its type, found {path!r}")
        return path
    if not (name := row.get("name")):
        raise SourceError(f"{at}: expected a path or a name, found neither: give type,path or type,name")
    full = name if name.startswith(f"{row['type']}/") else f"{row['type']}/{name}"
    checked_path(full, at)
    return by_name.get(full, by_name.get(_stem(full), full))


def _candidate(storage: Storage, one: StoredObject, said: dict[str, str]) -> Candidate:
    return Candidate(
        type=_type(one.path),
        name=_stem(one.path),
        where=storage.object_url(one.path),
        num_bytes=one.num_bytes,
        read=lambda: storage.read(one.path),
        license=said.get("license") or None,
        author=said.get("author") or None,
        source=said.get("source") or None,
        crop=parse_crop(said.get("crop", ""), said.get("at", "")),
    )


def _type(path: str) -> str:
    return path.partition("/")[0]


def _stem(path: str) -> str:
    return path.rpartition(".")[0] if "." in path.rpartition("/")[2] else path


def _is_photo(path: str) -> bool:
    folders, _, name = path.rpartition("/")
    # Hidden files are no photos: other systems leave "._IMG_1.jpg" beside IMG_1.jpg.
    is_direct = folders != "" and "/" not in folders
    return is_direct and not name.startswith(".") and name.rpartition(".")[2].lower() in EXTENSIONS
