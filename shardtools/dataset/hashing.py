"""Digests computed in a thread of their own, beside reading and writing.

Owns the queue between the two. Every image is hashed twice, as itself and as part of its shard, and hashing lets other
Python code run meanwhile; the price is a few megabytes of images that wait.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from typing import Protocol

_MAX_WAITING_BYTES = 32 << 20


class Digest(Protocol):
    """What `hashlib` returns."""

    def update(self, content: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class HashThread:
    """Updates digests in the order that they are given; a digest is complete after `finish`."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Digest, bytes]] = deque()
        self._num_bytes = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="hashing", daemon=True)
        self._thread.start()

    def sha256(self, content: bytes) -> Digest:
        """The digest of one content."""
        digest = hashlib.sha256()
        self.update(digest, content)
        return digest

    def update(self, digest: Digest, content: bytes) -> None:
        """Adds content to a digest; waits while much else is waiting."""
        with self._changed:
            self._changed.wait_for(lambda: self._num_bytes < _MAX_WAITING_BYTES)
            self._waiting.append((digest, content))
            self._num_bytes += len(content)
            self._changed.notify_all()

    def finish(self) -> None:
        """Waits until all is done and ends the thread; may be called again."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                digest, content = self._waiting.popleft()
            digest.update(content)
            with self._changed:
                self._num_bytes -= len(content)
                self._changed.notify_all()
