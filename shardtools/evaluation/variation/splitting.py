"""Which objects are held out: by class, by a hash of each object's name, so that a class more moves no other.

Owns the one rule by which all pictures of an object, and of its near-duplicates, lie on one side. Seed 002 does not
publish its split; held-out accuracies that are multiples of 1/270 give 5 of 50 objects away, a tenth.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shardtools.arrays import Bools, Int64s
from shardtools.errors import DatasetError, OptionError, SourceError
from shardtools.evaluation.variation.world import World
from shardtools.rendering import ObjectName
from shardtools.storage import open_storage
from shardtools.words import counted

NEVER = -1
"""Fold of an object that is held out in none."""

_TWINS = "twins.csv"
_TWIN_COLUMNS = ("first", "second")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Folds over objects.

    Attributes:
        num_folds: How many.
        fold_of: Fold in which an object is held out, or `NEVER`; int64 [O].
        group_of: Number of its group of near-duplicates; most have one of their own; int64 [O].
        notes: What was done to near-duplicates, a line each.
    """

    num_folds: int
    fold_of: Int64s
    group_of: Int64s
    notes: tuple[str, ...] = ()

    def held_out(self, fold: int) -> Bools:
        """Objects that are judged in a fold, bool [O]."""
        return np.asarray(self.fold_of == fold)

    def trained(self, fold: int) -> Bools:
        """Objects that are learnt from in a fold: neither held out nor the near-duplicate of one that is; bool [O]."""
        held = self.held_out(fold)
        return ~np.isin(self.group_of, self.group_of[held])


def draw(*parts: object) -> int:
    """A number of 64 bits out of names: the same on any machine, in any order of calls."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def split_objects(
    world: World,
    *,
    held_out: int | None,
    num_folds: int | None,
    seed: int,
    twins: Iterable[tuple[ObjectName, ObjectName]] = (),
) -> Split:
    """Holds objects out, class by class.

    Args:
        world: The objects.
        held_out: Of each class in a fold; `None` takes a tenth, at least one, or, with `num_folds`, holds every object
            out once.
        num_folds: Folds; `None` is one.
        seed: Of the order of objects in a class.
        twins: Near-duplicates, besides objects of one mesh.

    Raises:
        DatasetError: A class has too few objects.
    """
    group_of = _groups(world, twins)
    folds = num_folds or 1
    is_whole = num_folds is not None and held_out is None
    if is_whole and folds == 1:
        raise OptionError("one fold of all objects leaves none to learn from: give --folds 2 or more, or --held-out")
    fold_of = np.full(len(world.objects), NEVER, np.int64)
    for number, wnid in enumerate(world.wnids):
        own = np.flatnonzero(world.class_of == number)
        count = held_out or max(1, round(len(own) / 10))
        if (folds if is_whole else folds * count) > len(own) or (not is_whole and count >= len(own)):
            raise DatasetError(
                f"{world.where}: class {wnid} has {counted(len(own), 'object')}, too few for {counted(folds, 'fold')} "
                f"of {1 if is_whole else count} held out: give fewer --folds or --held-out"
            )
        groups = _shuffled_groups(world, own, group_of, seed)
        if is_whole:
            for place, group in enumerate(groups):
                fold_of[group] = place % folds
        else:
            _deal(groups, count, folds, fold_of)
    split = Split(num_folds=folds, fold_of=fold_of, group_of=group_of, notes=_notes(world, group_of))
    for fold in range(folds):
        _check_fold(world, split, fold)
    return split


def _check_fold(world: World, split: Split, fold: int) -> None:
    for side, is_in in (("learn from", split.trained(fold)), ("hold out", split.held_out(fold))):
        counts = np.bincount(world.class_of[is_in], minlength=len(world.wnids))
        if not counts.all():
            raise DatasetError(
                f"{world.where}: class {world.wnids[int(counts.argmin())]} has no object to {side} in fold {fold}: "
                "near-duplicates stay on one side; give fewer --folds, or leave the class out"
            )


def read_twins(address: str | os.PathLike[str], world: World) -> list[tuple[ObjectName, ObjectName]]:
    """Pairs of near-duplicates out of a file; those of objects that are not in the world are left out.

    Args:
        address: A folder of prepared meshes, whose `twins.csv` is read; or such a .csv, with the columns first and
            second, each "wnid/object".
        world: The objects.

    Raises:
        NotFoundError: There is no such file.
        SourceError: It lacks a column, or is no text.
    """
    where = os.fspath(address)
    folder, slash, name = where.rpartition("/") if where.lower().endswith(".csv") else (where, "", _TWINS)
    content = open_storage(folder or slash or ".").read(name)
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
        missing = [column for column in _TWIN_COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise SourceError(f"{where} lacks the column {', '.join(missing)}: expected {' and '.join(_TWIN_COLUMNS)}")
        pairs = [tuple(_named(row[column] or "", where) for column in _TWIN_COLUMNS) for row in rows]
    except UnicodeDecodeError as error:
        raise SourceError(f"{where} is no text ({error}): give a .csv in UTF-8") from None
    there = set(world.objects)
    return [(one, other) for one, other in pairs if one in there and other in there]


def _named(text: str, where: str) -> ObjectName:
    wnid, slash, object_id = text.partition("/")
    if not slash or not wnid or not object_id:
        raise SourceError(
            f"{where} names an object {text!r}, expected wnid/object: `shardtools meshes` writes such a file"
        )
    return ObjectName(wnid, object_id)


def _groups(world: World, twins: Iterable[tuple[ObjectName, ObjectName]]) -> Int64s:
    """Group of each object: the lowest number among those that are joined by pairs or by one mesh."""
    place = {name: number for number, name in enumerate(world.objects)}
    pairs = [(place[one], place[other]) for one, other in twins]
    first: dict[str, int] = {}
    for number, mesh in enumerate(world.mesh_of):
        if mesh:
            pairs.append((first.setdefault(mesh, number), number))
    found = np.arange(len(world.objects), dtype=np.int64)
    for one, other in pairs:
        low, high = sorted((int(found[one]), int(found[other])))
        found[found == high] = low
    return found


def _shuffled_groups(world: World, own: Int64s, group_of: Int64s, seed: int) -> list[Int64s]:
    """The groups of a class, objects by number, in the order of hashes."""
    groups = [own[group_of[own] == group] for group in np.unique(group_of[own])]
    # Named by its own first object, not by a twin in another class: a class more moves nothing.
    return sorted(groups, key=lambda group: draw(seed, "split", *world.objects[int(group[0])]))


def _deal(groups: list[Int64s], count: int, folds: int, fold_of: Int64s) -> None:
    """Fold after fold takes groups until it has `count` objects; one that is too large for what is left waits."""
    left = list(groups)
    for fold in range(folds):
        room, waiting = count, []
        for group in left:
            if len(group) <= room:
                fold_of[group] = fold
                room -= len(group)
            else:
                waiting.append(group)
        if room == count and waiting:
            fold_of[waiting.pop(0)] = fold
        left = waiting


def _notes(world: World, group_of: Int64s) -> tuple[str, ...]:
    numbers, counts = np.unique(group_of, return_counts=True)
    return tuple(
        "near-duplicates on one side of the split: "
        + ", ".join("/".join(world.objects[int(one)]) for one in np.flatnonzero(group_of == number))
        for number in numbers[counts > 1]
    )
