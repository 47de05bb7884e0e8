"""A report as tables of text and as Markdown.

Owns which numbers stand side by side: the networks by their accuracy in pretraining with the best of each set, what
correlates with what, whose ranks go together, and what augmentations change. Shares are in percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shardtools.evaluation.metrics import METRICS, RELATIONS, Estimated, printed_value
from shardtools.evaluation.results import Block, TextTable, block_markdown
from shardtools.transfer.agreement import Agreement, Correlation, Point
from shardtools.transfer.cells import metric_name
from shardtools.transfer.report import Report
from shardtools.transfer.selecting import Best
from shardtools.transfer.study import DEFAULT

_SHOWN = tuple(name for name in RELATIONS if name != "slope")
"""Of shares of one the plain slope is the normalized one."""


def text_tables(report: Report, *, intervals: bool = True) -> list[TextTable]:
    """All tables of a report; one that would be empty is left out.

    Args:
        report: What is told.
        intervals: Whether correlations have theirs.
    """
    study = report.study
    metrics = {on.name: metric_name(on) for on in study.sets}
    return [
        values_table(report.points, metrics, pretraining=study.pretraining),
        *correlation_tables(report.correlations, report.agreements, of=study.pretraining, intervals=intervals),
        *_settings(report.best),
        *_augmentations(report.best),
    ]


def values_table(points: Sequence[Point], metrics: Mapping[str, str], *, pretraining: str) -> TextTable:
    """The networks, the best in pretraining last.

    Args:
        points: The networks.
        metrics: Name of a set -> name of its metric.
        pretraining: What the accuracy was measured on.
    """
    # Those without an accuracy stand first, apart from the order.
    arranged = sorted(points, key=lambda one: -1.0 if one.accuracy is None else one.accuracy)
    titles = [f"{name} ({METRICS[metric].short})" for name, metric in metrics.items()]
    rows = [
        [
            one.model,
            printed_value("top1_accuracy", one.accuracy),
            *(printed_value(metric, one.values.get(name)) for name, metric in metrics.items()),
        ]
        for one in arranged
    ]
    return TextTable(title="best of each network", header=["network", f"{pretraining} top-1", *titles], rows=rows)


def correlation_tables(
    correlations: Sequence[Correlation], agreements: Sequence[Agreement], *, of: str, intervals: bool = True
) -> list[TextTable]:
    """What goes with the accuracy in pretraining, and whose ranks go together; tables without a figure are left out.

    Args:
        correlations: Of sets and groups.
        agreements: Of sets.
        of: What the accuracy in pretraining was measured on.
        intervals: Whether figures have theirs.
    """
    found = []
    if any(one.figures for one in correlations):
        rows = [
            [
                one.set,
                one.group,
                str(one.num_networks),
                *(estimate_text(one.figures.get(name), interval=intervals) for name in _SHOWN),
            ]
            for one in correlations
        ]
        header = ["set", "networks", "number", *(METRICS[name].short for name in _SHOWN)]
        found.append(TextTable(title=f"metric against accuracy on {of}", header=header, rows=rows))
    if agreements:
        found.append(
            TextTable(
                title="Spearman's correlation of a set's ranks",
                header=["set", "number", f"with {of}", "with the mean of the other sets", "difference"],
                rows=[
                    [
                        one.set,
                        str(one.num_networks),
                        f"{one.ranks.with_reference:+.2f}",
                        f"{one.ranks.with_others:+.2f}",
                        estimate_text(one.ranks.difference, interval=intervals),
                    ]
                    for one in agreements
                ],
            )
        )
    return found


def estimate_text(estimate: Estimated | None, *, interval: bool = True) -> str:
    """A figure: "+0.44 [-0.10, +0.81]"; "-" for none."""
    if estimate is None:
        return "-"
    ends = estimate.interval if interval else None
    return f"{estimate.value:+.2f}" + ("" if ends is None else f" [{ends[0]:+.2f}, {ends[1]:+.2f}]")


def _settings(best: Sequence[Best]) -> list[TextTable]:
    """Which point of the grid was chosen."""
    rows = [
        [
            one.model.name,
            one.on.name,
            one.augmentation,
            str(one.setting),
            printed_value(metric_name(one.on), one.val),
            printed_value(metric_name(one.on), one.value),
            f"{one.num_done}/{one.num_cells}",
        ]
        for one in best
        if one.cells
    ]
    header = ["network", "set", "augmentation", "chosen by validation", "validation", "reported", "cells"]
    return [TextTable(title="chosen settings", header=header, rows=rows)] if rows else []


def _augmentations(best: Sequence[Best]) -> list[TextTable]:
    """Best values by augmentation, and what they are above the recipe's own, in points."""
    names = list(dict.fromkeys(one.augmentation for one in best))
    if names == [DEFAULT]:
        return []
    values = {(one.model.name, one.on.name, one.augmentation): one for one in best}
    rows = []
    for model, on in dict.fromkeys((one.model.name, one.on.name) for one in best):
        base = values[model, on, DEFAULT]
        others = [values.get((model, on, name)) for name in names[1:]]
        if any(one is not None for one in others):
            metric = metric_name(base.on)
            cells = [printed_value(metric, base.value), *(_change(metric, base.value, one) for one in others)]
            rows.append([model, on, *cells])
    return [TextTable(title="augmentations", header=["network", "set", *names], rows=rows)] if rows else []


def _change(metric: str, base: float | None, one: Best | None) -> str:
    if one is None or one.value is None:
        return "-"
    value = printed_value(metric, one.value)
    if base is None:
        return value
    unit, digits = (100, 2) if METRICS[metric].is_share else (1, 3)
    return f"{value} ({unit * (one.value - base):+.{digits}f})"


def markdown_text(tables: Sequence[TextTable], notes: Sequence[str] = ()) -> str:
    """Tables under their titles, and notes as a list."""
    parts = []
    for table in tables:
        # All to the left: most columns are words.
        block = Block(header=table.header, rows=table.rows, num_names=len(table.header))
        parts.append(f"**{table.title}**\n\n{block_markdown(block)}")
    return "\n\n".join([*parts, *(["\n".join(f"- {note}" for note in notes)] if notes else [])]) + "\n"
