"""Debian's furniture (sweethome3d-furniture): which of its models are objects of which class, and their files.

Owns the reading of the package. The choice is a table of this package, `furniture.csv`, made by eye, class by class,
from pictures of all 820 models of version 1.8: colors, other widths and other poses of one model are not taken twice.
Licenses and authors are those of the package's catalogues and copyright file. The models stay where they are: none is
shipped with shardtools.
"""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

from shardtools.errors import SourceError
from shardtools.rendering.meshes.outside import OutsideMesh
from shardtools.rendering.tables import read_rows

FURNITURE = Path("/usr/share/sweethome3d/furniture")
PACKAGE = "sweethome3d-furniture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A row of the table."""

    wnid: str
    object_id: str
    archive: str
    path: str
    license: str
    author: str
    turn: str


def models() -> list[Model]:
    """The table's rows in order of class and name."""
    content = (resources.files("shardtools.rendering.meshes") / "furniture.csv").read_bytes()
    columns = [one.name for one in fields(Model)]
    rows = (Model(**row) for _, row in read_rows(content, "furniture.csv", needed=columns))
    return sorted(rows, key=lambda row: (row.wnid, row.object_id))


def list_furniture(folder: Path = FURNITURE) -> list[OutsideMesh]:
    """The table's objects.

    Raises:
        SourceError: The package is not installed.
    """
    if not folder.is_dir():
        raise SourceError(f"sweethome3d's furniture is not in {folder}: apt-get install {PACKAGE}")
    members: dict[str, list[str]] = {}
    found = []
    for model in models():
        if model.archive not in members:
            members[model.archive] = _members(folder / f"{model.archive}.sh3f")
        top = posixpath.dirname(model.path)
        found.append(
            OutsideMesh(
                wnid=model.wnid,
                object_id=model.object_id,
                path=posixpath.basename(model.path),
                files={
                    posixpath.relpath(name, top): f"{model.archive}.sh3f!{name}"
                    for name in members[model.archive]
                    if name.startswith(f"{top}/")
                },
                license=model.license,
                author=model.author,
                source=f"Debian {PACKAGE}: {model.archive}.sh3f/{model.path}",
                turn=tuple(float(value) for value in model.turn.split()) if model.turn else None,
            )
        )
    return found


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path} cannot be read ({error}): apt-get install --reinstall {PACKAGE}") from None


def read_member(folder: Path, place: str, max_bytes: int) -> bytes:
    """A file of an archive, "Scopia.sh3f!scopia/bed1/bed1.obj".

    Raises:
        SourceError: It is larger than `max_bytes` when unpacked, damaged or gone.
    """
    archive_name, _, member = place.partition("!")
    try:
        with zipfile.ZipFile(folder / archive_name) as archive:
            size = archive.getinfo(member).file_size
            if size > max_bytes:
                raise SourceError(f"{folder / archive_name}: {member} unpacks to {size:,} bytes, at most {max_bytes:,}")
            # No more is unpacked than the archive announces, whatever the bytes hold.
            return archive.read(member)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise SourceError(
            f"{folder / archive_name}: {member} cannot be unpacked ({error}): apt-get install --reinstall {PACKAGE}"
        ) from None
