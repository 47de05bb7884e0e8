"""Digests of files, and 64-bit hashes of keys and paths, to find those that come twice without holding the texts.

Owns the hash and the search. Two texts share 64 bits once in 10**19 pairs, so whoever finds a pair compares the texts;
the price is 8 bytes a text in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_HASH_BYTES = 8


def stream_digest(stream: BinaryIO, make: Callable[[], Any] = hashlib.sha256) -> str:
    """Hexadecimal digest of everything in a seekable stream; `make` gives the hash."""
    stream.seek(0)
    return hashlib.file_digest(stream, make).hexdigest()  # type: ignore[arg-type]  # readinto, which BinaryIO lacks


def hash_text(text: str) -> int:
    """64 bits of a text (blake2b)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).digest(), "big")


def hash_texts(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """The hash of each text, uint64 [N]."""
    return np.fromiter(map(hash_text, texts), np.uint64)


def repeated_rows(hashes: npt.NDArray[np.uint64]) -> tuple[tuple[int, ...], ...]:
    """Groups of rows with one hash, each in ascending order, the groups too."""
    order = np.argsort(hashes, kind="stable")
    arranged = hashes[order]
    is_repeat = np.flatnonzero(arranged[1:] == arranged[:-1])
    if not len(is_repeat):
        return ()
    # Places that follow each other without a gap are of one hash.
    ends = np.flatnonzero(np.diff(is_repeat) != 1)
    runs = np.split(is_repeat, ends + 1)
    return tuple(sorted(tuple(order[run[0] : run[-1] + 2].tolist()) for run in runs))
