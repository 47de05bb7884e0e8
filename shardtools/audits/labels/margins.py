"""Margins of a training, out of the overlay of its records.

Owns what may stand in such an overlay: `key`, `epoch`, `margin`, and `draw` where an epoch takes a sample more than
once (`shardtools.training.records`). Several draws of an epoch count as their mean. The price: 16 bytes a record are
in memory beside the table of margins, 1.8 GB for 90 epochs of 1.28 million samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Float64s, Int64s, to_numpy
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError
from shardtools.overlays import KeyChecker, Overlay

_DRAW = "draw"
_WHOLE = ("int", "uint")
_COLUMNS = {
    "key": ("string", "large_string"),
    "epoch": _WHOLE,
    "margin": ("float", "double", "halffloat"),
    _DRAW: _WHOLE,
}
"""Column -> beginnings of the names of Arrow's types that it may have."""
_ROWS_PER_LOOKUP = 1 << 21


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingMargins:
    """What a training noted.

    Attributes:
        margins: Logit of the label minus the largest other, NaN where a sample was not seen, [N, epochs].
        epochs: Numbers of the epochs, rising, [epochs].
    """

    margins: Float64s
    epochs: Int64s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Records:
    """Rows of samples [R], their epochs, draws and margins."""

    rows: Int64s
    epochs: Int64s
    draws: Int64s
    margins: Float64s


def read_margins(dataset_url: str | os.PathLike[str], overlay: Overlay, keys: pa.Array) -> TrainingMargins:
    """Reads the margins of some samples.

    Args:
        dataset_url: The dataset of the overlay.
        overlay: With the records.
        keys: Of the samples, large strings [N]; records of other samples of the dataset are passed over.

    Raises:
        DatasetError: The overlay is damaged, lacks columns, names unknown keys, has a record twice or none of these
            samples, or a margin is infinite.
    """
    columns = _check_columns(overlay)
    records = _read(overlay, columns, dataset_url, keys)
    if not len(records.rows):
        raise DatasetError(f"training overlay {overlay.url} has no record of any of the {len(keys)} samples audited")
    epochs, epoch_places = np.unique(records.epochs, return_inverse=True)
    _check_doubled(records, epoch_places, overlay, keys)
    # A cell is a sample in an epoch. One that was drawn several times in it counts once, by its mean.
    cells = records.rows * len(epochs) + epoch_places
    seen = ~np.isnan(records.margins)
    size = len(keys) * len(epochs)
    sums = np.bincount(cells[seen], records.margins[seen], size)
    counts = np.bincount(cells[seen], minlength=size)
    margins = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
    return TrainingMargins(margins=margins.reshape(len(keys), len(epochs)), epochs=epochs)


def _check_columns(overlay: Overlay) -> list[str]:
    """The columns to read."""
    types = {column.name: column.type for column in overlay.info.columns}
    lacking = [name for name in _COLUMNS if name not in types and name != _DRAW]
    if lacking:
        raise DatasetError(
            f"training overlay {overlay.url} lacks {', '.join(lacking)}, it has {', '.join(types)}: give the records "
            "that `shardtools train --record` writes"
        )
    for name, kinds in _COLUMNS.items():
        if name in types and not types[name].startswith(kinds):
            raise DatasetError(
                f"training overlay {overlay.url}: column {name} is {types[name]}, expected {kinds[0]}: give the "
                "records that `shardtools train --record` writes"
            )
    return [name for name in _COLUMNS if name in types]


def _read(overlay: Overlay, columns: list[str], dataset_url: str | os.PathLike[str], keys: pa.Array) -> _Records:
    where = f"training overlay {overlay.url}"
    parts: list[_Records] = []
    with KeyChecker(open_dataset(dataset_url), ("key",)) as checker:
        for table in _lots(overlay, columns):
            places = pc.index_in(table["key"].cast(pa.large_string()), value_set=keys)
            elsewhere = pc.is_null(places)
            if pc.any(elsewhere).as_py():
                # Of another split, say: known to the dataset, or refused.
                checker.check_known(table.filter(elsewhere), where=where)
                table, places = table.filter(pc.invert(elsewhere)), places.drop_null()
            parts.append(_records(table, places, where))
    names = _Records.__slots__
    empty = _Records(rows=_NONE, epochs=_NONE, draws=_NONE, margins=np.empty(0))
    return _Records(**{name: np.concatenate([getattr(part, name) for part in (empty, *parts)]) for name in names})


_NONE = np.empty(0, np.int64)


def _records(table: pa.Table, places: pa.ChunkedArray, where: str) -> _Records:
    has_draws = _DRAW in table.column_names
    for name in ("epoch", _DRAW)[: 1 + has_draws]:
        if table[name].null_count:
            raise DatasetError(f"{where} has {table[name].null_count} records without {name}: write it again")
    margins = to_numpy(table["margin"].cast(pa.float64()).fill_null(np.nan))
    infinite = np.flatnonzero(np.isinf(margins))
    if infinite.size:
        place = int(infinite[0])
        raise DatasetError(
            f"{where}: the margin of {table['key'][place].as_py()!r} is {margins[place]}, expected a finite number: "
            "did the training diverge?"
        )
    return _Records(
        rows=to_numpy(places.cast(pa.int64())),
        epochs=to_numpy(table["epoch"].cast(pa.int64())),
        draws=to_numpy(table[_DRAW].cast(pa.int64())) if has_draws else np.zeros(len(table), np.int64),
        margins=margins,
    )


def _lots(overlay: Overlay, columns: list[str]) -> Iterator[pa.Table]:
    """The rows in tables so large that looking up keys in each costs little."""
    batches: list[pa.RecordBatch] = []
    num_rows = 0
    for batch in overlay.batches(columns):
        batches.append(batch)
        num_rows += batch.num_rows
        if num_rows >= _ROWS_PER_LOOKUP:
            yield pa.Table.from_batches(batches)
            batches, num_rows = [], 0
    if batches:
        yield pa.Table.from_batches(batches)


def _check_doubled(records: _Records, epochs: Int64s, overlay: Overlay, keys: pa.Array) -> None:
    # Sorted, a record that comes twice stands beside itself.
    order = np.lexsort((records.draws, epochs, records.rows))
    same = np.ones(max(len(order) - 1, 0), bool)
    for column in (records.rows, records.epochs, records.draws):
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    doubled = np.flatnonzero(same)
    if doubled.size:
        first = order[doubled[0]]
        raise DatasetError(
            f"training overlay {overlay.url} has {doubled.size} records twice, first key "
            f"{keys[int(records.rows[first])].as_py()!r} in epoch {records.epochs[first]}: a sample comes once for "
            "each epoch and draw"
        )
