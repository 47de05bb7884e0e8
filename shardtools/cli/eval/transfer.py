"""`shardtools eval transfer`: what features carry over to other sets, by linear classifiers."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.errors import RunError
from shardtools.evaluation.transfer import TransferOptions

if TYPE_CHECKING:
    pass

EPILOG = """\b
Examples:
  shardtools eval transfer lite0 lite1 --sets flowers,pets,dtd
  shardtools eval transfer lite0 lite1 --sets eurosat=s3://bucket/eurosat --training imagenet=in1k --picture plane.png
  shardtools eval transfer lite0 lite1 lite2 --sets flowers --extract --protocol trex --results transfer.parquet
  shardtools eval transfer own --sets flowers,pets --training imagenet --beside ood.parquet
  shardtools eval table transfer.parquet --table 5.3

\b
MODEL names features that every set has (shardtools features SET --encoder ENCODER --name MODEL). Each set has the
splits train and test, or train and val. Probes go on where they were; one that fails is named, and the rest goes on.
"""


@click.command("transfer", epilog=EPILOG)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@options_of(TransferOptions, first=("sets", "training"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: rows of results, failures and notes.")
@click.option("--picture", metavar="FILE.png", help="Draw training against transfer, and what the features are.")
@click.option("--results", metavar="FILE", help="Add all figures to a .parquet or .csv of results.")
def command(models: tuple[str, ...], as_json: bool, picture: str | None, results: str | None, **options: Any) -> None:
    """Measure what the features MODEL carry over to --sets: accuracy, log odds, their mean.

    One linear classifier a set, model and seed, its settings chosen on a part of the training images.
    """
    from shardtools.cli.columns import format_tables, terminal_width
    from shardtools.cli.progress import RunProgress
    from shardtools.evaluation.sets import add_results
    from shardtools.evaluation.transfer import draw_transfer, measure_transfer, transfer_tables
    from shardtools.pictures import check_picture

    wanted = TransferOptions(models=models, **options)
    if picture is not None:
        check_picture(picture, "eval transfer --picture")
    found = measure_transfer(
        wanted,
        report=lambda line: click.echo(line, err=True),
        shown=lambda noun: RunProgress(noun=noun, doing="loading the encoder" if noun == "images" else "reading"),
    )
    if results is not None:
        add_results(found.results, results)
    if picture is not None:
        draw_transfer(found, picture)
    if as_json:
        rows = [asdict(row) for row in found.results]
        failed = [asdict(one) for one in found.failed]
        click.echo(json.dumps({"results": rows, "failed": failed, "notes": found.notes}, indent=1))
    else:
        click.echo("\n".join([*format_tables(transfer_tables(found), terminal_width()), *found.notes]))
    if found.failed:
        # What was measured is told and kept; a script must see that it is not all.
        names = ", ".join(dict.fromkeys(one.set_name for one in found.failed))
        raise RunError(f"not measured: {names} (the reasons are above); the same command goes on")
