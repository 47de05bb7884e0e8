"""Sources: outside formats (class folders, idx files, WebDataset tars) as samples with positions."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.sources.kinds import SOURCE_KINDS
from shardtools.sources.options import CHECKS, SourceOptions

if TYPE_CHECKING:
    from shardtools.sources.base import Source
    from shardtools.sources.detect import detect_kind, open_source
    from shardtools.sources.given import GivenSample
    from shardtools.sources.image.check import ImageFacts, Rejection, check_image, pillow_formats, rejection_of
    from shardtools.sources.patterns import has_pattern
    from shardtools.sources.published.description import PublishedSet
    from shardtools.sources.published.registry import PUBLISHED_SETS, find_set
    from shardtools.sources.samples import open_samples
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CHECKS",
    "PUBLISHED_SETS",
    "SOURCE_KINDS",
    "GivenSample",
    "ImageFacts",
    "PublishedSet",
    "Rejection",
    "Source",
    "SourceOptions",
    "check_image",
    "detect_kind",
    "find_set",
    "has_pattern",
    "open_samples",
    "open_source",
    "pillow_formats",
    "rejection_of",
]
