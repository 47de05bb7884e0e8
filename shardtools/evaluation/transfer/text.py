"""A transfer measurement as cells of text.

Owns what people see first: accuracies by set with their deviation over seeds, the mean, the mean log odds. Models stand
in the order in which they were given. The price: log odds of single sets are in the rows of results alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

import numpy as np

from shardtools.evaluation.metrics import METRICS, printed_value
from shardtools.evaluation.results import TextTable, lay_out, layout_rows, layouts_of, text_blocks
from shardtools.evaluation.transfer.measured import ANALYSES, LOG_ODDS, TOP1, Analyzed, Measured, Transfer
from shardtools.evaluation.transfer.plane import plane_points, upper_hull


def transfer_tables(found: Transfer) -> list[TextTable]:
    """What is printed: accuracies, then analyses, then the thesis's tables that own figures stand in."""
    tables = [_accuracies(found)]
    if found.analyzed:
        tables.append(_analyses(found))
    return [*tables, *_theses(found)]


def _accuracies(found: Transfer) -> TextTable:
    points = plane_points(found)
    hull = {points[number].model for number in upper_hull([(one.training, one.transfer) for one in points])}
    header = ["model", *([f"{found.training} (training)"] if found.training else []), *found.sets, "mean", "log odds"]
    rows = []
    for model in found.models:
        mean = found.main_mean(model)
        rows.append(
            [
                f"{model} *" if model in hull else model,
                *([_trained(found, model)] if found.training else []),
                *(_cell(found.on(model, name)) for name in found.sets),
                printed_value(TOP1, None if mean is None else mean.accuracy),
                printed_value(LOG_ODDS, None if mean is None else mean.log_odds),
            ]
        )
    seeds = {one.num_seeds for one in found.measured}
    over = f", mean over {max(seeds)} seeds ± deviation" if max(seeds) > 1 else ""
    star = "; * on the envelope of training against transfer" if hull & set(found.models) else ""
    return TextTable(
        title=f"top-1 accuracy of linear classifiers, %{over}; mean of natural log odds{star}", header=header, rows=rows
    )


def _analyses(found: Transfer) -> TextTable:
    """Means over sets, each counted alike, as the thesis has them."""
    header = ["model", *(METRICS[metric].short for metric in ANALYSES), "half of the strength in"]
    rows = []
    for model in found.models:
        own = [one for one in found.analyzed if one.model == model]
        if own:
            values = [[getattr(one.analysis, metric) for one in own] for metric in ANALYSES]
            cells = [
                printed_value(metric, None if None in value else fmean(value))
                for metric, value in zip(ANALYSES, values, strict=True)
            ]
            shares = mean_shares(own)
            half = int(np.searchsorted(np.cumsum(shares), 0.5)) + 1
            rows.append([model, *cells, f"{half} of {len(shares)} directions"])
    return TextTable(
        title=f"features of all images, mean over {', '.join(found.sets)} (thesis, figures 4.5, 4.6, 5.6)",
        header=header,
        rows=rows,
    )


def mean_shares(analyzed: Iterable[Analyzed]) -> np.ndarray:
    """Singular values divided by their sum, largest first, mean over the sets of one model (figure 4.6b), [d]."""
    mean: np.ndarray = np.mean([one.shares for one in analyzed], axis=0)
    return mean


def _theses(found: Transfer) -> list[TextTable]:
    own = [*found.results, *found.beside]
    tables = []
    for name in layouts_of(own):
        [block] = text_blocks(lay_out(name, layout_rows(name, own)))
        tables.append(TextTable(title=f"table {name} of the thesis", header=block.header, rows=block.rows))
    return tables


def _trained(found: Transfer, model: str) -> str:
    """Accuracy in training: with its deviation where it was probed here."""
    one = None if found.training is None else found.on(model, found.training)
    return printed_value(TOP1, found.trained.get(model)) if one is None else _cell(one)


def _cell(one: Measured | None) -> str:
    if one is None:
        return "-"
    text = printed_value(TOP1, one.accuracy)
    return f"{text} ±{printed_value(TOP1, one.deviation)}" if one.num_seeds > 1 else text
