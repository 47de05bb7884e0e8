"""Tables of catalogues, as CSV: people write and read them, and every one is read by the same rules.

Owns the form: UTF-8, a header, as many cells in every row. Columns may be in any order, and others beside them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from shardtools.errors import AlreadyExistsError, SourceError, StorageError
from shardtools.storage import Storage, check_path


def table_bytes(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    """A table's file; equal rows give equal bytes."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return sink.getvalue().encode()


def read_rows(content: bytes, where: str, *, needed: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV with a header, each with its line.

    Args:
        content: UTF-8.
        where: The file, for messages.
        needed: Columns that must be there.

    Raises:
        SourceError: It is no such file.
    """
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = [name.strip().lower() for name in next(reader, [])]
        if missing := [name for name in needed if name not in header]:
            raise SourceError(f"{where} lacks the column {missing[0]}: expected {','.join(needed)}, found {header}")
        rows = []
        for cells in reader:
            if cells and len(cells) != len(header):
                raise SourceError(f"{where}, line {reader.line_num}: {len(cells)} cells, expected {len(header)}")
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))))
        return rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{where} is no CSV in UTF-8 ({error}): save it as one") from None


def checked_path(path: str, where: str) -> str:
    """A path below the folder.

    Raises:
        SourceError: It leads out of it, or is none.
    """
    try:
        return check_path(path)
    except StorageError as error:
        raise SourceError(f"{where}: {error}; give a path below the folder") from None


def begin_catalogue(storage: Storage, table: str, *, replace: bool) -> None:
    """Takes away the table of the catalogue that is there; it is written last, so a folder with one is finished.

    Raises:
        AlreadyExistsError: There is one, and it is not to be replaced.
    """
    if not storage.exists(table):
        storage.check_writable()
        return
    if not replace:
        raise AlreadyExistsError(
            f"there is a catalogue already, {storage.object_url(table)}: give --replace to make it anew, or another "
            "--out"
        )
    storage.delete(table)
