"""What a rendered dataset says of its pictures: objects, classes, and which set of variation each picture is of.

Owns the reading of the manifest's factor columns, of several datasets (one a grid, say) as one world. A *set* is all
pictures in which the same factors vary: "pose", "pose+size", or "all". Every object has one canonical picture; further
ones of the grids are the same picture, and are looked at in their sets only. The price: keys of all pictures are in
memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from shardtools.arrays import Bools, Int64s, from_int64
from shardtools.errors import DatasetError
from shardtools.quoting import shell_word
from shardtools.rendering import FACTORS, ObjectName
from shardtools.sql import query
from shardtools.words import counted

CANONICAL = "canonical"
ALL = "all"
"""The set in which every factor varies, as its grid is called."""

_NO_SET = -1
_COLUMNS = "key, wnid, object_id, grid, varied, is_canonical, mesh_sha256"


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Pictures of objects.

    Attributes:
        datasets: Addresses, as they were given.
        wnids: Of the classes, sorted.
        objects: Sorted; every one has a canonical picture.
        sets: Sets of variation that there are: single factors in their order, pairs, all.
        class_of: Of each object, as a place in `wnids`, int64 [O].
        mesh_of: Digest of each object's mesh; "" where the manifest has none.
        canonical_row: The canonical picture of each object, int64 [O].
        dataset_of: Place in `datasets` of each picture, int64 [N].
        keys: Of the pictures, N large Arrow strings.
        object_of: Of each picture, int64 [N].
        set_of: Place in `sets` of each picture, int64 [N]; -1 of what is in none (the grid of canonical pictures).
        is_canonical: Whether every factor has its canonical value, bool [N].
        notes: What a reader should know, a line each.
    """

    datasets: tuple[str, ...]
    wnids: tuple[str, ...]
    objects: tuple[ObjectName, ...] = field(repr=False)
    sets: tuple[str, ...]
    class_of: Int64s = field(repr=False)
    mesh_of: tuple[str, ...] = field(repr=False)
    canonical_row: Int64s = field(repr=False)
    dataset_of: Int64s = field(repr=False)
    keys: pa.Array = field(repr=False)
    object_of: Int64s = field(repr=False)
    set_of: Int64s = field(repr=False)
    is_canonical: Bools = field(repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.object_of)

    @property
    def factors(self) -> tuple[str, ...]:
        """Single factors that vary somewhere, in their order."""
        return tuple(name for name in self.sets if name in FACTORS)

    def only(self, keep: Bools) -> World:
        """The same objects with some of their pictures, bool [N]; a `canonical_row` is -1 where none is left."""
        object_of, set_of, is_canonical = self.object_of[keep], self.set_of[keep], self.is_canonical[keep]
        return replace(
            self,
            canonical_row=_canonical_rows(object_of, set_of, is_canonical, len(self.objects)),
            dataset_of=self.dataset_of[keep],
            keys=self.keys.take(from_int64(np.flatnonzero(keep))),
            object_of=object_of,
            set_of=set_of,
            is_canonical=is_canonical,
        )

    @property
    def where(self) -> str:
        """The datasets, for messages."""
        return " and ".join(self.datasets)


def open_world(datasets: Sequence[str]) -> World:
    """Reads the manifests of rendered datasets.

    Args:
        datasets: Folders or addresses; together they hold a canonical picture of every object.

    Raises:
        DatasetError: One has no rendered pictures, two hold the same picture, an object has no canonical picture, or
            there are too few classes or objects.
    """
    tables = [_read(url) for url in datasets]
    number = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    rows = pa.concat_tables(tables).combine_chunks()
    keys = rows["key"].cast(pa.large_string()).combine_chunks()
    if keys.value_counts().field("counts").to_numpy().max() > 1:
        counts = keys.value_counts()
        twice = next(one["values"] for one in counts.to_pylist() if one["counts"] > 1)
        raise DatasetError(f"{' and '.join(datasets)}: {twice!r} is in two of them: give each picture's dataset once")
    names = [
        ObjectName(wnid, object_id)
        for wnid, object_id in zip(rows["wnid"].to_pylist(), rows["object_id"].to_pylist(), strict=True)
    ]
    return _world(tuple(datasets), number.astype(np.int64), keys, names, rows)


