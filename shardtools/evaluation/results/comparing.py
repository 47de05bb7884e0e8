"""Networks by figures: rows of results as a table that people compare.

Owns the shape: a line is a network, a column a figure of a test set. Runs that differ in the seed alone are one cell,
their mean. A network that has a figure by several protocols (restricted to the set's classes and not) has a line for
each further one, so that no two protocols are mixed up; the first in a file is the one that stands beside others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from shardtools.evaluation.metrics import METRICS, printed_value
from shardtools.evaluation.results.joining import OWN, Joined, column_of
from shardtools.evaluation.results.result import Result

_UNKNOWN_METRIC = len(METRICS)

_SHORT_DATASETS = {
    "imagenet": "IN",
    "imagenet-a": "A",
    "imagenet-c": "C",
    "imagenet-p": "P",
    "imagenet-r": "R",
    "imagenet-real": "ReaL",
    "imagenet-sketch": "Sketch",
    "imagenet-v2": "V2",
    "imagenet-x": "X",
    "stylized-imagenet": "Stylized",
    "cue-conflict": "cues",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A figure of a test set.

    Attributes:
        dataset: The set.
        split: A part of it.
        metric: The figure.
        heading: What stands above it; "" makes one of the three.
    """

    dataset: str
    split: str
    metric: str
    heading: str = ""

    @property
    def title(self) -> str:
        """Such as "A top-1", "V2 matched-frequency top-1", "C mCE"."""
        if self.heading:
            return self.heading
        name = _SHORT_DATASETS.get(self.dataset, self.dataset)
        metric = METRICS[self.metric].short if self.metric in METRICS else self.metric
        return " ".join(filter(None, (name, self.split, metric)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure.

    Attributes:
        value: The mean of the seeds.
        num_seeds: How many there are.
        deviation: Of the population of seeds, as the published tables have it; `None` of one.
        interval: Of 95 %, of a figure of one seed that has one.
    """

    value: float
    num_seeds: int = 1
    deviation: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A network.

    Attributes:
        group: "" for own ones, else the name of the published figures.
        model: Its name.
        protocol: How its figures were made, where the network has lines by several protocols; else "".
        cells: One a column; `None` where nothing was measured.
    """

    group: str
    model: str
    protocol: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A table.

    Attributes:
        columns: Test set by test set, and there in the order of `METRICS`.
        lines: Own networks, then published ones in their order.
        left_out: Group -> networks beyond the limit.
        sources: Group -> where its figures are from -> protocols.
    """

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    left_out: dict[str, int]
    sources: dict[str, dict[str, tuple[str, ...]]]


def compare(joined: Iterable[Joined], *, limit: int) -> Comparison:
    """Makes a table.

    Args:
        joined: Rows, as `join_results` gives them.
        limit: Most networks of each group but the own one.
    """
    rows = list(joined)
    columns = _columns(rows)
    networks: dict[tuple[str, str], list[Result]] = {}
    for one in rows:
        networks.setdefault((one.group, one.result.model), []).append(one.result)
    lines, num, left_out = [], dict[str, int](), dict[str, int]()
    for (group, model), own in networks.items():
        num[group] = num.get(group, 0) + 1
        if group != OWN and num[group] > limit:
            left_out[group] = left_out.get(group, 0) + 1
            continue
        lines += _lines(group, model, own, columns)
    return Comparison(columns=columns, lines=tuple(lines), left_out=left_out, sources=_sources(rows))


def cell_text(column: Column, cell: Cell | None, *, intervals: bool = False) -> str:
    """A figure as people read it: with its deviation over seeds, or, where asked for, its interval."""
    if cell is None:
        return "-"
    text = printed_value(column.metric, cell.value)
    if cell.deviation is not None:
        return f"{text} ±{printed_value(column.metric, cell.deviation)}"
    if intervals and cell.interval is not None:
        low, high = (printed_value(column.metric, end) for end in cell.interval)
        return f"{text} ({low} to {high})"
    return text


def _columns(rows: Sequence[Joined]) -> tuple[Column, ...]:
    """Sets in the order of their first row; splits and metrics of a set beside one another."""
    datasets = {dataset: number for number, dataset in enumerate(dict.fromkeys(one.result.dataset for one in rows))}
    splits = {split: number for number, split in enumerate(dict.fromkeys(one.result.split for one in rows))}
    metrics = {metric: number for number, metric in enumerate(METRICS)}
    found = {column_of(one.result) for one in rows}

    def place(column: tuple[str, str, str]) -> tuple[int, int, int, str]:
        dataset, split, metric = column
        return datasets[dataset], splits[split], metrics.get(metric, _UNKNOWN_METRIC), metric

    return tuple(
        Column(dataset=dataset, split=split, metric=metric) for dataset, split, metric in sorted(found, key=place)
    )


def _lines(group: str, model: str, rows: Sequence[Result], columns: Sequence[Column]) -> list[Line]:
    """The lines of one network: the first protocol of each column, then a line for each further one."""
    by_column: dict[tuple[str, str, str], dict[tuple[str, str], list[Result]]] = {}
    for row in rows:
        by_column.setdefault(column_of(row), {}).setdefault((row.protocol, row.source), []).append(row)
    shorter = _shorter({row.protocol for row in rows})
    first: dict[tuple[str, str, str], list[Result]] = {}
    firsts: dict[str, None] = {}
    variants: dict[str, dict[tuple[str, str, str], list[Result]]] = {}
    for column, ways in by_column.items():
        (own_protocol, _), first[column] = next(iter(ways.items()))
        for (protocol, source), own in list(ways.items())[1:]:
            # What tells a line from the first: the protocol, or, where that is the same, the run.
            name = shorter[protocol] if protocol != own_protocol else source
            variants.setdefault(name, {})[column] = own
            firsts[shorter[own_protocol]] = None
    keys = [(column.dataset, column.split, column.metric) for column in columns]
    # Where there are several, the first line says which ones it has.
    return [
        Line(
            group=group,
            model=model,
            protocol=protocol,
            cells=tuple(_cell(found[key]) if key in found else None for key in keys),
        )
        for protocol, found in [(" / ".join(firsts), first), *variants.items()]
    ]


def _shorter(protocols: Collection[str]) -> dict[str, str]:
    """Protocols without the parts that all of them have; as they are where nothing would be left of one."""
    parts = {protocol: protocol.split("; ") for protocol in protocols}
    common = set.intersection(*map(set, parts.values()))
    found = {protocol: "; ".join(part for part in own if part not in common) for protocol, own in parts.items()}
    return found if len(found) > 1 and all(found.values()) else {protocol: protocol for protocol in protocols}


def _cell(rows: Sequence[Result]) -> Cell:
    values = [row.value for row in rows]
    if len(values) > 1:
        return Cell(value=fmean(values), num_seeds=len(values), deviation=pstdev(values))
    [row] = rows
    interval = None if row.low is None or row.high is None else (row.low, row.high)
    return Cell(value=row.value, interval=interval)


def _sources(rows: Iterable[Joined]) -> dict[str, dict[str, tuple[str, ...]]]:
    found: dict[str, dict[str, dict[str, None]]] = {}
    for one in rows:
        protocols = found.setdefault(one.group, {}).setdefault(one.result.source, {})
        if one.result.protocol:
            protocols[one.result.protocol] = None
    return {group: {source: tuple(own) for source, own in sources.items()} for group, sources in found.items()}
