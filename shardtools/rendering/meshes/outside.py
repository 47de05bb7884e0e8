"""Outside meshes, found and not yet read: what a folder or Debian's furniture holds, object by object.

Owns the layouts. A folder has `<wnid>/<object>/**/*.{glb,gltf,obj}` or `<wnid>/<file>`, with the leading n or without
it as in ShapeNet; `meshes.csv` beside them says more of some.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from shardtools.errors import SourceError
from shardtools.rendering.tables import read_rows
from shardtools.storage import Storage
from shardtools.words import counted

SUFFIXES = (".glb", ".gltf", ".obj")
LISTING = "meshes.csv"
MAX_BYTES = 256 * 2**20
"""Of one object's files together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideMesh:
    """An object that can be read.

    Attributes:
        wnid: Of its class, with the leading n.
        object_id: Its name within the class.
        path: Its main file, among `files`.
        files: Paths below its folder that it may name (materials, pictures) -> where they lie.
        license: As given; empty where nobody says.
        author: As given.
        source: Where it comes from, for people.
        up: The file's axis that points up, "x", "y" or "z", with a minus before it where it points down.
        front: The axis that points to the viewer.
        turn: A further rotation, nine numbers row by row; `None` for none.
        scale: Diameter of the bounding sphere, more than 0 and at most 1.
    """

    wnid: str
    object_id: str
    path: str
    files: Mapping[str, str]
    license: str = ""
    author: str = ""
    source: str = ""
    up: str = "y"
    front: str = "z"
    turn: tuple[float, ...] | None = None
    scale: float = 1.0


def list_folder(storage: Storage) -> list[OutsideMesh]:
    """The objects of a folder in order of class and name.

    Raises:
        SourceError: There is none, or `meshes.csv` is wrong.
    """
    paths = sorted(entry.path for entry in storage.list())
    said = _read_listing(storage) if LISTING in paths else {}
    named = {row["path"]: row for row in said.values() if row.get("path")}
    _check_named(named, set(paths), storage)
    found: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        parts = PurePosixPath(path).parts
        if PurePosixPath(path).suffix.lower() not in SUFFIXES or len(parts) < 2 or _wnid(parts[0]) is None:
            continue
        object_id = PurePosixPath(path).stem if len(parts) == 2 else parts[1]
        found.setdefault((_wnid(parts[0]) or "", object_id), []).append(path)
    if not found:
        raise SourceError(
            f"{storage.url} holds no meshes: expected <wnid>/<object>/**/*.glb, .gltf or .obj, with WordNet ids as "
            f"n03001627 or 03001627; found {counted(len(paths), 'file')}"
        )
    for key in said:
        if key not in found:
            raise SourceError(f"{storage.object_url(LISTING)} names {'/'.join(key)}, of which there is no mesh")
    return [_of_folder(key, files, paths, said, named, storage) for key, files in sorted(found.items())]


def _check_named(named: Mapping[str, Mapping[str, str]], paths: set[str], storage: Storage) -> None:
    for path, row in named.items():
        parts = PurePosixPath(path).parts
        object_id = PurePosixPath(path).stem if len(parts) == 2 else parts[1] if len(parts) > 2 else ""
        if path not in paths or PurePosixPath(path).suffix.lower() not in SUFFIXES:
            raise SourceError(f"{storage.object_url(LISTING)} names {path}, which is no .glb, .gltf or .obj file there")
        if (_wnid(parts[0]), object_id) != (_wnid(row["wnid"]), row["object"]):
            raise SourceError(
                f"{storage.object_url(LISTING)} gives {path} to {row['wnid']}/{row['object']}: it lies in the "
                f"folder of {parts[0]}/{object_id}"
            )


def _of_folder(
    key: tuple[str, str],
    files: list[str],
    paths: list[str],
    said: Mapping[tuple[str, str], Mapping[str, str]],
    named: Mapping[str, Mapping[str, str]],
    storage: Storage,
) -> OutsideMesh:
    row = said.get(key, {})
    given = [path for path in files if path in named]
    if len(files) > 1 and not given:
        normalized = [path for path in files if PurePosixPath(path).stem == "model_normalized"]
        if len(normalized) != 1:
            raise SourceError(
                f"{storage.url}: object {key[1]!r} of {key[0]} has {counted(len(files), 'mesh', 'meshes')} "
                f"({', '.join(files[:3])}): keep one, or name it in {LISTING} (wnid,object,path)"
            )
        files = normalized
    path = (given or files)[0]
    folder = posixpath.dirname(path)
    top = posixpath.join(*PurePosixPath(path).parts[:2]) if path.count("/") > 1 else folder
    return OutsideMesh(
        wnid=key[0],
        object_id=key[1],
        path=posixpath.relpath(path, top),
        files={posixpath.relpath(other, top): other for other in paths if other.startswith(f"{top}/")},
        license=row.get("license") or row.get("licence") or "",
        author=row.get("author", ""),
        source=row.get("source", "") or path,
        up=row.get("up", "") or "y",
        front=row.get("front", "") or "z",
        scale=_scale(row, storage),
    )


def _scale(row: Mapping[str, str], storage: Storage) -> float:
    written = row.get("scale", "") or "1"
    try:
        scale = float(written)
    except ValueError:
        scale = 0.0
    if not 0 < scale <= 1:
        raise SourceError(
            f"{storage.object_url(LISTING)}: scale {written!r} of {row['wnid']}/{row['object']} is no part of the unit "
            "sphere, more than 0 and at most 1"
        )
    return scale


def _read_listing(storage: Storage) -> dict[tuple[str, str], dict[str, str]]:
    where = storage.object_url(LISTING)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for line, row in read_rows(storage.read(LISTING), where, needed=("wnid", "object")):
        wnid = _wnid(row["wnid"])
        if wnid is None:
            raise SourceError(f"{where}, line {line}: {row['wnid']!r} is no WordNet id (n03001627)")
        if (wnid, row["object"]) in rows:
            raise SourceError(f"{where}, line {line}: {wnid}/{row['object']} stands there twice: keep one row")
        rows[wnid, row["object"]] = row
    return rows


def _wnid(name: str) -> str | None:
    digits = name.removeprefix("n")
    return f"n{digits}" if len(digits) == 8 and digits.isascii() and digits.isdecimal() else None
