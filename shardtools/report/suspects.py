"""Samples whose label is probably wrong, out of the overlay `label_noise`.

Owns which rows are suspects: those with another label suggested, and those that are more likely wrong than right even
where nothing better is known; the most suspicious first. Every further number in the overlay is shown as a score of its
own; the price is that their names are all the page knows about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardtools.dataset import open_dataset
from shardtools.errors import QueryError
from shardtools.quoting import quoted_name
from shardtools.report.expectations import Expectations, find_expectations
from shardtools.report.reading import NUMBERS, Missing, OverlayTable, Tables, number
from shardtools.sql import Session
from shardtools.sql.output import check_output, save

OVERLAY = "label_noise"
_VOTE = "vote"
LIKELY = 0.5
"""Noise probability from which on a sample is a suspect without a suggestion."""

_NAMES = {
    "given": ("given", "given_label"),
    "suggested": ("suggested", "suggested_label"),
    "probability": ("probability", "suggested_probability"),
    "noise_probability": ("noise_probability",),
    "neighbors": ("neighbors",),
}
"""What it is -> the columns that hold it, the first that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """One sample.

    Attributes:
        key: Its key.
        given: Its label.
        suggested: Another label; `None` where the audit has none.
        probability: Of the suggested label, 0 to 1.
        noise_probability: How probable it is that the label is wrong, 0 to 1.
        scores: One a name in `Suspects.score_names`.
        neighbors: Keys of the nearest samples, the nearest first.
    """

    key: str
    given: int | None
    suggested: int | None
    probability: float | None
    noise_probability: float | None
    scores: tuple[float | None, ...]
    neighbors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """The suspects on the page, the number of all, the scores they have, and what the audit expects of them."""

    shown: tuple[Suspect, ...]
    num_all: int
    score_names: tuple[str, ...]
    expected: Expectations | Missing | None = None


def find_suspects(tables: Tables, *, limit: int, num_neighbors: int) -> Suspects | Missing:
    """The most suspicious samples."""
    overlay = _overlay(tables)
    if isinstance(overlay, Missing):
        return overlay
    known = {name for names in _NAMES.values() for name in names}
    scores = _filled(tables, overlay, [name for name in overlay.of_type(*NUMBERS, "bool") if name not in known])
    statement = _statement(overlay, scores)
    # Probabilities come in steps; the vote behind them tells apart what is on one.
    ties = f"score{scores.index(_VOTE)} desc nulls last, " if _VOTE in scores else ""
    rows = tables.rows(f"{statement} order by noise_probability desc nulls last, {ties}key limit {limit}")
    [total] = tables.rows(f"with suspects as ({statement}) select count(*) as num_all from suspects")
    return Suspects(
        shown=tuple(_suspect(row, scores, num_neighbors) for row in rows),
        num_all=total["num_all"],
        score_names=scores,
        expected=find_expectations(tables, OVERLAY),
    )


def _filled(tables: Tables, overlay: OverlayTable, names: list[str]) -> tuple[str, ...]:
    """The columns that have any value: an audit writes those of a training also where there was none."""
    if not names:
        return ()
    counts = ", ".join(f"count({quoted_name(name)}) as filled{place}" for place, name in enumerate(names))
    [row] = tables.rows(f"select {counts} from {overlay.sql}")
    return tuple(name for place, name in enumerate(names) if row[f"filled{place}"])


def export_suspects(url: str, address: str, *, overlays: tuple[str, ...] = ()) -> int:
    """Writes the table of all suspects, the most suspicious first; returns the number of rows.

    Args:
        url: The dataset.
        address: A path or s3:// address that ends in .csv, .parquet or .json.
        overlays: Folders or addresses of overlays that are not in the dataset.

    Raises:
        OptionError: The address ends otherwise.
        QueryError: There is no overlay `label_noise`, or it has no column `suggested`.
    """
    check_output(address)
    with Session([url], overlays=overlays) as session:
        tables = Tables(session, open_dataset(url), url, overlays)
        overlay = _overlay(tables)
        if isinstance(overlay, Missing):
            raise QueryError(f"{url} has no suspects to write: {overlay.reason}")
        taken = _expressions(overlay)
        # A fact that the audit wrote itself is its own, and a table has each column once; SQL ignores case.
        own = {name.lower() for name in overlay.columns}
        facts = "".join(f"s.{name}, " for name in ("split", "wnid", "source", "source_path") if name not in own)
        statement = (
            f"select {facts}n.* exclude (dataset) from {overlay.sql} as n "
            f"join samples as s using (dataset, key) where {_condition(taken)} "
            f"order by {taken['noise_probability']} desc nulls last, key"
        )
        return save(session.stream(statement), address)


def suspects_sql(tables: Tables) -> str | Missing:
    """A statement that gives the `key` of every suspect."""
    overlay = _overlay(tables)
    return overlay if isinstance(overlay, Missing) else _statement(overlay, ())


def _statement(overlay: OverlayTable, scores: tuple[str, ...]) -> str:
    taken = _expressions(overlay)
    columns = [f"{expression} as {name}" for name, expression in taken.items()]
    columns += [f"{number(f'n.{quoted_name(name)}')} as score{position}" for position, name in enumerate(scores)]
    return (
        f"select n.key, {', '.join(columns)} from {overlay.sql} as n join samples as s using (dataset, key) "
        f"where {_condition(taken)}"
    )


def _overlay(tables: Tables) -> OverlayTable | Missing:
    overlay = tables.overlay(OVERLAY)
    if isinstance(overlay, Missing) or _column(overlay, "suggested") is not None:
        return overlay
    return tables.overlay(OVERLAY, _NAMES["suggested"][0])


def _column(overlay: OverlayTable, what: str) -> str | None:
    return next((name for name in _NAMES[what] if name in overlay.columns), None)


def _expressions(overlay: OverlayTable) -> dict[str, str]:
    """What it is -> SQL, also where the overlay lacks it."""
    columns = {what: _column(overlay, what) for what in _NAMES}
    given = f"n.{columns['given']}" if columns["given"] else "s.class_index"
    # An audit that has nothing better writes the given label itself or null, another program may write -1: all three
    # are no suggestion.
    found = {"given": given, "suggested": f"nullif(nullif(n.{columns['suggested']}, -1), {given})"}
    for what in ("probability", "noise_probability"):
        found[what] = number(f"n.{columns[what]}") if columns[what] else "null::double"
    if columns["noise_probability"] is None:
        # An audit without a noise probability has one number to order by, and it is the best there is.
        found["noise_probability"] = found["probability"]
    # Only a real list: another program's `neighbors` may be a count.
    is_list = "list" in overlay.columns.get(columns["neighbors"] or "", "")
    return found | {"neighbors": "n.neighbors" if is_list else "[]"}


def _condition(taken: Mapping[str, str]) -> str:
    likely = f"{taken['noise_probability']} >= {LIKELY}"
    return f"{taken['given']} is not null and ({taken['suggested']} is not null or {likely})"


def _suspect(row: dict[str, Any], scores: tuple[str, ...], num_neighbors: int) -> Suspect:
    neighbors = [str(key) for key in row["neighbors"] or () if key is not None and key != row["key"]]
    return Suspect(
        key=row["key"],
        given=row["given"],
        suggested=row["suggested"],
        # Without a suggestion the probability is the given label's own.
        probability=None if row["suggested"] is None else row["probability"],
        noise_probability=row["noise_probability"],
        scores=tuple(row[f"score{position}"] for position in range(len(scores))),
        neighbors=tuple(neighbors[:num_neighbors]),
    )
