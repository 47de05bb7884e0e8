"""Figures of 27 networks out of distribution: A. E. Orhan's repository of 2020 (seed 001)."""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.evaluation.published import read_rows
from shardtools.evaluation.results.publications.row import published_row
from shardtools.evaluation.results.result import Result

SEED001 = "eminorhan/ood-benchmarks [210e27d]"

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


def seed001_rows() -> Iterator[Result]:
    """Cells of the table, those that a result file backs with its digits, and what the files have beside them."""
    table = {row["model"]: row for row in read_rows("seed001_table")}
    files = {row["model"]: row for row in read_rows("seed001_result_files")}
    for model in {**table, **files}:
        printed, precise = table.get(model, {}), files.get(model, {})
        if printed.get("IN"):
            value = float(printed["IN"]) / 100
            yield published_row(
                model, "imagenet", "top1_accuracy", value, protocol="seed001", source=f"{SEED001} README"
            )
        for own, (dataset, metric, unit, column) in _SEED001.items():
            if precise.get(own):
                value, source = float(precise[own]) / unit, f"{SEED001} results"
            elif printed.get(column):
                value, source = float(printed[column]) / 100, f"{SEED001} README"
            else:
                continue
            split = "linf 0.06" if metric == "adversarial_accuracy" else ""
            yield published_row(model, dataset, metric, value, split=split, protocol="seed001", source=source)
