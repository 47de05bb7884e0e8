"""Neighbours: exact by blocked products, or by FAISS indexes with a stated recall, out of features on the disk."""

from typing import TYPE_CHECKING

from shardtools.features.neighbors.options import INDEX_VERSION, KINDS, METRICS, IndexInfo, IndexOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.features.neighbors.exact import knn_graph, recall, search_exact
    from shardtools.features.neighbors.graph import neighbor_graph
    from shardtools.features.neighbors.neighbors import NO_ROW, Int64s, Neighbors, prepared
    from shardtools.features.neighbors.options import index_path
    from shardtools.features.neighbors.vector_index import VectorIndex, build_index, open_index
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "INDEX_VERSION",
    "KINDS",
    "METRICS",
    "NO_ROW",
    "IndexInfo",
    "IndexOptions",
    "Int64s",
    "Neighbors",
    "VectorIndex",
    "build_index",
    "index_path",
    "knn_graph",
    "neighbor_graph",
    "open_index",
    "prepared",
    "recall",
    "search_exact",
]
