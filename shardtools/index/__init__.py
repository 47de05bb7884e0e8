"""Neighbours: exact by blocked products, or by FAISS indexes with a stated recall, out of features on the disk."""

from typing import TYPE_CHECKING

from shardtools.duplicates import SEARCHES, NearOptions
from shardtools.index.options import INDEX_VERSION, KINDS, METRICS, IndexInfo, IndexOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.index.exact import knn_graph, recall, search_exact
    from shardtools.index.graph import neighbor_graph
    from shardtools.index.near import near_pairs, open_feature_tables
    from shardtools.index.neighbors import NO_ROW, Neighbors
    from shardtools.index.vector_index import VectorIndex, build_index, open_index
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "INDEX_VERSION",
    "KINDS",
    "METRICS",
    "NO_ROW",
    "SEARCHES",
    "IndexInfo",
    "IndexOptions",
    "NearOptions",
    "Neighbors",
    "VectorIndex",
    "build_index",
    "knn_graph",
    "near_pairs",
    "neighbor_graph",
    "open_feature_tables",
    "open_index",
    "recall",
    "search_exact",
]
