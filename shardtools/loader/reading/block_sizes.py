"""How large the blocks of shuffle="blocks" are where nobody says: so that two of them fit into a reader's memory.

Owns two budgets of bytes. They are constants and know nothing of the machine: the order must be the same everywhere.
The price: more `read_ahead_bytes` make no larger blocks; that takes an explicit `block_size`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from shardtools.loader.order.epoch import OrderOptions
from shardtools.loader.reading.ahead import MAX_SAMPLE_BYTES
from shardtools.loader.table.samples import SampleTable

BLOCK_BYTES = 96 * 1024 * 1024
"""Of a block. Half of what is read ahead by default holds one, also where it is a quarter larger than the average."""

PIECE_BYTES = 8 * 1024 * 1024
"""Of a piece: what one ranged read brings by default, so that a dozen places of the dataset meet in a block."""

_READ_THROUGH_BYTES = 512 * 1024
"""Gaps between samples count up to this length; longer ones are not read."""

_ROWS_PER_STEP = 1_000_000


def resolve_sizes(order: OrderOptions, table: SampleTable) -> OrderOptions:
    """The same order with `block_size` and `piece_size` as numbers, where "blocks" leaves them open.

    They follow from nothing but the table: as many samples as have `BLOCK_BYTES` and `PIECE_BYTES` on average. With
    several datasets the average of the one with the largest samples counts.

    Args:
        order: As a user gave it.
        table: All samples.
    """
    if order.shuffle != "blocks" or order.block_size is not None:
        return order
    num_bytes = bytes_per_sample(table)
    piece_size = max(1, int(PIECE_BYTES / num_bytes)) if order.piece_size is None else order.piece_size
    return replace(order, block_size=max(1, int(BLOCK_BYTES / num_bytes)), piece_size=piece_size)


def bytes_per_sample(table: SampleTable) -> float:
    """Average bytes from the begin of a sample to that of the next, in the dataset where that is most; at least 1."""
    largest = 1.0
    starts = table.dataset_starts.tolist()
    for start, stop in pairwise(starts):
        steps = range(start, stop, _ROWS_PER_STEP)
        total = sum(_span_bytes(table, begin, min(begin + _ROWS_PER_STEP, stop)) for begin in steps)
        # A view may leave nothing of a dataset.
        largest = max(largest, total / max(stop - start, 1))
    return largest


def _span_bytes(table: SampleTable, start: int, stop: int) -> int:
    """Bytes of some neighbouring samples and of the gaps between them."""
    lengths = np.clip(table.num_bytes[start:stop], 1, MAX_SAMPLE_BYTES)
    gaps = table.member_offset[start + 1 : stop] - table.member_offset[start : stop - 1] - lengths[:-1]
    is_same_shard = table.shard[start + 1 : stop] == table.shard[start : stop - 1]
    return int(lengths.sum()) + int(np.clip(gaps, 0, _READ_THROUGH_BYTES)[is_same_shard].sum())
