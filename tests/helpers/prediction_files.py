"""What an overlay of predictions consists of, to compare two runs."""

from __future__ import annotations

from shardtools.storage import Storage


def files(storage: Storage) -> dict[str, bytes]:
    """Content of all files of an overlay, but the lease."""
    paths = [stored.path for stored in storage.list() if not stored.path.startswith("lease/")]
    return {path: storage.read(path) for path in paths}