def _world(
    datasets: tuple[str, ...], dataset_of: Int64s, keys: pa.Array, names: list[ObjectName], rows: pa.Table
) -> World:
    objects = tuple(sorted(set(names)))
    place = {name: number for number, name in enumerate(objects)}
    object_of = np.fromiter((place[name] for name in names), np.int64, len(names))
    varied = [
        _set_name(grid, text) for grid, text in zip(rows["grid"].to_pylist(), rows["varied"].to_pylist(), strict=True)
    ]
    sets = _ordered(set(varied) - {""})
    position = {name: number for number, name in enumerate(sets)} | {"": _NO_SET}
    is_canonical = np.array(rows["is_canonical"].to_pylist(), bool)
    wnids = tuple(sorted({one.wnid for one in objects}))
    class_place = {wnid: number for number, wnid in enumerate(wnids)}
    meshes = dict(zip(names, rows["mesh_sha256"].to_pylist(), strict=True))
    set_of = np.fromiter((position[name] for name in varied), np.int64, len(varied))
    world = World(
        datasets=datasets,
        wnids=wnids,
        objects=objects,
        sets=sets,
        class_of=np.array([class_place[one.wnid] for one in objects], np.int64),
        mesh_of=tuple(meshes[one] or "" for one in objects),
        canonical_row=_canonical_rows(object_of, set_of, is_canonical, len(objects)),
        dataset_of=dataset_of,
        keys=keys,
        object_of=object_of,
        set_of=set_of,
        is_canonical=is_canonical,
    )
    _check(world)
    return world


def _check(world: World) -> None:
    """Refuses a world in which an object has no canonical picture, or a class too few objects."""
    missing = np.flatnonzero(world.canonical_row < 0)
    if len(missing):
        name = "/".join(world.objects[int(missing[0])])
        raise DatasetError(
            f"{world.where}: {counted(len(missing), 'object')} of {len(world.objects)} without a canonical picture "
            f"({name}): render it (`shardtools render MESHES --grid canonical`) and give that dataset too"
        )
    if len(world.wnids) < 2:
        raise DatasetError(f"{world.where} has one class, {world.wnids[0]}: a classifier needs two at least")
    sizes = np.bincount(world.class_of)
    few = np.flatnonzero(sizes < 2)
    if len(few):
        raise DatasetError(
            f"{world.where}: class {world.wnids[int(few[0])]} has one object; one to learn from and one to hold out "
            "are needed: leave the class out, or render more of its objects"
        )


def _read(url: str) -> pa.Table:
    found = query(
        f"select {_COLUMNS} from samples "
        "where status = 'ok' and object_id is not null and wnid is not null order by key",
        [url],
    )
    if not found.num_rows:
        raise DatasetError(
            f"{url} has no picture of a known object: its rows have no object_id; variation is measured on what "
            "`shardtools render` makes"
        )
    for column in ("grid", "is_canonical"):
        if found[column].null_count:
            raise DatasetError(
                f"{url}: {found['key'][found[column].is_null().index(True).as_py()].as_py()!r} has no {column}: render "
                f"the dataset again with `shardtools render MESHES --out {shell_word(url)}`"
            )
    return found


def _set_name(grid: str, varied: str | None) -> str:
    """Which set a picture is of; an empty text for the grid of canonical pictures."""
    if not varied:
        return ""
    return ALL if grid == ALL else varied


def _ordered(names: set[str]) -> tuple[str, ...]:
    """Single factors in their order, then pairs, then all, then what this release does not know."""

    def place(name: str) -> tuple[int, list[int], str]:
        parts = name.split("+")
        known = [FACTORS.index(part) for part in parts if part in FACTORS]
        return (len(parts) if len(known) == len(parts) else len(FACTORS) + 1, known, name)

    return tuple(sorted(names, key=place))


def _canonical_rows(object_of: Int64s, set_of: Int64s, is_canonical: Bools, num_objects: int) -> Int64s:
    """The canonical picture of each object, -1 where it has none: of the canonical grid before that of another."""
    found = np.full(num_objects, -1, np.int64)
    rows = np.flatnonzero(is_canonical)
    # From last to first, so that the first is what stays: rows are in the order of keys, and the grid of its own wins.
    rows = rows[np.argsort(set_of[rows] != _NO_SET, kind="stable")][::-1]
    found[object_of[rows]] = rows
    return found
