"""Features of a world's pictures, read by row where they lie.

Owns the join of datasets and their features by key. Nothing is loaded but the rows that are asked for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Float32s, Int64s, filled, from_int64
from shardtools.errors import DatasetError
from shardtools.evaluation.variation.world import World
from shardtools.features import FeatureStore, check_same_encoder, open_features
from shardtools.quoting import shell_word
from shardtools.words import counted


class FeatureTable:
    """Features [N, D] of the pictures of a world, from one encoder.

    Attributes:
        name: Of the features.
        source: Where they lie.
        world: The pictures that have one.
    """

    def __init__(self, world: World, name: str) -> None:
        """Finds the features of every dataset of the world.

        Raises:
            DatasetError: A dataset has none of that name, they are of another version of it, or an object has no
                canonical picture with features.
            PlanMismatchError: They are of different encoders.
        """
        self.name = name
        self._stores = [open_features(url, name) for url in world.datasets]
        first = self._stores[0]
        for store in self._stores[1:]:
            check_same_encoder(
                store.info.encoder, first.info.encoder, where=store.storage.url, whose=f"those of {first.dataset}"
            )
        self.source = " and ".join(store.storage.url for store in self._stores)
        places = np.full(len(world), -1, np.int64)
        for number, store in enumerate(self._stores):
            rows = np.flatnonzero(world.dataset_of == number)
            places[rows] = _places(world.keys.take(from_int64(rows)), store)
        has = places >= 0
        self._place = places[has]
        self.world = world if has.all() else _only(world, has, self)

    @property
    def dim(self) -> int:
        """Numbers of a feature, D."""
        return self._stores[0].shape[1]

    def take(self, rows: Int64s) -> Float32s:
        """Features of some pictures of `world`, float32 [M, D].

        Raises:
            DatasetError: One is not finite.
        """
        found = np.empty((len(rows), self.dim), np.float32)
        for number, store in enumerate(self._stores):
            here = np.flatnonzero(self.world.dataset_of[rows] == number)
            found[here] = store.take(self._place[rows[here]])
        wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(wrong):
            key = self.world.keys[int(rows[wrong[0]])].as_py()
            raise DatasetError(
                f"{self.source}: the feature of {key!r} is not finite: extract the features again with --replace"
            )
        return found


def _places(keys: pa.Array, store: FeatureStore) -> Int64s:
    """Row of each key in a store, -1 where it has none."""
    return filled(pc.index_in(keys, value_set=store.keys), -1).astype(np.int64)


def _only(world: World, has: np.ndarray, table: FeatureTable) -> World:
    lost = int((~has).sum())
    if not has.any():
        raise DatasetError(
            f"{table.source} has no feature of a picture of {world.where}: extract them with `shardtools features "
            f"{shell_word(world.datasets[0])}`"
        )
    kept = world.only(has)
    without = np.flatnonzero(kept.canonical_row < 0)
    if len(without):
        name = "/".join(world.objects[int(without[0])])
        raise DatasetError(
            f"{table.source} has no feature of the canonical picture of {name}: extract them again with --replace"
        )
    return replace(kept, notes=(*kept.notes, f"{table.name}: {counted(lost, 'picture')} without a feature left out"))
