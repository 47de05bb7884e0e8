"""Duplicates: equal and near-equal images, within and across splits and datasets, as pairs and groups."""

from typing import TYPE_CHECKING

from shardtools.audits.duplicates.near_options import SEARCHES, NearOptions
from shardtools.audits.duplicates.options import (
    DEFAULT_KINDS,
    DEFAULT_RADIUS,
    KINDS,
    OVERLAY_NAME,
    PAIRS_OVERLAY_NAME,
    DuplicatesOptions,
)
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.audits.duplicates.embedding import (
        FeatureArray,
        FeatureRows,
        FeatureTables,
        PairList,
        check_similarity,
        distinct_rows,
        embedding_pairs,
    )
    from shardtools.audits.duplicates.groups import connected_groups
    from shardtools.audits.duplicates.hamming import (
        PositionPairs,
        hamming_distances,
        hamming_join,
        hamming_pairs,
    )
    from shardtools.audits.duplicates.near import near_pairs, open_feature_tables
    from shardtools.audits.duplicates.run import PAIRS_SCHEMA, DuplicatesResult, find_duplicates
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "DEFAULT_KINDS",
    "DEFAULT_RADIUS",
    "KINDS",
    "OVERLAY_NAME",
    "PAIRS_OVERLAY_NAME",
    "PAIRS_SCHEMA",
    "SEARCHES",
    "DuplicatesOptions",
    "DuplicatesResult",
    "FeatureArray",
    "FeatureRows",
    "FeatureTables",
    "NearOptions",
    "PairList",
    "PositionPairs",
    "check_similarity",
    "connected_groups",
    "distinct_rows",
    "embedding_pairs",
    "find_duplicates",
    "hamming_distances",
    "hamming_join",
    "hamming_pairs",
    "near_pairs",
    "open_feature_tables",
]
