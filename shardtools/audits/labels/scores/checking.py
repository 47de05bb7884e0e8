"""The refusal of what cannot be audited.

Owns the checks of features and labels. Each is one line that names the first thing that is wrong; the price is one look
through the features before anything starts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.audits.labels.scores.options import FEWEST_NEIGHBORS, AuditOptions
from shardtools.errors import OptionError
from shardtools.features.checking import Features, check_features

_SHOWN = 5
_ARRAYS = 14
_COPIES = 3
_NEIGHBOR_BYTES = 40
_FIXED_BYTES = 2**28


def check_dataset(
    encoders: Sequence[Features], labels: npt.ArrayLike, num_classes: int | None, options: AuditOptions
) -> tuple[Int64s, int]:
    """Refuses what cannot be audited.

    Args:
        encoders: Features [N, D] of one or more encoders.
        labels: Whole numbers, [N].
        num_classes: C; one more than the largest label if not given.
        options: Of the audit.

    Returns:
        Labels as int64 and C.

    Raises:
        OptionError: Features that are not finite or differ in length, labels that do not fit, too few samples.
    """
    if not encoders:
        raise OptionError("expected features of at least one encoder, found none")
    for features in encoders:
        check_features(features, min_rows=options.num_folds)
    num_samples = len(encoders[0])
    lengths = [len(features) for features in encoders]
    if len(set(lengths)) > 1:
        raise OptionError(f"all encoders have features of the same samples, found {lengths} rows: extract them anew")
    given = np.asarray(labels)
    if given.shape != (num_samples,) or not np.issubdtype(given.dtype, np.integer):
        raise OptionError(
            f"labels are whole numbers, one for each of {num_samples} samples, found {given.dtype} {given.shape}"
        )
    count = int(given.max()) + 1 if num_classes is None else num_classes
    outside = np.flatnonzero((given < 0) | (given >= count))
    if outside.size:
        row = int(outside[0])
        raise OptionError(f"labels are 0 to {count - 1}, found {int(given[row])} at row {row}: leave it out or map it")
    _check_classes(given.astype(np.int64), count)
    if num_samples <= max(FEWEST_NEIGHBORS, options.num_folds):
        raise OptionError(
            f"an audit needs more than {max(FEWEST_NEIGHBORS, options.num_folds)} samples, found {num_samples}"
        )
    _check_memory(num_samples, count, encoders, options)
    return given.astype(np.int64), count


def needed_bytes(num_samples: int, num_classes: int, dimensions: Sequence[int], num_neighbors: int) -> int:
    """Peak memory of an audit beside the features given; with many classes, 14 arrays of all probabilities rule it.

    Args:
        num_samples: N.
        num_classes: C.
        dimensions: Components kept of each encoder.
        num_neighbors: Found of each sample.
    """
    probabilities = 4 * num_classes * _ARRAYS * (1 + len(dimensions)) // 2
    each = sum(4 * _COPIES * kept + _NEIGHBOR_BYTES * num_neighbors for kept in dimensions)
    return _FIXED_BYTES + num_samples * (probabilities + each)


def _check_memory(num_samples: int, num_classes: int, encoders: Sequence[Features], options: AuditOptions) -> None:
    """Refuses at once what would be stopped by the system after hours."""
    dimensions = [min(options.num_dimensions, features.shape[1]) for features in encoders]
    needed = needed_bytes(num_samples, num_classes, dimensions, options.num_neighbors)
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > found:
        raise OptionError(
            f"an audit of {num_samples} samples and {num_classes} classes needs about {needed / 2**30:.0f} GiB, found "
            f"{found / 2**30:.0f} GiB: audit groups of classes that may be mistaken for one another, one by one"
        )


def check_margins(training_margins: npt.ArrayLike, num_samples: int) -> npt.NDArray[np.float64]:
    """Margins of a training as float64 [N, epochs]; NaN where a sample was not seen in an epoch.

    Raises:
        OptionError: Another shape, or infinite values.
    """
    margins = np.asarray(training_margins, np.float64)
    if margins.ndim != 2 or len(margins) != num_samples or margins.shape[1] == 0:
        raise OptionError(f"training margins are an array [{num_samples}, epochs], found {margins.shape}")
    if np.isinf(margins).any():
        row = int(np.flatnonzero(np.isinf(margins).any(axis=1))[0])
        raise OptionError(f"training margins are finite or NaN, found an infinite one at row {row}")
    return margins


def _check_classes(labels: npt.NDArray[Any], num_classes: int) -> None:
    sizes = np.bincount(labels, minlength=num_classes)
    if np.count_nonzero(sizes) < 2:
        raise OptionError(f"an audit compares at least 2 classes, found {np.count_nonzero(sizes)}")
    small = np.flatnonzero(sizes < 2)
    if small.size:
        shown = ", ".join(f"{label} ({sizes[label]})" for label in small[:_SHOWN].tolist())
        more = ", ..." if small.size > _SHOWN else ""
        raise OptionError(
            f"each of {num_classes} classes has at least 2 samples, found fewer in {small.size}: {shown}{more}: "
            "leave them out and number the others from 0"
        )
