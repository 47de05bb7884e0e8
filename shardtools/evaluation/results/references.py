"""Shipped figures of others as rows of results.

Owns what each set of published figures becomes: names of test sets as our own runs have them, shares of one instead of
percent, and a `protocol` that says what is particular. `split` is empty for a whole test set. What can be recomputed of
published counts and accuracies is, here, by the functions that own runs go through; the rest is restated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from shardtools.errors import OptionError
from shardtools.evaluation.metrics import (
    METRICS,
    ShapeBias,
    error_ratio,
    mean_corruption_error,
    mean_error,
    relative_mean_corruption_error,
)
from shardtools.evaluation.published import cue_counts, read_rows, robustbench_errors
from shardtools.evaluation.results.result import Result
from shardtools.rendering import FACTORS

STUDY = "ood"

AVERAGE = "Average"
"""Printed rows of the tables of seed 002 that are no network's."""

SEED002_PROTOCOLS = {"linear": "linear", "finetune": "fine-tuned"}

SEED001 = "eminorhan/ood-benchmarks [210e27d]"

# Column of the file -> test set, split, metric.
_TESTBED = {
    "val": ("imagenet", "", "top1_accuracy"),
    "imagenet-a": ("imagenet-a", "", "top1_accuracy"),
    "imagenet-r": ("imagenet-r", "", "top1_accuracy"),
    "imagenet-sketch": ("imagenet-sketch", "", "top1_accuracy"),
    "imagenetv2-matched-frequency": ("imagenet-v2", "matched-frequency", "top1_accuracy"),
    "imagenetv2-threshold0.7": ("imagenet-v2", "threshold", "top1_accuracy"),
    "imagenetv2-topimages": ("imagenet-v2", "top-images", "top1_accuracy"),
    "objectnet-1.0-beta": ("objectnet", "", "top1_accuracy"),
    "stylized_imagenet": ("stylized-imagenet", "", "top1_accuracy"),
    "mCE_on_disk_resize256": ("imagenet-c", "", "mean_corruption_error"),
    "pgd.linf.eps0.5": ("imagenet", "linf 0.5/255", "adversarial_accuracy"),
    "pgd.linf.eps2": ("imagenet", "linf 2/255", "adversarial_accuracy"),
    "val-on-imagenet-a-classes": ("imagenet", "classes of imagenet-a", "top1_accuracy"),
    "val-on-imagenet-r-classes": ("imagenet", "classes of imagenet-r", "top1_accuracy"),
}

# Column of the file -> test set, metric, what the file's number is divided by, column of the printed table.
_SEED001 = {
    "inA_acc": ("imagenet-a", "top1_accuracy", 100, "IN-A"),
    "sketch_top1": ("imagenet-sketch", "top1_accuracy", 100, "IN-Sketch"),
    "cue_shape": ("cue-conflict", "shape_bias", 1, "StylizedIN_shape_pct"),
    "adv_acc": ("imagenet", "adversarial_accuracy", 100, "adv_acc"),
    "inA_rms_calib_err": ("imagenet-a", "rms_calibration_error_as_published", 100, ""),
    "inA_aurra": ("imagenet-a", "aurra_as_published", 100, ""),
    "cue_frac_correct": ("cue-conflict", "cue_accuracy", 1, ""),
}

