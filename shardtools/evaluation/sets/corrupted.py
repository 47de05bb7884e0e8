"""ImageNet-C: errors by corruption and severity, and the means that papers print of them.

Owns the sorting of pictures into cells. A row of the manifest (shards of corrupted pictures) or of the predictions
(corrupted on the fly) says what was done to a picture; rows without a corruption are the clean ones. mCE is printed
only for a model of ImageNet's classes on all fifteen corruptions and all five severities, because AlexNet's errors, by
which it is divided, are of that. The price: a part of the cells has a plain mean alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shardtools.arrays import Bools, Float64s, Int64s
from shardtools.errors import DatasetError
from shardtools.evaluation.metrics import mean_corruption_error, mean_error, relative_mean_corruption_error
from shardtools.evaluation.published import CORRUPTIONS
from shardtools.evaluation.sets.figure import Figure, Judgement
from shardtools.words import counted

SEVERITIES = (1, 2, 3, 4, 5)


def corrupted_errors(right: Bools, corruption: Sequence[str], severity: Int64s) -> dict[str, Float64s]:
    """Corruption -> errors at severities 1 to 5, float64 [5], 0 to 1; NaN where there is no picture of a severity.

    Args:
        right: Whether the model was right, bool [N].
        corruption: What was done to each picture, "" for nothing.
        severity: 1 to 5.

    Raises:
        DatasetError: A severity is none of the five.
    """
    names = np.asarray(corruption)
    is_corrupted = names != ""
    odd = is_corrupted & ~np.isin(severity, SEVERITIES)
    if odd.any():
        row = int(odd.argmax())
        raise DatasetError(
            f"{names[row]} has severity {severity[row]}, expected 1 to 5: corrupt the pictures again "
            "(`shardtools corrupt --set imagenet-c`)"
        )
    found = {}
    for name in _in_order(set(names[is_corrupted].tolist())):
        cells = [right[(names == name) & (severity == one)] for one in SEVERITIES]
        found[name] = np.array([1 - cell.mean() if len(cell) else np.nan for cell in cells])
    return found


def judge_corrupted(
    errors: Mapping[str, Float64s], clean_error: float | None, num_samples: int, *, is_imagenet: bool, how: str
) -> Judgement:
    """Figures of a set of corrupted pictures.

    Args:
        errors: As `corrupted_errors` gives them.
        clean_error: Of the pictures as they were, 0 to 1; `None` where it was not measured.
        num_samples: Corrupted pictures that were judged.
        is_imagenet: Whether the model was judged on ImageNet's 1,000 classes, as AlexNet was.
        how: For the protocol.

    Raises:
        DatasetError: No picture is corrupted.
    """
    if not errors:
        raise DatasetError(
            "no picture has a corruption in its row: write them with `shardtools corrupt`, or give --on-the-fly to "
            "corrupt while predicting"
        )
    whole = {name: values for name, values in errors.items() if not np.isnan(values).any()}
    figures, notes = [], []
    missing = [name for name in CORRUPTIONS if name not in whole]
    if is_imagenet and not missing:
        of_15 = {name: whole[name] for name in CORRUPTIONS}
        figures.append(
            Figure(
                metric="mean_corruption_error",
                value=mean_corruption_error(of_15),
                how=f"{how}; over AlexNet",
                num_samples=num_samples,
                is_main=True,
            )
        )
        if clean_error is not None:
            value = relative_mean_corruption_error(of_15, clean_error)
            figures.append(
                Figure(
                    metric="relative_mean_corruption_error",
                    value=value,
                    how=f"{how}; over AlexNet",
                    num_samples=num_samples,
                )
            )
    elif is_imagenet:
        notes.append(
            f"no mCE: it needs all fifteen corruptions at all five severities, {counted(len(missing), 'is', 'are')} "
            f"missing or incomplete ({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''})"
        )
    # Every corruption weighs the same, whichever severities it has.
    mean = (
        mean_error(whole) if len(whole) == len(errors) else float(np.mean([np.nanmean(one) for one in errors.values()]))
    )
    figures.append(Figure(metric="mean_error", value=mean, how=how, num_samples=num_samples, is_main=not figures))
    if clean_error is not None:
        figures.append(Figure(metric="clean_error", value=clean_error, how=how, num_samples=num_samples))
    for name, values in errors.items():
        figures += [
            Figure(metric="error", value=float(value), split=f"{name}/{severity}", how=how, num_samples=num_samples)
            for severity, value in zip(SEVERITIES, values, strict=True)
            if not np.isnan(value)
        ]
    return Judgement(figures=tuple(figures), notes=tuple(notes))


def _in_order(names: set[str]) -> list[str]:
    """The fifteen as papers print them, then the others by name."""
    return [name for name in CORRUPTIONS if name in names] + sorted(names - set(CORRUPTIONS))
