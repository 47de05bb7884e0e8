"""From outside meshes to a catalogue: each is read once, checked, prepared and written.

Owns what is refused. A mesh that cannot be read is named and left out, and the run goes on; what would make labels
wrong (an unknown class, one mesh twice) ends it before the listing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shardtools.arrays import Float64s
from shardtools.errors import SourceError
from shardtools.manifest import digest
from shardtools.rendering.mesh import write_mesh
from shardtools.rendering.meshes.catalogue import MeshCatalogue, MeshObject, open_catalogue, write_listing
from shardtools.rendering.meshes.furniture import FURNITURE, list_furniture, read_member
from shardtools.rendering.meshes.options import FURNITURE_SOURCE, MeshOptions
from shardtools.rendering.meshes.outside import MAX_BYTES, OutsideMesh, list_folder
from shardtools.rendering.meshes.reading import read_outside
from shardtools.storage import Storage, open_storage
from shardtools.taxonomy import find_synset

MANY_TRIANGLES = 300_000
"""Reported: such a mesh is drawn slowly."""

_AXES = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1), "-x": (-1, 0, 0), "-y": (0, -1, 0), "-z": (0, 0, -1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshResult:
    """What was made.

    Attributes:
        catalogue: The finished one.
        left_out: A line for each object that could not be read.
        notes: Lines on what is in it and might disappoint: missing pictures, many triangles.
    """

    catalogue: MeshCatalogue
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def make_catalogue(options: MeshOptions, report: Callable[[int, int], None] | None = None) -> MeshResult:
    """Reads all meshes of a source and writes them as a catalogue.

    Args:
        options: What and where.
        report: Called with how many are done, and of how many.

    Raises:
        SourceError: There is nothing to read, a class is unknown, or two objects are one mesh.
    """
    outside, read = _open(options.source)
    for wnid in sorted({one.wnid for one in outside}):
        synset = find_synset(wnid)
        if synset is None:
            raise SourceError(f"{options.source}: {wnid} is no noun of WordNet 3.0; folders are named n03001627")
    storage = open_storage(options.out)
    storage.check_writable()
    objects: list[MeshObject] = []
    left_out: list[str] = []
    notes: list[str] = []
    seen: dict[str, str] = {}
    for number, one in enumerate(outside):
        name = f"{one.wnid}/{one.object_id}"
        try:
            made, missing = _prepared(storage, one, name, read)
        except SourceError as error:
            left_out.append(str(error))
        else:
            if made.sha256 in seen:
                raise SourceError(f"{name} and {seen[made.sha256]} are one mesh: keep one of them")
            seen[made.sha256] = name
            objects.append(made)
            if missing:
                notes.append(f"{name} lacks {', '.join(missing[:3])}: drawn in plain color there")
            if made.num_triangles > MANY_TRIANGLES:
                notes.append(f"{name} has {made.num_triangles:,} triangles: slow to draw")
        if report:
            report(number + 1, len(outside))
    if not objects:
        raise SourceError(f"none of the meshes of {options.source} can be read; the first: {left_out[0]}")
    write_listing(storage, objects, ())
    return MeshResult(catalogue=open_catalogue(options.out), left_out=tuple(left_out), notes=tuple(notes))


def _prepared(
    storage: Storage, one: OutsideMesh, name: str, read: Callable[[str, int], bytes]
) -> tuple[MeshObject, tuple[str, ...]]:
    files = {path: _reader(read, place) for path, place in one.files.items()}
    mesh, missing = read_outside(name, one.path, files, axes=_axes(one, name))
    content = write_mesh(mesh)
    path = f"{one.wnid}/{one.object_id}.mesh"
    storage.write(path, content)
    made = MeshObject(
        wnid=one.wnid,
        object_id=one.object_id,
        path=path,
        sha256=digest(content),
        license=one.license,
        author=one.author,
        source=one.source,
        num_triangles=len(mesh.triangles),
        num_missing=len(missing),
    )
    return made, missing


def _open(source: str) -> tuple[list[OutsideMesh], Callable[[str, int], bytes]]:
    """A source's objects, and how their files are read: place and most bytes -> bytes."""
    if source == FURNITURE_SOURCE:
        return list_furniture(), lambda place, most: read_member(Path(FURNITURE), place, most)
    storage = open_storage(source)

    def read(place: str, most: int) -> bytes:
        size = storage.size(place)
        if size > most:
            raise SourceError(f"{storage.object_url(place)} has {size:,} bytes, at most {most:,} are read")
        return storage.read(place)

    return list_folder(storage), read


def _reader(read: Callable[[str, int], bytes], place: str) -> Callable[[], bytes]:
    return lambda: read(place, MAX_BYTES)


def _axes(one: OutsideMesh, name: str) -> Float64s | None:
    """The rotation to y up and +z front."""
    turn = None if one.turn is None else np.array(one.turn).reshape(3, 3)
    if (one.up, one.front) == ("y", "z"):
        return turn
    if one.up not in _AXES or one.front not in _AXES or one.up[-1] == one.front[-1]:
        raise SourceError(f"{name}: up {one.up!r} and front {one.front!r} are two of x, y, z, with - for the other way")
    up, front = np.array(_AXES[one.up], float), np.array(_AXES[one.front], float)
    axes = np.stack([np.cross(up, front), up, front])
    return axes if turn is None else axes @ turn
