"""ImageNet-C: figures of a set of corrupted pictures.

Owns which means are printed. A row of the manifest (shards of corrupted pictures) or of the predictions (corrupted on
the fly) says what was done to a picture; rows without a corruption are the clean ones. mCE is printed only for a model
that was judged on ImageNet's 1,000 classes, with all fifteen corruptions, because AlexNet's errors, by which it is
divided, are of that. The price: a part of the corruptions, or other classes, have a plain mean alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from shardtools.arrays import Float64s
from shardtools.evaluation.metrics import mean_corruption_error, mean_error, relative_mean_corruption_error
from shardtools.evaluation.published import CORRUPTIONS
from shardtools.evaluation.sets.figure import Figure, Judgement
from shardtools.words import counted

_NAMED = 3


def judge_errors(errors: Mapping[str, Float64s], clean_error: float | None, *, is_imagenet: bool) -> Judgement:
    """Figures out of the errors of each corruption.

    Args:
        errors: Corruption -> errors at severities 1 to 5, float64 [5], 0 to 1; at least one.
        clean_error: Of the pictures as they were, 0 to 1; `None` where it was not measured.
        is_imagenet: Whether they are of ImageNet's 1,000 classes, as AlexNet's were.
    """
    missing = [name for name in CORRUPTIONS if name not in errors]
    # The four further corruptions are for validation: papers' means are of the fifteen.
    meant = {name: errors[name] for name in CORRUPTIONS} if not missing else dict(errors)
    how = counted(len(meant), "corruption")
    values: dict[str, float] = {}
    if is_imagenet and not missing:
        values["mean_corruption_error"] = mean_corruption_error(meant)
        if clean_error is not None:
            values["relative_mean_corruption_error"] = relative_mean_corruption_error(meant, clean_error)
    values["mean_error"] = mean_error(meant)
    if clean_error is not None:
        values["clean_error"] = clean_error
    figures = [Figure(metric=metric, value=value, how=how, is_main=True) for metric, value in values.items()]
    order = [*(name for name in CORRUPTIONS if name in errors), *(name for name in errors if name not in CORRUPTIONS)]
    figures += [
        Figure(metric="error", value=float(value), split=f"{name}/{severity}")
        for name in order
        for severity, value in enumerate(errors[name], start=1)
    ]
    return Judgement(figures=tuple(figures), notes=_notes(missing, is_imagenet=is_imagenet))


def _notes(missing: list[str], *, is_imagenet: bool) -> tuple[str, ...]:
    if not is_imagenet:
        return ("no mCE: AlexNet's errors, by which it is divided, are of the choice among ImageNet's 1,000 classes",)
    if not missing:
        return ()
    more = ", ..." if len(missing) > _NAMED else ""
    return (f"no mCE: {len(missing)} of its fifteen corruptions are missing ({', '.join(missing[:_NAMED])}{more})",)
