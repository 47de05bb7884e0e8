"""From outside meshes to a catalogue: each is read once, checked, prepared and written.

Owns what is refused. A mesh that cannot be read is named and left out, and the run goes on; what would make labels
wrong (an unknown class, one mesh twice) ends it before the listing is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shardtools.arrays import Float64s
from shardtools.errors import ShardError, SourceError, TaxonomyError
from shardtools.execution import Batch, Message, Planned, Ready, ignore
from shardtools.manifest import digest
from shardtools.rendering.mesh import write_mesh
from shardtools.rendering.meshes.catalogue import LISTING, MeshCatalogue, MeshObject, open_catalogue, write_listing
from shardtools.rendering.meshes.furniture import FURNITURE, list_furniture, read_member
from shardtools.rendering.meshes.options import FURNITURE_SOURCE, MeshOptions
from shardtools.rendering.meshes.outside import MAX_BYTES, OutsideMesh, list_folder
from shardtools.rendering.meshes.reading import read_outside
from shardtools.rendering.meshes.sheets import SheetMaker, sheet_maker
from shardtools.rendering.meshes.twins import Shape, describe_shape, find_twins
from shardtools.rendering.tables import begin_catalogue
from shardtools.shards import check_key
from shardtools.storage import Storage, open_storage
from shardtools.taxonomy import load_classes

MANY_TRIANGLES = 300_000
"""Reported: such a mesh is drawn slowly."""

_AXES = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1), "-x": (-1, 0, 0), "-y": (0, -1, 0), "-z": (0, 0, -1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshResult:
    """What was made.

    Attributes:
        catalogue: The finished one.
        left_out: A line for each object that could not be read.
        notes: Lines on what is in it and might disappoint: missing pictures, many triangles, twins.
    """

    catalogue: MeshCatalogue
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def make_catalogue(options: MeshOptions, show: Callable[[Message], None] = ignore) -> MeshResult:
    """Reads all meshes of a source and writes them as a catalogue.

    Args:
        options: What and where.
        show: Gets the messages of the run.

    Raises:
        SourceError: There is nothing to read, a class is unknown, or two objects are one mesh.
        RunError: Sheets are asked for and cannot be drawn here.
        AlreadyExistsError: There is a catalogue already, and `replace` is not set.
    """
    outside, read = _open(options.source)
    _check_classes(options.source, outside)
    storage = open_storage(options.out)
    if options.source != FURNITURE_SOURCE and storage.url == open_storage(options.source).url:
        raise SourceError(f"{storage.url} is the source too: a catalogue goes into a folder of its own")
    stale = _begin(storage, options)
    # No tasks: a catalogue has no shards to speak of.
    show(Planned(rows_to_make=len(outside), num_tasks=0, num_processes=1))
    show(Ready())
    made = _Made()
    with sheet_maker(storage, wanted=options.sheets) as sheets:
        for one in outside:
            _add(storage, one, read, made, sheets)
            show(Batch(rows=1))
        if not made.objects:
            raise SourceError(f"none of the meshes of {options.source} can be read; the first: {made.left_out[0]}")
        sheets.finish()
    twins = find_twins(made.shapes)
    write_listing(storage, made.objects, twins)
    for path in stale - {one.path for one in made.objects}:
        storage.delete(path)
    return MeshResult(
        catalogue=open_catalogue(options.out), left_out=tuple(made.left_out), notes=tuple((*made.notes, *_said(twins)))
    )


def _begin(storage: Storage, options: MeshOptions) -> set[str]:
    """Takes away the catalogue that is there; paths of its meshes, which may be none of the new one's."""
    stale: set[str] = set()
    if options.replace and storage.exists(LISTING):
        # Of a damaged one, which is why it is made anew, the files stay.
        with contextlib.suppress(SourceError):
            stale = {one.path for one in open_catalogue(storage.url).objects}
    begin_catalogue(storage, LISTING, replace=options.replace)
    return stale


@dataclass(slots=True, kw_only=True)
class _Made:
    """What a run has so far."""

    objects: list[MeshObject] = field(default_factory=list)
    shapes: list[tuple[str, str, Shape]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)


def _add(
    storage: Storage, one: OutsideMesh, read: Callable[[str, int], bytes], made: _Made, sheets: SheetMaker
) -> None:
    name = f"{one.wnid}/{one.object_id}"
    try:
        _check_name(one, name)
        files = {path: _reader(read, place) for path, place in one.files.items()}
        mesh, missing = read_outside(name, one.path, files, axes=_axes(one, name), scale=one.scale)
    except SourceError as error:
        made.left_out.append(str(error))
        return
    content = write_mesh(mesh)
    sha256 = digest(content)
    if sha256 in made.seen:
        raise SourceError(f"{name} and {made.seen[sha256]} are one mesh: keep one of them")
    made.seen[sha256] = name
    path = f"{one.wnid}/{one.object_id}.mesh"
    storage.write(path, content)
    listed = MeshObject(
        wnid=one.wnid,
        object_id=one.object_id,
        path=path,
        sha256=sha256,
        license=one.license,
        author=one.author,
        source=one.source,
        num_triangles=len(mesh.triangles),
        num_missing=len(missing),
    )
    made.objects.append(listed)
    made.shapes.append((one.wnid, name, describe_shape(mesh)))
    sheets.add(listed, mesh)
    if missing:
        made.notes.append(f"{name} lacks {', '.join(missing[:3])}: drawn in plain color there")
    if listed.num_triangles > MANY_TRIANGLES:
        made.notes.append(f"{name} has {listed.num_triangles:,} triangles: slow to draw")


def _check_classes(source: str, outside: list[OutsideMesh]) -> None:
    for wnid in sorted({one.wnid for one in outside}):
        try:
            load_classes(wnid)
        except TaxonomyError as error:
            raise SourceError(f"{source}: {error}; folders are named by a noun's id, as n03001627 for chairs") from None


def _check_name(one: OutsideMesh, name: str) -> None:
    """Keys of pictures are made of a name: it is refused now, not when all is drawn."""
    try:
        check_key(f"{one.wnid}_{one.object_id}_canonical_0000000")
    except ShardError as error:
        raise SourceError(f"{name} cannot name pictures ({error})") from None


def _said(twins: tuple[tuple[str, str], ...]) -> list[str]:
    return [
        f"{first} and {second} look like one mesh in two versions: they stay on one side of a split"
        for first, second in twins
    ]


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
