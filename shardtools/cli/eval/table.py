"""`shardtools eval table`: figures, own and published, side by side."""

from __future__ import annotations

from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.evaluation.results import TableOptions

EPILOG = """\b
Examples:
  shardtools eval table --reference seed001
  shardtools eval table results.parquet --reference robustbench
"""


@click.command("table", epilog=EPILOG)
@click.argument("results", nargs=-1, metavar="[RESULTS]...")
@options_of(TableOptions)
def command(results: tuple[str, ...], **given: Any) -> None:
    """Print the figures of RESULTS (files of `shardtools eval`), with published ones beside them."""
    from shardtools.cli.columns import format_columns, terminal_width
    from shardtools.evaluation.metrics import printed_value
    from shardtools.evaluation.results import read_results, reference_results

    options = TableOptions(results=results, **given)
    rows = read_results(options.results)
    rows += [row for name in options.references for row in reference_results(name)]
    cells = [[row.model, row.dataset, row.metric, printed_value(row.metric, row.value), row.source] for row in rows]
    click.echo("\n".join(format_columns(["model", "dataset", "metric", "value", "source"], cells, terminal_width())))
