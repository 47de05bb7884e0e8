"""Shipped figures of others as rows of results.

Owns what each set of published figures becomes: names of test sets as our own runs have them, shares of one instead of
percent, and a `protocol` that says what is particular. `split` is empty for a whole test set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import mean_corruption_error, mean_error
from shardtools.evaluation.published import read_rows, robustbench_errors
from shardtools.evaluation.results.result import Result

STUDY = "ood"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A set of published figures.

    Attributes:
        what: One line on the figures.
        rows: Gives them.
    """

    what: str
    rows: Callable[[], Iterator[Result]]


def _seed001() -> Iterator[Result]:
    """Cells of the table; those that a result file backs, with its digits."""
    columns = {
        "IN-A": ("inA_acc", "imagenet-a", "top1_accuracy", 100),
        "StylizedIN_shape_pct": ("cue_shape", "cue-conflict", "shape_bias", 1),
        "IN-Sketch": ("sketch_top1", "imagenet-sketch", "top1_accuracy", 100),
        "adv_acc": ("adv_acc", "imagenet", "adversarial_accuracy", 100),
    }
    beside = {
        "inA_rms_calib_err": ("imagenet-a", "rms_calibration_error_as_published", 100),
        "inA_aurra": ("imagenet-a", "aurra_as_published", 100),
        "cue_frac_correct": ("cue-conflict", "cue_accuracy", 1),
    }
    publisher = "eminorhan/ood-benchmarks [210e27d]"
    table = {row["model"]: row for row in read_rows("seed001_table")}
    files = {row["model"]: row for row in read_rows("seed001_result_files")}
    for model in {**table, **files}:
        printed, precise = table.get(model, {}), files.get(model, {})
        if printed.get("IN"):
            yield _row(model, "imagenet", "top1_accuracy", float(printed["IN"]) / 100, "seed001", f"{publisher} table")
        for column, (own, dataset, metric, unit) in columns.items():
            if precise.get(own):
                value, source = float(precise[own]) / unit, f"{publisher} results/"
            elif printed.get(column):
                value, source = float(printed[column]) / 100, f"{publisher} table"
            else:
                continue
            yield _row(model, dataset, metric, value, "seed001", source)
        for own, (dataset, metric, unit) in beside.items():
            if precise.get(own):
                yield _row(model, dataset, metric, float(precise[own]) / unit, "seed001", f"{publisher} results/")


def _robustbench() -> Iterator[Result]:
    source = "RobustBench model_info/imagenet/corruptions"
    found = robustbench_errors()
    for model, errors in found.items():
        mce = mean_corruption_error(errors, found["AlexNet"])
        yield _row(model, "imagenet-c", "mean_corruption_error", mce, "5,000 images", source)
        yield _row(model, "imagenet-c", "mean_error", mean_error(errors), "5,000 images", source)
        for corruption, values in errors.items():
            for severity, value in enumerate(values, start=1):
                split = f"{corruption}/{severity}"
                yield _row(model, "imagenet-c", "error", float(value), "5,000 images", source, split=split)


REFERENCES: dict[str, Reference] = {
    "seed001": Reference(what="26 networks on six sets, E. Orhan 2020", rows=_seed001),
    "robustbench": Reference(what="12 networks on ImageNet-C, RobustBench", rows=_robustbench),
}
"""Name -> figures."""


def reference_results(name: str) -> list[Result]:
    """The rows of a shipped set of figures.

    Raises:
        OptionError: There is none of that name.
    """
    if name not in REFERENCES:
        raise OptionError(f"--reference is one of {', '.join(REFERENCES)}, found {name!r}")
    return list(REFERENCES[name].rows())


def _row(model: str, dataset: str, metric: str, value: float, protocol: str, source: str, *, split: str = "") -> Result:
    return Result(
        study=STUDY,
        model=model,
        dataset=dataset,
        split=split,
        protocol=protocol,
        metric=metric,
        value=value,
        source=source,
    )
