"""`shardtools transfer report`: what a study says so far."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shardtools.cli.options import options_of
from shardtools.transfer import TransferOptions

if TYPE_CHECKING:
    from shardtools.transfer import Report

_FAILURES = 5
"""Failed cells that are told of one by one."""

EPILOG = """\b
Examples:
  shardtools transfer report study.toml
  shardtools transfer report study.toml --markdown report.md --picture transfer.png
  shardtools sql "select * from results where metric = 'spearman'" --results study/results.parquet
"""


@click.command("report", epilog=EPILOG)
@click.argument("study", metavar="STUDY.toml")
@options_of(TransferOptions, only=("out",))
@click.option("--no-intervals", is_flag=True, help="Print correlations without their intervals.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: rows, correlations, failures, notes.")
@click.option("--markdown", metavar="FILE", help="Write the tables as Markdown.")
@click.option("--picture", metavar="FILE.png", help="Draw each set's metric against the accuracy in pretraining.")
def command(
    study: str, out: str | None, no_intervals: bool, as_json: bool, markdown: str | None, picture: str | None
) -> None:
    """Say what STUDY.toml's cells show so far: the best of each model, and whether pretraining tells who is best.

    The epoch and the cell are chosen by validation. All figures go to DIR/results.parquet.
    """
    from shardtools.evaluation.sets import write_text
    from shardtools.pictures import check_picture
    from shardtools.transfer import draw_report, make_report, markdown_text, save_results, text_tables

    if picture is not None:
        check_picture(picture, "transfer report --picture")
    report = make_report(study, out)
    if report.results:
        save_results(report)
    tables = text_tables(report, intervals=not no_intervals)
    if markdown is not None:
        write_text(markdown, markdown_text(tables, report.notes))
    if picture is not None:
        draw_report(report, picture)
    if as_json:
        click.echo(json_text(report))
        return
    from shardtools.cli.columns import format_tables, terminal_width

    click.echo("\n".join([*format_tables(tables, terminal_width()), *report.notes]))
    for line in report.failures[:_FAILURES]:
        click.echo(f"failed: {line}")
    if len(report.failures) > _FAILURES:
        click.echo(f"and {len(report.failures) - _FAILURES} more: --json has all")


def json_text(report: Report) -> str:
    """Everything, shares 0 to 1."""
    best = [
        {
            "model": one.model.name,
            "set": one.on.name,
            "augmentation": one.augmentation,
            "num_cells": one.num_cells,
            "num_done": one.num_done,
            "setting": None if one.setting is None else asdict(one.setting),
            "val": one.val,
            "value": one.value,
        }
        for one in report.best
    ]
    content = {
        "best": best,
        "points": [asdict(one) for one in report.points],
        "correlations": [asdict(one) for one in report.correlations],
        "agreements": [asdict(one) for one in report.agreements],
        "failures": report.failures,
        "notes": report.notes,
        "results": [asdict(row) for row in report.results],
    }
    return json.dumps(content, indent=1)
