"""FAISS: what is asked of it, in one place.

Owns every call of the library, and is the one module that imports it (a test), when it is first needed: exact searches,
and so audits, do without it. Its Python types are loose, so values are typed here. On GPUs (faiss-gpu) an index is
cloned and sharded over them; the price is that this path has been checked against the library's documentation only
where no GPU was at hand.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError, RunError, first_line
from shardtools.features.neighbors.neighbors import NO_ROW, Floats, Neighbors, to_distances
from shardtools.features.neighbors.options import IndexOptions

_ROWS_PER_LIST = 39
"""Rows that FAISS wants at least for each centre that it learns."""

_BITS = 8
FEWEST_ROWS_OF_CODES = 1 << _BITS
"""Codes have so many values each, and a value is learned from a row at least."""


def library() -> Any:
    """The module `faiss`. Called before any work that needs it, so that nothing is half done where it is missing.

    Raises:
        RunError: It is not installed, or cannot be loaded.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RunError(
            f"an index of kind ivf, ivf-pq or hnsw needs FAISS, which cannot be imported ({reason}): pip install "
            "'shardtools[audit]', or faiss-gpu; or search exactly (index --kind flat, duplicates --search exact)"
        ) from None


def count_gpus() -> int:
    """GPUs that this FAISS can use; 0 for faiss-cpu."""
    faiss = library()
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def wants_gpus(device: str) -> bool:
    """Whether an index goes to GPUs.

    Raises:
        OptionError: They are insisted on, and there are none.
        RunError: FAISS is missing.
    """
    found = count_gpus()
    if device == "cuda" and not found:
        raise OptionError(
            "device 'cuda' was asked for, found no GPU that FAISS can use: install faiss-gpu, or take cpu"
        )
    return device != "cpu" and found > 0


def to_gpus(index: Any) -> Any:
    """The index on all GPUs: its rows are shared among them, in float16."""
    faiss = library()
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True
    options.useFloat16 = True
    return faiss.index_cpu_to_all_gpus(index, co=options)


def num_lists(options: IndexOptions, num_rows: int) -> int:
    """Lists of an inverted file."""
    if options.num_lists is not None:
        return min(options.num_lists, num_rows)
    return max(1, min(round(4 * math.sqrt(num_rows)), num_rows // _ROWS_PER_LIST))


def code_bytes(options: IndexOptions, dim: int) -> int:
    """Bytes of a row's code: what divides D, for product codes."""
    if options.kind != "ivf-pq":
        return 2 * dim
    wanted: int = options.code_bytes or min(max(dim // 8, 1), 128)
    if options.code_bytes is not None and dim % wanted:
        raise OptionError(f"code_bytes divides the {dim} dimensions, found {wanted}: take {_divisor(dim, wanted)}")
    return _divisor(dim, wanted)


def _divisor(dim: int, most: int) -> int:
    return max(value for value in range(1, min(most, dim) + 1) if dim % value == 0)


def empty_index(options: IndexOptions, num_rows: int, dim: int) -> Any:
    """An index without rows, not trained."""
    faiss = library()
    metric = faiss.METRIC_INNER_PRODUCT if options.metric == "cosine" else faiss.METRIC_L2
    if options.kind == "hnsw":
        index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, options.links, metric)
        index.hnsw.efConstruction = max(40, 2 * options.links)
        return index
    quantizer = faiss.IndexFlatIP(dim) if options.metric == "cosine" else faiss.IndexFlatL2(dim)
    lists = num_lists(options, num_rows)
    if options.kind == "ivf":
        index = faiss.IndexIVFScalarQuantizer(quantizer, dim, lists, faiss.ScalarQuantizer.QT_fp16, metric, False)
    else:
        index = faiss.IndexIVFPQ(quantizer, dim, lists, code_bytes(options, dim), _BITS, metric)
    # The centres belong to the index, which outlives the Python object.
    quantizer.this.disown()
    index.own_fields = True
    index.cp.seed = options.seed + 1
    index.cp.min_points_per_centroid = 1
    if options.kind == "ivf-pq":
        index.pq.cp.min_points_per_centroid = 1
    return index


def set_effort(index: Any, kind: str, effort: int) -> None:
    """How much of the index a search looks at."""
    faiss = library()
    name = "efSearch" if kind == "hnsw" else "nprobe"
    # An index that is sharded over GPUs has no nprobe of its own: it is set in every shard.
    if count_gpus() and hasattr(faiss, "GpuParameterSpace") and not hasattr(index, "nprobe") and kind != "hnsw":
        faiss.GpuParameterSpace().set_index_parameter(index, name, effort)
        return
    faiss.ParameterSpace().set_index_parameter(index, name, effort)


def search(index: Any, queries: Floats, k: int, metric: str) -> Neighbors:
    """Nearest rows; queries of length 1 for cosine."""
    found, rows = index.search(np.ascontiguousarray(queries), k)
    scores: npt.NDArray[Any] = found if metric == "cosine" else -found / 2
    scores = np.where(rows == NO_ROW, -np.inf, scores).astype(np.float32)
    return Neighbors(rows=rows.astype(np.int64), distances=to_distances(scores, metric))


def write(index: Any, path: str) -> None:
    """Writes an index into a file."""
    library().write_index(index, path)


def read(path: str) -> Any:
    """Reads an index; lists on the disk are mapped.

    Raises:
        OSError: The file is no index.
    """
    try:
        return library().read_index(path)
    except RuntimeError as error:
        raise OSError(first_line(error)) from None


def merge_on_disk(trained: Any, files: list[str], lists: str) -> None:
    """Puts the rows of several files into lists on the disk; `trained` then searches them there."""
    importlib.import_module("faiss.contrib.ondisk").merge_ondisk(trained, files, lists)