_TIMM_SETS = {
    "imagenet-a": ("imagenet-a", ""),
    "imagenet-a-clean": ("imagenet", "classes of imagenet-a"),
    "imagenet-r": ("imagenet-r", ""),
    "imagenet-r-clean": ("imagenet", "classes of imagenet-r"),
    "sketch": ("imagenet-sketch", ""),
    "imagenetv2-matched-frequency": ("imagenet-v2", "matched-frequency"),
    "imagenet-real": ("imagenet-real", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A set of published figures.

    Attributes:
        what: One line on the figures.
        rows: Gives them.
    """

    what: str
    rows: Callable[[], Iterator[Result]]


def _robustness() -> Iterator[Result]:
    """What the benchmark's own page has of ResNet-50, which everybody compares with."""
    source = "hendrycks/robustness [8190fe3]"
    for dataset, metric, value in (
        ("imagenet-c", "mean_corruption_error", 0.767),
        ("imagenet-p", "mean_flip_rate", 0.580),
        ("imagenet-p", "mean_top5_distance", 0.784),
    ):
        yield _row("resnet50", dataset, metric, value, protocol="over AlexNet's", source=source)


def _seed001() -> Iterator[Result]:
    """Cells of the table, those that a result file backs with its digits, and what the files have beside them."""
    table = {row["model"]: row for row in read_rows("seed001_table")}
    files = {row["model"]: row for row in read_rows("seed001_result_files")}
    for model in {**table, **files}:
        printed, precise = table.get(model, {}), files.get(model, {})
        if printed.get("IN"):
            value = float(printed["IN"]) / 100
            yield _row(model, "imagenet", "top1_accuracy", value, protocol="seed001", source=f"{SEED001} README")
        for own, (dataset, metric, unit, column) in _SEED001.items():
            if precise.get(own):
                value, source = float(precise[own]) / unit, f"{SEED001} results"
            elif printed.get(column):
                value, source = float(printed[column]) / 100, f"{SEED001} README"
            else:
                continue
            split = "linf 0.06" if metric == "adversarial_accuracy" else ""
            yield _row(model, dataset, metric, value, split=split, protocol="seed001", source=source)


def _robustbench() -> Iterator[Result]:
    """Recomputed of the 75 accuracies; the tests hold them against what RobustBench prints."""
    facts: dict[str, Any] = {"protocol": "5,000 images", "source": "RobustBench, imagenet/corruptions"}
    errors = robustbench_errors()
    clean = {row["model"]: 1 - float(row["clean_acc"]) / 100 for row in read_rows("robustbench_imagenet_c_published")}
    alexnet = errors["AlexNet"]
    for model, own in errors.items():
        figures = {
            "mean_corruption_error": mean_corruption_error(own, alexnet),
            "relative_mean_corruption_error": relative_mean_corruption_error(
                own, clean[model], alexnet, clean["AlexNet"]
            ),
            "mean_error": mean_error(own),
            "clean_error": clean[model],
        }
        for metric, value in figures.items():
            yield _row(model, "imagenet-c", metric, value, **facts)
        for corruption, values in own.items():
            for severity, value in enumerate(values, start=1):
                yield _row(model, "imagenet-c", "error", float(value), split=f"{corruption}/{severity}", **facts)


def _linf() -> Iterator[Result]:
    source = "RobustBench, imagenet/Linf"
    for row in read_rows("robustbench_imagenet_linf"):
        clean, attacked = float(row["clean_acc"]) / 100, float(row["autoattack_acc"]) / 100
        yield _row(row["model"], "imagenet", "top1_accuracy", clean, protocol="5,000 images", source=source)
        split, protocol = f"linf {row['eps']}", "AutoAttack, 5,000 images"
        yield _row(
            row["model"], "imagenet", "adversarial_accuracy", attacked, split=split, protocol=protocol, source=source
        )


def _testbed() -> Iterator[Result]:
    protocols = {
        "mean_corruption_error": "files of 224 pixels through a resize to 256: 1.5 points too high",
        "adversarial_accuracy": "PGD",
    }
    for row in read_rows("testbed"):
        for column, (dataset, split, metric) in _TESTBED.items():
            if row[column]:
                protocol, value = protocols.get(metric, ""), float(row[column]) / 100
                yield _row(
                    row["model"], dataset, metric, value, split=split, protocol=protocol, source="imagenet-testbed"
                )


def _timm() -> Iterator[Result]:
    """Correlations of ImageNet's top-1 with another set's; restated, the 1,556 networks' accuracies are not shipped."""
    for row in read_rows("timm_correlations"):
        dataset, part = _TIMM_SETS[row["set"]]
        for suffix, which in (("", ""), ("_gt70", " above 70 %")):
            number = int(row["n_gt70"] if suffix else row["n"])
            for metric in ("pearson", "spearman", "slope"):
                yield _row(
                    f"networks of timm{which}",
                    dataset,
                    metric,
                    float(row[f"{metric}{suffix}"]),
                    split=part,
                    protocol=f"top-1 against ImageNet's, {number:,} networks",
                    source="timm results/",
                )


def _imagenet_x() -> Iterator[Result]:
    """Of all 50,000 images; the ratios recomputed of accuracies on the 46,110 that count."""
    source = "facebookresearch/imagenetx"
    columns = {
        "top1": "top1_accuracy",
        "rms_calibration": "rms_calibration_error_as_published",
        "aurra": "aurra_as_published",
    }
    for row in read_rows("imagenet_x_predictions"):
        for column, metric in columns.items():
            yield _row(row["model"], "imagenet", metric, float(row[column]) / 100, source=source)
        yield _row(row["model"], "imagenet", "soft_f1", float(row["soft_f1"]), source=source)
    factors = {row["factor"]: float(row["accuracy"]) for row in read_rows("imagenet_x_resnet50")}
    accuracy = factors.pop("all")
    facts: dict[str, Any] = {"protocol": "without prototypes", "source": source}
    yield _row("ResNet50", "imagenet-x", "top1_accuracy", accuracy, **facts)
    for factor, own in factors.items():
        split, ratio = f"factor/{factor}", error_ratio(own, accuracy)
        assert ratio is not None
        yield _row("ResNet50", "imagenet-x", "top1_accuracy", own, split=split, **facts)
        yield _row("ResNet50", "imagenet-x", "error_ratio", ratio, split=split, **facts)


def _cue_conflict() -> Iterator[Result]:
    """Recomputed of counts; people and networks."""
    facts: dict[str, Any] = {"protocol": "the authors' decisions", "source": "rgeirhos/texture-vs-shape [ccd0c01]"}
    for model, (num_shape, num_texture, total) in cue_counts().items():
        found = ShapeBias(num_shape=num_shape, num_texture=num_texture, num_other=total - num_shape - num_texture)
        assert found.bias is not None and found.accuracy is not None and found.interval is not None
        low, high = found.interval
        yield _row(model, "cue-conflict", "shape_bias", found.bias, low=low, high=high, **facts)
        yield _row(model, "cue-conflict", "cue_accuracy", found.accuracy, **facts)


def _seed002() -> Iterator[Result]:
    """Rows of tables 1 and 3, their gaps by the splits of own ones; averages are not rows, as anybody can take them."""
    facts: dict[str, Any] = {
        "study": "natural-variation",
        "dataset": "rendered",
        "source": "Ibrahim et al. 2023 (arXiv 2210.13604)",
    }
    for row in read_rows("seed002_table1"):
        if row["model"] != AVERAGE:
            how = SEED002_PROTOCOLS[row["mode"]]
            for column, split in (("train_acc", "train"), ("heldout_acc", "canonical")):
                value = float(row[column]) / 100
                yield _row(row["model"], metric="top1_accuracy", value=value, split=split, protocol=how, **facts)
            for factor in FACTORS:
                gap = float(row[f"{factor}_gap"]) / 100
                yield _row(row["model"], metric="variation_gap", value=gap, split=factor, protocol=how, **facts)
    for row in read_rows("seed002_table3"):
        if row["model"] != AVERAGE:
            for factor in FACTORS:
                yield _row(
                    row["model"],
                    metric="variation_gap",
                    value=float(row[f"{factor}_gap"]) / 100,
                    split=f"classes/{factor}/difference/{factor}",
                    protocol=SEED002_PROTOCOLS["finetune"],
                    **facts,
                )


REFERENCES: dict[str, Reference] = {
    "seed001": Reference(what="27 networks on A, Sketch, cue conflict and attacked (E. Orhan, 2020)", rows=_seed001),
    "robustbench": Reference(what="12 networks on ImageNet-C, by severity", rows=_robustbench),
    "robustness": Reference(what="ResNet-50 on ImageNet-C and -P, by their authors", rows=_robustness),
    "linf": Reference(what="30 networks under AutoAttack at 4/255 (RobustBench)", rows=_linf),
    "testbed": Reference(what="335 networks on 14 sets (Taori et al., 2020)", rows=_testbed),
    "timm": Reference(what="how accuracies of 1,556 networks go together", rows=_timm),
    "imagenet-x": Reference(what="four networks: calibration; ResNet-50 by factor", rows=_imagenet_x),
    "cue-conflict": Reference(
        what="shape bias of 11 networks and ten people (Geirhos et al., 2019)", rows=_cue_conflict
    ),
    "seed002": Reference(
        what="gaps of 11 networks by factor, linear and fine-tuned (Ibrahim et al., 2023)", rows=_seed002
    ),
}
"""Name -> figures, in the order of `REFERENCE_NAMES`."""


def reference_results(name: str) -> list[Result]:
    """The rows of a shipped set of figures.

    Raises:
        OptionError: There is none of that name.
    """
    if name not in REFERENCES:
        raise OptionError(f"--reference is one of {', '.join(REFERENCES)}, found {name!r}")
    return list(REFERENCES[name].rows())


def _row(
    model: str,
    dataset: str,
    metric: str,
    value: float,
    *,
    source: str,
    study: str = STUDY,
    split: str = "",
    protocol: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Result:
    assert metric in METRICS
    return Result(
        study=study,
        model=model,
        dataset=dataset,
        split=split,
        protocol=protocol,
        metric=metric,
        value=value,
        low=low,
        high=high,
        source=source,
    )
