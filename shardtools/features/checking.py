"""What a table of features must be before anything is computed of it.

Owns the refusals and the walk over rows in blocks. Features stay in the type that they are given in (a memory-mapped
float16 file, say) and become float64 a block at a time; the price is that they are looked through once for NaN first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float64s
from shardtools.errors import OptionError

Features = npt.NDArray[np.floating[Any]]

ROWS_PER_BLOCK = 4096
"""Rows that are float64 at a time: 64 MiB at 2048 dimensions."""


def check_features(features: Features, *, min_rows: int = 1) -> None:
    """Refuses what is no table of finite features.

    Args:
        features: [N, d], of any floating type.
        min_rows: Rows that the analysis needs.

    Raises:
        OptionError: Another shape or type, too few rows, or a value that is not finite.
    """
    if not isinstance(features, np.ndarray) or features.ndim != 2 or features.shape[1] == 0:
        found = features.shape if isinstance(features, np.ndarray) else type(features).__name__
        raise OptionError(f"features are an array [N, d] with d of at least 1, found {found}")
    if not np.issubdtype(features.dtype, np.floating):
        raise OptionError(f"features are floating-point numbers, found {features.dtype}: convert them")
    if len(features) < min_rows:
        raise OptionError(f"expected features of at least {min_rows} samples, found {len(features)}")
    for start in range(0, len(features), ROWS_PER_BLOCK):
        wrong = np.argwhere(~np.isfinite(features[start : start + ROWS_PER_BLOCK]))
        if wrong.size:
            row, column = wrong[0].tolist()
            value = features[start + row, column]
            raise OptionError(f"features are finite, found {value} at row {start + row}, column {column}: extract anew")


def blocks(features: Features) -> Iterator[Float64s]:
    """The rows in order, as float64, `ROWS_PER_BLOCK` at a time."""
    for start in range(0, len(features), ROWS_PER_BLOCK):
        yield features[start : start + ROWS_PER_BLOCK].astype(np.float64)


def normalized(block: Float64s) -> Float64s:
    """Rows divided by their l2 norm; a row of zeros stays as it is."""
    norms = np.linalg.norm(block, axis=1, keepdims=True)
    return block / np.where(norms > 0, norms, 1.0)
