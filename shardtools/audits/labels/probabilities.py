"""Out-of-fold probabilities of a user's own model, out of a file, as columns of the classes that are audited.

Owns which column is which class: of D columns the first is class index 0, or, where D is the number of classes that
occur, they are those, rising; named columns are class names, or indexes. The price: columns of classes without a
sample are left out, and what they held is shared by the others.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Float32s, Int64s, to_numpy
from shardtools.audits.labels.rows import AuditRows
from shardtools.audits.labels.scores import check_probabilities
from shardtools.errors import DatasetError, OptionError
from shardtools.features import KeyedRows, RowsFile

_SHOWN = 5


def probabilities_of(table: RowsFile, places: Int64s, rows: AuditRows) -> Float32s:
    """Probabilities of the audited samples for the classes that occur among them, [M, C].

    Args:
        table: Of all samples and classes.
        places: Its rows that are the audited samples', [M].
        rows: What is audited.

    Raises:
        DatasetError: A class has no column, or rows are no probabilities.
    """
    columns = _columns(table, rows)
    try:
        whole = check_probabilities(table.values[places])[0]
    except OptionError as error:
        raise DatasetError(f"{table.url}: {error}") from None
    found = whole[:, columns]
    sums = found.sum(axis=1, dtype=np.float64)
    nowhere = np.flatnonzero(sums <= 0)
    if nowhere.size:
        key = rows.keys[int(rows.audited[nowhere[0]])].as_py()
        raise DatasetError(f"{table.url}: {key!r} has no probability for any of the {len(columns)} classes audited")
    return np.asarray(found / sums[:, None], np.float32)


def _columns(table: RowsFile, rows: AuditRows) -> Int64s:
    classes, number = rows.classes, table.values.shape[1]
    if table.columns is not None:
        places = {name: place for place, name in enumerate(table.columns)}
        names = [(str(rows.names[label]), str(label)) for label in classes.tolist()]
        lacking = [name for name, index in names if name not in places and index not in places]
        if lacking:
            shown = ", ".join(lacking[:_SHOWN]) + (", ..." if len(lacking) > _SHOWN else "")
            raise DatasetError(
                f"{table.url}: expected a column for each class by its name or index, found none for {len(lacking)} of "
                f"{len(names)}: {shown}"
            )
        return np.array([places[name] if name in places else places[index] for name, index in names], np.int64)
    occurring = np.array(sorted(rows.names), np.int64)
    if number > int(occurring[-1]):
        return classes
    for known in (occurring, classes):
        if number == len(known):
            return np.searchsorted(known, classes).astype(np.int64)
    raise DatasetError(
        f"{table.url}: expected {int(occurring[-1]) + 1} columns, one for each class index, or {len(occurring)}, one "
        f"for each class that occurs, found {number}"
    )


def copies_of(table: KeyedRows, places: Int64s) -> Int64s | None:
    """A number for each audited picture, the same for those of the same bytes, [M]; `None` without digests."""
    digests = table.samples("sha256")["sha256"].combine_chunks().take(pa.array(places))
    if digests.null_count:
        return None
    return to_numpy(pc.dictionary_encode(digests).indices).astype(np.int64)
