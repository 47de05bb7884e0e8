"""From a SQL view to a table of samples: which ones, with what labels and weights.

Owns what a view may return and how its rows find their samples. The SQL runs as it is given, over the same tables as
`shardtools sql`; its keys are then looked up by hash among all samples and compared letter by letter. The price:
the table of all samples is made first, and some 100 bytes a row of the view are in memory while it is looked up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Int64s, UInt64s, from_int64, from_texts, to_numpy
from shardtools.errors import QueryError
from shardtools.loader.randomness import hash_keys, mix
from shardtools.loader.table.datasets import read_all
from shardtools.loader.table.samples import SampleTable

if TYPE_CHECKING:
    from shardtools.sql import Session

_KNOWN_COLUMNS = ("key", "dataset", "class_index", "weight")


def read_view(
    urls: Sequence[str | os.PathLike[str]],
    sql: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    overlays: Sequence[str | os.PathLike[str]] = (),
) -> SampleTable:
    """The samples that a statement selects, in the order of tables, whatever the order of its rows.

    Args:
        urls: Datasets that the SQL sees as `samples`, and their overlays as `overlays.NAME`.
        sql: Returns `key`; `dataset` (an address as given in `urls`) where a key is in several datasets; `class_index`
            to give other labels; `weight` for weighted sampling or weighted losses. Other columns are ignored.
        parameters: Parameter name -> value.
        overlays: Folders or addresses of overlays that are not in their dataset.

    Raises:
        QueryError: The SQL cannot run, or returns no row, no `key`, a key twice or unknown, or values that fit not.
        OptionError: No dataset is given, or one twice.
        DatasetError: A dataset is not finished, or damaged; an overlay is of another version of its dataset.
    """
    # Takes a second where pandas is installed, which loaders without a view need not wait for.
    from shardtools.sql import Session

    table = read_all(urls)
    with Session(urls, overlays=overlays) as session:
        view = _run(session, sql, parameters)
        numbers = _dataset_numbers(view, table.datasets)
        rows = _find_rows(table, view["key"], numbers, session)
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    repeated = np.flatnonzero(rows[1:] == rows[:-1])
    if repeated.size:
        key = table.key_strings(rows[repeated[:1]])[0]
        count = int((rows == rows[repeated[0]]).sum())
        raise QueryError(
            f"a view has each key once, found {key!r} {count} times: select distinct keys, or give a column `weight`"
        )
    labels, weights = _labels(view), _weights(view)
    return table.take(
        rows,
        class_index=None if labels is None else labels[order],
        weight=None if weights is None else weights[order],
    )


def _run(session: Session, sql: str, parameters: Mapping[str, Any] | None) -> pa.Table:
    result = session.stream(sql, parameters)
    names: list[str] = result.schema.names
    if "key" not in names:
        raise QueryError(f"a view returns a column `key`, found {', '.join(names)}: select key")
    wanted = [name for name in _KNOWN_COLUMNS if name in names]
    twice = next((name for name in wanted if names.count(name) > 1), None)
    if twice is not None:
        raise QueryError(f"a view returns `{twice}` once, found it twice: select one of them, or rename it")
    schema = pa.schema([result.schema.field(name) for name in wanted])
    view = pa.Table.from_batches([batch.select(wanted) for batch in result], schema=schema)
    if view.num_rows == 0:
        raise QueryError("the view returned no row: expected at least one key, relax its conditions")
    for name in ("key", "dataset"):
        if name in wanted and not _is_text(view.schema.field(name).type):
            raise QueryError(f"`{name}` of a view is text, found {view.schema.field(name).type}: select {name}")
        if name in wanted and view[name].null_count:
            raise QueryError(f"`{name}` of a view has no nulls, found {view[name].null_count}: use an inner join")
    return view


def _is_text(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type))


def _dataset_numbers(view: pa.Table, datasets: tuple[str, ...]) -> Int64s | None:
    if "dataset" not in view.schema.names:
        return None
    numbers = pc.index_in(view["dataset"].cast(pa.string()), value_set=from_texts(datasets))
    if numbers.null_count:
        unknown = view["dataset"].filter(pc.is_null(numbers))[0].as_py()
        raise QueryError(
            f"`dataset` of a view is one of {', '.join(datasets)}, found {unknown!r}: give it as it is here"
        )
    return to_numpy(numbers).astype(np.int64)


def _find_rows(table: SampleTable, keys: pa.ChunkedArray, numbers: Int64s | None, session: Session) -> Int64s:
    """Row of the table for each key, [M]."""
    asked = hash_keys(keys.combine_chunks())
    held = np.asarray(table.key_hash)
    if numbers is not None:
        asked, held = _with_dataset(asked, numbers), _with_dataset(held, table.dataset)
    by_hash = np.argsort(held)
    ordered = held[by_hash]
    # Asking in order is several times faster: neighbouring questions end in the same pages.
    question = np.argsort(asked)
    first = np.searchsorted(ordered, asked[question])
    count = np.searchsorted(ordered, asked[question], side="right") - first
    for wrong in question[count != 1][:1].tolist():
        place = table.datasets[int(numbers[wrong])] if numbers is not None else None
        raise _not_one(keys[wrong].as_py(), place, table, session)
    rows = np.empty(len(asked), np.int64)
    rows[question] = by_hash[first]
    # An equal hash is no proof: an unknown key may share that of a known one. In the order of rows, again for the
    # pages.
    by_row = np.argsort(rows)
    same = pc.equal(table.keys.take(from_int64(rows[by_row])), keys.take(from_int64(by_row)).combine_chunks())
    if not pc.all(same).as_py():
        wrong = int(by_row[int(pc.index(same, False).as_py())])
        raise _not_one(keys[wrong].as_py(), None, table, session)
    return rows


def _with_dataset(hashes: UInt64s, numbers: npt.NDArray[Any]) -> UInt64s:
    return mix(hashes ^ mix(numbers.astype(np.uint64) + np.uint64(1)))


def _not_one(key: str, dataset: str | None, table: SampleTable, session: Session) -> QueryError:
    """The error for a key that is not in exactly one place."""
    found = session.stream("select dataset, status, reason from samples where key = $key", {"key": key})
    rows = [row for batch in found for row in batch.to_pylist() if dataset in (None, row["dataset"])]
    if not rows:
        place = dataset or ", ".join(table.datasets)
        return QueryError(f"the view returned the key {key!r}, which is not in {place}: select keys of these datasets")
    with_image = [row for row in rows if row["status"] == "ok"]
    if not with_image:
        return QueryError(
            f"the view returned the key {key!r}, which has no image (status {rows[0]['status']}): add "
            "where status = 'ok'"
        )
    places = " and ".join(sorted(row["dataset"] for row in with_image))
    return QueryError(f"the view returned the key {key!r}, which is in {places}: select the column dataset too")


def _is_number(arrow_type: pa.DataType) -> bool:
    """Whether SQL means a number: Arrow would also take a date, by its days since 1970."""
    kinds = pa.types
    return bool(kinds.is_integer(arrow_type) or kinds.is_floating(arrow_type) or kinds.is_decimal(arrow_type))


def _labels(view: pa.Table) -> npt.NDArray[np.int32] | None:
    if "class_index" not in view.schema.names:
        return None
    column = view["class_index"]
    if column.null_count:
        key = view["key"].filter(pc.is_null(column))[0].as_py()
        raise QueryError(
            f"`class_index` of a view has no nulls, found one at key {key!r}: use coalesce or leave it out"
        )
    try:
        if not _is_number(column.type):
            raise pa.ArrowInvalid("no number")
        labels = column.cast(pa.int32())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise QueryError(
            f"`class_index` of a view is a whole number, found {column.type}: cast it to integer"
        ) from None
    found: npt.NDArray[np.int32] = to_numpy(labels)
    if int(found.min()) < 0:
        raise QueryError(f"`class_index` of a view is at least 0, found {found.min()}: correct the view")
    return found


def _weights(view: pa.Table) -> npt.NDArray[np.float32] | None:
    if "weight" not in view.schema.names:
        return None
    try:
        if not _is_number(view["weight"].type) and not pa.types.is_boolean(view["weight"].type):
            raise pa.ArrowInvalid("no number")
        column = view["weight"].cast(pa.float64())
    except pa.ArrowInvalid:
        raise QueryError(f"`weight` of a view is a number, found {view['weight'].type}: cast it to double") from None
    if column.null_count:
        key = view["key"].filter(pc.is_null(column))[0].as_py()
        raise QueryError(f"`weight` of a view has no nulls, found one at key {key!r}: use coalesce or leave it out")
    weights: npt.NDArray[np.float32] = to_numpy(column).astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if wrong.size:
        key = view["key"][int(wrong[0])].as_py()
        raise QueryError(
            f"`weight` of a view is a finite number of at least 0, found {column[int(wrong[0])]} at {key!r}"
        )
    if not bool((weights > 0).any()):
        raise QueryError("`weight` of a view is above 0 for at least one key, found 0 for all: correct the view")
    return weights
