"""Which classes lie near which, out of the overlay `nearest_class`, and which labels are suspected as which.

Owns the counting of pairs of classes. The whole matrix is counted, which for 1,000 classes is at most a million
numbers; the page draws it only where it is small enough to read.
"""

from __future__ import annotations

from dataclasses import dataclass

from shardtools.report.reading import NUMBERS, Missing, OverlayTable, Tables, number

OVERLAY = "nearest_class"
ELSEWHERE = -1
"""Label of a class that only the reference has."""

NUM_PAIRS = 40
"""Pairs of classes that are listed."""

_NUM_WEAKEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPair:
    """Images of `given` that lie nearest to `nearest`: how many, and their share of the class, 0 to 1."""

    given: int
    nearest: int
    count: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFit:
    """How well the images of a class fit it: share nearest to it, 0 to 1, and means over its images."""

    class_index: int
    count: int
    share: float
    margin: float | None
    own_similarity: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMap:
    """Counts of nearest classes.

    Attributes:
        counts: (class, nearest class) -> images.
        pairs: The largest shares of wrong ones.
        weakest: Classes with the smallest share of images nearest to themselves.
        share: Of all images, those nearest to their own class, 0 to 1.
    """

    counts: dict[tuple[int, int], int]
    pairs: tuple[ClassPair, ...]
    weakest: tuple[ClassFit, ...]
    share: float


def nearest_sql(overlay: OverlayTable) -> tuple[str, str, str]:
    """SQL for the nearest label, for whether it is the sample's own, and for what to join.

    The nearest class may be one of another dataset, whose labels count otherwise: its name then decides, and a class
    that this dataset lacks is `ELSEWHERE`. The overlay is `n`, the manifest `s`.
    """
    if "nearest_wnid" not in overlay.columns:
        return "n.nearest", "(n.nearest = s.class_index)", ""
    known = "from samples where class_index is not null group by wnid"
    # Two labels may share a name. Then the number says which of them is meant, if it is one of theirs; else it is the
    # sample's own, if its class has that name; only then the least.
    exact = f"(select wnid, class_index as label {known}, class_index)"
    least = f"(select wnid, min(class_index) as label {known})"
    own = "case when s.wnid = n.nearest_wnid then s.class_index end"
    # Of a class without a name the number is all there is: it is taken for a label of this dataset.
    nearest = f"case when n.nearest_wnid is null then n.nearest else coalesce(e.label, {own}, c.label, {ELSEWHERE}) end"
    join = (
        f" left join {exact} as e on e.wnid = n.nearest_wnid and e.label = n.nearest"
        f" left join {least} as c on c.wnid = n.nearest_wnid"
    )
    return nearest, f"({nearest} = s.class_index)", join


def find_class_map(tables: Tables) -> ClassMap | Missing:
    """Counts the overlay against the labels in the manifest."""
    overlay = tables.overlay(OVERLAY, "nearest")
    if isinstance(overlay, Missing):
        return overlay
    numbers = overlay.of_type(*NUMBERS)
    means = {
        name: f"avg({number(f'n.{name}')})" if name in numbers else "null::double"
        for name in ("margin", "own_similarity")
    }
    nearest, own, join = nearest_sql(overlay)
    source = f"from {overlay.sql} as n join samples as s using (dataset, key){join} where s.class_index is not null"
    counts = {
        (row["given"], row["nearest"]): row["images"]
        for row in tables.rows(
            f"select s.class_index as given, {nearest} as nearest, count(*) as images {source} "
            f"and {nearest} is not null group by all"
        )
    }
    totals: dict[int, int] = {}
    for (given, _), count in counts.items():
        totals[given] = totals.get(given, 0) + count
    pairs = [
        ClassPair(given=given, nearest=nearest, count=count, share=count / totals[given])
        for (given, nearest), count in counts.items()
        if given != nearest
    ]
    pairs.sort(key=lambda pair: (-pair.share, -pair.count, pair.given, pair.nearest))
    # Counted by the database again: margins are per image, and `counts` has only sums left.
    fits = tables.rows(
        f"select s.class_index as class_index, count(*) as count, "
        f"avg({own}::int) as share, {means['margin']} as margin, "
        f"{means['own_similarity']} as own_similarity {source} group by s.class_index "
        f"order by share nulls last, class_index limit {_NUM_WEAKEST}"
    )
    num_all = sum(totals.values())
    num_right = sum(count for (given, nearest), count in counts.items() if given == nearest)
    return ClassMap(
        counts=counts,
        pairs=tuple(pairs[:NUM_PAIRS]),
        weakest=tuple(ClassFit(**row) for row in fits if row["share"] is not None),
        share=num_right / num_all if num_all else 0.0,
    )
