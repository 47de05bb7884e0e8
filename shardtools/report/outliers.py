"""Images of odd quality by kind, out of the overlay `quality`.

Owns what an outlier is. An overlay by `shardtools quality` is asked the named question `image_quality`, with its
thresholds. In one by another program a column of truth values is a kind by itself; else the ends of its measures are
shown, at the price that on a clean dataset the darkest image is shown too, and it may be fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shardtools.quoting import quoted_name
from shardtools.report.reading import NUMBERS, Missing, OverlayTable, Tables, number
from shardtools.sql import find_query

OVERLAY = "quality"

ENDS = (
    ("darkest", "brightness", "asc"),
    ("brightest", "brightness", "desc"),
    ("least contrast", "contrast", "asc"),
    ("most blurred", "sharpest", "asc"),
    ("most blurred", "blur", "asc"),
    ("least information", "entropy", "asc"),
)
"""Kind, the measure that orders its images, and which of them come first."""

FLAGS = {
    "dark": ("brightness", "asc"),
    "bright": ("brightness", "desc"),
    "blurred": ("sharpest", "asc"),
    "blank": ("contrast", "asc"),
    "low_information": ("entropy", "asc"),
}
"""Column of truth values -> the measure that orders its images, and which of them come first."""

QUESTION = "image_quality"
"""Of the named questions: it owns the thresholds."""

_ASKED = ("status", "reason", "brightness", "contrast", "sharpest", "entropy", "saturation", "color_spread")

PROBLEMS = {
    "undecodable": (None, 1),
    "unreadable": (None, 1),
    "blank": ("contrast", 1),
    "dark": ("brightness", 1),
    "bright": ("brightness", -1),
    "low contrast": ("contrast", 1),
    "blurred": ("sharpest", 1),
    "low information": ("entropy", 1),
    "odd shape": ("aspect", -1),
    "gray": ("saturation", 1),
    "odd mode": (None, 1),
}
"""Problem that the question names -> the measure that orders its images, 1 where the smallest come first."""

_ODD_ASPECT = 2.5
"""Longer side to shorter side from which a shape is odd: beyond what cameras and screens have."""

_MAX_MEASURES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """One image, and its value of the kind's measure."""

    key: str
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierKind:
    """Images that are bad in one way.

    Attributes:
        name: Of the column, or "lowest blur" and such.
        measure: Column that `Outlier.value` is of; `None` without one.
        num_all: How many there are; `None` where the page only shows the end of a measure.
        shown: Those on the page.
    """

    name: str
    measure: str | None
    num_all: int | None
    shown: tuple[Outlier, ...]


def find_outliers(tables: Tables, *, limit: int) -> tuple[OutlierKind, ...] | Missing:
    """Up to `limit` images of each kind; kinds without an image are left out."""
    overlay = tables.overlay(OVERLAY)
    if isinstance(overlay, Missing):
        return overlay
    flags, measures = overlay.of_type("bool"), overlay.of_type(*NUMBERS)
    if not flags and not measures:
        return Missing(reason=f"The overlay {OVERLAY} has no number and no truth value.", is_problem=True)
    # The strongest statement first: the question has thresholds. What follows guesses from the names of columns.
    judged = _by_question(tables, overlay, limit)
    if judged is not None:
        return judged
    kinds = [_flagged(tables, overlay, name, measures, limit) for name in flags]
    if "status" in overlay.columns:
        kinds.append(_unreadable(tables, overlay, limit))
    kinds.append(_odd_aspect(tables, limit))
    # Somebody's own truth values are an answer; the ends of measures would dilute it with images that are fine.
    if not flags:
        ends = [end for end in ENDS if end[1] in measures]
        both = [(f"{end} {name}", name, order) for name in measures for end, order in _BOTH][: 2 * _MAX_MEASURES]
        kinds += [_extreme(tables, overlay, *end, limit) for end in ends or both]
    return tuple(kind for kind in kinds if kind.shown)


