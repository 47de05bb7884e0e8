"""Figures of M. B. Sariyildiz, "On the evaluation and generalization of visual representations" (2023, seed 004).

Owns three sets: ImageNet-CoG (appendix B), t-ReX (tables 4.1 to 4.3 and D.1) and ImageNet-SD (5.1 to 5.4). A linear
classifier on all pictures of a set has an empty `split`, as a run of `shardtools probe` has; one on a few has
"shots/4", a part of the set. How far five seeds lie apart is a metric of its own, under "shots/4" or "shots/all": the
tables print it to one decimal, which makes no interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shardtools.evaluation.published import read_rows
from shardtools.evaluation.results.publications.row import published_row
from shardtools.evaluation.results.result import Result

_THESIS = "Sariyildiz 2023 (thesis)"
_SEEN = "imagenet"

COG_LEVELS = ("cog-l1", "cog-l2", "cog-l3", "cog-l4", "cog-l5")
"""The levels of ImageNet-CoG, nearest concepts first, as results name them."""

COG_SHOTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Pictures a class in tables B.1 to B.6, beside all."""

SMALL_SETS = ("aircraft", "cars196", "dtd", "eurosat", "flowers", "pets", "food101", "sun397")
"""The thesis's smaller transfer sets, whose classifiers are fitted by L-BFGS."""

LONG_TAILED = ("inat2018", "inat2019")

TRANSFER_SETS = {"transfer-13": (*COG_LEVELS, *SMALL_SETS), "transfer-10": (*SMALL_SETS, *LONG_TAILED)}
"""Dataset that a mean over sets is filed under -> the sets: those of table D.1 and of table 5.3."""

_SGD, _LBFGS = "linear, SGD, five seeds", "linear, L-BFGS, five seeds"
_OWN_CLASSIFIER = "its own classifier"
_SHARED = "classes of imagenet-100"
_V2 = "mean of three"


def cog_rows() -> Iterator[Result]:
    """Tables B.1 to B.6: networks in their order, on ImageNet and the levels, by pictures a class."""
    facts: dict[str, Any] = {"study": "cog", "protocol": _SGD, "source": f"{_THESIS}, tables B.1 to B.6"}
    for name, metric in (("cog_accuracy", "top1_accuracy"), ("cog_deviation", "top1_deviation")):
        for row in read_rows(name):
            for shots in (*map(str, COG_SHOTS), "all"):
                is_whole = shots == "all" and metric == "top1_accuracy"
                split, value = "" if is_whole else f"shots/{shots}", float(row[shots]) / 100
                yield published_row(row["model"], row["dataset"], metric, value, split=split, **facts)


def trex_rows() -> Iterator[Result]:
    """Tables D.1, 4.1, 4.2 and 4.3; what 4.2 repeats of D.1 stands once."""
    for row in read_rows("trex_transfer"):
        source = f"{_THESIS}, table D.1"
        for dataset in (_SEEN, *TRANSFER_SETS["transfer-13"]):
            yield _accuracy(row["model"], dataset, row[dataset], source=source)
        yield _mean_log_odds(row["model"], row["mean_log_odds"], source=source)
    for row in read_rows("trex_ablation"):
        source = f"{_THESIS}, table 4.1"
        yield _accuracy(row["model"], _SEEN, row[_SEEN], source=source)
        yield _mean_log_odds(row["model"], row["mean_log_odds"], source=source)
    for row in read_rows("trex_imagenet"):
        for dataset in ("imagenet-v2", "imagenet-sketch", "imagenet-r", "imagenet-a"):
            split = _V2 if dataset == "imagenet-v2" else ""
            yield _accuracy(row["model"], dataset, row[dataset], split=split, source=f"{_THESIS}, table 4.2")
    for row in read_rows("trex_inaturalist"):
        for dataset in LONG_TAILED:
            yield _accuracy(row["model"], dataset, row[dataset], source=f"{_THESIS}, table 4.3")


def imagenet_sd_rows() -> Iterator[Result]:
    """Tables 5.1 to 5.4. Networks with 100 classes are judged on pictures of these alone, so on a part of each set."""
    study = "imagenet-sd"
    for row in read_rows("imagenet_sd_augmentation"):
        # The other column is the network of table 5.2.
        yield _accuracy(
            f"{row['model']}, PyTorch's augmentation",
            _SEEN,
            row["plain"],
            study=study,
            split=_SHARED,
            protocol=_OWN_CLASSIFIER,
            source=f"{_THESIS}, table 5.1",
        )
    for row in read_rows("imagenet_sd_imagenet"):
        for dataset in (_SEEN, "imagenet-v2", "imagenet-sketch", "imagenet-r", "imagenet-a"):
            parts = (_V2 if dataset == "imagenet-v2" else "", _SHARED if "ImageNet-100" in row["model"] else "")
            for metric in ("top1", "top5"):
                yield _accuracy(
                    row["model"],
                    dataset,
                    row[f"{dataset}_{metric}"],
                    metric=f"{metric}_accuracy",
                    study=study,
                    split=", ".join(filter(None, parts)),
                    protocol=_OWN_CLASSIFIER,
                    source=f"{_THESIS}, table 5.2",
                )
    for row in read_rows("imagenet_sd_transfer"):
        source = f"{_THESIS}, table 5.3"
        for dataset in TRANSFER_SETS["transfer-10"]:
            yield _accuracy(row["model"], dataset, row[dataset], study=study, source=source)
        yield _accuracy(
            row["model"], "transfer-10", row["average"], study=study, protocol="mean of sets", source=source
        )
    for row in read_rows("imagenet_sd_cog"):
        for dataset in (_SEEN, *COG_LEVELS):
            yield _accuracy(row["model"], dataset, row[dataset], study=study, source=f"{_THESIS}, table 5.4")


def _accuracy(
    model: str,
    dataset: str,
    percent: str,
    *,
    source: str,
    metric: str = "top1_accuracy",
    study: str = "transfer",
    split: str = "",
    protocol: str | None = None,
) -> Result:
    if protocol is None:
        protocol = _LBFGS if dataset in SMALL_SETS else _SGD
    return published_row(
        model, dataset, metric, float(percent) / 100, study=study, split=split, protocol=protocol, source=source
    )


def _mean_log_odds(model: str, value: str, *, source: str) -> Result:
    return published_row(
        model, "transfer-13", "log_odds", float(value), study="transfer", protocol="mean of sets", source=source
    )
