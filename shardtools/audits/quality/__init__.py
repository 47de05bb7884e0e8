"""Image quality and perceptual hashes: one pass over a dataset, one row an image in the overlay `quality`."""

from typing import TYPE_CHECKING

from shardtools.audits.quality.options import MADE_BY, MIN_QUALITY, OVERLAY_NAME, QualityOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.audits.quality.measures import BRIGHT_FROM, DARK_BELOW, Measures, measure
    from shardtools.audits.quality.pdq import GRID, HASH_BYTES, SIDE, PerceptualHashes, perceptual_hashes
    from shardtools.audits.quality.run import MEASURES, SCHEMA, QualityResult, is_complete, measure_dataset
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "BRIGHT_FROM",
    "DARK_BELOW",
    "GRID",
    "HASH_BYTES",
    "MADE_BY",
    "MEASURES",
    "MIN_QUALITY",
    "OVERLAY_NAME",
    "SCHEMA",
    "SIDE",
    "Measures",
    "PerceptualHashes",
    "QualityOptions",
    "QualityResult",
    "is_complete",
    "measure",
    "measure_dataset",
    "perceptual_hashes",
]
