"""What reading hands over: the bytes of a batch where they lie, and what was wrong with them.

Owns the shapes between reading and decoding. Bytes are not copied: the price is that a batch keeps alive the ranges and
files that its images lie in, so it should be dropped when it is decoded.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s, UInt64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A sample that could not be delivered.

    Attributes:
        position: 0-based place in its batch.
        row: Its row in the table.
        key: Its key.
        shard: Address of its shard.
        offset: Byte offset of its payload in the shard.
        num_bytes: Length of its payload.
        reason: What was wrong.
        by_row: The row that took its place.
        by_key: The key of that row.
    """

    position: int
    row: int
    key: str
    shard: str
    offset: int
    num_bytes: int
    reason: str
    by_row: int
    by_key: str

    def __str__(self) -> str:
        return (
            f"sample {self.key!r} replaced by {self.by_key!r}: {self.reason} ({self.num_bytes} bytes at byte "
            f"{self.offset} of {self.shard}): run shardtools verify"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawBatch:
    """The encoded images of one step, in its order.

    Attributes:
        epoch: 0-based.
        rows: Rows of the table that are delivered, int64 [N]: labels and keys are theirs.
        asked: Rows that the step asked for, int64 [N]; differ from `rows` where a sample was replaced.
        attempts: Replacements tried so far, int64 [N].
        buffers: The encoded images; each keeps alive what it lies in.
        addresses: Where each buffer begins, uint64 [N]; valid while the batch lives.
        lengths: Bytes of each buffer, int64 [N].
        replacements: What was replaced, in the order it was found.
    """

    epoch: int
    rows: Int64s
    asked: Int64s
    attempts: Int64s
    buffers: list[memoryview]
    addresses: UInt64s
    lengths: Int64s
    replacements: tuple[Replacement, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def replaced(self) -> npt.NDArray[np.bool_]:
        """Whether each sample stands in for another, [N]."""
        return np.not_equal(self.rows, self.asked)


@dataclass(slots=True, kw_only=True, eq=False)
class Slots:
    """The places of a step while they are filled.

    Attributes:
        buffers: `None` where the sample is missing or bad.
        addresses: uint64 [N].
        lengths: int64 [N].
        reasons: Position -> what is wrong.
    """

    buffers: list[memoryview | None]
    addresses: UInt64s
    lengths: Int64s
    reasons: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, num_samples: int) -> Slots:
        """Nothing yet."""
        return cls(
            buffers=[None] * num_samples,
            addresses=np.zeros(num_samples, np.uint64),
            lengths=np.zeros(num_samples, np.int64),
        )

    def put(self, positions: Int64s, other: Slots) -> None:
        """Takes over what another step's places hold, for the given positions of this one."""
        # Addresses are of the buffers below: whoever takes one without the other has numbers of freed memory.
        self.addresses[positions] = other.addresses
        self.lengths[positions] = other.lengths
        for index, position in enumerate(positions.tolist()):
            self.buffers[position] = other.buffers[index]
            if index in other.reasons:
                self.reasons[position] = other.reasons[index]


@dataclass(slots=True, kw_only=True)
class ReadCounts:
    """What a reader did since it was made.

    Attributes:
        num_batches: Batches delivered.
        num_samples: Samples in them.
        num_bytes: Their payloads.
        num_replaced: Samples that others took the place of.
        num_requests: Ranges asked of object stores, without those that were tried again.
        num_request_bytes: Bytes of these ranges.
        num_cached_bytes: Bytes that the disk cache gave.
        num_split_blocks: Parts of blocks that were read before the block's rest, for want of memory.
        wait_seconds: Time for which the caller waited for bytes.
        peak_bytes: Most memory that ranges took at a time.
    """

    num_batches: int = 0
    num_samples: int = 0
    num_bytes: int = 0
    num_replaced: int = 0
    num_requests: int = 0
    num_request_bytes: int = 0
    num_cached_bytes: int = 0
    num_split_blocks: int = 0
    wait_seconds: float = 0.0
    peak_bytes: int = 0


class Counter:
    """Counts from several threads."""

    def __init__(self) -> None:
        self._counts = ReadCounts()
        self._lock = threading.Lock()

    def add(self, **amounts: float) -> ReadCounts:
        """Adds to the named counts; a copy of all of them after it."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self._counts, name, getattr(self._counts, name) + amount)
            return replace(self._counts)

    def see_peak(self, num_bytes: int) -> None:
        """Keeps the most memory so far."""
        with self._lock:
            self._counts.peak_bytes = max(self._counts.peak_bytes, num_bytes)

    def counts(self) -> ReadCounts:
        """The counts so far."""
        with self._lock:
            return replace(self._counts)


def address_of(content: memoryview) -> int:
    """Where a contiguous buffer begins."""
    return int(np.frombuffer(content, np.uint8).__array_interface__["data"][0]) if len(content) else 0
