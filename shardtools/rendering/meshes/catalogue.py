"""A catalogue of prepared meshes: its listing, and its objects by class and name.

Owns `meshes.csv` and `twins.csv`. A folder that anybody can read: one file a mesh, one row a mesh; the digests in the
rows are what a rendered picture's row repeats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from shardtools.errors import NotFoundError, SourceError
from shardtools.manifest import digest
from shardtools.rendering.mesh import Mesh, read_mesh
from shardtools.rendering.tables import checked_path, read_rows, table_bytes
from shardtools.storage import Storage, open_storage

LISTING = "meshes.csv"
TWINS = "twins.csv"
_COLUMNS = ("wnid", "object", "path", "sha256", "license", "author", "source", "triangles", "missing_textures")
_TWIN_COLUMNS = ("first", "second")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshObject:
    """A row of the catalogue.

    Attributes:
        wnid: Of its class.
        object_id: Its name within the class.
        path: Of the prepared mesh in the catalogue.
        sha256: Of that file.
        license: As its source says; empty where nobody says.
        author: Likewise.
        source: Where it comes from.
        num_triangles: As it is drawn.
        num_missing: Pictures that the outside file names and that were not there.
    """

    wnid: str
    object_id: str
    path: str
    sha256: str
    license: str = ""
    author: str = ""
    source: str = ""
    num_triangles: int = 0
    num_missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshCatalogue:
    """An open catalogue; it may be pickled.

    Attributes:
        storage: Where it lies.
        objects: In order of class and name.
        twins: Pairs of objects of one class that are probably one mesh in two versions, as "wnid/object".
    """

    storage: Storage
    objects: tuple[MeshObject, ...]
    twins: tuple[tuple[str, str], ...] = ()

    def read(self, one: MeshObject) -> Mesh:
        """An object's mesh.

        Raises:
            SourceError: Its file is gone, damaged, or another than the catalogue's.
        """
        where = self.storage.object_url(one.path)
        try:
            content = self.storage.read(one.path)
        except NotFoundError:
            raise SourceError(f"{where} is gone: make the catalogue anew with `shardtools meshes`") from None
        if digest(content) != one.sha256:
            raise SourceError(f"{where} is not what {LISTING} says: make the catalogue anew with `shardtools meshes`")
        return read_mesh(content, where)


def open_catalogue(url: str) -> MeshCatalogue:
    """The catalogue of a folder.

    Raises:
        SourceError: There is none, or its listing is damaged.
    """
    storage = open_storage(url)
    try:
        content = storage.read(LISTING)
    except NotFoundError:
        raise SourceError(
            f"{storage.url} has no {LISTING}: it is no catalogue of meshes; `shardtools meshes SOURCE --out MESHES` "
            "makes one of a folder of meshes"
        ) from None
    objects = []
    where = storage.object_url(LISTING)
    for line, row in read_rows(content, where, needed=_COLUMNS):
        try:
            count, missing = int(row["triangles"]), int(row["missing_textures"])
        except ValueError as error:
            raise SourceError(f"{where}, line {line}: {error}") from None
        objects.append(
            MeshObject(
                wnid=row["wnid"],
                object_id=row["object"],
                path=checked_path(row["path"], f"{where}, line {line}"),
                sha256=row["sha256"],
                license=row["license"],
                author=row["author"],
                source=row["source"],
                num_triangles=count,
                num_missing=missing,
            )
        )
    twins: tuple[tuple[str, str], ...] = ()
    if storage.exists(TWINS):
        rows = read_rows(storage.read(TWINS), storage.object_url(TWINS), needed=_TWIN_COLUMNS)
        twins = tuple((row["first"], row["second"]) for _, row in rows)
    if len({(one.wnid, one.object_id) for one in objects}) < len(objects):
        raise SourceError(f"{where} lists an object twice: make the catalogue anew with `shardtools meshes`")
    objects.sort(key=lambda one: (one.wnid, one.object_id))
    return MeshCatalogue(storage=storage, objects=tuple(objects), twins=twins)


def write_listing(storage: Storage, objects: Iterable[MeshObject], twins: Iterable[tuple[str, str]]) -> None:
    """Writes a catalogue's two tables; the listing comes last, so that one that is there is whole."""
    storage.write(TWINS, table_bytes(_TWIN_COLUMNS, twins))
    storage.write(LISTING, table_bytes(_COLUMNS, map(astuple, objects)))
