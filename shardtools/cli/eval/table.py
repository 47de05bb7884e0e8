"""`shardtools eval table`: figures, own and published, side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.evaluation.results import TableOptions
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.evaluation.results import Comparison, Joined

EPILOG = """\b
Published figures (--reference):
  seed001       27 networks on A, Sketch, cue conflict and attacked (E. Orhan, 2020)
  robustbench   12 networks on ImageNet-C, by severity
  robustness    ResNet-50 on ImageNet-C and -P, by their authors
  linf          30 networks under AutoAttack at 4/255 (RobustBench)
  testbed       335 networks on 14 sets (Taori et al., 2020)
  timm          how accuracies of 1,556 networks go together
  imagenet-x    four networks: calibration; ResNet-50 by factor
  cue-conflict  shape bias of 11 networks and ten people (Geirhos et al., 2019)
  seed002       gaps of 11 networks by factor, linear and fine-tuned (Ibrahim et al., 2023)
  cog           31 networks on ImageNet and CoG's five levels, also few-shot (thesis, tables B)
  trex          21 networks: ImageNet, 13 transfer sets, log odds (thesis, D.1, 4.1 to 4.3)
  imagenet-sd   21 networks trained on real or generated pictures (thesis, 5.1 to 5.4)

\b
Examples:
  shardtools eval table --reference seed001
  shardtools eval table results.parquet --reference robustbench --on imagenet-c
  shardtools eval table results.csv --reference testbed --model resnet50 --markdown
  shardtools eval table --reference robustbench --parts --metric error --output errors.csv
  shardtools eval table results.parquet --reference robustbench --severities severities.png
  shardtools eval table transfer.parquet --table 5.3        (also 4.2, 4.3, D.1, 5.2, 5.4 of the thesis)

\b
Shares are printed in percent, and are 0 to 1 in files and JSON. Published networks are judged on the sets that own
networks have been judged on. Each has its figures by its publisher's protocol, which is named below the table.
"""


@click.command("table", epilog=EPILOG)
@click.argument("results", nargs=-1, metavar="[RESULTS]...")
@options_of(TableOptions)
@click.option("--intervals", is_flag=True, help="Print the interval of 95 % where there is one.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, an object a row, without a limit.")
@click.option("--output", metavar="FILE", help="Write the rows to FILE.parquet or FILE.csv (path or s3://).")
@click.option("--severities", metavar="FILE.png", help="Draw errors by corruption and severity instead.")
def command(
    results: tuple[str, ...],
    intervals: bool,
    as_markdown: bool,
    as_json: bool,
    output: str | None,
    severities: str | None,
    **given: Any,
) -> None:
    """Print the figures of RESULTS (files of `shardtools eval`), with published ones beside them."""
    if as_markdown + as_json + (output is not None) + (severities is not None) > 1:
        raise click.UsageError("--markdown, --json, --output and --severities exclude each other; give one")
    if severities is not None:
        _draw(TableOptions(results=results, **{**given, "parts": True}), severities)
        return
    from shardtools.evaluation.results import markdown, write_results

    options = TableOptions(results=results, **given)
    joined = _joined(options)
    if output is not None:
        number = write_results([one.result for one in joined], output)
        click.echo(f"wrote {counted(number, 'row')} to {output}", err=True)
    elif as_json:
        click.echo(json_text(joined))
    elif as_markdown:
        click.echo(markdown(_compared(joined, options), intervals=intervals))
    else:
        click.echo("\n".join(text_lines(_compared(joined, options), intervals=intervals)))


def _joined(options: TableOptions) -> list[Joined]:
    from shardtools.evaluation.results import join_results, layout_rows, own_results

    return join_results(options) if options.table is None else layout_rows(options.table, own_results(options))


def _compared(joined: list[Joined], options: TableOptions) -> Comparison:
    from shardtools.evaluation.results import compare, lay_out

    if options.table is None:
        return compare(joined, limit=options.limit)
    return lay_out(options.table, joined, limit=options.limit)


def _draw(options: TableOptions, address: str) -> None:
    from shardtools.evaluation.results import draw_severities, join_results, severity_curves
    from shardtools.pictures import check_picture

    check_picture(address, "eval table --severities")
    curves = severity_curves(join_results(options))
    draw_severities(curves, address)
    click.echo(f"drew {counted(len(curves), 'network')}: {address}", err=True)


def json_text(joined: list[Joined]) -> str:
    """A row an object, with the name of the published figures that it is from, an object a line."""
    from dataclasses import asdict

    rows = [json.dumps({"reference": one.group or None, **asdict(one.result)}, ensure_ascii=False) for one in joined]
    return "[\n " + ",\n ".join(rows) + "\n]"


def text_lines(found: Comparison, *, intervals: bool) -> list[str]:
    """The table as the terminal's width allows, numbers to the right, and where the figures are from."""
    from shardtools.cli.columns import format_columns, terminal_width
    from shardtools.evaluation.results import remarks, text_blocks

    width = terminal_width()
    lines: list[str] = []
    for block in text_blocks(found, width=width, intervals=intervals):
        for position in range(block.num_names, len(block.header)):
            size = max(len(row[position]) for row in (block.header, *block.rows))
            for row in (block.header, *block.rows):
                row[position] = row[position].rjust(size)
        lines += [*format_columns(block.header, block.rows, width), ""]
    return [*lines, *remarks(found)]
