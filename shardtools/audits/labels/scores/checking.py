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

from shardtools.arrays import Float32s, Int64s
from shardtools.audits.labels.scores.options import FEWEST_NEIGHBORS, AuditOptions
from shardtools.errors import OptionError
from shardtools.features.checking import ROWS_PER_BLOCK, Features, check_features

_SHOWN = 5
_ARRAYS = 14
_COPIES = 3
_NEIGHBOR_BYTES = 40
_FIXED_BYTES = 2**28
_ROUNDING = 1e-3
_SUM_ROUNDING = 0.02
"""What half precision does to a sum of a thousand probabilities."""
_LARGEST = 1e15
"""Squares of larger features, summed over all samples, leave the range of single precision."""


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
    for features in encoders:
        _check_size(features)
    return given.astype(np.int64), count


def check_encoder(features: Features, options: AuditOptions) -> None:
    """Refuses what no model can be fitted to.

    Raises:
        OptionError: No table of finite features, numbers whose squares single precision does not hold, or one row many
            times.
    """
    check_features(features, min_rows=options.num_folds)
    _check_size(features)


def _check_size(features: Features) -> None:
    if all(
        bool((features[start : start + ROWS_PER_BLOCK] == features[0]).all())
        for start in range(0, len(features), ROWS_PER_BLOCK)
    ):
        raise OptionError(f"features of different samples differ, found {len(features)} times the same: extract anew")
    if float(np.finfo(features.dtype).max) < _LARGEST:
        return
    for start in range(0, len(features), ROWS_PER_BLOCK):
        wrong = np.argwhere(np.abs(features[start : start + ROWS_PER_BLOCK]) > _LARGEST)
        if wrong.size:
            row, column = wrong[0].tolist()
            raise OptionError(
                f"features are at most {_LARGEST:.0e}, found {features[start + row, column]:.3g} at row {start + row}, "
                f"column {column}: extract anew, or divide all by their largest"
            )


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


def check_probabilities(probabilities: npt.NDArray[Any] | Sequence[npt.ArrayLike]) -> list[Float32s]:
    """Out-of-fold probabilities of one model or several, each float32 [N, C] with rows that sum to 1.

    Raises:
        OptionError: Another shape, values that are no probabilities, or rows that do not sum to 1.
    """
    if isinstance(probabilities, np.ndarray) and probabilities.ndim == 2:
        return [_probabilities(probabilities)]
    return [_probabilities(np.asarray(one)) for one in probabilities]


def _probabilities(given: npt.NDArray[Any]) -> Float32s:
    if given.ndim != 2 or given.shape[1] < 2 or not np.issubdtype(given.dtype, np.floating):
        raise OptionError(f"probabilities are floating-point numbers [N, classes], found {given.dtype} {given.shape}")
    # The order of the comparison refuses NaN too.
    wrong = np.argwhere(~((given >= -_ROUNDING) & (given <= 1 + _ROUNDING)))
    if wrong.size:
        row, column = wrong[0].tolist()
        raise OptionError(
            f"probabilities are 0 to 1, found {given[row, column]} at row {row}, column {column}: are they logits? "
            "Give their softmax"
        )
    found = np.clip(given.astype(np.float32), 0, 1)
    sums = found.sum(axis=1, dtype=np.float64)
    off = np.flatnonzero(np.abs(sums - 1) > _SUM_ROUNDING)
    if off.size:
        row = int(off[0])
        raise OptionError(
            f"probabilities of a sample sum to 1, found {sums[row]:.4g} at row {row}: divide by their sum"
        )
    return np.asarray(found / sums[:, None], np.float32)


def check_fit(probabilities: Sequence[Float32s], num_samples: int, num_classes: int) -> None:
    """Refuses probabilities of other samples or classes.

    Raises:
        OptionError: A shape is not [num_samples, num_classes].
    """
    for one in probabilities:
        if one.shape != (num_samples, num_classes):
            raise OptionError(
                f"probabilities are [{num_samples}, {num_classes}], a row a sample and a column a class, found "
                f"{list(one.shape)}"
            )


def check_copies(copies: npt.ArrayLike, num_samples: int) -> Int64s:
    """A whole number for each sample.

    Raises:
        OptionError: Another shape or type.
    """
    numbers = np.asarray(copies)
    if numbers.shape != (num_samples,) or not np.issubdtype(numbers.dtype, np.integer):
        raise OptionError(
            f"copies are whole numbers, one for each of {num_samples} samples, found {numbers.dtype} {numbers.shape}"
        )
    return numbers.astype(np.int64)


def check_groups(groups: Int64s) -> None:
    """Refuses a dataset of copies of few pictures, or of features that are constant.

    Raises:
        OptionError: There are not more different samples than neighbours needed.
    """
    number = int(groups[-1]) + 1
    if number <= FEWEST_NEIGHBORS:
        raise OptionError(
            f"an audit compares more than {FEWEST_NEIGHBORS} samples whose features differ, found {number} among "
            f"{len(groups)}: are they constant? Extract them anew"
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
