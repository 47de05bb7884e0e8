"""Writing an overlay: parts over time, checked one by one, seen from the commit on.

Owns the order of writes: parts first, `overlay.json` last, what it does not list is removed after it. A part's name
holds its number and its digest, so that a replacement never overwrites what a reader of the old overlay holds. The
price of checking before writing: the keys of the dataset are read once for each writer.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.dataset import open_dataset
from shardtools.errors import AccessError, AlreadyExistsError, DatasetError, NotFoundError, PlanMismatchError
from shardtools.manifest import digest
from shardtools.overlays.checking import KeyChecker
from shardtools.overlays.opening import Overlay
from shardtools.overlays.overlay_file import (
    KEY,
    OVERLAY_FILE,
    OverlayColumn,
    OverlayInfo,
    OverlayPart,
    check_name,
    check_schema,
    check_settings,
    check_unique,
    overlay_folder,
)
from shardtools.overlays.versions import check_fits
from shardtools.storage import open_storage

ROWS_PER_PART = 1_000_000
BYTES_PER_PART = 256 << 20
"""`write_overlay` begins another part after this much in memory."""


class OverlayWriter:
    """Writes one overlay; a context manager, for one thread.

    `add` writes a part, `commit` makes the parts so far the overlay and may be called again after more parts. Leaving
    the block drops the parts that were not committed.
    """

    def __init__(
        self,
        dataset_url: str | os.PathLike[str],
        name: str,
        *,
        made_by: str,
        settings: Mapping[str, Any],
        unique: Sequence[str] = (KEY,),
        replace: bool = False,
        resume_parts: int | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> None:
        """Checks the name and that the place can be written; writes nothing yet.

        Args:
            dataset_url: The finished dataset whose samples the rows are about.
            name: Its name in SQL: 1 to 64 lower-case letters, digits, _ and -, a letter first.
            made_by: The program that writes it.
            settings: Option name -> JSON value: what decides on the facts.
            unique: Columns that together come once; `key` is one of them.
            replace: Whether the commit takes the place of an overlay that is there.
            resume_parts: Go on after this many parts of the overlay that is there (a run that resumes after this many
                epochs), dropping those after them at the next commit; 0 where there may be none yet.
            out: A folder or address for the overlay itself, where the dataset cannot be written.

        Raises:
            OptionError: The name, `unique` or `settings` are not as they must be.
            AlreadyExistsError: The overlay is there, and neither `replace` nor `resume_parts` is given.
            PlanMismatchError: The overlay to go on with was made otherwise, or has fewer parts.
            DatasetError: The dataset is not finished, or the overlay to go on with is of another version of it.
            AccessError: The place cannot be written.
        """
        self._name, self._made_by = check_name(name), made_by
        self._settings, self._unique = check_settings(settings), check_unique(unique)
        self._dataset = open_dataset(dataset_url)
        self._storage = self._dataset.storage if out is None else open_storage(out)
        self._folder = overlay_folder(name) if out is None else ""
        self._schema: pa.Schema | None = None
        self._parts: list[OverlayPart] = []
        self._existing = self._read_commit()
        if self._existing is not None and not replace and resume_parts is None:
            raise AlreadyExistsError(
                f"{self._url} is there already: give replace (--replace) to write it anew, or choose another name"
            )
        try:
            self._storage.check_writable()
        except AccessError as error:
            raise AccessError(f"{error}; an overlay may also be written elsewhere: give out (--out FOLDER)") from None
        # Never deleted on leaving, also where a new part happens to have the same bytes and so the same name.
        self._committed = frozenset(part.path for part in self._existing_parts())
        self._checker = KeyChecker(self._dataset, self._unique)
        if resume_parts:
            self._resume(resume_parts)

    def __enter__(self) -> OverlayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._checker.close()
        for part in self._parts:
            if part.path not in self._committed:
                self._storage.delete(self._folder + part.path)

    @property
    def parts(self) -> tuple[OverlayPart, ...]:
        """The parts so far, those it resumed with first."""
        return tuple(self._parts)

    def add(self, table: pa.Table) -> None:
        """Checks a table and writes it as one part.

        Args:
            table: `key` as text and any other columns, those of the first table; it may have no rows.

        Raises:
            DatasetError: A column is missing or differs from the first table's, or a key is null, unknown or doubled.
            NoSpaceError: The disk is full.
        """
        number = len(self._parts)
        where = f"overlay {self._name}, part {number}"
        table = self._conform(_plain(table), where)
        self._checker.check(table, where=where)
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        content = sink.getvalue()
        sha256 = digest(content)
        path = f"part-{number:06d}-{sha256[:8]}.parquet"
        self._storage.write(self._folder + path, content)
        self._parts.append(OverlayPart(path=path, num_rows=table.num_rows, num_bytes=len(content), sha256=sha256))

    def commit(self) -> OverlayInfo:
        """Makes the parts so far the overlay, in one atomic write, and removes what it does not list.

        Raises:
            DatasetError: Nothing was added, or a part is gone.
            AlreadyExistsError: Another run wrote the same overlay meanwhile.
        """
        if self._schema is None:
            raise DatasetError(f"overlay {self._name} has no table: add one, which may have no rows")
        there = {stored.path for stored in self._storage.list(self._folder)}
        # A second writer of the same overlay removes, with its commit, what it does not list.
        gone = next((part.path for part in self._parts if self._folder + part.path not in there), None)
        if gone is not None:
            raise DatasetError(f"{self._url}/{gone} is gone: does another run write the same overlay? Write it again")
        info = OverlayInfo(
            name=self._name,
            made_by=self._made_by,
            settings=self._settings,
            dataset_sha256=digest(self._dataset.content),
            dataset_num_rows=self._dataset.commit.num_rows,
            unique=self._unique,
            columns=tuple(OverlayColumn(name=field.name, type=str(field.type)) for field in self._schema),
            parts=tuple(self._parts),
        )
        self._publish(info.to_json())
        self._committed = frozenset(part.path for part in self._parts)
        # After the commit: readers of the one before may fail from here on, but none sees half of the new one.
        kept = {self._folder + name for name in (OVERLAY_FILE, *self._committed)}
        for path in there - kept:
            # A folder given as `out` may hold files of other programs.
            if path.startswith(f"{self._folder}part-") and path.endswith(".parquet"):
                self._storage.delete(path)
        return info

    def _publish(self, content: bytes) -> None:
        path = self._folder + OVERLAY_FILE
        if self._read_commit() != self._existing:
            raise AlreadyExistsError(f"{self._url} was written by another run meanwhile: choose another name")
        self._storage.write(path, content, if_absent=self._existing is None)
        self._existing = content

    @property
    def _url(self) -> str:
        return self._storage.object_url(self._folder).rstrip("/")

    def _read_commit(self) -> bytes | None:
        try:
            return self._storage.read(self._folder + OVERLAY_FILE)
        except NotFoundError:
            return None

    def _existing_parts(self) -> tuple[OverlayPart, ...]:
        """Parts of the overlay that is there; a damaged one has none worth keeping."""
        if self._existing is None:
            return ()
        try:
            return OverlayInfo.from_json(self._existing, where=self._url).parts
        except DatasetError:
            return ()

    def _resume(self, num_parts: int) -> None:
        """Takes over parts of the overlay that is there, with their keys."""
        if self._existing is None:
            raise PlanMismatchError(f"{self._url} has no parts to go on after, expected {num_parts}: begin with 0")
        info = OverlayInfo.from_json(self._existing, where=f"{self._url}/{OVERLAY_FILE}")
        check_fits(info, self._dataset, where=self._url)
        for what, stored, wanted in (
            ("name", info.name, self._name),
            ("made_by", info.made_by, self._made_by),
            ("settings", info.settings, self._settings),
            ("unique", info.unique, self._unique),
        ):
            if stored != wanted:
                raise PlanMismatchError(
                    f"{self._url} was made otherwise: {what} is {stored!r} there, {wanted!r} here: choose another name"
                )
        if num_parts > len(info.parts):
            raise PlanMismatchError(f"{self._url} has {len(info.parts)} parts to go on after, expected {num_parts}")
        for part in info.parts[:num_parts]:
            overlay = Overlay(
                storage=self._storage, folder=self._folder, info=replace(info, parts=(part,)), content=b""
            )
            self._schema = overlay.schema()
            # So that a key of an earlier part is refused in a later one, as if all had been written by one run.
            self._checker.remember(overlay.read(self._unique))
            self._parts.append(part)

    def _conform(self, table: pa.Table, where: str) -> pa.Table:
        if self._schema is None:
            check_schema(table.schema, self._unique, where=where)
            self._schema = table.schema
        if sorted(table.schema.names) != sorted(self._schema.names):
            raise DatasetError(
                f"{where} has the columns {', '.join(table.schema.names)}, expected those of the first part: "
                f"{', '.join(self._schema.names)}"
            )
        table = table.select(self._schema.names)
        for found, expected in zip(table.schema, self._schema, strict=True):
            if found.type != expected.type:
                raise DatasetError(
                    f"{where}: column {found.name} is {found.type}, expected {expected.type} as in the first part: "
                    "cast it"
                )
        return table.cast(self._schema)


def write_overlay(
    dataset_url: str | os.PathLike[str],
    name: str,
    tables: Iterable[pa.Table | pa.RecordBatch],
    *,
    made_by: str,
    settings: Mapping[str, Any],
    unique: Sequence[str] = (KEY,),
    replace: bool = False,
    out: str | os.PathLike[str] | None = None,
) -> OverlayInfo:
    """Writes a whole overlay out of tables or batches, of any size; arguments and errors as `OverlayWriter`."""
    with OverlayWriter(
        dataset_url, name, made_by=made_by, settings=settings, unique=unique, replace=replace, out=out
    ) as writer:
        for table in _regrouped(tables):
            writer.add(table)
        return writer.commit()


def _regrouped(tables: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of about a part's size."""
    pending: list[pa.Table] = []
    for given in tables:
        table = _plain(pa.Table.from_batches([given]) if isinstance(given, pa.RecordBatch) else given)
        # Tables with other columns stay apart, for the writer to name them.
        if pending and table.schema != pending[0].schema:
            yield pa.concat_tables(pending)
            pending = []
        row_bytes = max(table.nbytes // max(table.num_rows, 1), 1)
        step = max(min(ROWS_PER_PART, BYTES_PER_PART // row_bytes), 1)
        for start in range(0, max(table.num_rows, 1), step):
            piece = table.slice(start, step)
            if pending and (
                sum(one.num_rows for one in pending) + piece.num_rows > ROWS_PER_PART
                or sum(one.nbytes for one in pending) + piece.nbytes > BYTES_PER_PART
            ):
                yield pa.concat_tables(pending)
                pending = []
            pending.append(piece)
    if pending:
        yield pa.concat_tables(pending)


def _plain(table: pa.Table) -> pa.Table:
    """The table without notes of other programs, its key as plain text where it is text of another kind."""
    table = table.replace_schema_metadata(None)
    index = table.schema.get_field_index(KEY)
    if index < 0:
        return table
    kind = table.schema.field(index).type
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if inner in (pa.string(), pa.large_string(), pa.string_view()):
        return table.set_column(index, KEY, table[KEY].cast(inner).cast(pa.string()))
    return table
