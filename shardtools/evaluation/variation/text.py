"""A measurement as cells of text: one table a setting, in points.

Owns which figures people see first: where nothing varies, the seed's table 1; else the gaps at each share, slopes, and
gaps of seen and unseen classes. All figures are in the rows of results. The price: intervals of many columns are there
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from shardtools.evaluation.results import TextTable
from shardtools.evaluation.variation.gaps import Estimate
from shardtools.evaluation.variation.result import (
    ACCURACY,
    AVERAGE,
    DIFFERENCE,
    GAP,
    OWN,
    SEEN,
    SIMILARITY,
    SLOPE,
    SPEARMAN,
    TRAIN,
    UNSEEN,
    ModelVariation,
    VariationResult,
)
from shardtools.evaluation.variation.world import CANONICAL


def text_tables(result: VariationResult) -> list[TextTable]:
    """What is printed of a measurement."""
    if result.setting == "canonical":
        return [_one_model(result, result.models[0]) if len(result.models) == 1 else _models(result)]
    if result.setting == "classes":
        return [_classes(result), *_similarities(result)]
    return [_shares(result), _slopes(result)]


def points(estimate: Estimate | None, *, interval: bool = False) -> str:
    """A share in points: "-32.1", and its interval where it is asked for; "-" for none."""
    if estimate is None:
        return "-"
    text = f"{100 * estimate.value:.1f}"
    if interval and estimate.low is not None and estimate.high is not None:
        text += f" ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"
    return text


def _one_model(result: VariationResult, model: ModelVariation) -> TextTable:
    """One model, a set of pictures a line, with intervals."""
    rows = []
    for measured in (TRAIN, CANONICAL, *result.sets, AVERAGE):
        accuracy, gap = (model.figure(metric, measured=measured) for metric in (ACCURACY, GAP))
        if accuracy is not None or gap is not None:
            rows.append([measured, points(accuracy, interval=True), points(gap, interval=True), _deviation(gap)])
    return TextTable(
        title=f"{model.model}: {model.protocol}",
        header=["pictures", "accuracy (95 %)", "gap (95 %)", "over folds"],
        rows=rows,
    )


def _deviation(estimate: Estimate | None) -> str:
    return "-" if estimate is None or estimate.deviation is None else f"±{100 * estimate.deviation:.1f}"


def _models(result: VariationResult) -> TextTable:
    """The seed's table 1: a model a line, and their average."""
    places = [(ACCURACY, TRAIN), (ACCURACY, CANONICAL), *((GAP, name) for name in (*result.sets, AVERAGE))]
    found = [[model.figure(metric, measured=measured) for metric, measured in places] for model in result.models]
    rows = [[model.model, *map(points, own)] for model, own in zip(result.models, found, strict=True)]
    means = ["average"]
    for column in zip(*found, strict=True):
        there = [one.value for one in column if one is not None]
        means.append(f"{100 * fmean(there):.1f}" if there else "-")
    header = ["model", "train", "held out", *(f"{name} gap" for _, name in places[2:])]
    return TextTable(title="accuracy and gaps", header=header, rows=[*rows, means])


def _shares(result: VariationResult) -> TextTable:
    """A line a model, varied factor and share: gaps of every set."""
    rows = []
    for model in result.models:
        for varied, share in _varied(model):
            canonical = model.figure(ACCURACY, varied=varied, share=share, measured=CANONICAL)
            gaps = [model.figure(GAP, varied=varied, share=share, measured=name) for name in (*result.sets, AVERAGE)]
            percent = "0 %" if share is None else f"{share} %"
            rows.append([model.model, varied or "-", percent, points(canonical), *map(points, gaps)])
    header = ["model", "varied", "share", "held out", *(f"{name} gap" for name in (*result.sets, AVERAGE))]
    return TextTable(title=f"gaps, {result.setting}", header=header, rows=rows)


def _slopes(result: VariationResult) -> TextTable:
    rows = []
    for model in result.models:
        for varied in dict.fromkeys(one.varied for one in model.figures if one.metric == SLOPE):
            names = (OWN,) if varied == AVERAGE else result.sets
            slopes = [model.figure(SLOPE, varied=varied, measured=name) for name in names]
            cells = ["-" if one is None else f"{one.value:.3f}" for one in slopes]
            if varied == AVERAGE:
                cells = ["" for _ in result.sets[1:]] + cells
            rows.append([model.model, "mean of the diagonal" if varied == AVERAGE else varied, *cells])
    return TextTable(
        title="slopes: points of gap a point of share; lines vary, columns are measured",
        header=["model", "varied", *result.sets],
        rows=rows,
    )


def _varied(model: ModelVariation) -> Iterator[tuple[str, int | None]]:
    yield from dict.fromkeys((one.varied, one.share) for one in model.figures if one.metric == GAP)


def _classes(result: VariationResult) -> TextTable:
    """A line a model and factor: the gap without variation, of seen and unseen classes, and their difference."""
    rows = []
    for model in result.models:
        for varied in dict.fromkeys(one.varied for one in model.figures if one.varied and one.metric == GAP):
            measured = OWN if varied == AVERAGE else varied
            none = model.figure(GAP, measured=varied)
            parts = [
                model.figure(GAP, varied=varied, group=group, measured=measured) for group in (SEEN, UNSEEN, DIFFERENCE)
            ]
            rows.append([model.model, varied, points(none), *(points(one, interval=True) for one in parts)])
    return TextTable(
        title="gaps of classes; in the first column nothing varied",
        header=["model", "varied", "no variation", "seen varying (95 %)", "not seen (95 %)", "difference (95 %)"],
        rows=rows,
    )


def _similarities(result: VariationResult) -> Sequence[TextTable]:
    rows = []
    for model in result.models:
        for one in model.bins:
            error = "-" if one.standard_error is None else f"±{100 * one.standard_error:.1f}"
            between = f"{one.least:.2f} to {one.greatest:.2f}"
            rows.append([model.model, one.varied or "all", between, f"{100 * one.gap:.1f}", error, str(one.num_points)])
        found = model.figure(SPEARMAN, varied=AVERAGE, group=UNSEEN, measured=SIMILARITY)
        if found is not None:
            ends = "" if found.low is None or found.high is None else f"{found.low:.2f} to {found.high:.2f}"
            rows.append([model.model, "all", "Spearman", f"{found.value:.2f}", ends, ""])
    if not rows:
        return ()
    header = ["model", "varied", "similarity to the nearest varying class", "gap", "standard error", "points"]
    return (TextTable(title="gaps of classes not seen varying, by similarity", header=header, rows=rows),)
