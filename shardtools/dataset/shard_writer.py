"""One shard and its manifest part: the unit of exactly-once work.

Owns the order of the two writes: the shard is published and durable first, then the part, put-if-absent. Until its part
is there a shard does not exist for any reader, so a run that is killed at any point leaves nothing half-done; the
price is that a killed run makes its shard in hand again from the start.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import pyarrow as pa

from shardtools.dataset.hashing import Digest, HashThread
from shardtools.dataset.sinks import Sink, open_sink
from shardtools.errors import AlreadyExistsError, DatasetBusyError, ShardError
from shardtools.manifest import PartOrigin, RowCollector, ShardFile, digest, encode_part
from shardtools.sample import STATUS_OK, Sample
from shardtools.shards import LAYOUTS, ShardSample, check_key, part_path
from shardtools.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedShard:
    """What a committed shard holds: rows, rows with an image, and the image payloads' total length (bytes)."""

    split: str
    shard_index: int
    num_rows: int
    num_images: int
    num_bytes: int


class ShardWriter:
    """Collects the samples of one shard and commits them together.

    Use it as a context manager: leaving it without `commit` discards what was written.

    Args:
        storage: The dataset.
        split: Split of its rows.
        shard_index: 0-based number within the split.
        attempt: Above 1 for images made again.
        layout: One of `shards.LAYOUT_NAMES`.
        max_samples: Most rows that will come; formats with a table in front need to know.
        fields: Members written beside image and label; see `shards.check_fields`.
        drop_members: Whether members that the format does not hold may be left out.
        plan_id: The plan that the part says it was made for; `None` leaves it unsaid.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        split: str,
        shard_index: int,
        attempt: int = 1,
        layout: str = "tar",
        max_samples: int = 0,
        fields: tuple[str, ...] = (),
        drop_members: bool = False,
        plan_id: str | None = None,
    ) -> None:
        self._storage = storage
        self._split = split
        self._shard_index = shard_index
        self._plan_id = plan_id
        self._held = None if layout in LAYOUTS and LAYOUTS[layout].holds_any_member else frozenset(fields)
        self._drop_members = drop_members
        self._open_sink = partial(
            open_sink,
            storage,
            split=split,
            shard_index=shard_index,
            attempt=attempt,
            layout=layout,
            max_samples=max_samples,
            fields=fields,
        )
        self._hashing: HashThread | None = None
        self._digests: list[Digest | None] = []
        self._sink: Sink | None = None
        self._rows = RowCollector()
        self._keys: set[str] = set()
        self._num_images = 0
        self._num_bytes = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hashing is not None:
            self._hashing.finish()
        if self._sink is not None:
            self._sink.discard()

    def add(self, sample: Sample) -> None:
        """Appends one sample; one without bytes becomes a row only.

        Raises:
            ShardError: Its key may not be used, or the format cannot hold it.
            ValueError: Its key was added before, or its status is ok and it has no image.
        """
        check_key(sample.key)
        if sample.key in self._keys:
            raise ValueError(f"key {sample.key!r} was added to shard {self._shard_index} of {self._split} before")
        self._keys.add(sample.key)
        row = _row(sample, self._split)
        digest = None
        if sample.status == STATUS_OK:
            place, digest = self._write_members(sample)
            row |= place
        self._rows.add(row)
        self._digests.append(digest)

    def _write_members(self, sample: Sample) -> tuple[dict[str, Any], Digest]:
        if sample.image_bytes is None or sample.image_format is None:
            raise ValueError(f"sample {sample.key!r} has status ok and no image bytes or format")
        if self._held is not None:
            self._check_members(sample, self._held)
        # Not before the first image: a shard of rejected rows has no file at all.
        if self._sink is None or self._hashing is None:
            self._hashing = HashThread()
            self._sink = self._open_sink(hashing=self._hashing)
        digest = self._hashing.sha256(sample.image_bytes)
        path, offset = self._sink.add(
            ShardSample(
                key=sample.key,
                image_bytes=sample.image_bytes,
                image_format=sample.image_format,
                width=sample.width or 0,
                height=sample.height or 0,
                class_index=sample.class_index,
                members={**label_members(sample), **sample.extra_members},
            ),
            sample.wnid,
        )
        self._num_images += 1
        self._num_bytes += len(sample.image_bytes)
        place = {
            "shard": path,
            "sample_index": self._num_images - 1,
            "member_offset": offset,
            "num_bytes": len(sample.image_bytes),
        }
        return place, digest

    def _check_members(self, sample: Sample, held: frozenset[str]) -> None:
        """Refuses to lose what the source had beside the image; a label is held by every format."""
        lost = sorted(set(sample.extra_members) - held - {"cls"})
        if lost and not self._drop_members:
            raise ShardError(
                f"key {sample.key!r} has member .{lost[0]}, which is not among --fields ({', '.join(held) or 'none'}): "
                "name it there, give --drop-members to leave it out, or write tars, which hold every member"
            )

    def publish_shard(self) -> tuple[pa.Table, tuple[ShardFile, ...]]:
        """Publishes the shard (if any sample has bytes) and returns the rows and its facts, not yet committed."""
        # From here on the shard is durable, but no reader knows of it. Killed now, the next run writes it again.
        shards = self._sink.publish() if self._sink is not None else ()
        if self._hashing is not None:
            self._hashing.finish()
        digests = pa.array([digest.hexdigest() if digest else None for digest in self._digests], pa.string())
        table = self._rows.table()
        return table.set_column(table.schema.get_field_index("sha256"), table.schema.field("sha256"), digests), shards

    def commit(self) -> CommittedShard:
        """Publishes the shard, then the part.

        Raises:
            DatasetBusyError: Another run committed this shard with other content.
        """
        table, shards = self.publish_shard()
        content = encode_part(table, shards, _origin(self._plan_id, self._split, self._shard_index))
        path = part_path(self._split, self._shard_index)
        try:
            self._storage.write(path, content, if_absent=True)
        # The same bytes are no harm: this run was thought dead and another made the shard, or its answer got lost.
        except AlreadyExistsError:
            if self._storage.read(path) != content:
                raise DatasetBusyError(
                    f"{self._storage.url}: another run committed {path} meanwhile: let one run finish, then verify "
                    "the dataset"
                ) from None
        return CommittedShard(
            split=self._split,
            shard_index=self._shard_index,
            num_rows=table.num_rows,
            num_images=self._num_images,
            num_bytes=self._num_bytes,
        )


def replace_part(
    storage: Storage,
    split: str,
    shard_index: int,
    table: pa.Table,
    shards: Sequence[ShardFile],
    *,
    plan_id: str | None = None,
    sha256: str | None = None,
) -> bool:
    """Puts new rows in the place of a committed part, atomically; the shards they point to are durable already.

    Args:
        storage: The dataset.
        split: The part's split.
        shard_index: Its shard.
        table: The new rows.
        shards: What it speaks for.
        plan_id: See `ShardWriter`.
        sha256: Digest of the part that was lost: one that named no plan is written without it.

    Returns:
        Whether the part has that digest.
    """
    content = encode_part(table, shards, _origin(plan_id, split, shard_index))
    if sha256 is not None and digest(content) != sha256 and digest(before := encode_part(table, shards)) == sha256:
        content = before
    storage.write(part_path(split, shard_index), content)
    return digest(content) == sha256


def _origin(plan_id: str | None, split: str, shard_index: int) -> PartOrigin | None:
    return None if plan_id is None else PartOrigin(plan_id=plan_id, split=split, shard_index=shard_index)


def _row(sample: Sample, split: str) -> dict[str, Any]:
    return {
        "key": sample.key,
        "split": split,
        "image_format": sample.image_format,
        "width": sample.width,
        "height": sample.height,
        "mode": sample.mode,
        "wnid": sample.wnid,
        "class_index": sample.class_index,
        "class_indexes": sample.class_indexes,
        "label_source": sample.label_source,
        "source": sample.source,
        "status": sample.status,
        "reason": sample.reason,
        **sample.provenance,
    }


def label_members(sample: Sample) -> dict[str, bytes]:
    """`cls` (ASCII integer) and `json` (the label and the provenance, keys sorted) as WebDataset readers want them."""
    facts: dict[str, Any] = {
        "key": sample.key,
        "wnid": sample.wnid,
        "class_index": sample.class_index,
        "source": sample.source,
    }
    facts |= {name: value for name, value in sample.provenance.items() if value is not None}
    if sample.class_indexes is not None:
        facts["class_indexes"] = list(sample.class_indexes)
    if sample.reason is not None:
        # An image with a remark: a lost part is read back from here.
        facts["reason"] = sample.reason
    members = {"json": json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()}
    if sample.class_index is not None:
        members["cls"] = str(sample.class_index).encode()
    return members