def _by_question(tables: Tables, overlay: OverlayTable, limit: int) -> tuple[OutlierKind, ...] | None:
    """The answer of the named question, one kind a problem; `None` where the overlay has not its columns."""
    if not set(_ASKED) <= set(overlay.columns):
        return None
    question = find_query(QUESTION)
    rows = tables.rows(question.sql, **question.bind({}))
    of_problem: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for problem in row["problems"]:
            of_problem.setdefault(problem, []).append(row)
    return tuple(_kind(problem, of_problem[problem], limit) for problem in sorted(of_problem, key=_place))


def _place(problem: str) -> tuple[int, str]:
    places = list(PROBLEMS)
    return places.index(problem) if problem in places else len(places), problem


def _kind(problem: str, rows: list[dict[str, Any]], limit: int) -> OutlierKind:
    measure, sign = PROBLEMS.get(problem, (None, 1))
    found = [Outlier(key=row["key"], value=None if measure is None else row[measure]) for row in rows]
    # In Python, since each problem has its own measure and direction, and one row may be in several kinds.
    found.sort(key=lambda one: (one.value is None, sign * (one.value or 0.0), one.key))
    return OutlierKind(name=problem, measure=measure, num_all=len(rows), shown=tuple(found[:limit]))


_BOTH = (("lowest", "asc"), ("highest", "desc"))


def _unreadable(tables: Tables, overlay: OverlayTable, limit: int) -> OutlierKind:
    where = f"from {overlay.sql} as n where n.status <> 'ok'"
    [total] = tables.rows(f"select count(*) as images {where}")
    rows = tables.rows(f"select n.key as key {where} order by n.key limit {limit}")
    shown = tuple(Outlier(key=row["key"], value=None) for row in rows)
    return OutlierKind(name="cannot be read", measure=None, num_all=total["images"], shown=shown)


def _odd_aspect(tables: Tables, limit: int) -> OutlierKind:
    source = (
        "with shapes as (select key, greatest(width, height) / least(width, height) as value from samples "
        f"where status = 'ok' and least(width, height) > 0) {{}} from shapes where value >= {_ODD_ASPECT}"
    )
    [total] = tables.rows(source.format("select count(*) as images"))
    rows = tables.rows(f"{source.format('select key, value')} order by value desc, key limit {limit}")
    shown = tuple(Outlier(key=row["key"], value=row["value"]) for row in rows)
    return OutlierKind(name="odd shape", measure="longer_to_shorter", num_all=total["images"], shown=shown)


def _flagged(tables: Tables, overlay: OverlayTable, name: str, measures: list[str], limit: int) -> OutlierKind:
    stem = name.removeprefix("is_")
    measure, order = FLAGS.get(stem, (None, "asc"))
    if measure not in measures:
        measure = None
    value = number(f"n.{quoted_name(measure)}") if measure is not None else "null::double"
    where = f"from {overlay.sql} as n where n.{quoted_name(name)}"
    [total] = tables.rows(f"select count(*) as images {where}")
    rows = tables.rows(
        f"select n.key as key, {value} as value {where} order by value {order} nulls last, key limit {limit}"
    )
    return OutlierKind(
        name=stem.replace("_", " "),
        measure=measure,
        num_all=total["images"],
        shown=tuple(Outlier(key=row["key"], value=row["value"]) for row in rows),
    )


def _extreme(tables: Tables, overlay: OverlayTable, name: str, measure: str, order: str, limit: int) -> OutlierKind:
    value = number(f"n.{quoted_name(measure)}")
    rows = tables.rows(
        f"select n.key as key, {value} as value from {overlay.sql} as n where {value} is not null "
        f"order by value {order}, key limit {limit}"
    )
    shown = tuple(Outlier(key=row["key"], value=row["value"]) for row in rows)
    return OutlierKind(name=name.replace("_", " "), measure=measure, num_all=None, shown=shown)
