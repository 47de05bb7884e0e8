"""`shardtools eval ood`: models on test sets, one table."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.evaluation.sets import OodOptions

if TYPE_CHECKING:
    from shardtools.evaluation.sets import OodTable

EPILOG = """\b
Examples:
  shardtools eval ood lite0 --on imagenet=in-val,a=in-a,r=in-r,sketch=sketch --picture robust.png
  shardtools eval ood lite0 lite1 --on c=in-val --on-the-fly --results results.parquet
  shardtools eval ood fashion-run --on plain=fashion-test,c=fashion-test --on-the-fly --split test
  shardtools eval ood lite0 --on cue-conflict=cues,silhouettes=silhouettes --markdown table.md
  shardtools eval table results.parquet --reference seed001

\b
A (sets a and r) among its 200 classes, and among all. Shares in percent. `shardtools eval table` joins the figures of
--results with published ones.
"""


@click.command("ood", epilog=EPILOG)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@options_of(OodOptions)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: all figures, and what was left out.")
@click.option("--markdown", metavar="FILE", help="Write the table as Markdown.")
@click.option("--picture", metavar="FILE.png", help="Draw bars, and accuracy against accuracy with published models.")
@click.option("--results", metavar="FILE", help="Add all figures to a .parquet or .csv file of results.")
def command(
    models: tuple[str, ...],
    as_json: bool,
    markdown: str | None,
    picture: str | None,
    results: str | None,
    **options: Any,
) -> None:
    """Judge MODELs on test sets; predict what is missing, print one table.

    MODEL is what `shardtools predict` takes: lite0, a training run's folder, ...
    """
    from shardtools.cli.progress import RunProgress
    from shardtools.evaluation.sets import (
        add_results,
        draw_ood,
        evaluate_ood,
        markdown_table,
        write_text,
    )
    from shardtools.pictures import check_picture

    wanted = OodOptions(models=models, **options)
    if picture is not None:
        check_picture(picture, "eval ood --picture")
    table = evaluate_ood(
        wanted,
        report=lambda line: click.echo(line, err=True),
        shown=lambda: RunProgress(noun="images", before="loading the model", doing="loading the model"),
    )
    if results is not None:
        add_results(table.results, results)
    if markdown is not None:
        write_text(markdown, markdown_table(table))
    if picture is not None:
        draw_ood(table, picture)
    if as_json:
        rows = [asdict(row) for row in table.results]
        click.echo(json.dumps({"results": rows, "notes": table.notes}, indent=1))
    else:
        _print(table)


def _print(table: OodTable) -> None:
    from shardtools.cli.columns import format_columns, terminal_width
    from shardtools.evaluation.sets import table_cells

    # The longer of the two goes down the page.
    header, rows = table_cells(table, models_as_rows=len(table.models) > max(len(table.columns), 3))
    click.echo("\n".join(format_columns(header, rows, terminal_width())))
    for note in table.notes:
        click.echo(note)
