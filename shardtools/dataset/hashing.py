"""Digests computed in a thread of their own, beside reading and writing.

Owns the queue between the two. Every image is hashed twice, as itself and as part of its shard, and hashing lets other
Python code run meanwhile; the price is a few megabytes of images that wait.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from typing import Protocol

_MAX_WAITING_BYTES = 32 << 20
_WAIT_SECONDS = 0.001


class Digest(Protocol):
    """What `hashlib` returns."""

    def update(self, content: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class HashThread:
    """Updates digests in the order that they are given, by one thread; a digest is complete after `finish`."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Digest, bytes] | None] = queue.SimpleQueue()
        # Each is written by one thread only, so no lock is needed; one would cost a quarter of the hashing.
        self._given_bytes = 0
        self._hashed_bytes = 0
        self._thread = threading.Thread(target=self._work, name="hashing", daemon=True)
        self._thread.start()

    def sha256(self, content: bytes) -> Digest:
        """The digest of one content."""
        digest = hashlib.sha256()
        self.update(digest, content)
        return digest

    def update(self, digest: Digest, content: bytes) -> None:
        """Adds content to a digest; waits while much else is waiting."""
        while self._given_bytes - self._hashed_bytes > _MAX_WAITING_BYTES:
            time.sleep(_WAIT_SECONDS)
        self._given_bytes += len(content)
        self._waiting.put((digest, content))

    def finish(self) -> None:
        """Waits until all is done and ends the thread; may be called again."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            digest, content = item
            digest.update(content)
            self._hashed_bytes += len(content)
