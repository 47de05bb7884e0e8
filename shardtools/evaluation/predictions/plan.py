"""What a run of `predict` writes: which rows in which batch and part, by what model, of which labels.

    DATASET/overlays/NAME/work/plan.json         what a run writes; before the first batch
                          work/batch-000012.arrow  rows of one forward pass; gone when their part is there
                          part-000003-0a1b2c3d.parquet
                          work/part-000003.json  that part's digest and counts; after it
                          overlay.json           the commit; `work/` is removed after it

Owns the cut. Rows are numbered image by image, and within an image variant by variant; a batch is the next `batch_size`
of them, a part the next `batches_per_part` batches. Both depend on the plan alone, so that a logit does not depend on
the number of processes or restarts. The price of batches that are durable one by one, so that none is computed twice:
one small file each while the run lasts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from shardtools.documents import Document, Format, json_bytes
from shardtools.errors import PlanMismatchError
from shardtools.evaluation.model_facts import ModelFacts
from shardtools.evaluation.predictions.rows import CORRUPTION, KEY, SEVERITY
from shardtools.evaluation.predictions.variants import Variant
from shardtools.overlays import OverlayInfo

PREDICTIONS_VERSION = 1
MADE_BY = "shardtools predict"

ALL_LOGITS_BYTES = 256 << 20
"""All logits are kept where they take no more than this and nobody said otherwise: ImageNet's validation set by 1,000
classes are 100 MB."""

_FINGERPRINT = "model_fingerprint"
_IN_OVERLAY_FILE = ("name", "dataset_sha256", "dataset_num_rows")
_PARTS_WANTED = 64
_MIN_BATCHES_PER_PART = 2
_MAX_ROWS_PER_PART = 8192
_MAX_PART_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionPlan(Document):
    """Two runs with the same plan write the same parts.

    Attributes:
        name: Of the overlay.
        model: What judges.
        dataset_sha256: Digest of the dataset's `dataset.json`.
        dataset_num_rows: Rows of the dataset.
        split: Only the rows of this split; `None` for all.
        num_images: Images that are asked for.
        labels_by: "wnid", "index" or "none": how a class of the dataset becomes an output of the model.
        labels: (class of the dataset, output), for the classes that the model has.
        keeps_all: Whether all logits are kept, as float16.
        batch_size: Rows that go through the network together; the last ones are padded.
        batches_per_part: Batches of every part but the last.
        variants: What is done to each image; one that does nothing where the overlay has no variants.
        has_variants: Whether rows name their corruption and severity.
        seed: Of the corruptions.
        clean: Whether the corruptions leave out the accidents of the published program.
    """

    format: ClassVar[Format] = Format(
        name="shardtools-predictions",
        version=PREDICTIONS_VERSION,
        what="the plan of predictions",
        remedy="remove the overlay, or predict again with --replace",
    )

    name: str
    model: ModelFacts
    dataset_sha256: str
    dataset_num_rows: int
    split: str | None
    num_images: int
    labels_by: str
    labels: tuple[tuple[int, ...], ...]
    keeps_all: bool
    batch_size: int
    batches_per_part: int
    variants: tuple[Variant, ...] = (Variant(),)
    has_variants: bool = False
    seed: int = 0
    clean: bool = False

    @property
    def num_rows(self) -> int:
        """Rows of the overlay."""
        return self.num_images * len(self.variants)

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
        return (KEY, CORRUPTION, SEVERITY) if self.has_variants else (KEY,)

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

    def check(self, found: PredictionPlan, *, where: str) -> None:
        """Refuses to go on with rows of another plan.

        Args:
            found: The plan of the rows that are there.
            where: Names them.

        Raises:
            PlanMismatchError: The message names what differs.
        """
        there, here = _flat(found), _flat(self)
        differences = [
            f"{name} is {_short(there[name])} there, {_short(here[name])} here"
            for name in here
            if there[name] != here[name]
        ]
        if differences:
            raise PlanMismatchError(
                f"{where} holds other predictions: {'; '.join(differences[:3])}: give another name (--name), or "
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


def plan_of(info: OverlayInfo, *, where: str) -> PredictionPlan:
    """The plan that an overlay of predictions was written by.

    Raises:
        DatasetError: It is an overlay of something else, or damaged.
        FormatVersionError: Another release wrote it.
    """
    content = {key: value for key, value in info.settings.items() if key != _FINGERPRINT}
    content |= {name: getattr(info, name) for name in _IN_OVERLAY_FILE}
    return PredictionPlan.from_json(json_bytes(content), where=where)


def _flat(plan: PredictionPlan) -> dict[str, Any]:
    """The fields of a plan, those of its model beside them."""
    own = {one.name: getattr(plan, one.name) for one in fields(plan) if one.name != "model"}
    return {f"model.{one.name}": getattr(plan.model, one.name) for one in fields(plan.model)} | own


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:8]}..."
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
