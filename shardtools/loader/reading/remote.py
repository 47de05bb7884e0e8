"""Samples in object stores: ranged reads, several at a time, through the disk cache where there is one.

Owns a range's way from the store to memory: bounds against the object's real length, one version of each object for as
long as it is remembered, digests checked where the range arrived. The price of a cache is that whole pieces of 1 MiB
are read, also for a single sample.
"""

from __future__ import annotations

import math
import re
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from shardtools.arrays import Int64s
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError, NotFoundError, StorageError
from shardtools.loader.reading.batch import Counter, address_of
from shardtools.loader.reading.disk_cache import DiskCache
from shardtools.loader.reading.integrity import digest_reason
from shardtools.loader.reading.local import outside_reason
from shardtools.loader.reading.options import CHUNK_BYTES, ReadOptions
from shardtools.loader.table.samples import SampleTable
from shardtools.shards import IMAGEFOLDER
from shardtools.storage.s3 import S3Storage, StoredRange

_OBJECTS_KEPT = 65_536
"""Objects whose length and version are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    """Bytes of a shard from `start` on."""

    start: int
    content: memoryview
    address: int

    @property
    def end(self) -> int:
        return self.start + len(self.content)


@dataclass(slots=True, kw_only=True, eq=False)
class FetchedRange:
    """What came of one range.

    Attributes:
        pieces: The bytes, rising.
        reasons: Row -> what is wrong with it.
        again: Row -> bytes that were read once more, past a damaged cache.
    """

    pieces: list[_Piece]
    reasons: dict[int, str] = field(default_factory=dict)
    again: dict[int, _Piece] = field(default_factory=dict)

    def sample(self, row: int, offset: int, num_bytes: int) -> tuple[memoryview, int]:
        """The bytes of a row, which has no reason, and their address; copied only where two pieces meet in them."""
        if row in self.again:
            return self.again[row].content, self.again[row].address
        touched = [piece for piece in self.pieces if piece.start < offset + num_bytes and offset < piece.end]
        parts = [piece.content[max(offset - piece.start, 0) : offset + num_bytes - piece.start] for piece in touched]
        if len(parts) == 1:
            return parts[0], touched[0].address + offset - touched[0].start
        joined = memoryview(b"".join(parts))
        return joined, address_of(joined)


class _PastEndError(Exception):
    """The object ends before the range does."""

    def __init__(self, object_bytes: int) -> None:
        super().__init__(object_bytes)
        self.object_bytes = object_bytes


class RemoteShards:
    """The shards of a table that are in object stores. Safe to use from several threads."""

    def __init__(
        self, table: SampleTable, stores: dict[int, S3Storage], options: ReadOptions, counter: Counter
    ) -> None:
        """Asks no store anything yet, unless there is a cache: then for each dataset's commit.

        Args:
            table: All samples.
            stores: Number of the dataset -> where it is, for those in object stores.
            options: How to read.
            counter: Counts requests.

        Raises:
            StorageError: The cache's folder cannot be used.
            DatasetError: A dataset was changed since the table was made.
        """
        self._table, self._stores, self._options, self._counter = table, stores, options, counter
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._known: OrderedDict[int, tuple[int, str | None]] = OrderedDict()
        self._cache: DiskCache | None = None
        self._commits = _Commits(table, {})
        self._claims: dict[tuple[int, int], threading.Event] = {}
        if stores and options.cache_folder is not None and options.cache_bytes is not None:
            self._cache = DiskCache(options.cache_folder, options.cache_bytes)
            self._commits = _Commits(table, stores)

    @property
    def chunk_bytes(self) -> int:
        """What ranges are multiples of."""
        return 1 if self._cache is None else CHUNK_BYTES

    def close(self) -> None:
        """Ends all waiting for stores that do not answer."""
        self._closed.set()

    def fetch(self, shard: int, start: int, end: int, rows: Int64s, freed: Callable[[int], None]) -> FetchedRange:
        """Reads a range and checks the rows in it.

        Args:
            shard: Number of the shard.
            start: First byte, a multiple of `chunk_bytes`.
            end: Byte after the last.
            rows: The rows in it, at least one.
            freed: Called with the number of bytes when the memory of some of the range is given back.

        Raises:
            StorageError: The store refuses, or did not answer for as long as it was asked.
        """
        reasons: dict[int, str] = {}
        # Once, nearly always. In an object that is shorter than the table says, the rows behind its end are bad and the
        # rest is asked for again. At least one row is behind it each time, so this ends.
        while True:
            last = self._table.member_offset[rows] + self._table.num_bytes[rows]
            try:
                pieces = self._pieces(shard, start, end, int(last.max()), freed)
                fetched = FetchedRange(pieces=pieces, reasons=reasons)
                break
            except NotFoundError as error:
                # The memory was counted when the range was asked for, and there is no buffer to give it back.
                freed(end - start)
                return FetchedRange(pieces=[], reasons=dict.fromkeys(rows.tolist(), str(error)))
            except _PastEndError as error:
                outside = last > error.object_bytes
                reasons |= dict.fromkeys(rows[outside].tolist(), outside_reason(error.object_bytes))
                rows, last = rows[~outside], last[~outside]
                # What will not be read is given back now, the rest with its buffers.
                old_end, end = end, int(last.max(initial=start))
                freed(old_end - end)
                if len(rows) == 0:
                    return FetchedRange(pieces=[], reasons=reasons)
        if self._options.verify == "sha256":
            for row in rows.tolist():
                self._verify(fetched, shard, row)
        return fetched

    def _verify(self, fetched: FetchedRange, shard: int, row: int) -> None:
        offset, num_bytes = int(self._table.member_offset[row]), int(self._table.num_bytes[row])
        digest = self._table.sha256[row]
        reason = digest_reason(fetched.sample(row, offset, num_bytes)[0], digest)
        if reason is None:
            return
        size, commit = self._commits.of(shard)
        # Else the bytes came from the store just now: asking again would help nobody.
        if self._cache is not None and size:
            # The store may know better than the cache.
            for number in range(offset // CHUNK_BYTES, -(-(offset + num_bytes) // CHUNK_BYTES)):
                self._cache.drop(commit, number, min(CHUNK_BYTES, size - number * CHUNK_BYTES))
            try:
                again = self._get(shard, offset, offset + num_bytes)
            # It got shorter, or does not answer: what was found first is the sample's reason.
            except (_PastEndError, StorageError):
                again = None
            if again is not None and digest_reason(again, digest) is None:
                fetched.again[row] = _Piece(start=offset, content=again, address=address_of(again))
                return
        fetched.reasons[row] = reason

    def _pieces(self, shard: int, start: int, end: int, needed_end: int, freed: Callable[[int], None]) -> list[_Piece]:
        """The bytes from `start` to `needed_end` at least."""
        if self._cache is not None:
            found = self._through_cache(self._cache, shard, start, end, needed_end)
            if found is not None:
                return found
            end = needed_end
        content = self._get(shard, start, end)
        owner = np.frombuffer(content, np.uint8)
        # The memory is given back with the last slice, which may be in a batch that the caller keeps.
        weakref.finalize(owner, freed, end - start).atexit = False
        return [_Piece(start=start, content=memoryview(owner), address=address_of(content))]  # type: ignore[arg-type]

    def _get(self, shard: int, start: int, end: int) -> memoryview:
        number, path = self._table.shards[shard]
        with self._lock:
            # The first answer tells the object's version and later requests insist on it, so that no epoch mixes two.
            # Before it, `end` stands for a length that is not known.
            size, e_tag = self._known.get(shard, (end, None))
        if end > size:
            raise _PastEndError(size)
        patience = math.inf if self._options.retry_seconds is None else self._options.retry_seconds
        found = self._stores[number].get_range(
            path, start, end - start, e_tag=e_tag, patience_seconds=patience, sleep=self._sleep
        )
        # Before the complaint: the next request behind the end then fails without asking the store.
        self._remember(shard, found)
        if found.object_bytes < end:
            raise _PastEndError(found.object_bytes)
        self._counter.add(num_requests=1, num_request_bytes=end - start)
        return found.content

    def _remember(self, shard: int, found: StoredRange) -> None:
        with self._lock:
            self._known[shard] = (found.object_bytes, found.e_tag)
            self._known.move_to_end(shard)
            while len(self._known) > _OBJECTS_KEPT:
                self._known.popitem(last=False)

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise StorageError("the reader was closed while it waited for an object store that did not answer")

    def _through_cache(
        self, cache: DiskCache, shard: int, start: int, end: int, needed_end: int
    ) -> list[_Piece] | None:
        """The pieces of a range; `None` where the shard is not the one of the commit."""
        size, digest = self._commits.of(shard)
        if size == 0:
            return None
        if needed_end > size:
            raise _PastEndError(size)
        end = min(end, size)
        found: dict[int, _Piece] = {}
        wanted = range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES))
        # Each piece is fetched by one thread, whoever else wants it. What others claimed may not come, because theirs
        # failed or the cache had no room; so after waiting this thread looks again, and claims what is still missing.
        while missing := [number for number in wanted if number not in found]:
            claimed, awaited = self._claim(shard, missing)
            try:
                for number in claimed:
                    content = cache.find(digest, number, min(CHUNK_BYTES, size - number * CHUNK_BYTES))
                    if content is not None:
                        found[number] = _piece(number * CHUNK_BYTES, content)
                        self._counter.add(num_cached_bytes=len(content))
                # Neighbours that the cache lacks are one request.
                for first, last in _runs([number for number in claimed if number not in found]):
                    content = self._get_of_size(shard, first * CHUNK_BYTES, min((last + 1) * CHUNK_BYTES, size), size)
                    if content is None:
                        # Not what the commit speaks of: nothing of it may be found under its digest.
                        self._commits.distrust(shard)
                        return None
                    for number in range(first, last + 1):
                        found[number] = self._keep(cache, digest, number, content, first)
            finally:
                self._release(shard, claimed)
            # Only after one's own pieces are there, so that two threads never wait for each other.
            for event in awaited:
                event.wait()
        return [found[number] for number in wanted]

    def _keep(self, cache: DiskCache, digest: str, number: int, content: memoryview, first: int) -> _Piece:
        start = (number - first) * CHUNK_BYTES
        chunk = content[start : start + CHUNK_BYTES]
        # What the cache maps takes no memory of the process, so what arrived can go.
        kept = cache.find(digest, number, len(chunk)) if cache.store(digest, number, chunk) else None
        return _piece(number * CHUNK_BYTES, chunk if kept is None else kept)

    def _claim(self, shard: int, numbers: list[int]) -> tuple[list[int], list[threading.Event]]:
        """Divides pieces into those that this thread gets and those that others are getting."""
        with self._lock:
            awaited = {number: self._claims[shard, number] for number in numbers if (shard, number) in self._claims}
            claimed = [number for number in numbers if number not in awaited]
            for number in claimed:
                self._claims[shard, number] = threading.Event()
        return claimed, list(awaited.values())

    def _release(self, shard: int, numbers: list[int]) -> None:
        with self._lock:
            for number in numbers:
                self._claims.pop((shard, number)).set()

    def _get_of_size(self, shard: int, start: int, end: int, object_bytes: int) -> memoryview | None:
        """A range of an object that must have this length; `None` if it has another."""
        try:
            content = self._get(shard, start, end)
        except _PastEndError:
            return None
        with self._lock:
            return content if self._known[shard][0] == object_bytes else None


def _piece(start: int, content: memoryview) -> _Piece:
    return _Piece(start=start, content=content, address=address_of(content))


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """First and last of each run of neighbours."""
    firsts = [number for number in numbers if number - 1 not in numbers]
    lasts = [number for number in numbers if number + 1 not in numbers]
    return list(zip(firsts, lasts, strict=True))


class _Commits:
    """Length and digest of each shard, as its dataset's commit says, under which the cache keeps its pieces.

    In a dataset of image files each file is a shard, of which only the table knows the digest: its sample's.
    """

    def __init__(self, table: SampleTable, stores: dict[int, S3Storage]) -> None:
        """Reads the commits.

        Raises:
            DatasetError: A dataset was changed since the table was made.
        """
        self._table = table
        self._of_files: set[int] = set()
        self._distrusted: set[int] = set()
        found: dict[tuple[int, str], tuple[int, str]] = {}
        for number, storage in stores.items():
            info = open_dataset(storage.url).info
            if info is not None and info.layout == IMAGEFOLDER:
                self._of_files.add(number)
            for file in () if info is None else info.shards:
                found[number, file.path] = (file.num_bytes, file.sha256)
        self._shards: dict[int, tuple[int, str]] = {}
        if self._of_files != stores.keys():
            self._shards = {shard: found[place] for shard, place in enumerate(table.shards) if place in found}
            self._check(stores)

    def _check(self, stores: dict[int, S3Storage]) -> None:
        for shard, (number, path) in enumerate(self._table.shards):
            if number not in stores or number in self._of_files:
                continue
            if shard not in self._shards or re.fullmatch("[0-9a-f]{64}", self._shards[shard][1]) is None:
                raise DatasetError(
                    f"{self._table.datasets[number]} has no shard {path} with a sha256 any more, the table of samples "
                    "has: the dataset was changed, start again"
                )

    def of(self, shard: int) -> tuple[int, str]:
        """Length and digest; 0 and nothing where they are not known or not true of what the store has."""
        if shard in self._distrusted:
            return 0, ""
        if shard in self._shards:
            return self._shards[shard]
        # In the column's own type, or all of it would be converted for each look-up.
        row = int(np.searchsorted(self._table.shard, np.int32(shard)))
        if row >= len(self._table) or self._table.shard[row] != shard or self._table.dataset[row] not in self._of_files:
            return 0, ""
        return int(self._table.num_bytes[row]), self._table.sha256[row].tobytes().hex()

    def distrust(self, shard: int) -> None:
        """The store has something else than was committed."""
        self._distrusted.add(shard)
