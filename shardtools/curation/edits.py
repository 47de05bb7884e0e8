"""What a view asks for, checked: one edit a key, and how to find a key's edit.

Owns the meaning of a view's columns. Everything that can be told from the view alone is told here, before a manifest is
read; the price is that the whole view is in memory, some 100 bytes a row.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.errors import OptionError, ShardtoolsError
from shardtools.hashes import hash_texts
from shardtools.words import counted

DROP, RELABEL, REWEIGHT = ACTIONS = ("drop", "relabel", "reweight")
MAX_REASON_CHARACTERS = 500
_SHOWN = 3
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("action", pa.string()),
        ("class_index", pa.int32()),
        ("weight", pa.float64()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """A checked view.

    Attributes:
        table: One row a key: `key`, `action` (one of `ACTIONS`; null: it stays as it is), `class_index`, `weight`,
            `reason`.
        drops_others: Whether samples that are not in the table are dropped.
    """

    table: pa.Table
    drops_others: bool


def check_edits(table: pa.Table, *, keep: bool, drop: bool, where: str, error: type[ShardtoolsError]) -> Edits:
    """Checks the rows of a view.

    Without `keep` and `drop`: where the view has a column `action`, `class_index` or `weight`, its rows are edits and
    all other samples stay as they are; a view of keys alone names the samples to keep.

    Args:
        table: `key` and any of `action`, `class_index`, `weight`, `reason`.
        keep: Samples outside of the view are dropped, those in it relabelled and reweighted as it says.
        drop: Samples of the view are dropped; only `key` and `reason` count.
        where: The view, for messages.
        error: What to raise.

    Raises:
        ShardtoolsError: Of class `error`: no key, no row, a key twice, or a value out of its range.
        OptionError: `keep` or `drop` with a column `action`.
    """
    names = table.schema.names
    if "key" not in names:
        raise error(f"{where} returns no column key, found {', '.join(names) or 'none'}: select key")
    if (keep or drop) and "action" in names:
        option = "--keep" if keep else "--drop"
        raise OptionError(f"{option} says what happens to every row, {where} has a column action too: drop one of them")
    if table.num_rows == 0:
        raise error(f"{where} has no row: expected at least one key, relax its conditions")
    keys = _text(table, "key", where, error)
    if keys.null_count:
        raise error(
            f"{where} has {counted(keys.null_count, 'row')} without key: leave them out (where key is not null)"
        )
    _check_once(keys, where, error)
    count = table.num_rows
    reasons = _reasons(table, where, error) if "reason" in names else pa.nulls(count, pa.string())
    if drop:
        columns = [keys, pa.repeat(pa.scalar(DROP), count), pa.nulls(count, pa.int32()), pa.nulls(count, pa.float64())]
        return Edits(table=pa.table([*columns, reasons], schema=_SCHEMA), drops_others=False)
    labels = _labels(table, where, error) if "class_index" in names else pa.nulls(count, pa.int32())
    weights = _weights(table, where, error) if "weight" in names else pa.nulls(count, pa.float64())
    has_edits = any(name in names for name in ("action", "class_index", "weight"))
    actions = _actions(table, keys, labels, weights, where, error)
    checked = pa.table([keys, actions, labels, weights, reasons], schema=_SCHEMA)
    return Edits(table=checked, drops_others=keep or not has_edits)


def _actions(
    table: pa.Table, keys: pa.Array, labels: pa.Array, weights: pa.Array, where: str, error: type[ShardtoolsError]
) -> pa.Array:
    if "action" not in table.schema.names:
        inner = pc.if_else(pc.is_valid(weights), REWEIGHT, pa.scalar(None, pa.string()))
        return pc.if_else(pc.is_valid(labels), RELABEL, inner)
    actions = _text(table, "action", where, error)
    known = pc.is_in(actions, value_set=pa.array([*ACTIONS, None], pa.string()))
    for wrong, message in (
        (pc.invert(known), f"expected one of {', '.join(ACTIONS)}"),
        (_and(pc.equal(actions, RELABEL), pc.is_null(labels)), "expected a class_index to relabel with"),
        (_and(pc.equal(actions, REWEIGHT), pc.is_null(weights)), "expected a weight to reweight with"),
    ):
        first = pc.index(pc.fill_null(wrong, False), True).as_py()
        if first >= 0:
            key, found = keys[first].as_py(), actions[first].as_py()
            raise error(f"{where}, key {key!a}: {message}, found action {ascii(found)[:80]}: correct it")
    return actions


def _and(one: pa.Array, other: pa.Array) -> pa.Array:
    return pc.and_(pc.fill_null(one, False), other)


def _check_once(keys: pa.Array, where: str, error: type[ShardtoolsError]) -> None:
    counts = pc.value_counts(keys)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        shown = ", ".join(ascii(key) for key in twice.field("values")[:_SHOWN].to_pylist())
        more = ", ..." if len(twice) > _SHOWN else ""
        raise error(
            f"{where} has {counted(len(twice), 'key')} more than once ({shown}{more}): a key has one edit, keep "
            "one of each"
        )


def _text(table: pa.Table, name: str, where: str, error: type[ShardtoolsError]) -> pa.Array:
    column = _column(table, name)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind) or kind in (pa.string(), pa.large_string(), pa.string_view()):
        return column.cast(kind).cast(pa.string())
    raise error(f"{name} of {where} is text, found {column.type}: cast it to varchar")


def _reasons(table: pa.Table, where: str, error: type[ShardtoolsError]) -> pa.Array:
    reasons = _text(table, "reason", where, error)
    for reason in pc.unique(reasons).to_pylist():
        if reason is None:
            continue
        if len(reason) > MAX_REASON_CHARACTERS:
            raise error(
                f"a reason of {where} has {len(reason)} characters, expected at most {MAX_REASON_CHARACTERS}: shorten "
                "it"
            )
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in reason):
            raise error(f"a reason of {where} is one line without control characters, found {ascii(reason)[:80]}")
    return reasons


def _numbers(
    table: pa.Table, name: str, kind: pa.DataType, words: str, where: str, error: type[ShardtoolsError]
) -> pa.Array:
    column = _column(table, name)
    try:
        if pa.types.is_boolean(column.type):
            raise pa.ArrowInvalid("a truth value")
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise error(f"{name} of {where} is {words}, found {column.type}: cast it to {kind}") from None


def _labels(table: pa.Table, where: str, error: type[ShardtoolsError]) -> pa.Array:
    labels = _numbers(table, "class_index", pa.int32(), "a whole number", where, error)
    least = pc.min(labels).as_py()
    if least is not None and least < 0:
        raise error(f"class_index of {where} is at least 0, found {least}: correct it")
    return labels


def _weights(table: pa.Table, where: str, error: type[ShardtoolsError]) -> pa.Array:
    weights = _numbers(table, "weight", pa.float64(), "a number", where, error)
    good = pc.and_(pc.is_finite(weights), pc.greater_equal(weights, 0.0))
    first = pc.index(good, False).as_py()
    if first >= 0:
        key = table["key"][first].as_py()
        raise error(f"weight of {where} is a finite number of at least 0, found {weights[first]} at {key!a}")
    return weights


def _column(table: pa.Table, name: str) -> pa.Array:
    return pa.concat_arrays(table[name].chunks)


class KeyLookup:
    """Finds keys among those of the edits: by hash, then letter by letter; 16 bytes a key beside the keys."""

    def __init__(self, keys: pa.ChunkedArray) -> None:
        self._keys = pa.concat_arrays(keys.chunks)
        hashes = hash_texts(keys.to_pylist())
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        self.found = np.zeros(len(hashes), np.bool_)

    def find(self, keys: list[str]) -> npt.NDArray[np.int64]:
        """Row of the edits for each key, -1 where there is none, int64 [N]; remembers which were found."""
        asked = hash_texts(keys)
        rows = np.full(len(keys), -1, np.int64)
        first = np.searchsorted(self._hashes, asked, side="left")
        last = np.searchsorted(self._hashes, asked, side="right")
        for number in np.flatnonzero(last > first).tolist():
            for place in range(first[number], last[number]):
                row = int(self._order[place])
                if self._keys[row].as_py() == keys[number]:
                    rows[number] = row
        self.found[rows[rows >= 0]] = True
        return rows

    def missing(self) -> list[str]:
        """Keys that no call of `find` asked for."""
        found: list[str] = self._keys.filter(pa.array(~self.found)).to_pylist()
        return found
