"""Tables of the thesis as they stand there: which columns, in which order, with own networks on top.

Owns that shape, where `comparing` makes columns of whatever figures there are. A column takes the splits that mean the
same in it: a network with 100 classes is judged on the pictures of these, and stands in the column of the whole set. Of
V2 the thesis prints the mean over its three sets, which is taken of own rows where all three are there. The price: a
figure that no column asks for is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from shardtools.evaluation.results.comparing import Comparison, compare
from shardtools.evaluation.results.joining import OWN, Joined
from shardtools.evaluation.results.publications import COG_LEVELS, LONG_TAILED, SMALL_SETS
from shardtools.evaluation.results.references import reference_results
from shardtools.evaluation.results.result import Result

_TOP1, _TOP5, _LOG_ODDS = "top1_accuracy", "top5_accuracy", "log_odds"
_SHARED = "classes of imagenet-100"
_V2, _THREE = "imagenet-v2", "mean of three"
_PARTS_OF_V2 = {"matched-frequency", "threshold", "top-images"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutColumn:
    """A column.

    Attributes:
        title: As the thesis has it.
        dataset: Of the rows.
        metric: Of the rows.
        splits: Those of the rows, the first of them the column's own.
    """

    title: str
    dataset: str
    metric: str = _TOP1
    splits: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A table.

    Attributes:
        what: One line.
        reference: Name of the published figures.
        tables: What their sources end in: networks of the first stand in the table, with their figures of all.
        columns: In their order.
    """

    what: str
    reference: str
    tables: tuple[str, ...]
    columns: tuple[LayoutColumn, ...]


_TITLES = {
    "aircraft": "Aircraft",
    "cars196": "Cars196",
    "dtd": "DTD",
    "eurosat": "EuroSAT",
    "flowers": "Flowers",
    "pets": "Pets",
    "food101": "Food101",
    "sun397": "SUN397",
    "inat2018": "iNat18",
    "inat2019": "iNat19",
    "imagenet": "IN-1K",
    **{level: f"L{number}" for number, level in enumerate(COG_LEVELS, start=1)},
}


def _plain(*datasets: str) -> tuple[LayoutColumn, ...]:
    return tuple(LayoutColumn(title=_TITLES[name], dataset=name) for name in datasets)


def _imagenets(metric: str, suffix: str) -> tuple[LayoutColumn, ...]:
    """ImageNet, V2, Sketch, R and A by one metric; also on the pictures of fewer classes."""
    titles = {"imagenet": "Val", _V2: "v2", "imagenet-sketch": "Sketch", "imagenet-r": "R", "imagenet-a": "A"}
    return tuple(
        LayoutColumn(
            title=f"{title}{suffix}",
            dataset=name,
            metric=metric,
            splits=(_THREE, f"{_THREE}, {_SHARED}") if name == _V2 else ("", _SHARED),
        )
        for name, title in titles.items()
    )


LAYOUTS: dict[str, Layout] = {
    "4.2": Layout(
        what="ImageNet's classes: validation set, V2, Sketch, R, A",
        reference="trex",
        tables=("table 4.2", "table D.1"),
        columns=_imagenets(_TOP1, ""),
    ),
    "4.3": Layout(what="long-tailed sets", reference="trex", tables=("table 4.3",), columns=_plain(*LONG_TAILED)),
    "D.1": Layout(
        what="ImageNet, 13 transfer sets, their mean log odds",
        reference="trex",
        tables=("table D.1",),
        columns=(
            *_plain("imagenet", *COG_LEVELS, *SMALL_SETS),
            LayoutColumn(title="Mean LO", dataset="transfer-13", metric=_LOG_ODDS),
        ),
    ),
    "5.2": Layout(
        what="networks trained on real and generated pictures, on ImageNet's classes",
        reference="imagenet-sd",
        tables=("table 5.2",),
        columns=tuple(
            column
            for pair in zip(_imagenets(_TOP1, " top-1"), _imagenets(_TOP5, " top-5"), strict=True)
            for column in pair
        ),
    ),
    "5.3": Layout(
        what="the same, on ten transfer sets",
        reference="imagenet-sd",
        tables=("table 5.3",),
        columns=(*_plain(*SMALL_SETS, *LONG_TAILED), LayoutColumn(title="Avg.", dataset="transfer-10")),
    ),
    "5.4": Layout(
        what="the same, on ImageNet and ImageNet-CoG's levels",
        reference="imagenet-sd",
        tables=("table 5.4",),
        columns=_plain("imagenet", *COG_LEVELS),
    ),
}
"""Number of a table of the thesis (Sariyildiz 2023) -> how it is laid out. `options.LAYOUT_NAMES` are the keys."""


def layout_rows(name: str, own: Sequence[Result]) -> list[Joined]:
    """The rows of a table of the thesis: own ones that stand in a column of it, then the published ones.

    Args:
        name: A key of `LAYOUTS`.
        own: Rows of own results; none for the published ones alone.
    """
    layout = LAYOUTS[name]
    published = reference_results(layout.reference)
    there = {row.model for row in published if row.source.endswith(layout.tables[0])}
    rows = [Joined(group=OWN, result=row) for row in _placed(layout, _with_v2(own))]
    networks = _placed(layout, [row for row in published if row.model in there and row.source.endswith(layout.tables)])
    return [*rows, *(Joined(group=layout.reference, result=row) for row in networks)]


def lay_out(name: str, joined: Sequence[Joined], *, limit: int = 100) -> Comparison:
    """Rows as a table of the thesis: its columns in their order, under its titles.

    Args:
        name: A key of `LAYOUTS`.
        joined: As `layout_rows` gives them.
        limit: Most published networks.
    """
    found = compare(joined, limit=limit)
    keys = [(column.dataset, column.split, column.metric) for column in found.columns]
    wanted = [(one, (one.dataset, one.splits[0], one.metric)) for one in LAYOUTS[name].columns]
    places = [(keys.index(key), one.title) for one, key in wanted if key in keys]
    return replace(
        found,
        columns=tuple(replace(found.columns[place], heading=title) for place, title in places),
        lines=tuple(replace(line, cells=tuple(line.cells[place] for place, _ in places)) for line in found.lines),
    )


def layouts_of(own: Sequence[Result]) -> list[str]:
    """Tables in which own figures stand, other than in the column of ImageNet alone."""
    rows = _with_v2(own)
    return [name for name, layout in LAYOUTS.items() if any(row.dataset != "imagenet" for row in _placed(layout, rows))]


def _placed(layout: Layout, rows: Iterable[Result]) -> list[Result]:
    """Those that stand in a column, with its own split."""
    splits = {
        (column.dataset, split, column.metric): column.splits[0] for column in layout.columns for split in column.splits
    }
    return [replace(row, split=splits[key]) for row in rows if (key := (row.dataset, row.split, row.metric)) in splits]


def _with_v2(own: Sequence[Result]) -> list[Result]:
    """Own rows, and the mean of V2's three sets for those who have them all by one protocol and seed."""
    groups: dict[Result, dict[str, Result]] = {}
    for row in own:
        if row.dataset == _V2 and row.split in _PARTS_OF_V2:
            # Each of the three is an overlay of its own dataset.
            like = replace(row, split=_THREE, value=0.0, low=None, high=None, source=_V2)
            groups.setdefault(like, {})[row.split] = row
    means = [
        replace(like, value=fmean(row.value for row in parts.values()))
        for like, parts in groups.items()
        if set(parts) == _PARTS_OF_V2
    ]
    return [*own, *means]
