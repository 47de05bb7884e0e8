"""Edits held against the rows of a dataset: what really changes, part by part, with what was there before.

Owns the record of a change. The changes lie in one file on the disk, a batch for each manifest part that has any, so
that each process reads those of its shard; the price is that every manifest part is read once before the first shard.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from shardtools.curation.edits import DROP, RELABEL, REWEIGHT, Edits, KeyLookup
from shardtools.curation.labels import KnownClasses
from shardtools.dataset import Dataset
from shardtools.errors import QueryError
from shardtools.sample import STATUS_OK
from shardtools.words import counted

CHANGES_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("action", pa.string()),
        ("reason", pa.string()),
        ("class_index", pa.int32()),
        ("wnid", pa.string()),
        ("weight", pa.float64()),
        ("old_class_index", pa.int32()),
        ("old_wnid", pa.string()),
        ("old_label_source", pa.string()),
        ("old_reason", pa.string()),
        ("old_sha256", pa.string()),
        ("old_num_bytes", pa.int64()),
    ]
)
"""Columns of the overlay `changes`: `class_index` to `weight` are new (null: as before), `old_...` what was there."""

NOT_IN_VIEW = "not in the view"
_ROW = pa.field("row", pa.int32())
_FILE_SCHEMA = CHANGES_SCHEMA.append(_ROW)
_COLUMNS = ["key", "status", "class_index", "class_indexes", "wnid", "label_source", "reason", "sha256", "num_bytes"]
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PartChanges:
    """One manifest part: its path, rows and images, and its changes.

    Attributes:
        batch: Number of its batch in the file of changes; `None` where nothing changes.
        rewrites: Whether its shard changes: a sample is dropped or gets another label.
    """

    path: str
    num_rows: int
    batch: int | None
    rewrites: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """All changes of a dataset.

    Attributes:
        file: Arrow file with the batches.
        parts: Every part of the dataset, in its order.
        counts: Action -> changes; "without image" and "as before" count edits that change nothing.
        digest: sha256 over all changes.
        num_images_left: Images that are not dropped.
    """

    file: Path
    parts: tuple[PartChanges, ...]
    counts: dict[str, int]
    digest: str
    num_images_left: int

    def batches(self) -> Iterator[pa.Table]:
        """The changes as the overlay holds them, a part's at a time."""
        for part in self.parts:
            if part.batch is not None:
                yield pa.Table.from_batches([read_batch(self.file, part.batch)]).select(CHANGES_SCHEMA.names)


def read_batch(file: Path, number: int) -> pa.RecordBatch:
    """The changes of one part; the column `row` says which row of the part each is about."""
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).get_batch(number)


def find_changes(dataset: Dataset, edits: Edits, classes: KnownClasses, folder: Path) -> Changes:
    """Walks over the dataset's rows once.

    Args:
        dataset: A finished dataset.
        edits: What is asked for.
        classes: Labels that may be given.
        folder: For the file of changes.

    Raises:
        QueryError: A key is not in the dataset, a label not among its classes, or nothing would change or be left.
    """
    finder = _Finder(dataset, edits, classes)
    sha256 = hashlib.sha256()
    parts: list[PartChanges] = []
    file, num_batches, num_images = folder / "changes.arrow", 0, 0
    with pa.ipc.new_file(str(file), _FILE_SCHEMA) as writer:
        for path in dataset.part_paths:
            table = dataset.read_part(path).table.select(_COLUMNS)
            records = finder.find(table)
            images = table.num_rows - sum(status != STATUS_OK for status in table["status"].to_pylist())
            num_images += images - sum(record["action"] == DROP for record in records)
            batch = None
            if records:
                writer.write_batch(pa.RecordBatch.from_pylist(records, schema=_FILE_SCHEMA))
                sha256.update(json.dumps(records, sort_keys=True).encode())
                batch, num_batches = num_batches, num_batches + 1
            rewrites = any(record["action"] != REWEIGHT for record in records)
            parts.append(PartChanges(path=path, num_rows=table.num_rows, batch=batch, rewrites=rewrites))
    finder.check()
    if num_images == 0:
        raise QueryError(f"the view would leave no image of {dataset.storage.url}: expected at least one, correct it")
    return Changes(
        file=file, parts=tuple(parts), counts=dict(finder.counts), digest=sha256.hexdigest(), num_images_left=num_images
    )


