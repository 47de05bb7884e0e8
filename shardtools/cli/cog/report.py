"""`shardtools cog report`: tables and pictures of figures on levels, own and published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.evaluation.cog import ReportOptions

if TYPE_CHECKING:
    from shardtools.evaluation.cog import CogFigures

EPILOG = """\b
Examples:
  shardtools cog report --reference cog --pictures cog-figures
  shardtools cog report results.parquet --reference cog --model ResNet50 --model DINO
  shardtools cog report results.parquet --baseline transformers:resnet --pictures figures --fine-tuned trained.csv

\b
Tables are those of appendix B of the thesis; pictures are its figures 3.4 (levels.png), 3.5 (shots.png), 3.6
(fine_tuned.png) and 3.7 (measures.png), as far as there are figures for them.
"""


@click.command("report", epilog=EPILOG)
@click.argument("results", nargs=-1, metavar="[RESULTS]...")
@options_of(ReportOptions)
@click.option("--pictures", metavar="FOLDER", help="Draw what can be drawn.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown tables.")
def command(results: tuple[str, ...], pictures: str | None, as_markdown: bool, **options: Any) -> None:
    """Print the accuracies of RESULTS by level and by images a concept, absolute and above a baseline."""
    from shardtools.evaluation.cog import fine_tuned_figures, report_figures

    wanted = ReportOptions(results=results, **options)
    found = report_figures(wanted)
    trained = None if wanted.fine_tuned is None else fine_tuned_figures(wanted.fine_tuned)
    print_tables(found, as_markdown=as_markdown)
    if pictures is not None:
        draw(found, pictures, trained=trained)


def print_tables(found: CogFigures, *, as_markdown: bool = False) -> None:
    """All tables, numbers to the right."""
    from shardtools.cli.columns import format_columns, terminal_width
    from shardtools.evaluation.cog import cog_tables
    from shardtools.evaluation.results import block_markdown

    for table in cog_tables(found):
        if as_markdown:
            click.echo(f"**{table.title}**\n\n{block_markdown(table.block)}\n")
            continue
        click.echo(table.title)
        header, rows = table.block.header, table.block.rows
        for position in range(table.block.num_names, len(header)):
            _right(position, [header, *rows])
        click.echo("\n".join([*format_columns(header, rows, terminal_width()), ""]))


def draw(found: CogFigures, folder: str, *, trained: Any = None) -> None:
    """Draws, and says what was drawn and what was not."""
    from shardtools.evaluation.cog import draw_all

    drawn, left = draw_all(found, folder, fine_tuned=trained)
    click.echo(f"drew {', '.join(drawn) or 'nothing'} in {folder}", err=True)
    for line in left:
        click.echo(line, err=True)


def _right(position: int, rows: Sequence[list[str]]) -> None:
    size = max(len(row[position]) for row in rows)
    for row in rows:
        row[position] = row[position].rjust(size)
