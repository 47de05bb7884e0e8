"""Samples in local files: mapped, never copied.

Owns the maps. A map holds no file descriptor, so thousands of files are open at a time whatever the system's limit; the
price is that the file's length is asked again by its name. A file that became shorter is found out before its bytes are
handed over; one that is cut in the moment of its reading ends the process with SIGBUS, as does a failing disk.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from shardtools.arrays import Int64s, UInt64s
from shardtools.errors import NotFoundError, StorageError
from shardtools.loader.reading.batch import Slots, address_of
from shardtools.loader.reading.integrity import digest_reason
from shardtools.loader.reading.ranges import distinct
from shardtools.loader.table.samples import SampleTable
from shardtools.storage import explained

_MAX_MAPS = 4096
"""Files that stay mapped, beside those of batches on their way; the system allows 65,530 maps a process."""

_JOIN_BYTES = 64 * 1024
"""Samples this close are announced to the system as one range."""


class MappedFile:
    """A whole file in the address space, for as long as it or a slice of its content is in use.

    Attributes:
        content: Its bytes.
        address: Where they begin.
        identity: Device and inode.
    """

    __slots__ = ("address", "content", "identity", "path")

    def __init__(self, path: Path) -> None:
        """Maps the file.

        Raises:
            NotFoundError: There is no such file.
            StorageError: It cannot be read or mapped.
        """
        self.path = path
        with explained(path, "read"):
            # Without O_NONBLOCK a pipe in the place of a shard would wait for a writer for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise StorageError(f"cannot read {path}: expected a file, found a folder or a device")
                self.content = _map(descriptor, status.st_size)
            finally:
                os.close(descriptor)
        self.address = address_of(self.content)
        self.identity = (status.st_dev, status.st_ino)

    def __len__(self) -> int:
        return len(self.content)

    def current_length(self) -> int:
        """Bytes that may still be touched: fewer than `len` if the file was cut since it was mapped."""
        try:
            status = os.stat(self.path)
        except OSError:
            return len(self)  # deleted: what is mapped stays
        same_file = (status.st_dev, status.st_ino) == self.identity
        return min(status.st_size, len(self)) if same_file else len(self)


class _Mapping:
    """Gives an address range back to the system with the last buffer that refers to it."""

    def __init__(self, address: int, num_bytes: int) -> None:
        self._address, self._num_bytes = address, num_bytes
        self._unmap = _system().munmap

    def __del__(self) -> None:
        self._unmap(self._address, self._num_bytes)


def _map(descriptor: int, num_bytes: int) -> memoryview:
    # `mmap.mmap` would keep a copy of the descriptor.
    if num_bytes == 0:
        return memoryview(b"")
    address = _system().mmap(None, num_bytes, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    # Arrow says that bytes have signs.
    return memoryview(pa.foreign_buffer(address, num_bytes, _Mapping(address, num_bytes))).cast("B")


@cache
def _system() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    size, pointer, number = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
    library.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_int64]
    library.mmap.restype = pointer
    library.munmap.argtypes = [pointer, size]
    library.madvise.argtypes = [pointer, size, number]
    return library


def announce(addresses: UInt64s, lengths: Int64s) -> None:
    """Tells the system which mapped ranges are needed soon, so that it reads them in the background."""
    order = np.argsort(addresses)
    starts = addresses[order].astype(np.int64)
    # The system takes only addresses where a page begins.
    starts -= starts % mmap.PAGESIZE
    ends = np.maximum.accumulate((addresses + lengths.astype(np.uint64))[order].astype(np.int64))
    firsts = np.flatnonzero(np.concatenate(([True], starts[1:] > ends[:-1] + _JOIN_BYTES)))
    lasts = np.append(firsts[1:], len(starts)) - 1
    advise = _system().madvise
    for start, end in zip(starts[firsts].tolist(), ends[lasts].tolist(), strict=True):
        advise(start, end - start, mmap.MADV_WILLNEED)


class LocalFiles:
    """The local shards of a table. Safe to use from several threads."""

    def __init__(self, table: SampleTable, path_of: Callable[[int], Path]) -> None:
        """Opens nothing yet.

        Args:
            table: All samples.
            path_of: From the number of a shard to its file.
        """
        self._table = table
        self._path_of = path_of
        self._maps: OrderedDict[int, MappedFile] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, rows: Int64s, *, verify: bool, ahead: bool) -> tuple[Slots, dict[int, MappedFile]]:
        """The bytes of some rows, and the files that they lie in.

        Args:
            rows: [N].
            verify: Whether to compare digests.
            ahead: Whether the bytes are needed later only: then the system is told to read them.
        """
        slots = Slots.empty(len(rows))
        shards = self._table.shard[rows]
        offsets, lengths = self._table.member_offset[rows], self._table.num_bytes[rows]
        files: dict[int, MappedFile] = {}
        bases, limits = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        # A file that is missing makes its samples bad, so they are replaced; one that cannot be read ends the epoch.
        for shard in distinct(shards.astype(np.int64)).tolist():
            inside = shards == shard
            try:
                found = files[shard] = self._mapped(shard)
            except NotFoundError as error:
                slots.reasons |= dict.fromkeys(np.flatnonzero(inside).tolist(), str(error))
                continue
            bases[inside], limits[inside] = found.address, len(found)
        self._check_bounds(slots, offsets, lengths, limits)
        good = np.ones(len(rows), np.bool_)
        good[list(slots.reasons)] = False
        slots.addresses[good] = (bases + offsets)[good].astype(np.uint64)
        slots.lengths[good] = lengths[good]
        if ahead and good.any():
            announce(slots.addresses[good], slots.lengths[good])
        # After announcing, so that the system reads while the slices are made.
        for position in np.flatnonzero(good).tolist():
            offset = int(offsets[position])
            slots.buffers[position] = files[int(shards[position])].content[offset : offset + int(lengths[position])]
        if verify:
            self._verify(slots, rows)
        return slots, files

    def recheck(self, rows: Int64s, slots: Slots, files: dict[int, MappedFile]) -> None:
        """Takes back the samples that lie in what was cut from their files since `take`."""
        for shard, file in files.items():
            length = file.current_length()
            if length == len(file):
                continue
            with self._lock:
                self._maps.pop(shard, None)
            ends = self._table.member_offset[rows] + self._table.num_bytes[rows]
            for position in np.flatnonzero((self._table.shard[rows] == shard) & (ends > length)).tolist():
                slots.buffers[position] = None
                slots.reasons.setdefault(position, f"the file was cut to {length} bytes while it was read")

    def _mapped(self, shard: int) -> MappedFile:
        # A file that is mapped for long may have been cut since, so its length is asked each time it is given out.
        with self._lock:
            if (found := self._maps.get(shard)) is not None and found.current_length() == len(found):
                self._maps.move_to_end(shard)
                return found
        # Without the lock, or one slow folder would hold up all threads; the price is that two may map the same file.
        found = MappedFile(self._path_of(shard))
        with self._lock:
            other = self._maps.get(shard)
            if other is not None and len(other) == len(found):
                return other  # another thread was faster
            self._maps[shard] = found
            # What is dropped here stays mapped as long as a batch has a slice of it.
            while len(self._maps) > _MAX_MAPS:
                self._maps.popitem(last=False)
        return found

    def _check_bounds(self, slots: Slots, offsets: Int64s, lengths: Int64s, limits: Int64s) -> None:
        # In this form no sum can overflow.
        outside = (offsets < 0) | (lengths < 1) | (lengths > limits) | (offsets > limits - lengths)
        for position in np.flatnonzero(outside).tolist():
            slots.reasons.setdefault(position, outside_reason(int(limits[position])))

    def _verify(self, slots: Slots, rows: Int64s) -> None:
        for position, content in enumerate(slots.buffers):
            if content is not None and (reason := digest_reason(content, self._table.sha256[rows[position]])):
                slots.buffers[position] = None
                slots.reasons[position] = reason


def outside_reason(num_bytes: int) -> str:
    """What is wrong with a sample that its shard does not hold."""
    return f"expected its bytes within the shard, found {num_bytes} bytes in all"
