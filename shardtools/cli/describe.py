"""`shardtools describe`: files about a dataset for other tools."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.describe import DescribeOptions
from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools describe photos-shards
  shardtools describe photos-shards --name "My photos" --license CC-BY-4.0 --creator "A. Name"
  shardtools describe s3://bucket/imagenet --md5 --json

\b
Written into DATASET: README.md (a card, also for the Hugging Face hub), croissant.json, and for tars wids-SPLIT.json
and shards/NAME.idx (for DALI). The same dataset and options give the same bytes.
"""


@click.command("describe", epilog=EPILOG)
@click.argument("dataset")
@options_of(DescribeOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dataset: str, as_json: bool, **options: Any) -> None:
    """Write what other tools read about a dataset: a card, Croissant metadata, and indexes for wids and DALI.

    DATASET is a committed dataset, a folder or s3://bucket/prefix. Its shards, manifest and dataset.json stay as they
    are.
    """
    from shardtools.cli.progress import RunProgress

    with RunProgress(noun="shards", doing="reading the manifest"):
        from shardtools.describe import describe

        result = describe(dataset, DescribeOptions(**options))
    click.echo(json.dumps(asdict(result)) if as_json else summary(result))


def summary(result: Any) -> str:
    """What was written, in a few lines however many shards there are."""
    indexes = [one for one in result.files if one.path.endswith(".idx")]
    others = [one.path for one in result.files if not one.path.endswith(".idx")]
    lines = [f"{result.url}: {counted(result.num_images, 'image')} described as {result.name!r} in {', '.join(others)}"]
    if indexes:
        lines.append(f"{counted(len(indexes), 'DALI index', 'DALI indexes')} beside the tars in shards/")
    lines += [f"note: {note}" for note in result.notes]
    if result.missing:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in result.missing)
        lines.append(f"worth saying too: {options}")
    return "\n".join(lines)
