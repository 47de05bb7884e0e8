"""`shardtools convert`: a dataset, or any source, in another format."""

from __future__ import annotations

from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.cli.writing_options import run, writing_options
from shardtools.writing import WriteOptions

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
@options_of(WriteOptions, only=("layout",), changes={"layout": {"help": "Format to write."}})
@writing_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(source: str, dataset: str, as_json: bool, **options: Any) -> None:
    """Copy SOURCE into another format, with its manifest.

    SOURCE is a dataset of shardtools or anything that `shardtools write` reads. DATASET is a folder or
    s3://bucket/prefix. Formats: WebDataset tars, FFCV's .beton, MosaicML's MDS, LitData, and plain image folders.
    """
    run(source, dataset, options, as_json=as_json)
