"""Natural variation: how models hold when one factor of a rendered picture varies, and what variation seen helps."""

from typing import TYPE_CHECKING

from shardtools.evaluation.variation.options import SETTINGS, VariationOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.variation.gaps import Estimate
    from shardtools.evaluation.variation.result import (
        STUDY,
        ModelVariation,
        SimilarityBin,
        SimilarityPoint,
        VariationFigure,
        VariationResult,
    )
    from shardtools.evaluation.variation.run import measure, save_training_sets
    from shardtools.evaluation.variation.splitting import Split, read_twins, split_objects
    from shardtools.evaluation.variation.text import text_tables
    from shardtools.evaluation.variation.world import World, open_world
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "SETTINGS",
    "STUDY",
    "Estimate",
    "ModelVariation",
    "SimilarityBin",
    "SimilarityPoint",
    "Split",
    "VariationFigure",
    "VariationOptions",
    "VariationResult",
    "World",
    "measure",
    "open_world",
    "read_twins",
    "save_training_sets",
    "split_objects",
    "text_tables",
]
