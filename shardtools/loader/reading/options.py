"""What a user may ask of the reading of batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shardtools.errors import OptionError

VERIFICATIONS = {
    "none": "lengths and bounds only",
    "sha256": "every image against the digest in the manifest",
}
"""Name -> what is checked."""

ON_BAD = {
    "replace": "another sample of the same class takes its place, and is reported",
    "raise": "the epoch ends with an error that names it",
}
"""Name -> what becomes of a sample whose bytes are damaged."""

CHUNK_BYTES = 1024 * 1024
"""Length of what the disk cache holds or does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How bytes are read. Nothing here changes which samples are delivered, but for `on_bad`.

    Attributes:
        read_ahead_bytes: Object stores: memory for what is being read, waits for its turn, or lies in batches that the
            caller still holds; only what the very next batch needs is read beyond it. Local files: how far ahead the
            system is told to read, which takes no memory of the process.
        num_requests: Ranged reads at a time, and threads that check digests; at least 1.
        request_bytes: Ranges of joined neighbours are cut at multiples of this, at least 1 MiB.
        coalesce_gap_bytes: Samples at most this far apart are read as one range, at least 0.
        verify: One of `VERIFICATIONS`.
        on_bad: One of `ON_BAD`.
        max_bad_share: Samples that may be replaced in an epoch, as a share of the table, 0 to 1 (16 may always be);
            a dataset with more of them is no accident, and reading it ends with an error.
        cache_folder: Where what comes from object stores is kept for the next epoch; `None` keeps nothing.
        cache_bytes: Size that the cache's files never exceed together, at least 16 MiB; needed with `cache_folder`.
        retry_seconds: For how long a store that does not answer is asked again; `None` for what
            SHARDTOOLS_STORAGE_RETRY_SECONDS says (60 where it is not set), which is also the most.

    Raises:
        OptionError: A value is out of range, or only one of `cache_folder` and `cache_bytes` is given.
    """

    read_ahead_bytes: int = 256 * 1024 * 1024
    num_requests: int = 8
    request_bytes: int = 8 * 1024 * 1024
    coalesce_gap_bytes: int = 512 * 1024
    verify: str = "none"
    on_bad: str = "replace"
    max_bad_share: float = 0.01
    cache_folder: str | None = None
    cache_bytes: int | None = None
    retry_seconds: float | None = None

    def __post_init__(self) -> None:
        minima = {
            "read_ahead_bytes": 1,
            "num_requests": 1,
            "request_bytes": CHUNK_BYTES,
            "coalesce_gap_bytes": 0,
            "cache_bytes": 16 * CHUNK_BYTES,
        }
        for name, least in minima.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"{name} is at least {least}, found {value}")
        for name, known in (("verify", VERIFICATIONS), ("on_bad", ON_BAD)):
            if getattr(self, name) not in known:
                raise OptionError(f"{name} is one of {', '.join(known)}, found {getattr(self, name)!r}")
        if not 0 <= self.max_bad_share <= 1:
            raise OptionError(f"max_bad_share is 0 to 1, found {self.max_bad_share}")
        if self.retry_seconds is not None and not 0 <= self.retry_seconds < math.inf:
            raise OptionError(f"retry_seconds is a number of at least 0, found {self.retry_seconds}")
        if (self.cache_folder is None) != (self.cache_bytes is None):
            given, missing = ("cache_folder", "cache_bytes") if self.cache_folder else ("cache_bytes", "cache_folder")
            raise OptionError(f"a disk cache needs a folder and a limit, found {given} only: give {missing} too")
