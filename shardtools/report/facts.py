"""What the manifest says about the dataset as a whole, counted in SQL.

Owns the statements. The price of asking one thing at a time: a column of a large manifest is read more than once.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardtools.dataset import Dataset, DatasetInfo, read_plan_file
from shardtools.manifest import digest
from shardtools.report.charts import Bin
from shardtools.report.reading import Tables
from shardtools.sql import SETTING_COLUMNS, count_labels, count_statuses, count_values
from shardtools.taxonomy import find_synset

NUM_BINS = 24
_SPLITS = ("train", "val", "validation", "test")
_MANY_VALUES = 12
_LOG_RATIO = 8.0
"""A range whose ends are further apart than this gets bins of equal ratio."""

COUNTED_COLUMNS = ("image_format", "mode", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFacts:
    """A class: its label, its name in words (unlike any other's), its wnid, images by split."""

    class_index: int
    name: str
    wnid: str | None
    images: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a number is distributed: quantiles 0, 0.05, 0.5, 0.95 and 1, and a histogram."""

    quantiles: tuple[float, ...]
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Counts over the whole dataset.

    Attributes:
        url: Address as given.
        sha256: Digest of its `dataset.json`.
        info: Its commit.
        settings: What it was made with, from `plan.json`.
        classes: By label; with those that only an overlay names left out.
        num_unlabeled: Images without a label.
        statuses: (split, status) -> rows.
        reasons: (status, reason, rows), the most frequent first, of rows without an image.
        sizes: (width, height, images), the most frequent first.
        num_sizes: Number of different sizes.
        spreads: Name of a number -> its distribution: "num_bytes", "shorter_side", "aspect".
        counted: Column -> ((value, images), ...) for `COUNTED_COLUMNS`.
        values: Column -> ((value, rows), ...) for those of `SETTING_COLUMNS` that have any and are not counted.
    """

    url: str
    sha256: str
    info: DatasetInfo
    settings: Mapping[str, Any]
    classes: tuple[ClassFacts, ...]
    num_unlabeled: int
    statuses: Mapping[tuple[str, str], int]
    reasons: tuple[tuple[str, str, int], ...]
    sizes: tuple[tuple[int, int, int], ...]
    num_sizes: int
    spreads: Mapping[str, Spread]
    counted: Mapping[str, tuple[tuple[str, int], ...]]
    values: Mapping[str, tuple[tuple[str, int], ...]]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits: train and its like first, others by name."""
        order = {name: number for number, name in enumerate(_SPLITS)}
        return tuple(sorted(self.info.splits, key=lambda name: (order.get(name, len(order)), name)))

    def class_names(self) -> dict[int, str]:
        """Label -> name."""
        return {one.class_index: one.name for one in self.classes}


def count(tables: Tables, dataset: Dataset) -> DatasetFacts:
    """Counts a committed dataset.

    Raises:
        DatasetError: It is not finished, or its manifest is damaged.
    """
    plan = read_plan_file(dataset.storage)
    classes, num_unlabeled = _classes(tables)
    sizes = tables.rows(
        "select width, height, count(*) as images, count(*) over () as num_sizes from samples "
        "where status = 'ok' and width is not null group by width, height order by images desc, width, height limit 12"
    )
    return DatasetFacts(
        url=tables.url,
        sha256=digest(dataset.content),
        info=dataset.commit,
        settings=plan.settings if plan is not None else {},
        classes=classes,
        num_unlabeled=num_unlabeled,
        statuses=count_statuses(tables.session),
        reasons=tuple(
            (row["status"], row["reason"] or "", row["rows"])
            for row in tables.rows(
                "select status, reason, count(*) as rows from samples where status <> 'ok' group by all "
                "order by rows desc, status, reason limit 12"
            )
        ),
        sizes=tuple((row["width"], row["height"], row["images"]) for row in sizes),
        num_sizes=sizes[0]["num_sizes"] if sizes else 0,
        spreads={
            name: found
            for name, expression in _EXPRESSIONS.items()
            if (found := _spread(tables, expression)) is not None
        },
        counted={name: _values(tables, name, "status = 'ok'") for name in COUNTED_COLUMNS},
        values={
            name: listed
            for name in SETTING_COLUMNS
            if name not in COUNTED_COLUMNS and (listed := _values(tables, name, f"{name} is not null"))
        },
    )


_EXPRESSIONS = {
    "num_bytes": "num_bytes",
    "shorter_side": "least(width, height)",
    "aspect": "width / height",
}
"""Name of a number -> SQL."""


def _classes(tables: Tables) -> tuple[tuple[ClassFacts, ...], int]:
    images: dict[int, Counter[str]] = {}
    wnids: dict[int, str | None] = {}
    num_unlabeled = 0
    for index, wnid, split, num_images in count_labels(tables.session):
        if index is None:
            num_unlabeled += num_images
            continue
        images.setdefault(index, Counter())[split] += num_images
        wnids[index] = wnids.get(index) or wnid
    names = class_names(wnids)
    return (
        tuple(
            ClassFacts(class_index=index, name=names[index], wnid=wnids[index], images=images[index])
            for index in sorted(images)
        ),
        num_unlabeled,
    )


def class_names(wnids: Mapping[int, str | None]) -> dict[int, str]:
    """Label -> first lemma of its synset, or the user's own name; the wnid is added where two would be alike."""
    names = {}
    for index, wnid in wnids.items():
        synset = find_synset(wnid) if wnid is not None else None
        names[index] = synset.lemmas[0] if synset is not None else wnid or f"class {index}"
    often = Counter(names.values())
    return {index: name if often[name] == 1 else f"{name} ({wnids[index]}, {index})" for index, name in names.items()}


def _spread(tables: Tables, expression: str) -> Spread | None:
    [row] = tables.rows(
        f"select quantile_cont({expression}, [0, 0.05, 0.5, 0.95, 1]) as quantiles from samples where status = 'ok'"
    )
    if not row["quantiles"]:
        return None
    quantiles = tuple(float(value) for value in row["quantiles"])
    low, high = quantiles[0], quantiles[-1]
    if low == high:
        return Spread(quantiles=quantiles, bins=())
    # Lengths and sides spread over powers of ten: in even bins almost all images would stand in the first bar.
    in_ratios = low > 0 and high / low > _LOG_RATIO
    scaled = f"ln({expression})" if in_ratios else expression
    first, last = (math.log(low), math.log(high)) if in_ratios else (low, high)
    step = (last - first) / NUM_BINS
    # Clamped: the largest value lies on the last bin's upper edge, and rounding may put the smallest below the first.
    counts = {
        row["bin"]: row["images"]
        for row in tables.rows(
            f"select least(greatest(floor(({scaled} - $first) / $step)::int, 0), {NUM_BINS - 1}) as bin, "
            f"count(*) as images from samples where status = 'ok' and {expression} is not null group by bin",
            first=first,
            step=step,
        )
    }
    edges = [first + step * number for number in range(NUM_BINS + 1)]
    if in_ratios:
        edges = [math.exp(edge) for edge in edges]
    bins = (Bin(low=edges[n], high=edges[n + 1], count=counts.get(n, 0)) for n in range(NUM_BINS))
    return Spread(quantiles=quantiles, bins=tuple(bins))


def _values(tables: Tables, column: str, condition: str) -> tuple[tuple[str, int], ...]:
    found = count_values(tables.session, column, condition, limit=_MANY_VALUES)
    return tuple((value_text(value), count) for value, count in found)


def value_text(value: Any) -> str:
    """A value of a manifest, a plan or an overlay's settings as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
