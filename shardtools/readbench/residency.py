"""How much of some samples is in memory already, so that a measurement can say whether it was cold.

Owns the question to the system (mincore). The price: Linux answers it truly only for files that the process could
write, so for others there is no answer.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.errors import StorageError
from shardtools.loader import SampleTable
from shardtools.loader.reading.local import MappedFile
from shardtools.storage import open_storage


def resident_share(table: SampleTable, rows: Int64s) -> float | None:
    """Share of the rows' pages that are in memory; `None` where nobody says."""
    storages = [open_storage(url) for url in table.datasets]
    num_pages = num_resident = 0
    for shard in np.unique(table.shard[rows]).tolist():
        dataset, name = table.shards[shard]
        path = storages[dataset].local_path(name)
        if path is None or not os.access(path, os.W_OK):
            return None
        mine = rows[table.shard[rows] == shard]
        pages = _pages(path)
        if pages is None:
            return None
        starts = table.member_offset[mine] // mmap.PAGESIZE
        ends = -(-(table.member_offset[mine] + table.num_bytes[mine]) // mmap.PAGESIZE)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            num_resident += int(pages[start:end].sum())
            num_pages += end - start
    return num_resident / num_pages if num_pages else None


def _pages(path: Path) -> npt.NDArray[np.uint8] | None:
    """1 for each page of a file that is in memory, else 0."""
    try:
        mapped = MappedFile(path)
    except StorageError:
        return None
    pages = np.zeros(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    if len(pages) and mincore(mapped.address, len(mapped), pages.ctypes.data) != 0:
        return None
    return np.bitwise_and(pages, np.uint8(1))
