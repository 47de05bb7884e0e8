"""Index files: what readers of a format need beside its shards, made from the manifest when a dataset is committed.

Owns when they are written, which is before `dataset.json` lists them. They are derived from the parts alone, so any
process may write them again and the bytes are the same.
"""

from __future__ import annotations

from shardtools.errors import NotFoundError
from shardtools.manifest import Part, ShardFile, digest
from shardtools.shards import IMAGEFOLDER, LAYOUTS, IndexedShard
from shardtools.storage import Storage


class IndexFiles:
    """Collects the shards of each split for the format's index; nothing for formats without one."""

    def __init__(self, layout: str, fields: tuple[str, ...]) -> None:
        self._write = None if layout == IMAGEFOLDER else LAYOUTS[layout].write_index
        self._fields = fields
        self._splits: dict[str, list[IndexedShard]] = {}

    def add(self, split: str, part: Part) -> None:
        """Takes a part, in the order of shards."""
        if self._write is None:
            return
        for shard in part.shards:
            self._splits.setdefault(split, []).append(
                IndexedShard(
                    basename=shard.path.rpartition("/")[2],
                    num_samples=part.table.num_rows - part.table["shard"].null_count,
                    num_bytes=shard.num_bytes,
                    sha256=shard.sha256,
                )
            )

    def publish(self, storage: Storage) -> tuple[ShardFile, ...]:
        """Writes the index of each split beside its shards."""
        if self._write is None:
            return ()
        written = []
        for split, shards in self._splits.items():
            path, content = f"shards/{split}/index.json", self._write(shards, self._fields)
            publish_changed(storage, path, content)
            written.append(ShardFile(path=path, num_bytes=len(content), sha256=digest(content)))
        return tuple(written)


def publish_changed(storage: Storage, path: str, content: bytes) -> None:
    """Writes a file unless it has this content already."""
    try:
        # A commit that is repeated changes nothing, so readers of the file are not disturbed.
        if storage.read(path) == content:
            return
    except NotFoundError:
        pass
    storage.write(path, content)