class _Finder:
    """Turns rows and their edits into changes."""

    def __init__(self, dataset: Dataset, edits: Edits, classes: KnownClasses) -> None:
        self._url = dataset.storage.url
        self._edits, self._classes = edits, classes
        self._lookup = KeyLookup(edits.table["key"])
        self.counts: Counter[str] = Counter()

    def find(self, table: pa.Table) -> list[dict[str, Any]]:
        """The changes of one part's rows, in their order, as values of `_FILE_SCHEMA`."""
        numbers = self._lookup.find(table["key"].to_pylist())
        wanted = list(range(table.num_rows)) if self._edits.drops_others else (numbers >= 0).nonzero()[0].tolist()
        if not wanted:
            return []
        asked = self._edits.table.take(pa.array(numbers[numbers >= 0])).to_pylist()
        by_key = {edit["key"]: edit for edit in asked}
        records = []
        for number, row in zip(wanted, table.take(wanted).to_pylist(), strict=True):
            change = self._change(row, by_key.get(row["key"]))
            if change is not None:
                self.counts[change["action"]] += 1
                records.append({**_before(row), **change, "row": number})
        return records

    def _change(self, row: dict[str, Any], edit: dict[str, Any] | None) -> dict[str, Any] | None:
        has_image = row["status"] == STATUS_OK
        if edit is None:
            # Only where the view names what is kept; a row without an image has nothing to drop.
            return _new(DROP, NOT_IN_VIEW) if has_image else None
        action, reason = edit["action"], edit["reason"]
        if action is None:
            return None
        if action == RELABEL and row["class_indexes"] is not None:
            raise QueryError(
                f"key {row['key']!r} of {self._url} has several labels {row['class_indexes']}, and an edit one "
                "class_index: drop it, or write the dataset again with other labels"
            )
        if action == RELABEL and edit["class_index"] != row["class_index"]:
            wnid = self._classes.name(edit["class_index"], key=row["key"], url=self._url)
            weight = edit["weight"] if has_image else None
            return _new(RELABEL, reason, edit["class_index"], wnid, weight)
        if action == RELABEL and edit["weight"] is None:
            self.counts["as before"] += 1
            return None
        if not has_image:
            self.counts["without image"] += 1
            return None
        return _new(DROP, reason) if action == DROP else _new(REWEIGHT, reason, weight=edit["weight"])

    def check(self) -> None:
        """Call it after the last row.

        Raises:
            QueryError: A key was in no row, or nothing changes.
        """
        missing = self._lookup.missing()
        if missing:
            shown = ", ".join(ascii(key) for key in sorted(missing)[:_SHOWN]) + (
                ", ..." if len(missing) > _SHOWN else ""
            )
            raise QueryError(
                f"{counted(len(missing), 'key of the view is', 'keys of the view are')} not in {self._url}: "
                f"{shown}: leave them out, or give the dataset "
                "that has them"
            )
        if not any(self.counts[action] for action in (DROP, RELABEL, REWEIGHT)):
            found = ", ".join(f"{counted(count, 'row')} {what}" for what, count in self.counts.items()) or "no edit"
            raise QueryError(f"the view changes nothing in {self._url} ({found}): expected at least one change")


def _new(
    action: str,
    reason: str | None,
    class_index: int | None = None,
    wnid: str | None = None,
    weight: float | None = None,
) -> dict[str, Any]:
    return {"action": action, "reason": reason, "class_index": class_index, "wnid": wnid, "weight": weight}


def _before(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": row["key"],
        **{
            f"old_{name}": row[name]
            for name in ("class_index", "wnid", "label_source", "reason", "sha256", "num_bytes")
        },
    }
