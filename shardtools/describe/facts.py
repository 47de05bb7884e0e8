"""What the manifest says about a dataset as a whole, counted in one pass.

Owns the counting. Rows are counted by Arrow, some hundred thousand at a time, and only the counts are kept; the price
of one pass for all files is that a description of a large dataset reads its whole manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shardtools.dataset import Dataset
from shardtools.sample import STATUS_OK
from shardtools.storage import read_ahead
from shardtools.taxonomy.table import find_synset

SETTING_COLUMNS = (
    "source",
    "label_source",
    "corruption",
    "severity",
    "model_id",
    "prompt_template",
    "negative_prompt",
    "guidance_scale",
    "num_inference_steps",
    "scheduler",
    "jpeg_quality",
)
"""Columns whose different values are listed on the card."""

MAX_VALUES = 20
"""Different values of such a column that are kept; a column with more is no setting."""

_ROWS_TOGETHER = 200_000
_PARTS_AHEAD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """A class: 0-based label, wnid or the user's own name, names in words where WordNet has them, images with it."""

    class_index: int | None
    wnid: str | None
    name: str
    num_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Counts over all rows.

    Attributes:
        statuses: (split, status) -> rows.
        classes: Labels that rows have, kept or not, by index and name.
        num_unlabelled: Images without a label.
        formats: Image format -> images.
        shards: Path of a shard -> (split, images in it); empty where every image is a file.
        widths: Smallest and largest width (pixels); `None` where unknown.
        heights: Smallest and largest height (pixels).
        settings: Column -> its different values in sorted order, those of `SETTING_COLUMNS` that have any; `None`
            for a column with more than `MAX_VALUES`.
    """

    statuses: Mapping[tuple[str, str], int]
    classes: tuple[ClassCount, ...]
    num_unlabelled: int
    formats: Mapping[str, int]
    shards: Mapping[str, tuple[str, int]]
    widths: tuple[int, int] | None
    heights: tuple[int, int] | None
    settings: Mapping[str, tuple[Any, ...] | None]

    @property
    def is_labelled_once(self) -> bool:
        """Whether no two classes share an index or a name, so that either names the class."""
        indexes = [one.class_index for one in self.classes]
        names = [one.wnid for one in self.classes]
        return None not in indexes + names and len(set(indexes)) == len(indexes) and len(set(names)) == len(names)


class _Counts:
    """The counters, by the columns they count."""

    def __init__(self, shard_paths: frozenset[str]) -> None:
        self.statuses: Counter[tuple[Any, ...]] = Counter()
        self.classes: Counter[tuple[Any, ...]] = Counter()
        self.formats: Counter[tuple[Any, ...]] = Counter()
        self.shards: Counter[tuple[Any, ...]] = Counter()
        self.settings: dict[str, set[Any] | None] = {name: set() for name in SETTING_COLUMNS}
        self.bounds: dict[str, tuple[int, int]] = {}
        self._shard_paths = pa.array(sorted(shard_paths), pa.string())

    def add(self, table: pa.Table) -> None:
        _count(self.statuses, table, "split", "status")
        images = table.filter(pc.equal(table["status"], STATUS_OK))
        _count(self.classes, table, "class_index", "wnid", "status")
        _count(self.formats, images, "image_format")
        in_shards = images.filter(pc.is_in(images["shard"], self._shard_paths))
        _count(self.shards, in_shards, "shard", "split")
        for name in ("width", "height"):
            found = pc.min_max(images[name])
            low, high = found["min"].as_py(), found["max"].as_py()
            if low is not None:
                before = self.bounds.get(name, (low, high))
                self.bounds[name] = (min(before[0], low), max(before[1], high))
        for name, values in self.settings.items():
            if values is not None:
                values.update(value for value in pc.unique(table[name]).to_pylist() if value is not None)
                if len(values) > MAX_VALUES:
                    self.settings[name] = None


def _count(counter: Counter[tuple[Any, ...]], table: pa.Table, *columns: str) -> None:
    groups = table.group_by(list(columns)).aggregate([([], "count_all")])
    rows = zip(*(groups[name].to_pylist() for name in (*columns, "count_all")), strict=True)
    for *values, count in rows:
        counter[tuple(values)] += count


def count_rows(dataset: Dataset) -> DatasetFacts:
    """Counts the rows of a committed dataset.

    Raises:
        DatasetError: A part of the manifest is missing or damaged.
    """
    paths = frozenset(shard.path for shard in dataset.info.shards) if dataset.info else frozenset[str]()
    counts = _Counts(paths)
    for table in _tables(dataset):
        counts.add(table)
    images: Counter[tuple[Any, ...]] = Counter()
    for (index, wnid, status), count in counts.classes.items():
        images[index, wnid] += count if status == STATUS_OK else 0
    num_unlabelled = images.pop((None, None), 0)
    return DatasetFacts(
        statuses={(split, status): count for (split, status), count in sorted(counts.statuses.items())},
        classes=tuple(
            ClassCount(class_index=index, wnid=wnid, name=_name(index, wnid), num_images=count)
            for (index, wnid), count in sorted(images.items(), key=lambda entry: _order(*entry[0]))
        ),
        num_unlabelled=num_unlabelled,
        formats={name: count for (name,), count in sorted(counts.formats.items(), key=lambda entry: str(entry[0]))},
        shards={path: (split, count) for (path, split), count in sorted(counts.shards.items())},
        widths=counts.bounds.get("width"),
        heights=counts.bounds.get("height"),
        settings=_settings(counts.settings),
    )


def _settings(found: Mapping[str, set[Any] | None]) -> dict[str, tuple[Any, ...] | None]:
    """Sorted values of the columns that have any."""
    kept = {name: values for name, values in found.items() if values is None or values}
    return {name: None if values is None else tuple(sorted(values)) for name, values in kept.items()}


def _tables(dataset: Dataset) -> Iterator[pa.Table]:
    """The rows, parts joined to tables of some size: counting many small ones costs more."""
    columns = ["split", "status", "class_index", "wnid", "image_format", "shard", "width", "height", *SETTING_COLUMNS]
    pending: list[pa.Table] = []
    calls = (partial(dataset.read_part, path) for path in dataset.part_paths)
    for part in read_ahead(calls, 0 if dataset.storage.is_local else _PARTS_AHEAD):
        pending.append(part.table.select(columns))
        if sum(table.num_rows for table in pending) >= _ROWS_TOGETHER:
            yield pa.concat_tables(pending)
            pending = []
    if pending:
        yield pa.concat_tables(pending)


def _order(class_index: int | None, wnid: str | None) -> tuple[bool, int, str]:
    return class_index is None, class_index or 0, wnid or ""


def _name(class_index: int | None, wnid: str | None) -> str:
    if wnid is None:
        return str(class_index)
    synset = find_synset(wnid)
    return ", ".join(synset.lemmas) if synset is not None else wnid
