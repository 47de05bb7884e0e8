"""Loading: which samples, in what order, with what augmentation, and where a run stands in its epoch."""

from shardtools.loader.augmentation import (
    DINO_COLOR_JITTER,
    ColorJitterOptions,
    CropOptions,
    MultiCropOptions,
    ViewParameters,
    color_jitter,
    dino_multi_crop,
    multi_crop_parameters,
    random_resized_crop,
    view_parameters,
)
from shardtools.loader.loader import Loader
from shardtools.loader.options import CenterCropOptions, Crop, LoaderOptions, ResizeOptions
from shardtools.loader.order.batches import LAST_BATCHES, BatchPlan, BatchPositions
from shardtools.loader.order.epoch import SHUFFLES, EpochOrder, EpochSequence, OrderOptions
from shardtools.loader.order.mixing import LENGTHS, MixedRows, MixOptions, Mixture, SourcePasses
from shardtools.loader.randomness import Draws, hash_keys
from shardtools.loader.reading.block_sizes import BLOCK_BYTES, PIECE_BYTES, resolve_sizes
from shardtools.loader.state import STATE_VERSION, LoaderState, flat_options, resume
from shardtools.loader.steps import Batch
from shardtools.loader.table.datasets import read_all, read_split
from shardtools.loader.table.samples import NO_CLASS, SampleTable
from shardtools.loader.table.view import read_view

__all__ = [
    "BLOCK_BYTES",
    "DINO_COLOR_JITTER",
    "LAST_BATCHES",
    "LENGTHS",
    "NO_CLASS",
    "PIECE_BYTES",
    "SHUFFLES",
    "STATE_VERSION",
    "Batch",
    "BatchPlan",
    "BatchPositions",
    "CenterCropOptions",
    "ColorJitterOptions",
    "Crop",
    "CropOptions",
    "Draws",
    "EpochOrder",
    "EpochSequence",
    "Loader",
    "LoaderOptions",
    "LoaderState",
    "MixOptions",
    "MixedRows",
    "Mixture",
    "MultiCropOptions",
    "OrderOptions",
    "ResizeOptions",
    "SampleTable",
    "SourcePasses",
    "ViewParameters",
    "color_jitter",
    "dino_multi_crop",
    "flat_options",
    "hash_keys",
    "multi_crop_parameters",
    "random_resized_crop",
    "read_all",
    "read_split",
    "read_view",
    "resolve_sizes",
    "resume",
    "view_parameters",
]
