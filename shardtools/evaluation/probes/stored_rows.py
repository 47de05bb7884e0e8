"""Rows of stored features as something like an array, for what reads them a batch at a time.

Owns the choice between memory and disk. The price of the disk: every epoch reads the features once more.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.features import FeatureStore

_SHARE_OF_MEMORY = 3


class StoredRows:
    """Some rows of stored features, in an order of their own, read from the disk whenever they are asked for.

    Attributes:
        shape: N and D.
        ndim: 2.
        dtype: As they are stored.
    """

    ndim = 2

    def __init__(self, store: FeatureStore, places: Int64s) -> None:
        self._store, self._places = store, places
        self.shape = (len(places), store.shape[1])
        self.dtype = store.dtype

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: slice | Int64s) -> npt.NDArray[np.floating[Any]]:
        return self._store.take(self._places[rows])


def fits_in_memory(rows: StoredRows) -> bool:
    """Whether rows may be copied into memory: they take a third of the machine's at the most."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return _SHARE_OF_MEMORY * len(rows) * rows.shape[1] * rows.dtype.itemsize <= installed
