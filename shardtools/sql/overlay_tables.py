"""Overlays as tables of a session: `overlays.NAME`.

Owns which overlays a statement names and opens them when it does, so that a dataset with a damaged or outdated overlay
can be asked about everything else. The price: names are found by a regular expression over the SQL, so an alias called
`overlays` looks like the schema; what is no overlay is then left to DuckDB.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from shardtools.dataset import Dataset
from shardtools.errors import DatasetError, OptionError, QueryError
from shardtools.overlays import Overlay, check_fits, find_overlay, fits, is_name, open_overlay_at, overlay_names
from shardtools.quoting import quoted_text
from shardtools.sql.connection import ReadOnlyConnection
from shardtools.storage import open_storage
from shardtools.storage.arrow import StorageHandler, local_source, scan_storage

_NOT_NAMES = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAMED = re.compile(r"\boverlays\"?\s*\.\s*(?:\"([^\"]+)\"|(\w+))", re.IGNORECASE)


class OverlayTables:
    """The overlays that a session's statements may name.

    Attributes:
        handlers: Know what failed while overlays were read from an object store.
    """

    def __init__(
        self,
        connection: ReadOnlyConnection,
        datasets: Mapping[str, Dataset],
        addresses: Sequence[str | os.PathLike[str]],
    ) -> None:
        """Opens nothing yet.

        Args:
            connection: Has the schema `overlays` by the first statement.
            datasets: Address as it was given -> dataset.
            addresses: Folders or addresses of overlays that are not in their dataset.
        """
        self.handlers: list[StorageHandler] = []
        self._connection = connection
        self._datasets = datasets
        self._addresses = [os.fspath(address) for address in addresses]
        self._elsewhere: dict[str, list[Overlay]] | None = None
        self._columns: dict[str, list[str]] = {}

    def open(self, sql: str) -> None:
        """Makes a view of each overlay that the statement names.

        Raises:
            DatasetError: An overlay is damaged or of another version of its dataset.
            QueryError: An overlay of one dataset is given twice.
        """
        for name in _named(sql):
            if name not in self._columns:
                self._create_view(name)

    def names(self) -> list[str]:
        """Names of all overlays that there are."""
        inside = {name for dataset in self._datasets.values() for name in overlay_names(dataset.storage)}
        return sorted(inside | set(self._find_elsewhere()))

    def columns(self, sql: str) -> list[str]:
        """Columns of the overlays that the statement names."""
        return [column for name in _named(sql) for column in self._columns.get(name, ())]

    def _find_elsewhere(self) -> dict[str, list[Overlay]]:
        if self._elsewhere is None:
            places = [open_storage(address).place for address in self._addresses]
            twice = next(
                (one for one, place in zip(self._addresses, places, strict=True) if places.count(place) > 1), None
            )
            if twice is not None:
                raise OptionError(f"overlay {twice} is given twice, its rows would count double: give it once")
            self._elsewhere = {}
            for overlay in map(open_overlay_at, self._addresses):
                self._elsewhere.setdefault(overlay.info.name, []).append(overlay)
        return self._elsewhere

    def _create_view(self, name: str) -> None:
        branches = []
        columns: dict[str, None] = {}
        for place, overlay in self._belonging(name).items():
            branches.append(self._branch(place, overlay))
            columns |= dict.fromkeys(column.name for column in overlay.info.columns)
        if branches:
            union = " union all by name ".join(branches)
            self._connection.execute(f'create view overlays."{name}" as {union}')
            self._columns[name] = list(columns)

    def _belonging(self, name: str) -> dict[str, Overlay]:
        """Address of each dataset -> its overlay of that name; those that have none are left out."""
        found: dict[str, Overlay] = {}
        for place, dataset in self._datasets.items():
            overlay = find_overlay(dataset, name) if dataset.info is not None else None
            if overlay is not None:
                check_fits(overlay.info, dataset, where=overlay.url)
                found[place] = overlay
        for overlay in self._find_elsewhere().get(name, []):
            owners = [place for place, dataset in self._datasets.items() if fits(overlay.info, dataset)]
            # With one dataset it is clear which one was meant, and `check_fits` knows what to do.
            if not owners and len(self._datasets) == 1:
                [dataset] = self._datasets.values()
                check_fits(overlay.info, dataset, where=overlay.url)
            if not owners:
                raise DatasetError(
                    f"overlay {name} at {overlay.url} was written for commit {overlay.info.dataset_sha256[:8]} of its "
                    f"dataset, which none of {', '.join(self._datasets)} is at: give that dataset too, or leave the "
                    "overlay out"
                )
            for place in owners:
                if place in found:
                    raise QueryError(
                        f"overlay {name} of {place} is given twice, {found[place].url} and {overlay.url}: leave one "
                        "of them out, its rows would count double"
                    )
                found[place] = overlay
        return found

    def _branch(self, place: str, overlay: Overlay) -> str:
        files = overlay.files()
        source = local_source(overlay.storage, files)
        if source is None:
            source = f"rows_of_overlay_{len(self.handlers)}"
            rows, handler = scan_storage(overlay.storage, files, _readable(overlay.schema()))
            self.handlers.append(handler)
            self._connection.register(source, rows)
        return f"select {quoted_text(place)} as dataset, * from {source}"


def _readable(schema: pa.Schema) -> pa.Schema:
    """The columns as DuckDB takes them from Arrow, which knows float16 in files alone: Arrow widens it."""
    kinds = {pa.float16(): pa.float32(), pa.list_(pa.float16()): pa.list_(pa.float32())}
    return pa.schema([field.with_type(kinds.get(_plain_list(field.type), field.type)) for field in schema])


def _plain_list(kind: pa.DataType) -> pa.DataType:
    """A list whatever the name of its elements, which files of Parquet and tables call differently."""
    return pa.list_(kind.value_type) if pa.types.is_list(kind) else kind


def _named(sql: str) -> list[str]:
    """What a statement names in the schema `overlays`, as DuckDB compares names."""
    found = _NAMED.findall(_NOT_NAMES.sub(" ", sql))
    names = ((quoted or plain).lower() for quoted, plain in found)
    return [name for name in dict.fromkeys(names) if is_name(name)]
