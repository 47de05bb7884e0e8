"""`shardtools convert`: a dataset, or any source, in another format."""

from __future__ import annotations

from typing import Any

import click

from shardtools.cli.layout_names import LAYOUT_NAMES
from shardtools.cli.writing_options import ENCODING_OPTIONS, SOURCE_OPTIONS, TARGET_OPTIONS, run, with_options

EPILOG = """\b
Examples:
  shardtools convert fashion-sd fashion-beton --to beton --one-file
  shardtools convert s3://bucket/imagenet imagenet-256 --to beton --min-side 256 --quality 90
  shardtools convert train.beton photos --to imagefolder
  shardtools convert mds-folder s3://bucket/shards --to tar

\b
Images keep their bytes unless an option asks for others; the manifest follows and names its parent.
The same command resumes a run that was stopped or killed.
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""


@click.command("convert", epilog=EPILOG)
@click.argument("source")
@click.argument("dataset")
@click.option(
    "--to", "layout", type=click.Choice(LAYOUT_NAMES), default="tar", show_default=True, help="Format to write."
)
@with_options(SOURCE_OPTIONS, TARGET_OPTIONS, ENCODING_OPTIONS)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(source: str, dataset: str, layout: str, as_json: bool, **options: Any) -> None:
    """Copy SOURCE into another format, with its manifest.

    SOURCE is a dataset of shardtools or anything that `shardtools write` reads. DATASET is a folder or
    s3://bucket/prefix. Formats: WebDataset tars, FFCV's .beton, MosaicML's MDS, LitData, and plain image folders.
    """
    run(source, dataset, options, layout=layout, append=False, as_json=as_json)
