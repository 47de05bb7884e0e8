"""`shardtools quality`: measures of every image, and its perceptual hashes, as an overlay."""

from __future__ import annotations

import json
from typing import Any

import click

from shardtools.audits.quality import QualityOptions
from shardtools.cli.options import options_of
from shardtools.cli.progress import RunProgress
from shardtools.quoting import shell_word
from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools quality photos-shards
  shardtools query image-quality photos-shards
  shardtools duplicates photos-shards generated-shards

\b
A run that was stopped goes on where it was; a finished overlay is kept unless --replace is given.
"""


@click.command("quality", epilog=EPILOG)
@click.argument("dataset")
@options_of(QualityOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dataset: str, as_json: bool, **options: Any) -> None:
    """Measure light, contrast, blur, information and colour of every image of DATASET, and its perceptual hash.

    Every image is read once. The rows are the overlay `quality`, which `shardtools query image-quality` and
    `shardtools duplicates` read.
    """
    from shardtools.audits.quality import measure_dataset

    wanted = QualityOptions(dataset=dataset, **options)
    with RunProgress(noun="images", before="measuring", doing="reading the manifest") as progress:
        result = measure_dataset(wanted, progress)
    place = wanted.out or f"{dataset.rstrip('/')}/overlays/{result.info.name}"
    if as_json:
        record = {
            "overlay": place,
            "num_images": result.num_images,
            "num_measured": result.num_measured,
            "num_failed": result.num_failed,
            "settings": dict(result.info.settings),
        }
        click.echo(json.dumps(record, ensure_ascii=False))
        return
    if not result.num_measured:
        click.echo(
            f"{place} has all {counted(result.num_images, 'image')} already; --replace measures them anew", err=True
        )
        return
    failed = f", {result.num_failed} of them without measures (status is not ok)" if result.num_failed else ""
    click.echo(f"wrote {counted(result.num_measured, 'row')} to {place}{failed}", err=True)
    click.echo(f"look at them: shardtools query image-quality {shell_word(dataset)}", err=True)
