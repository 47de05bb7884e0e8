"""`shardtools cog eligible`: the funnel from all concepts to those that may be unseen ones."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.evaluation.cog import EligibleOptions
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.evaluation.cog import Funnel

EPILOG = """\b
Examples:
  shardtools cog eligible
  shardtools cog eligible --counts counts.csv --out eligible.csv
  shardtools cog eligible --counts in21k
  shardtools cog eligible --seen imagenet-100 --without "" --exclude none

\b
The defaults are those of ImageNet-CoG (thesis, section 3.3.2). Numbers of images are not published as a list: give a
.csv of wnid,count, or a dataset of ImageNet-21K that `shardtools write` made.
"""


@click.command("eligible", epilog=EPILOG)
@options_of(EligibleOptions)
@click.option("--out", metavar="FILE.csv", help="Write the concepts: wnid, name, count.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: steps and concepts.")
def command(out: str | None, as_json: bool, **options: Any) -> None:
    """Narrow ImageNet-21K down to the concepts that a model trained on seen ones can be asked about."""
    from shardtools.evaluation.cog import eligible_concepts, write_eligible

    found = eligible_concepts(EligibleOptions(**options))
    if out is not None:
        click.echo(f"wrote {counted(write_eligible(found, out), 'concept')} to {out}", err=True)
    if as_json:
        steps = [asdict(step) for step in found.steps]
        click.echo(json.dumps({"steps": steps, "eligible": found.eligible}, indent=1))
    else:
        click.echo("\n".join(funnel_lines(found)))


def funnel_lines(found: Funnel) -> list[str]:
    """A step a line, numbers to the right."""
    from shardtools.cli.columns import format_columns, terminal_width
    from shardtools.evaluation.cog import WORDNET_NOUNS

    steps = [
        ("nouns of WordNet 3.0", WORDNET_NOUNS, ""),
        *((step.what, step.num_left, step.note) for step in found.steps),
    ]
    numbers = [f"{number:,}" for _, number, _ in steps]
    size = max(map(len, numbers))
    rows = [[number.rjust(size), what, note] for number, (what, _, note) in zip(numbers, steps, strict=True)]
    header = ["concepts".rjust(size), "left", "beside"]
    lines = format_columns(header, rows, terminal_width())
    if found.counts is None:
        lines.append("images were not counted: give --counts FILE.csv or a dataset")
    return lines
