"""From what the user names to rows: SQL, a file of SQL, or a file of edits.

Owns how the three are told apart: by the ending of the name. The price: a statement that ends in ".csv" would be taken
for a file; none that returns keys does.
"""

from __future__ import annotations

import pyarrow as pa

from shardtools.curation.edits import Edits, check_edits
from shardtools.curation.edits_file import COLUMNS, EDITS_SUFFIXES, read_edits_file
from shardtools.curation.options import ApplyOptions
from shardtools.dataset import Dataset
from shardtools.errors import OptionError, QueryError, SourceError
from shardtools.manifest import digest
from shardtools.sql import Session
from shardtools.storage import open_storage

_SQL_SUFFIX = ".sql"


def read_edits(options: ApplyOptions, dataset: Dataset) -> tuple[Edits, str]:
    """The checked edits, and the view as a text for the record: its SQL, or the file's name.

    Raises:
        QueryError: The SQL cannot run, or returns what no view may.
        SourceError: The file of edits is none, or holds what it may not.
        OptionError: The view is neither.
    """
    view = options.view.strip()
    if view.lower().endswith(EDITS_SUFFIXES):
        if options.parameters or options.overlays:
            raise OptionError(f"--param and --overlay are for SQL, found the file {view}: drop them")
        table = read_edits_file(view, dataset_sha256=digest(dataset.content))
        checked = check_edits(table, keep=options.keep, drop=options.drop, where=view, error=SourceError)
        return checked, view.rpartition("/")[2]
    sql = _read_sql(view) if view.lower().endswith(_SQL_SUFFIX) else view
    if len(sql.split()) < 2:
        raise OptionError(
            f"a view is SQL, a {_SQL_SUFFIX} file or edits ({', '.join(EDITS_SUFFIXES)}), found {view!r}: give "
            '"select key from samples where ..."'
        )
    table = _run(sql, options)
    return check_edits(table, keep=options.keep, drop=options.drop, where="the view", error=QueryError), sql


def _read_sql(address: str) -> str:
    folder, slash, name = address.rpartition("/")
    try:
        return open_storage(folder or slash or ".").read(name).decode()
    except UnicodeDecodeError:
        raise QueryError(f"{address} is no text in UTF-8: write it again") from None


def _run(sql: str, options: ApplyOptions) -> pa.Table:
    with Session([options.dataset], overlays=options.overlays) as session:
        rows = session.stream(sql, options.parameters or None)
        wanted = [name for name in COLUMNS if name in rows.schema.names]
        twice = next((name for name in wanted if rows.schema.names.count(name) > 1), None)
        if twice is not None:
            raise QueryError(f"a view returns {twice} once, found it twice: select one of them, or rename it")
        if not wanted:
            raise QueryError(f"the view returns no column key, found {', '.join(rows.schema.names)}: select key")
        schema = pa.schema([rows.schema.field(name) for name in wanted])
        return pa.Table.from_batches((batch.select(wanted) for batch in rows), schema=schema)
