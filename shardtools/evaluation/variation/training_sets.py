"""Which pictures a classifier is fitted to, and with which weights.

Owns the budget: every object has a weight of one, as if it had `images` pictures of which some vary. Those that do not
vary are one picture, so that one has their weight. A picture that varies has a share of one over `images`; where the
grid has fewer than are wanted, all of them share alike. So every setting weighs objects the same, and C means the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from shardtools.arrays import Bools, Float32s, Int64s, from_int64
from shardtools.evaluation.variation.splitting import draw
from shardtools.evaluation.variation.world import World


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """Pictures and weights.

    Attributes:
        rows: Of the world, int64 [M].
        weights: float32 [M]; those of an object add up to one.
    """

    rows: Int64s
    weights: Float32s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """Pictures of a set that vary, object by object, each object's in an order that was drawn.

    Attributes:
        rows: int64 [M].
        starts: Of each object's pictures in `rows`, and M; int64 [O + 1].
    """

    rows: Int64s = field(repr=False)
    starts: Int64s = field(repr=False)


def make_pool(world: World, name: str, *, seed: int, repeat: int) -> Pool:
    """The pictures of a set without those that are canonical all the same, shuffled by a hash of each key.

    Args:
        world: The pictures.
        name: A set of the world.
        seed: Of the draw.
        repeat: Number of the draw.
    """
    rows = np.flatnonzero((world.set_of == world.sets.index(name)) & ~world.is_canonical)
    keys = world.keys.take(from_int64(rows)).to_pylist()
    order = np.fromiter((draw(seed, "pictures", repeat, key) for key in keys), np.uint64, len(keys))
    rows = rows[np.lexsort((order, world.object_of[rows]))]
    counts = np.bincount(world.object_of[rows], minlength=len(world.objects))
    return Pool(rows=rows, starts=np.concatenate(([0], np.cumsum(counts))).astype(np.int64))


def training_set(world: World, trained: Bools, pool: Pool | None, varying: Int64s, images: int) -> TrainingSet:
    """Pictures of the objects that are learnt from.

    Args:
        world: The pictures.
        trained: Objects that are learnt from, bool [O].
        pool: What varies; `None` where nothing does.
        varying: Of `images` pictures of each object so many vary, int64 [O]; an object that the pool lacks varies in
            none.
        images: Pictures an object.
    """
    rows, weights = [], []
    for number in np.flatnonzero(trained).tolist():
        start, stop = (0, 0) if pool is None else pool.starts[number : number + 2].tolist()
        wanted = int(varying[number]) if stop > start else 0
        if wanted < images:
            rows.append(world.canonical_row[number : number + 1])
            weights.append(np.full(1, (images - wanted) / images, np.float32))
        if pool is not None and wanted:
            chosen = pool.rows[start : min(start + wanted, stop)]
            rows.append(chosen)
            weights.append(np.full(len(chosen), wanted / (len(chosen) * images), np.float32))
    return TrainingSet(rows=np.concatenate(rows), weights=np.concatenate(weights))


def varying_samples(world: World, share: float, images: int) -> Int64s:
    """Seed 002, section 5.1: a share of every object's pictures varies, one at least.

    Args:
        world: The objects.
        share: 0 to 1.
        images: Pictures an object.
    """
    count = max(1, round(share * images)) if share > 0 else 0
    return np.full(len(world.objects), count, np.int64)


def varying_instances(world: World, trained: Bools, share: float, images: int, *, seed: int, repeat: int) -> Int64s:
    """Seed 002, section 5.2: all pictures of a share of the objects vary, the others are canonical.

    In each class the first of its objects in an order that was drawn, so that a greater share holds what a smaller one
    does. What is left of a share over whole objects is rounded up or down by a draw of the class: of 5 % of 8 objects,
    two classes in five have one.
    """
    found = np.zeros(len(world.objects), np.int64)
    for wnid, own in _by_class(world, trained):
        count = int(np.floor(share * len(own) + draw(seed, "rounding", repeat, wnid) / 2**64))
        found[_drawn_order(world, own, seed, repeat)[:count]] = images
    return found


def varying_classes(world: World, trained: Bools, seen: Bools, images: int, *, seed: int, repeat: int) -> Int64s:
    """Seed 002, section 5.4: in the classes that are seen varying, all pictures of half of the objects vary.

    Args:
        world: The objects.
        trained: Objects that are learnt from, bool [O].
        seen: Classes that vary, bool [C].
        images: Pictures an object.
        seed: Of the draw of objects.
        repeat: Number of the draw.
    """
    found = np.zeros(len(world.objects), np.int64)
    for number, (_, own) in enumerate(_by_class(world, trained)):
        if seen[number]:
            found[_drawn_order(world, own, seed, repeat)[: max(1, len(own) // 2)]] = images
    return found


def half_of_classes(world: World, *, seed: int, repeat: int) -> Bools:
    """Classes that vary, bool [C]: half of them, rounded down; every second draw is what the one before left.

    So each class is seen varying in one of two draws, and what differs between classes averages out.
    """
    pair, is_other = divmod(repeat, 2)
    order = sorted(range(len(world.wnids)), key=lambda number: draw(seed, "half", pair, world.wnids[number]))
    half = len(order) // 2
    found = np.zeros(len(order), bool)
    found[order[half:] if is_other else order[:half]] = True
    return found


def _by_class(world: World, trained: Bools) -> Iterator[tuple[str, Int64s]]:
    for number, wnid in enumerate(world.wnids):
        yield wnid, np.flatnonzero(trained & (world.class_of == number))


def _drawn_order(world: World, own: Int64s, seed: int, repeat: int) -> list[int]:
    return sorted(own.tolist(), key=lambda number: draw(seed, "instances", repeat, *world.objects[number]))
