"""The classes of images that may have several: `class_indexes` of the manifest, a row a sample of a loader's table.

Owns the numbers of such a run's classes, which have no names in a manifest and are the same in all of its datasets, and
the table of who has which. The price of one byte a sample and class: a million images of a thousand classes take 1 GB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import filled, from_int64, to_numpy
from shardtools.errors import OptionError
from shardtools.loader import NO_CLASS, SampleTable


def count_classes(urls: Sequence[str]) -> int:
    """One more than the largest class number in `class_indexes` of any of the datasets.

    Raises:
        OptionError: No image of them has a class.
        DatasetError: A dataset is not finished, or damaged.
    """
    from shardtools.sql import query

    (found,) = query("select max(list_max(class_indexes)) as last from samples", list(urls)).to_pylist()
    if found["last"] is None:
        raise OptionError(
            f"{', '.join(urls)}: expected images that may have several classes (class_indexes), which head 'sigmoid' "
            "learns, found none: take another head, or write the dataset with lists of labels"
        )
    return int(found["last"]) + 1


def class_sets(table: SampleTable, num_classes: int, what: str) -> npt.NDArray[np.uint8]:
    """1 where a sample has a class, uint8 [N, C], in the order of a loader's table.

    Args:
        table: Of the loader.
        num_classes: C.
        what: Names the data in errors.

    Raises:
        OptionError: A sample has no set of classes but one class or none, or a class that the head does not have.
    """
    from shardtools.sql import query

    sets = np.zeros((len(table), num_classes), np.uint8)
    single = np.flatnonzero(np.asarray(table.class_index) != NO_CLASS)
    if single.size:
        raise _no_set(table, int(single[0]), len(single), "one class", what)
    for number, url in enumerate(table.datasets):
        own = np.flatnonzero(np.asarray(table.dataset) == number)
        sql = "select key, class_indexes from samples where status = 'ok' and class_indexes is not null"
        found = query(sql, [url])
        keys = table.keys.take(from_int64(own.astype(np.int64))).cast(pa.string())
        places = filled(pc.index_in(keys, value_set=found["key"].combine_chunks().cast(pa.string())), -1)
        if (places < 0).any():
            raise _no_set(table, int(own[places < 0][0]), int((places < 0).sum()), "no class_indexes", what)
        lists = found["class_indexes"].take(from_int64(places.astype(np.int64))).combine_chunks()
        classes, of_row = to_numpy(lists.flatten()), np.repeat(own, to_numpy(pc.list_value_length(lists)))
        beyond = np.flatnonzero((classes < 0) | (classes >= num_classes))
        if beyond.size:
            row = int(of_row[beyond[0]])
            raise OptionError(
                f"{what}: expected classes 0 to {num_classes - 1}, which the head has, found class "
                f"{classes[beyond[0]]} at {_key(table, row)!r}: leave such images out with --where"
            )
        sets[of_row, classes] = 1
    return sets


def _no_set(table: SampleTable, row: int, count: int, found: str, what: str) -> OptionError:
    return OptionError(
        f"{what}: head 'sigmoid' learns images that may have several classes (class_indexes), found {found} at "
        f"{_key(table, row)!r} ({count} rows of {len(table)}): leave them out with --where, or take another head"
    )


def _key(table: SampleTable, row: int) -> str:
    return table.key_strings(np.array([row], np.int64))[0]
