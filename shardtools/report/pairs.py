"""Duplicate pairs, out of the overlays `duplicate_pairs` and `duplicates`.

Owns what a pair is: a row that names another key, or, where only groups are known, a member beside its group's first.
Pairs across splits come first; in those the right one, which the page proposes to drop, is the one to train on. The
other sample may lie in another dataset: it is then on the left, without a picture, and cannot be dropped from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shardtools.errors import ShardtoolsError
from shardtools.quoting import quoted_name, quoted_text
from shardtools.report.reading import NUMBERS, Missing, OverlayTable, Tables, number
from shardtools.storage import open_storage

OVERLAYS = ("duplicate_pairs", "duplicates")
"""Names, the one with every pair first."""

_OTHERS = {
    "other_key": "other_dataset",
    "representative_key": "representative_dataset",
    "representative": "representative_dataset",
}
"""Column of the other key -> column of its dataset, which may be missing."""

_KINDS = {"exact": "same bytes", "perceptual": "near copy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two samples.

    Attributes:
        key: The one to keep.
        copy_key: The other one.
        dataset: Where `key` is; `None` for the dataset itself.
        split: The split of `key` there, where `dataset` is given and it is known.
        distance: Between the two, as the overlay counts it.
        kind: How they are alike: "same bytes", or the overlay's own word.
        is_leak: Whether they lie in different splits.
    """

    key: str
    copy_key: str
    dataset: str | None
    split: str | None
    distance: float | None
    kind: str
    is_leak: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The pairs on the page, and the numbers of all and of those across splits."""

    shown: tuple[Pair, ...]
    num_all: int
    num_leaks: int


def find_pairs(tables: Tables, *, limit: int) -> Pairs | Missing:
    """Pairs across splits, then the nearest."""
    # Not both: `duplicates` has a row a member, and would show pairs with the first of each group once more.
    found = next((name for name in OVERLAYS if name in tables.names), OVERLAYS[-1])
    overlay = tables.overlay(found)
    if isinstance(overlay, Missing):
        return overlay
    source = _source(tables, overlay)
    if source is None:
        return Missing(
            reason=f"The overlay {found} names no other key: expected {', '.join(_OTHERS)} or group among its columns, "
            f"found {', '.join(overlay.columns) or 'only key'}.",
            is_problem=True,
        )
    statement = _STATEMENT.format(source=source)
    [total] = tables.rows(f"{statement} select count(*) as pairs, count(*) filter (is_leak) as leaks from sided")
    rows = tables.rows(
        f"{statement} select * from sided order by is_leak desc, distance nulls last, key, copy_key limit {limit}"
    )
    return Pairs(shown=tuple(map(_pair, rows)), num_all=total["pairs"], num_leaks=total["leaks"])


_STATEMENT = """
with pairs as (
    {source}
),
joined as (
    select
        p.*,
        a.split as own_split,
        coalesce(b.split, p.given_split) as other_split,
        a.sha256 = b.sha256 as is_same
    from pairs as p
    join samples as a on a.key = p.own_key
    left join samples as b on b.key = p.other_key and p.place is null
    where p.place is not null or (b.key is not null and p.own_key <> p.other_key)
),
turned as (
    select *, case
        when place is not null then false
        when own_split = 'train' and other_split <> 'train' then false
        when other_split = 'train' and own_split <> 'train' then true
        else copy_is_other
    end as is_turned
    from joined
),
sided as (
    select
        case when is_turned then own_key else other_key end as key,
        case when is_turned then other_key else own_key end as copy_key,
        place as dataset,
        case when place is not null then other_split end as split,
        distance,
        kind,
        coalesce(own_split <> other_split, false) as is_leak,
        coalesce(is_same, false) as is_same
    from turned
)"""


def _source(tables: Tables, overlay: OverlayTable) -> str | None:
    """SQL for a pair a row."""
    distance = number("n.distance") if "distance" in overlay.of_type(*NUMBERS) else "null::double"
    kind = "n.kind::varchar" if "kind" in overlay.columns else "null::varchar"
    split = "n.other_split::varchar" if "other_split" in overlay.columns else "null::varchar"
    texts = overlay.of_type("string", "large_string")
    other = next((name for name in _OTHERS if name in texts), None)
    if other is not None:
        place = _OTHERS[other]
        where = f"n.{quoted_name(place)}" if place in texts else "null"
        expression = f"case when {where} in ({_own_addresses(tables, overlay, place)}) then null else {where} end"
        columns = {
            "own_key": "n.key",
            "other_key": f"n.{quoted_name(other)}",
            "place": expression if place in texts else "null::varchar",
            "given_split": split,
            "copy_is_other": str(other == "other_key").lower(),
        }
    elif "group" in overlay.columns:
        first = 'min(n.key) over (partition by n."group")'
        columns = {
            "own_key": "n.key",
            "other_key": first,
            "place": "null::varchar",
            "given_split": "null::varchar",
            "copy_is_other": "false",
        }
    else:
        return None
    listed = ", ".join(f"{expression} as {name}" for name, expression in columns.items())
    return f"select {listed}, {distance} as distance, {kind} as kind from {overlay.sql} as n"


def _own_addresses(tables: Tables, overlay: OverlayTable, column: str) -> str:
    """The ways in which the overlay writes the address of its own dataset, as a list for SQL."""
    own = [quoted_text(tables.url)]
    # As it was called when the pairs were found; it may have been moved since. Older overlays of several do not say.
    settings = overlay.info.settings
    named = [settings.get("dataset")]
    listed = settings.get("datasets")
    if isinstance(listed, list) and len(listed) == 1:
        named += listed
    own += [quoted_text(name) for name in named if isinstance(name, str)]
    if column in overlay.columns:
        here = open_storage(tables.url).place
        for row in tables.rows(f"select distinct n.{quoted_name(column)} as address from {overlay.sql} as n"):
            try:
                # By place, which takes "DS", "./DS", "/abs/DS" and a link to it for the same.
                is_own = row["address"] is not None and open_storage(row["address"]).place == here
            except ShardtoolsError:
                # An address of a kind that is not known here is another dataset's.
                is_own = False
            if is_own:
                own.append(quoted_text(row["address"]))
    return ", ".join(own)


def _pair(row: dict[str, Any]) -> Pair:
    kind = row["kind"] or "near copy"
    return Pair(
        key=row["key"],
        copy_key=row["copy_key"],
        dataset=row["dataset"],
        split=row["split"],
        distance=row["distance"],
        kind="same bytes" if row["is_same"] else _KINDS.get(kind, kind),
        is_leak=row["is_leak"],
    )
