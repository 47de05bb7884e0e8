"""The overlay of an audit: a row a sample, scores side by side.

Owns its columns. All of them are always there, so that questions over several datasets find them; what was not asked
for (a training, a second encoder) is null. The price is a byte or two a row for each such column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Int64s
from shardtools.audits.labels.rows import AuditRows
from shardtools.audits.labels.scores import SCORES, Audit

NOISE_COLUMNS = {
    "key": "of the sample",
    "given_label": "class index in the manifest; null without a label",
    "given_wnid": "its name",
    "suggested_label": "class index of the likeliest label, often the given one; null where nothing was judged",
    "suggested_wnid": "its name",
    "suggested_probability": "that the suggested label is right, 0 to 1",
    **{name: SCORES[name] for name in ("noise_probability", "vote")},
    **{name: meaning for name, meaning in SCORES.items() if name not in ("noise_probability", "vote")},
    "neighbors": "keys of the nearest other samples, the nearest first",
}
"""Column of the overlay -> what it holds; larger scores are more suspect."""


def noise_table(audit: Audit, rows: AuditRows) -> pa.Table:
    """One row a sample; see `NOISE_COLUMNS`.

    Args:
        audit: Of the judged samples, in the order of `rows.audited`.
        rows: All samples.
    """
    # Every sample has a row, judged or not: `take` with this puts null where there is no score.
    judged = np.full(len(rows.keys), -1)
    judged[rows.audited] = np.arange(len(rows.audited))
    spread = pa.array(judged, mask=judged < 0)
    suggested = rows.classes[_numbers(audit.table["suggested_label"])]
    own: dict[str, Any] = {
        "suggested_label": pa.array(suggested.astype(np.int32)),
        "suggested_wnid": _names(suggested, rows),
        "neighbors": _neighbors(audit.table["neighbors"], rows),
    }
    columns: dict[str, Any] = {
        "key": rows.keys.cast(pa.string()),
        "given_label": pa.array(rows.labels.astype(np.int32), mask=rows.labels < 0),
        "given_wnid": _names(rows.labels, rows),
    }
    for name in NOISE_COLUMNS:
        if name in columns:
            continue
        if name in own:
            columns[name] = own[name].take(spread)
        elif name in audit.table.column_names:
            columns[name] = _floats(audit.table[name]).take(spread)
        else:
            columns[name] = pa.nulls(len(rows.keys), pa.float32())
    return pa.table(columns)


def most_suspect(table: pa.Table, number: int) -> list[dict[str, Any]]:
    """The most suspect rows of an overlay's table, worst first."""
    names = ["key", "given_wnid", "suggested_wnid", "noise_probability"]
    judged = table.filter(pc.is_valid(table["vote"])).sort_by([("vote", "descending"), ("key", "ascending")])
    found: list[dict[str, Any]] = judged.select(names).slice(0, number).to_pylist()
    return found


def _numbers(column: pa.ChunkedArray) -> Int64s:
    return np.asarray(column.to_numpy(), np.int64)


def _floats(column: pa.ChunkedArray) -> pa.Array:
    values: npt.NDArray[Any] = column.to_numpy()
    return pa.array(values.astype(np.float32), pa.float32(), from_pandas=True)


def _names(labels: Int64s, rows: AuditRows) -> pa.Array:
    known = sorted(rows.names)
    places = np.searchsorted(np.array(known, np.int64), labels)
    texts = pa.array([None if rows.names[label] is None else str(rows.names[label]) for label in known], pa.string())
    return texts.take(pa.array(places, mask=labels < 0))


def _neighbors(column: pa.ChunkedArray, rows: AuditRows) -> pa.Array:
    """Lists of rows of the audit as lists of keys."""
    places = rows.audited[_numbers(pc.list_flatten(column))]
    ends = np.cumsum(np.concatenate(([0], _numbers(pc.list_value_length(column)))))
    keys = rows.keys.take(pa.array(places)).cast(pa.string())
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), keys)
