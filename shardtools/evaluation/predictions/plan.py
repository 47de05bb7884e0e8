"""What a run of `predict` writes: a plan of batches whose rows may be variants of an image.

Owns the order of variants: rows are numbered image by image, and within an image variant by variant, so that each image
is decoded once; the price is that the overlay is not sorted by corruption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from shardtools.documents import Format
from shardtools.evaluation.predictions.batch_plan import BatchPlan
from shardtools.evaluation.predictions.rows import CORRUPTION, KEY, SEVERITY
from shardtools.evaluation.predictions.variants import Variant

PREDICTIONS_VERSION = 1
MADE_BY = "shardtools predict"
MADE_BY_PROBE = "shardtools probe"
"""Predictions of a linear classifier on features, which the forward pass was made for before."""

ALL_LOGITS_BYTES = 256 << 20
"""All logits are kept where they take no more than this and nobody said otherwise: ImageNet's validation set by 1,000
classes are 100 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionPlan(BatchPlan):
    """Two runs with the same plan write the same parts; the last batch is padded.

    Attributes:
        keeps_all: Whether all logits are kept, as float16.
        variants: What is done to each image; one that does nothing where the overlay has no variants.
        has_variants: Whether rows name their corruption and severity.
        seed: Of the corruptions.
        clean: Whether the corruptions leave out the accidents of the published program.
        corruption_version: Of the native core's pixels; 0 where it makes none.
    """

    format: ClassVar[Format] = Format(
        name="shardtools-predictions",
        version=PREDICTIONS_VERSION,
        what="the plan of predictions",
        remedy="remove the overlay, or predict again with --replace",
    )
    made_by: ClassVar[str] = MADE_BY
    rows_are: ClassVar[str] = "predictions"

    keeps_all: bool
    variants: tuple[Variant, ...] = (Variant(),)
    has_variants: bool = False
    seed: int = 0
    clean: bool = False
    corruption_version: int = 0

    @property
    def num_rows(self) -> int:
        """Rows of the overlay."""
        return self.num_images * len(self.variants)

    @property
    def unique(self) -> tuple[str, ...]:
        """Columns that tell rows apart."""
        return (KEY, CORRUPTION, SEVERITY) if self.has_variants else (KEY,)
