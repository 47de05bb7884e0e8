"""Rows with keys beside the manifest of their dataset.

Owns what the manifest says of the rows of a table that is in another order: features, or probabilities out of a file.
The price: the columns asked for are in memory, for all images of the dataset.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Int64s, from_int64, to_numpy
from shardtools.errors import DatasetError
from shardtools.loader import NO_CLASS


class KeyedRows(ABC):
    """A table whose rows are images of a dataset.

    Attributes:
        dataset: Address of the dataset, as it was given.
    """

    dataset: str

    @property
    @abstractmethod
    def where(self) -> str:
        """Where the table lies, for messages."""

    @property
    @abstractmethod
    def keys(self) -> pa.Array:
        """Keys of the rows, as large Arrow strings."""

    def __len__(self) -> int:
        return len(self.keys)

    def samples(self, *columns: str) -> pa.Table:
        """Columns of the manifest, row by row beside the features.

        Raises:
            QueryError: The manifest has no such column.
            DatasetError: The manifest lacks a key, or is damaged.
        """
        from shardtools.sql import query

        names = list(dict.fromkeys(("key", *columns)))
        found = query(f"select {', '.join(names)} from samples where status = 'ok'", [self.dataset])
        # SQL answers in an order of its own; features stand in theirs, and the columns are brought beside them.
        places = pc.index_in(self.keys, value_set=found["key"].cast(pa.large_string()).combine_chunks())
        if places.null_count:
            row = int(pc.index(pc.is_null(places), True).as_py())
            raise DatasetError(f"{self.dataset} has no image {self.keys[row].as_py()!r} though {self.where} has")
        return found.take(places).select(names)

    @cached_property
    def labels(self) -> Int64s:
        """Class indexes of the manifest, int64 [N]; -1 where it has none."""
        column = self.samples("class_index")["class_index"]
        return to_numpy(column.fill_null(from_int64(np.array([NO_CLASS]))[0].cast(column.type))).astype(np.int64)

    @cached_property
    def class_names(self) -> dict[int, str]:
        """Class index -> WordNet id or class name, of the classes that occur, rising.

        Raises:
            DatasetError: An index stands for two names.
        """
        pairs = self.samples("class_index", "wnid").group_by(["class_index", "wnid"]).aggregate([])
        names: dict[int, str] = {}
        for row in sorted(pairs.to_pylist(), key=lambda row: str(row["class_index"])):
            index, name = row["class_index"], row["wnid"]
            if index is None:
                continue
            if names.setdefault(index, name) != name:
                raise DatasetError(
                    f"class {index} of {self.dataset} is {names[index]} and {name}: run shardtools verify"
                )
        return dict(sorted(names.items()))
