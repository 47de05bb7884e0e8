"""`shardtools nearest`: which class each sample and each class is nearest to."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.audits.nearest import NearestOptions
from shardtools.cli.class_words import class_words
from shardtools.cli.options import options_of
from shardtools.quoting import shell_word
from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools nearest fashion-real
  shardtools nearest imagenet-sd --reference imagenet --replace
  shardtools query confusion-pairs imagenet-sd
  shardtools query prompt-yield imagenet-sd
"""

_SHOWN = 10


@click.command("nearest", epilog=EPILOG)
@click.argument("dataset")
@options_of(NearestOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dataset: str, as_json: bool, **options: Any) -> None:
    """Find the nearest classes of every sample of DATASET, by class means and by votes of neighbours.

    Writes the overlay nearest_class, and a table with a row a class beside the features.
    """
    from shardtools.cli.progress import RunProgress

    wanted = NearestOptions(dataset=dataset, **options)
    with RunProgress(noun="samples", doing="reading features") as progress:
        from shardtools.audits.nearest import nearest_classes

        result = nearest_classes(wanted, report=progress.step)
    if as_json:
        click.echo(json.dumps(asdict(result)))
        return
    share = result.num_own / max(result.num_samples, 1)
    click.echo(
        f"{result.num_own} of {counted(result.num_samples, 'sample')} ({share:.1%}) are nearest to their own class"
    )
    for row in result.missed[:_SHOWN]:
        nearest = class_words(row["nearest_wnid"])
        click.echo(f"  {class_words(row['wnid'])} misses its mark: nearest is {nearest}, own {row['share_own']:.1%}")
    if len(result.missed) > _SHOWN:
        click.echo(f"  and {counted(len(result.missed) - _SHOWN, 'more class', 'more classes')}")
    place = shell_word(dataset)
    click.echo(f"overlay: {result.overlay}\nclasses: {result.classes_file}")
    click.echo(f"Next:\n  shardtools query confusion-pairs {place}\n  shardtools query nearest-class {place}")
