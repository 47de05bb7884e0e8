"""Own rows and published ones in one list, each with the name of where it is from.

Owns which rows are taken. Beside own rows, published ones are taken where own networks have figures too; a table of 335
networks on 14 sets would hide three own figures. The price: who wants all of them asks for the published ones alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from shardtools.errors import OptionError
from shardtools.evaluation.results.files import read_results
from shardtools.evaluation.results.options import REFERENCE_NAMES, TableOptions
from shardtools.evaluation.results.references import reference_results
from shardtools.evaluation.results.result import KEY, Result, results_table

OWN = ""
"""Group of own rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A row and where it is from.

    Attributes:
        group: `OWN`, or the name of published figures.
        result: The row.
    """

    group: str
    result: Result


def join_results(options: TableOptions) -> list[Joined]:
    """The rows that are asked for: own ones, then the published ones in the order of their names.

    Raises:
        OptionError: Two own rows are the same figure twice, or nothing is left, of a set of published ones or of all.
        SourceError: A file is no table of results.
        NotFoundError: There is no such file.
    """
    own, wanted = _own(options)
    columns = {column_of(row) for row in wanted}
    found = [Joined(group=OWN, result=row) for row in wanted]
    for name in dict.fromkeys(options.references):
        rows = [row for row in _wanted(reference_results(name), options) if not columns or column_of(row) in columns]
        if columns and not rows:
            raise OptionError(
                f"{name} has none of the figures that own networks have: {_had(reference_results(name), options)}; "
                "leave it out, or print it alone"
            )
        found += [Joined(group=name, result=row) for row in rows]
    if not found:
        asked = ", ".join([*options.results, *options.references])
        had = [*own, *(row for name in options.references for row in reference_results(name))]
        raise OptionError(f"no row is left of {asked}: {_had(had, options)}")
    return found


def own_results(options: TableOptions) -> list[Result]:
    """The own rows that are asked for.

    Raises:
        OptionError: Two own rows are the same figure twice.
        SourceError: A file is no table of results.
        NotFoundError: There is no such file.
    """
    return _own(options)[1]


def joined_table(names: Sequence[str]) -> pa.Table:
    """Files and published figures as one table: the columns of results, after `reference`.

    Args:
        names: Of published figures, or paths and addresses of files. `reference` is null in the rows of the latter.

    Raises:
        OptionError: Two own rows are the same figure twice.
        SourceError: A file is no table of results.
        NotFoundError: There is no such file.
    """
    own = read_results([name for name in names if name not in REFERENCE_NAMES])
    _refuse_twice(own)
    joined = [Joined(group=OWN, result=row) for row in own]
    for name in dict.fromkeys(names):
        if name in REFERENCE_NAMES:
            joined += [Joined(group=name, result=row) for row in reference_results(name)]
    table = results_table(one.result for one in joined)
    return table.add_column(0, "reference", pa.array([one.group or None for one in joined], pa.string()))


def column_of(row: Result) -> tuple[str, str, str]:
    """What a row is a figure of: test set, split and metric."""
    return row.dataset, row.split, row.metric


def is_part(row: Result) -> bool:
    """Whether it is of a part of a set that says little alone: a corruption at a severity, a factor."""
    return "/" in row.split and not row.split.startswith("linf ")


def _own(options: TableOptions) -> tuple[list[Result], list[Result]]:
    """All own rows, and those that are asked for."""
    own = read_results(options.results)
    _refuse_twice(own)
    return own, _wanted(own, options)


def _wanted(rows: Iterable[Result], options: TableOptions) -> list[Result]:
    return [
        row
        for row in rows
        if (options.study is None or row.study == options.study)
        and (not options.models or any(text.lower() in row.model.lower() for text in options.models))
        and (not options.datasets or row.dataset in options.datasets)
        and (not options.metrics or row.metric in options.metrics)
        and (options.parts or not is_part(row))
    ]


def _refuse_twice(rows: Iterable[Result]) -> None:
    seen: set[tuple[object, ...]] = set()
    for row in rows:
        key = tuple(getattr(row, name) for name in KEY)
        if key in seen:
            raise OptionError(
                f"{row.metric} of {row.model} on {row.dataset} {row.split} stands there twice (source {row.source}): "
                "give each file once, or give its runs a seed or a protocol that tells them apart"
            )
        seen.add(key)


def _had(rows: Sequence[Result], options: TableOptions) -> str:
    """What could have been asked for."""
    if not rows:
        return "the files are empty"
    datasets, metrics = sorted({row.dataset for row in rows}), sorted({row.metric for row in rows})
    parts = "" if options.parts else "; figures of parts of a set need --parts"
    return f"it has {', '.join(datasets)} with {', '.join(metrics)}{parts}"
