"""Figures of networks on corrupted and attacked pictures: RobustBench, and the benchmark's own authors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shardtools.evaluation.metrics import mean_corruption_error, mean_error, relative_mean_corruption_error
from shardtools.evaluation.published import read_rows, robustbench_errors
from shardtools.evaluation.results.publications.row import published_row
from shardtools.evaluation.results.result import Result


def robustness_rows() -> Iterator[Result]:
    """What the benchmark's own page has of ResNet-50, which everybody compares with."""
    source = "hendrycks/robustness [8190fe3]"
    for dataset, metric, value in (
        ("imagenet-c", "mean_corruption_error", 0.767),
        ("imagenet-p", "mean_flip_rate", 0.580),
        ("imagenet-p", "mean_top5_distance", 0.784),
    ):
        yield published_row("resnet50", dataset, metric, value, protocol="over AlexNet's", source=source)


def robustbench_rows() -> Iterator[Result]:
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
            yield published_row(model, "imagenet-c", metric, value, **facts)
        for corruption, values in own.items():
            for severity, value in enumerate(values, start=1):
                yield published_row(
                    model, "imagenet-c", "error", float(value), split=f"{corruption}/{severity}", **facts
                )


def linf_rows() -> Iterator[Result]:
    """Restated: clean and attacked accuracy."""
    source = "RobustBench, imagenet/Linf"
    for row in read_rows("robustbench_imagenet_linf"):
        clean, attacked = float(row["clean_acc"]) / 100, float(row["autoattack_acc"]) / 100
        yield published_row(row["model"], "imagenet", "top1_accuracy", clean, protocol="5,000 images", source=source)
        split, protocol = f"linf {row['eps']}", "AutoAttack, 5,000 images"
        yield published_row(
            row["model"], "imagenet", "adversarial_accuracy", attacked, split=split, protocol=protocol, source=source
        )
