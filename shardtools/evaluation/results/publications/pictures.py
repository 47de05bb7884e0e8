"""Figures on kinds of pictures: ImageNet-X's factors, and the cue-conflict pictures of Geirhos et al. (2019)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shardtools.evaluation.metrics import ShapeBias, error_ratio
from shardtools.evaluation.published import cue_counts, read_rows
from shardtools.evaluation.results.publications.row import published_row
from shardtools.evaluation.results.result import Result


def imagenet_x_rows() -> Iterator[Result]:
    """Of all 50,000 images; the ratios recomputed of accuracies on the 46,110 that count."""
    source = "facebookresearch/imagenetx"
    columns = {
        "top1": "top1_accuracy",
        "rms_calibration": "rms_calibration_error_as_published",
        "aurra": "aurra_as_published",
    }
    for row in read_rows("imagenet_x_predictions"):
        for column, metric in columns.items():
            yield published_row(row["model"], "imagenet", metric, float(row[column]) / 100, source=source)
        yield published_row(row["model"], "imagenet", "soft_f1", float(row["soft_f1"]), source=source)
    factors = {row["factor"]: float(row["accuracy"]) for row in read_rows("imagenet_x_resnet50")}
    accuracy = factors.pop("all")
    facts: dict[str, Any] = {"protocol": "without prototypes", "source": source}
    yield published_row("ResNet50", "imagenet-x", "top1_accuracy", accuracy, **facts)
    for factor, own in factors.items():
        split, ratio = f"factor/{factor}", error_ratio(own, accuracy)
        assert ratio is not None
        yield published_row("ResNet50", "imagenet-x", "top1_accuracy", own, split=split, **facts)
        yield published_row("ResNet50", "imagenet-x", "error_ratio", ratio, split=split, **facts)


def cue_conflict_rows() -> Iterator[Result]:
    """Recomputed of counts; people and networks."""
    facts: dict[str, Any] = {"protocol": "the authors' decisions", "source": "rgeirhos/texture-vs-shape [ccd0c01]"}
    for model, (num_shape, num_texture, total) in cue_counts().items():
        found = ShapeBias(num_shape=num_shape, num_texture=num_texture, num_other=total - num_shape - num_texture)
        assert found.bias is not None and found.accuracy is not None and found.interval is not None
        low, high = found.interval
        yield published_row(model, "cue-conflict", "shape_bias", found.bias, low=low, high=high, **facts)
        yield published_row(model, "cue-conflict", "cue_accuracy", found.accuracy, **facts)
