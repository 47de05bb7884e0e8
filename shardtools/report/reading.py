"""The dataset and its overlays as tables for the sections of a report.

Owns what becomes of an overlay that is not there, damaged, or of another version: its section says so in one line, and
the rest of the page is made. The price: a report never fails for an overlay, so its notes have to be read.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shardtools.dataset import Dataset
from shardtools.errors import DatasetError, QueryError
from shardtools.overlays import Overlay, OverlayInfo, find_overlay, open_overlay_at, overlay_names
from shardtools.sql import Session

COMMANDS = {
    "label_noise": "shardtools audit {url}",
    "duplicates": "shardtools duplicates {url}",
    "quality": "shardtools quality {url}",
    "nearest_class": "shardtools nearest {url}",
}
"""Overlay -> the command that writes it."""

NUMBERS = ("double", "float", "halffloat", "int", "uint", "decimal")
"""Beginnings of Arrow's names of types that hold numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayTable:
    """An overlay that can be asked.

    Attributes:
        sql: Its name in SQL.
        info: Its commit.
        columns: Column -> Arrow type, as text, without `key`.
    """

    sql: str
    info: OverlayInfo
    columns: Mapping[str, str]

    def of_type(self, *beginnings: str) -> list[str]:
        """Columns whose type begins with one of these."""
        return [name for name, kind in self.columns.items() if kind.startswith(beginnings)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Why a section is empty: `reason` in one line; `is_problem` where that is not just an overlay nobody made."""

    reason: str
    is_problem: bool = False


class Tables:
    """A session over one dataset, and its overlays by name."""

    def __init__(self, session: Session, dataset: Dataset, url: str, addresses: tuple[str, ...]) -> None:
        self.session = session
        self._dataset = dataset
        self.url = url
        self._elsewhere = {overlay.info.name: overlay for overlay in map(open_overlay_at, addresses)}
        self.names = sorted({*overlay_names(dataset.storage), *self._elsewhere})

    def table(self, sql: str, **parameters: Any) -> pa.Table:
        """The result of a statement."""
        return self.session.table(sql, parameters)

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a result as dictionaries."""
        return self.session.rows(sql, parameters)

    def overlay(self, name: str, *required: str) -> OverlayTable | Missing:
        """An overlay with at least these columns."""
        if name not in self.names:
            return Missing(reason=f"Nothing yet: `{self._command(name)}` writes the overlay {name}.")
        try:
            # Both: opening checks the commit, and the empty selection that the database can read the files it names.
            info = self._overlay(name).info
            schema = self.table(f'select * from overlays."{name}" limit 0').schema
        except (DatasetError, QueryError) as error:
            return Missing(reason=f"The overlay {name} cannot be read: {error}", is_problem=True)
        columns = {field.name: str(field.type) for field in schema if field.name not in ("dataset", "key")}
        lacking = [column for column in required if column not in columns]
        if lacking:
            return Missing(
                reason=f"The overlay {name} lacks {', '.join(lacking)} (it has {', '.join(columns) or 'only key'}): "
                f"`{self._command(name)}` writes one that fits.",
                is_problem=True,
            )
        return OverlayTable(sql=f'overlays."{name}"', info=info, columns=columns)

    def infos(self) -> list[OverlayInfo]:
        """The commits of all overlays that can be read, by name."""
        found = []
        for name in self.names:
            try:
                found.append(self._overlay(name).info)
            except DatasetError:
                # Its section, where it has one, says what is wrong with it.
                continue
        return found

    def opened(self, name: str) -> Overlay | None:
        """An overlay with its files; `None` where it is not there or cannot be read."""
        try:
            return self._overlay(name) if name in self.names else None
        except DatasetError:
            return None

    def _command(self, name: str) -> str:
        return COMMANDS[name].format(url=shlex.quote(self.url))

    def _overlay(self, name: str) -> Overlay:
        overlay = self._elsewhere.get(name) or find_overlay(self._dataset, name)
        if overlay is None:
            raise DatasetError(f"overlay {name} is gone: was it removed meanwhile? Make the report again")
        return overlay


def number(expression: str) -> str:
    """SQL for a number as double, null where it is NaN or infinite.

    Not by `isnan`: DuckDB 2.0 takes it for false wherever the statistics of a Parquet file, which leave NaN out, give a
    smallest and a largest value.
    """
    return f"case when isfinite({expression}::double) then {expression}::double end"
