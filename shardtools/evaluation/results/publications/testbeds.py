"""Figures of hundreds of networks on the same sets: imagenet-testbed (Taori et al. 2020) and timm."""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.evaluation.published import read_rows
from shardtools.evaluation.results.publications.row import published_row
from shardtools.evaluation.results.result import Result

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

_TIMM_SETS = {
    "imagenet-a": ("imagenet-a", ""),
    "imagenet-a-clean": ("imagenet", "classes of imagenet-a"),
    "imagenet-r": ("imagenet-r", ""),
    "imagenet-r-clean": ("imagenet", "classes of imagenet-r"),
    "sketch": ("imagenet-sketch", ""),
    "imagenetv2-matched-frequency": ("imagenet-v2", "matched-frequency"),
    "imagenet-real": ("imagenet-real", ""),
}


def testbed_rows() -> Iterator[Result]:
    """Restated; cells that its table leaves empty are no rows."""
    protocols = {
        "mean_corruption_error": "files of 224 pixels through a resize to 256: 1.5 points too high",
        "adversarial_accuracy": "PGD",
    }
    for row in read_rows("testbed"):
        for column, (dataset, split, metric) in _TESTBED.items():
            if row[column]:
                protocol, value = protocols.get(metric, ""), float(row[column]) / 100
                yield published_row(
                    row["model"], dataset, metric, value, split=split, protocol=protocol, source="imagenet-testbed"
                )


def timm_rows() -> Iterator[Result]:
    """Correlations of ImageNet's top-1 with another set's; restated, the 1,556 networks' accuracies are not shipped."""
    for row in read_rows("timm_correlations"):
        dataset, part = _TIMM_SETS[row["set"]]
        for suffix, which in (("", ""), ("_gt70", " above 70 %")):
            number = int(row["n_gt70"] if suffix else row["n"])
            for metric in ("pearson", "spearman", "slope"):
                yield published_row(
                    f"networks of timm{which}",
                    dataset,
                    metric,
                    float(row[f"{metric}{suffix}"]),
                    split=part,
                    protocol=f"top-1 against ImageNet's, {number:,} networks",
                    source="timm results/",
                )
