"""Neighbours: exact by blocked products, or by FAISS indexes with a stated recall, out of features on the disk."""

from shardtools.index.exact import knn_graph, recall, search_exact
from shardtools.index.graph import neighbour_graph
from shardtools.index.near import SEARCHES, NearOptions, near_pairs, open_embeddings
from shardtools.index.neighbours import METRICS, NO_ROW, Neighbors
from shardtools.index.options import INDEX_VERSION, KINDS, IndexInfo, IndexOptions
from shardtools.index.vector_index import VectorIndex, build_index, open_index

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
    "neighbour_graph",
    "open_embeddings",
    "open_index",
    "recall",
    "search_exact",
]
