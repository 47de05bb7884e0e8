"""Which samples an audit judges: rows of features side by side, labels numbered without gaps.

Owns who is left out, and why: no label, a class with one sample, no features of one of the encoders. What is left out
keeps a row without scores. The price of several encoders: the keys of all are in memory at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Int64s, from_int64
from shardtools.errors import OptionError, QueryError
from shardtools.features import FeatureStore, KeyedRows, places_of

NO_LABEL = "no label"
SMALL_CLASS = "the only sample of its class"
NO_FEATURES = "no features of every encoder"
NO_PROBABILITIES = "no probabilities of every model"
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditRows:
    """Samples of a dataset, and those of them that are judged.

    Attributes:
        keys: Of all samples asked for, large strings [N], in the order of the first features.
        labels: Their class indexes, -1 for none, [N].
        names: Class index -> name.
        audited: Places in `keys` of the judged samples, rising, [M].
        places: For each table of features or probabilities, its rows that are these samples', [M].
        classes: Class indexes that occur among them, rising, [C].
        left_out: Reason -> samples that are not judged.
    """

    keys: pa.Array
    labels: Int64s
    names: dict[int, str]
    audited: Int64s
    places: tuple[Int64s, ...]
    classes: Int64s
    left_out: dict[str, int]

    @property
    def given(self) -> Int64s:
        """Labels of the judged samples as places in `classes`, [M]."""
        return np.searchsorted(self.classes, self.labels[self.audited]).astype(np.int64)


def choose_rows(tables: Sequence[KeyedRows], *, split: str | None, where: str | None, allow_small: bool) -> AuditRows:
    """Chooses the samples of an audit.

    Args:
        tables: Features of one dataset, one an encoder, then probabilities, one a model; one at least.
        split: Only the samples of this split.
        where: Only the samples for which this SQL condition holds.
        allow_small: Whether classes with one sample are left out instead of refused.

    Raises:
        OptionError: No sample is left, or a class has one sample and that is not allowed.
        QueryError: The condition cannot be run.
        DatasetError: Features or manifest are damaged.
    """
    first = tables[0]
    wanted = _wanted(first, split, where)
    keys = first.keys.take(from_int64(wanted))
    labels = first.labels[wanted]
    others = [places_of(keys, table) for table in tables[1:]]
    encoded = np.ones(len(keys), bool)
    judged = np.ones(len(keys), bool)
    for table, places in zip(tables[1:], others, strict=True):
        there = places >= 0
        if isinstance(table, FeatureStore):
            encoded &= there
        else:
            judged &= there
    whole = encoded & judged
    labeled = labels >= 0
    # A class is as large as what is left of it: a sample that one table lacks is no company for another.
    classes, counts = np.unique(labels[labeled & whole], return_counts=True)
    lonely = classes[counts < 2]
    if lonely.size and not allow_small:
        raise _small(first, lonely, len(classes))
    small = np.isin(labels, lonely) & whole
    audited = np.flatnonzero(labeled & whole & ~small)
    left_out = {
        NO_LABEL: int((~labeled).sum()),
        NO_FEATURES: int((labeled & ~encoded).sum()),
        NO_PROBABILITIES: int((labeled & encoded & ~judged).sum()),
        SMALL_CLASS: int(small.sum()),
    }
    if not audited.size:
        why = ", ".join(f"{count} with {reason}" for reason, count in left_out.items() if count)
        raise OptionError(f"an audit needs labelled samples, found none of {len(keys)} in {first.dataset} ({why})")
    return AuditRows(
        keys=keys,
        labels=labels,
        names=first.class_names,
        audited=audited,
        places=(wanted[audited], *(places[audited] for places in others)),
        classes=classes[counts > 1].astype(np.int64),
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def features_of(store: FeatureStore, places: Int64s) -> npt.NDArray[Any]:
    """Features of some rows in memory, in the order given, of the stored type [M, D].

    Raises:
        DatasetError: One of the store is not finite.
    """
    # The file is read once from front to back, whatever order is asked for; each block fills the places that are its.
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    found = np.empty((len(places), store.shape[1]), store.dtype)
    for start, block in store.blocks():
        first, last = np.searchsorted(ordered, (start, start + len(block)))
        if last > first:
            store.check_finite(block, start)
            found[order[first:last]] = block[ordered[first:last] - start]
    return found


def _wanted(store: KeyedRows, split: str | None, where: str | None) -> Int64s:
    """Rows of the features that are asked for."""
    wanted = np.ones(len(store), bool)
    if split is not None:
        splits = store.samples("split")["split"]
        wanted &= np.asarray(pc.equal(splits, split).to_pylist(), bool)
        if not wanted.any():
            there = ", ".join(sorted(set(splits.to_pylist())))
            raise OptionError(f"the rows of {store.where} have no sample of split {split!r}: they have {there}")
    if where is not None:
        wanted &= _holds(store, where)
        if not wanted.any():
            raise OptionError(f"no sample of {store.dataset} meets the condition {where!r}: check where (--where)")
    return np.flatnonzero(wanted).astype(np.int64)


def _holds(store: KeyedRows, where: str) -> npt.NDArray[np.bool_]:
    from shardtools.sql import query

    # On a line of its own, so that a comment at its end does not swallow the bracket.
    try:
        found = query(f"select key from samples where status = 'ok' and (\n{where}\n)", [store.dataset])
    except QueryError as error:
        raise QueryError(
            f"where (--where) is a condition on the columns of samples, found {where!r}: {error}"
        ) from None
    chosen = found["key"].cast(pa.large_string()).combine_chunks()
    return np.asarray(pc.is_in(store.keys, value_set=chosen).to_pylist(), bool)


def _small(store: KeyedRows, lonely: Int64s, num_classes: int) -> OptionError:
    names = [str(store.class_names.get(label, label)) for label in lonely.tolist()]
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return OptionError(
        f"a class of {store.dataset} has at least 2 samples to be audited, found 1 in {len(names)} of {num_classes} "
        f"classes ({shown}): allow_small (--allow-small) leaves them out"
    )
