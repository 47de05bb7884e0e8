"""What a job writes that puts every image of a dataset through a network: which rows in which batch and part.

    DATASET/overlays/NAME/
        work/plan.json                 what a run writes; before the first batch
        work/batch-000012.arrow        rows of one forward pass; gone when their part is there
        part-000003-0a1b2c3d.parquet
        work/part-000003.json          that part's digest and counts; after it
        overlay.json                   the commit; `work/` is removed after it

Owns the cut. Rows are numbered; a batch is the next `batch_size` of them, a part the next `batches_per_part` batches.
Both depend on the plan alone, so that a result does not depend on the number of processes or restarts. The price of
batches that are durable one by one, so that none is computed twice: one small file each while the run lasts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Self

from shardtools.documents import Document, json_bytes
from shardtools.errors import PlanMismatchError
from shardtools.evaluation.model_facts import ModelFacts
from shardtools.evaluation.predictions.rows import KEY
from shardtools.overlays import OverlayInfo

_FINGERPRINT = "model_fingerprint"
_IN_OVERLAY_FILE = ("name", "dataset_sha256", "dataset_num_rows")
_PARTS_WANTED = 64
_MIN_BATCHES_PER_PART = 2
_MAX_ROWS_PER_PART = 8192
_MAX_PART_BYTES = 64 << 20
_MAX_SHOWN = 60
"""Characters of a value in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan(Document):
    """Two runs with the same plan write the same parts. A job adds fields of its own.

    Attributes:
        made_by: The command, as the overlay names it.
        rows_are: What the rows are, for messages.
        name: Of the overlay.
        model: What judges.
        dataset_sha256: Digest of the dataset's `dataset.json`.
        dataset_num_rows: Rows of the dataset.
        split: Only the rows of this split; `None` for all.
        num_images: Images that are asked for.
        labels_by: "wnid", "index" or "none": how a class of the dataset becomes an output of the model.
        labels: (class of the dataset, output), for the classes that the model has.
        batch_size: Rows that go through the network together.
        batches_per_part: Batches of every part but the last.
    """

    made_by: ClassVar[str]
    rows_are: ClassVar[str]

    name: str
    model: ModelFacts
    dataset_sha256: str
    dataset_num_rows: int
    split: str | None
    num_images: int
    labels_by: str
    labels: tuple[tuple[int, ...], ...]
    batch_size: int
    batches_per_part: int

    @property
    def num_rows(self) -> int:
        """Rows of the overlay."""
        return self.num_images

    @property
    def num_batches(self) -> int:
        """Forward passes of all rows."""
        return -(-self.num_rows // self.batch_size)

    @property
    def num_parts(self) -> int:
        """Parts of the overlay."""
        return -(-self.num_batches // self.batches_per_part)

    @property
    def unique(self) -> tuple[str, ...]:
        """Columns that tell rows apart."""
        return (KEY,)

    def rows_of(self, batch: int) -> range:
        """Row numbers of a batch, 0-based."""
        start = batch * self.batch_size
        return range(start, min(start + self.batch_size, self.num_rows))

    def batches_of(self, part: int) -> range:
        """Batches of a part, 0-based."""
        start = part * self.batches_per_part
        return range(start, min(start + self.batches_per_part, self.num_batches))

    def settings(self) -> dict[str, Any]:
        """What decides on the rows, for the overlay; its own file names the dataset."""
        content = json.loads(self.to_json())
        for name in _IN_OVERLAY_FILE:
            del content[name]
        return {**content, _FINGERPRINT: self.model.fingerprint}

    @classmethod
    def of_overlay(cls, info: OverlayInfo, *, where: str) -> Self:
        """The plan that an overlay was written by; the reverse of `settings`.

        Raises:
            DatasetError: It is an overlay of something else, or damaged.
            FormatVersionError: Another release wrote it.
        """
        content = {key: value for key, value in info.settings.items() if key != _FINGERPRINT}
        content |= {name: getattr(info, name) for name in _IN_OVERLAY_FILE}
        return cls.from_json(json_bytes(content), where=where)

    def check(self, found: Self, *, where: str) -> None:
        """Refuses to go on with rows of another plan.

        Args:
            found: The plan of the rows that are there.
            where: Names them.

        Raises:
            PlanMismatchError: The message names what differs.
        """
        there, here = dict(_flat(found)), dict(_flat(self))
        differences = [
            _difference(name, there.get(name), here.get(name))
            for name in here | there
            if there.get(name) != here.get(name)
        ]
        if differences:
            raise PlanMismatchError(
                f"{where} holds other {self.rows_are}: {'; '.join(differences[:3])}: give another name (--name), or "
                "replace (--replace) to write them anew"
            )


def batches_per_part(num_rows: int, batch_size: int, row_bytes: int) -> int:
    """Batches of a part: few enough that several processes have parts to share, and that a part fits into memory.

    Args:
        num_rows: Of the whole.
        batch_size: Rows of a batch.
        row_bytes: Of a row, roughly.
    """
    wanted = min(max(-(-num_rows // _PARTS_WANTED), _MIN_BATCHES_PER_PART * batch_size), _MAX_ROWS_PER_PART)
    return max(min(-(-wanted // batch_size), _MAX_PART_BYTES // max(row_bytes * batch_size, 1)), 1)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a plan, after those of the dataclasses in it, which say more than a name that was made of them."""
    for one in fields(value):
        if is_dataclass(inner := getattr(value, one.name)):
            yield from _flat(inner, f"{prefix}{one.name}.")
    for one in fields(value):
        if not is_dataclass(getattr(value, one.name)):
            yield prefix + one.name, getattr(value, one.name)


def _difference(name: str, there: Any, here: Any) -> str:
    if any(isinstance(value, tuple) and len(repr(value)) > _MAX_SHOWN for value in (there, here)):
        # A thousand pairs of numbers say nothing, and differ somewhere behind the first few.
        return f"{name} are others there than here"
    return f"{name} is {_short(there)} there, {_short(here)} here"


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:8]}..."
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
