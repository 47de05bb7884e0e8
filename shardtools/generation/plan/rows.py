"""The plan: a pure function from options to rows, computed where a row is needed and never held whole.

Owns the order of rows. Within a clone, row after row goes through the classes (the first image of each, then the
second of each, ...), so that any run of rows, and so any shard, holds all classes alike; classes that have fewer
images drop out of the later rounds. The price: images of one class are not neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.generation.plan.options import OLD_SCENE_ORDER
from shardtools.generation.plan.seeds import class_codes, image_seeds, shuffled_positions
from shardtools.generation.plan.settings import PlanOptions
from shardtools.prompts import Template, fill_template, parse_template

PLAN_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("wnid", pa.string()),
        ("class_index", pa.int32()),
        ("replica", pa.int32()),
        ("scene", pa.string()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
    ]
)

_SCENE_MARK = "\ue000"
"""Stands for the scene while a class's prompt is cut at it: a private-use character that no WordNet text holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One image to make; see `manifest.COLUMNS` for the meaning of the fields."""

    key: str
    wnid: str
    class_index: int
    replica: int
    scene: str | None
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class _Round:
    """Rows `start` and later of a clone go through `members` (class positions) from image `first_replica` on."""

    start: int
    first_replica: int
    members: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """The rows that `options` stand for. Row numbers are 0-based and run through the clones one after the other."""

    options: PlanOptions

    @cached_property
    def rows_per_clone(self) -> int:
        """Rows of one clone."""
        return sum(self.options.images_per_class)

    @property
    def num_rows(self) -> int:
        """Rows of all clones."""
        return self.rows_per_clone * self.options.scale

    @cached_property
    def shards_per_clone(self) -> int:
        """Shards of one clone; a clone begins a new shard, so that a larger scale only adds shards."""
        return -(-self.rows_per_clone // self.options.samples_per_shard)

    @property
    def num_shards(self) -> int:
        """Shards of all clones."""
        return self.shards_per_clone * self.options.scale

    def shard_range(self, shard_index: int) -> tuple[int, int]:
        """First row of a shard and the row after its last."""
        clone, index = divmod(shard_index, self.shards_per_clone)
        start = index * self.options.samples_per_shard
        stop = min(start + self.options.samples_per_shard, self.rows_per_clone)
        return clone * self.rows_per_clone + start, clone * self.rows_per_clone + stop

    def shard_rows(self, shard_index: int) -> list[PlanRow]:
        """The rows of one shard, in order."""
        return [PlanRow(**row) for row in self.table(*self.shard_range(shard_index)).to_pylist()]

    def tables(self, rows_per_table: int = 100_000) -> Iterator[pa.Table]:
        """All rows in tables of at most `rows_per_table`, one in memory at a time."""
        for start in range(0, self.num_rows, rows_per_table):
            yield self.table(start, min(start + rows_per_table, self.num_rows))

    def table(self, start: int, stop: int) -> pa.Table:
        """Rows `start` to `stop` (exclusive) with `PLAN_SCHEMA`."""
        positions, replicas = self._positions(np.arange(start, stop, dtype=np.int64))
        scenes = self._scene_positions(positions, replicas)
        wnids = self._wnids.take(pa.array(positions))
        numbers = pc.utf8_lpad(pc.cast(pa.array(replicas), pa.string()), width=7, padding="0")
        columns = [
            pc.binary_join_element_wise(wnids, numbers, "_"),
            wnids,
            pa.array(self._class_indices[positions], pa.int32()),
            pa.array(replicas, pa.int32()),
            self._scenes.take(pa.array(scenes)) if self._uses_scene else pa.nulls(len(positions), pa.string()),
            self._prompts(positions, scenes),
            pa.array(image_seeds(self._codes[positions], replicas)),
        ]
        return pa.Table.from_arrays(columns, schema=PLAN_SCHEMA)

    def retry_seed(self, row: PlanRow, attempt: int) -> int:
        """Seed of the image's `attempt`-th try."""
        position = self._position_of_wnid[row.wnid]
        return int(image_seeds(self._codes[position : position + 1], np.array([row.replica]), attempt)[0])

    def num_distinct_prompts(self) -> int:
        """Distinct prompts over all rows."""
        if not self._uses_scene:
            return len(set(self._class_prompts.to_pylist()))
        counts = np.array(self.options.images_per_class, dtype=np.int64) * self.options.scale
        return int(np.minimum(counts, len(self.options.prompts.scenes)).sum())

    def _positions(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Class position and replica (over all clones) of each row number."""
        clones, within = rows // self.rows_per_clone, rows % self.rows_per_clone
        positions = np.empty(len(rows), dtype=np.int64)
        replicas = np.empty(len(rows), dtype=np.int64)
        which = np.searchsorted([one.start for one in self._rounds], within, side="right") - 1
        for index in np.unique(which):
            one = self._rounds[index]
            inside = which == index
            levels, members = np.divmod(within[inside] - one.start, len(one.members))
            positions[inside] = one.members[members]
            replicas[inside] = one.first_replica + levels
        return positions, replicas + clones * self._counts[positions]

    @cached_property
    def _counts(self) -> npt.NDArray[np.int64]:
        return np.array(self.options.images_per_class, dtype=np.int64)

    @cached_property
    def _rounds(self) -> list[_Round]:
        rounds, start, first = [], 0, 0
        for count in np.unique(self._counts[self._counts > 0]):
            members = np.flatnonzero(self._counts >= count)
            rounds.append(_Round(start, first, members))
            start += int(count - first) * len(members)
            first = int(count)
        return rounds

    @cached_property
    def _wnids(self) -> pa.Array:
        return pa.array([image_class.wnid for image_class in self.options.classes], pa.string())

    @cached_property
    def _position_of_wnid(self) -> dict[str, int]:
        return {image_class.wnid: position for position, image_class in enumerate(self.options.classes)}

    @cached_property
    def _class_indices(self) -> npt.NDArray[np.int64]:
        return np.array([image_class.class_index for image_class in self.options.classes], dtype=np.int64)

    @cached_property
    def _codes(self) -> npt.NDArray[np.uint64]:
        return class_codes(self.options.seed, self._wnids.to_pylist())

    @cached_property
    def _uses_scene(self) -> bool:
        return self._template.uses_scene

    @cached_property
    def _scenes(self) -> pa.Array:
        return pa.array(self.options.prompts.scenes, pa.string())

    def _scene_positions(
        self, positions: npt.NDArray[np.int64], replicas: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Every class meets every scene in turn (thesis section 5.4.3), all classes in one shuffled order.

        The n-th image of each class has the same scene: of classes with 16 images a network could else read the class
        off the scenes that only this class has.
        """
        if not self._uses_scene:
            return np.zeros(len(positions), dtype=np.int64)
        if self.options.scene_order != OLD_SCENE_ORDER:
            return self._scene_deck[replicas % len(self._scenes)]
        offsets = (self._codes % np.uint64(len(self._scenes))).astype(np.int64)
        return (replicas + offsets[positions]) % len(self._scenes)

    @cached_property
    def _scene_deck(self) -> npt.NDArray[np.int64]:
        return shuffled_positions(self.options.seed, self.options.prompts.scenes)

    @cached_property
    def _class_prompts(self) -> pa.Array:
        texts = [self._fill(position, None) for position in range(len(self.options.classes))]
        return pa.array(texts, pa.string())

    @cached_property
    def _prompt_pieces(self) -> list[pa.Array]:
        """The prompt of each class cut at its scenes: filling in 64 million pairs one by one would take an hour."""
        cut = [self._fill(index, _SCENE_MARK).split(_SCENE_MARK) for index in range(len(self.options.classes))]
        return [pa.array(pieces, pa.string()) for pieces in zip(*cut, strict=True)]

    def _fill(self, position: int, scene: str | None) -> str:
        return fill_template(self._template, self.options.classes[position], scene, self.options.prompts)

    @cached_property
    def _template(self) -> Template:
        return parse_template(self.options.prompts.template)

    def _prompts(self, positions: npt.NDArray[np.int64], scenes: npt.NDArray[np.int64]) -> pa.Array:
        if not self._uses_scene:
            return self._class_prompts.take(pa.array(positions))
        scene_texts = self._scenes.take(pa.array(scenes))
        first, *others = [pieces.take(pa.array(positions)) for pieces in self._prompt_pieces]
        parts = [first]
        for piece in others:
            parts += [scene_texts, piece]
        return pc.binary_join_element_wise(*parts, "")
