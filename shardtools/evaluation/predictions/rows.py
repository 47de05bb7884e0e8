"""Logits of some images to rows of a predictions overlay: NumPy arrays in, an Arrow table out.

Owns the columns and their meanings. Everything but `all_logits` is computed from float32 logits, so a rank, a margin
or a probability does not suffer from what float16 rounds; the price is a pass over the logits on the CPU, about a
hundredth of what the smallest network costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.arrays import Bools, Float32s, from_numbers, from_rows, from_texts
from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.predictions.variants import CLEAN

TOP = 5
"""Outputs that a row names; all of them where a model has fewer."""

KEY, CORRUPTION, SEVERITY, ALL_LOGITS = "key", "corruption", "severity", "all_logits"
NO_LABEL = -1
"""A label that is no output of the model, in arrays; null in the overlay."""

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "label": (pa.int32(), "the given label as an output of the model; null where the model has no such class"),
    "classes": (pa.list_(pa.int32()), "the likeliest outputs, likeliest first; of equal ones the lower number"),
    "predicted_wnid": (pa.string(), "the class of the first of them; null where it is not known what outputs are"),
    "logits": (pa.list_(pa.float32()), "their logits"),
    "probabilities": (pa.list_(pa.float32()), "their softmax over all outputs, 0 to 1"),
    "rank": (pa.int32(), "of the given label among all outputs; 1 is the likeliest"),
    "margin": (pa.float32(), "logit of the given label minus the greatest other one"),
    "log_sum_exp": (pa.float32(), "natural logarithm of the sum of exp(logit) over all outputs"),
    "reason": (pa.string(), "why the image could not be read; all other columns are null then"),
}
"""Column -> type and meaning, in the order of the file, between the key and `ALL_LOGITS`."""

VARIANT_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    CORRUPTION: (pa.string(), f"what was done to the pixels before; {CLEAN!r} for nothing"),
    SEVERITY: (pa.int8(), "how much of it, 1 to 5; 0 for nothing"),
}
"""The same of the columns that only an overlay of changed pixels has; after the key."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What logits say of images and their labels; M is min(5, C).

    Attributes:
        classes: int32 [N, M], likeliest first.
        logits: float32 [N, M].
        probabilities: float32 [N, M].
        rank: int32 [N] of the label, 1 the likeliest; 0 where there is none.
        margin: float32 [N]; NaN where there is no label.
        log_sum_exp: float32 [N].
    """

    classes: npt.NDArray[np.int32]
    logits: Float32s
    probabilities: Float32s
    rank: npt.NDArray[np.int32]
    margin: Float32s
    log_sum_exp: Float32s


def judge(logits: Float32s, labels: npt.NDArray[np.integer]) -> Judged:
    """The likeliest outputs, and the place of each label among all.

    Of equal logits the output of the lower number is the likelier, so a rank of 1 is the first of `classes`.

    Args:
        logits: float32 [N, C], finite, C at least 2.
        labels: [N], outputs of the model or `NO_LABEL`.
    """
    rows, num_outputs = np.arange(len(logits)), logits.shape[1]
    classes = _likeliest(logits, min(TOP, num_outputs))
    best = logits[rows[:, None], classes]
    # In float64: a thousand terms of exp, and what is written keeps its float32.
    shifted = np.exp(logits.astype(np.float64) - best[:, :1])
    log_sum_exp = best[:, 0].astype(np.float64) + np.log(shifted.sum(axis=1))
    has_label = labels >= 0
    safe = np.where(has_label, labels, 0)
    own = logits[rows, safe][:, None]
    before = (logits > own) | ((logits == own) & (np.arange(num_outputs) < safe[:, None]))
    # The greatest other logit is the best one, or the second best where the label is the best.
    other = np.where(classes[:, 0] == safe, best[:, 1], best[:, 0])
    return Judged(
        classes=classes,
        logits=best,
        probabilities=np.exp(best.astype(np.float64) - log_sum_exp[:, None]).astype(np.float32),
        rank=np.where(has_label, 1 + before.sum(axis=1), 0).astype(np.int32),
        margin=np.where(has_label, own[:, 0] - other, np.nan).astype(np.float32),
        log_sum_exp=log_sum_exp.astype(np.float32),
    )


def prediction_table(
    keys: Sequence[str],
    labels: npt.NDArray[np.integer],
    logits: Float32s,
    *,
    keep_all: bool,
    output_names: Sequence[str] | None = None,
    variants: tuple[Sequence[str], Sequence[int]] | None = None,
    unread: Mapping[int, str] | None = None,
) -> pa.Table:
    """Rows of a predictions overlay.

    Args:
        keys: Of the samples, N of them.
        labels: [N], outputs of the model or `NO_LABEL`.
        logits: float32 [N, C].
        keep_all: Whether all logits are kept, as float16.
        output_names: Class of each output, "" for none; `None` where they are not known.
        variants: Corruption and severity of each row; `None` for pixels as they are.
        unread: Place -> reason, of images that could not be read; what `logits` has there is not looked at.

    Raises:
        OptionError: The arrays do not fit each other, or the model has a single output.
        DatasetError: A logit is not finite; the message names the key.
    """
    unread = unread or {}
    if logits.ndim != 2 or len(logits) != len(keys) or len(labels) != len(keys):
        raise OptionError(f"expected logits [{len(keys)}, C] and a label for each key, found {logits.shape}")
    if logits.shape[1] < 2:
        raise OptionError(f"a classifier has at least 2 outputs, found {logits.shape[1]}: give another model")
    is_read = np.ones(len(keys), np.bool_)
    is_read[list(unread)] = False
    logits = np.where(is_read[:, None], logits, np.float32(0))
    _check_finite(logits, keys)
    judged = judge(logits, labels)
    labeled = is_read & (labels >= 0)
    columns: dict[str, pa.Array] = {KEY: from_texts(keys)}
    if variants is not None:
        corruptions, severities = variants
        columns |= {CORRUPTION: from_texts(corruptions), SEVERITY: from_numbers(np.asarray(severities, np.int8))}
    values = {
        "label": from_numbers(labels.astype(np.int32), labels >= 0),
        "classes": from_rows(judged.classes, is_read),
        "predicted_wnid": _names(judged.classes[:, 0], is_read, output_names),
        "logits": from_rows(judged.logits, is_read),
        "probabilities": from_rows(judged.probabilities, is_read),
        "rank": from_numbers(judged.rank, labeled),
        "margin": from_numbers(judged.margin, labeled),
        "log_sum_exp": from_numbers(judged.log_sum_exp, is_read),
        "reason": pa.array([unread.get(place) for place in range(len(keys))], pa.string()),
    }
    columns |= {name: values[name] for name in COLUMNS}
    if keep_all:
        columns[ALL_LOGITS] = from_rows(_as_half(logits, keys), is_read)
    return pa.table(columns)


def _names(outputs: npt.NDArray[np.int32], is_read: Bools, names: Sequence[str] | None) -> pa.Array:
    found = [names[output] or None for output in outputs.tolist()] if names is not None else [None] * len(outputs)
    return pa.array([name if read else None for name, read in zip(found, is_read.tolist(), strict=True)], pa.string())


def _likeliest(logits: Float32s, count: int) -> npt.NDArray[np.int32]:
    """Numbers of the greatest logits, [N, count], greatest first."""
    # So many passes for the first maximum are faster than a sort, and say which of equal logits comes first.
    left, rows = logits.copy(), np.arange(len(logits))
    found = np.empty((len(logits), count), np.int32)
    for place in range(count):
        found[:, place] = left.argmax(axis=1)
        left[rows, found[:, place]] = -np.inf
    return found


def _as_half(logits: Float32s, keys: Sequence[str]) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = logits.astype(np.float16)
    wrong = np.argwhere(~np.isfinite(half))
    if wrong.size:
        row, column = wrong[0].tolist()
        raise DatasetError(
            f"the logits of {keys[row]!r} have {logits[row, column]:g} at output {column}, which float16 cannot hold: "
            "take --logits top"
        )
    return half


def _check_finite(logits: Float32s, keys: Sequence[str]) -> None:
    wrong = np.argwhere(~np.isfinite(logits))
    if wrong.size:
        row, column = wrong[0].tolist()
        raise DatasetError(
            f"the logits of {keys[row]!r} have {logits[row, column]} at output {column}, expected finite numbers: are "
            "the weights damaged, or the precision too low? Take --precision fp32"
        )
