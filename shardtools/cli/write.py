"""`shardtools write`: real images as shards with a manifest."""

from __future__ import annotations

from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.cli.writing_options import run, writing_options
from shardtools.words import counted
from shardtools.writing import WriteOptions

EPILOG = """\b
Examples:
  shardtools write photos photos-shards
  shardtools write /usr/share/datasets/fashion-mnist fashion
  shardtools write /data/ILSVRC2012 s3://bucket/imagenet --num-processes 16
  shardtools write "s3://bucket/old/train-{000000..000146}.tar" imagenet --classes imagenet-1k
  shardtools write more-photos photos-shards --append
  shardtools write torchvision:pets pets --root /data/torchvision

\b
The same command resumes a run that was stopped or killed. SIGTERM and Ctrl-C finish the shard in hand.
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""


@click.command("write", epilog=EPILOG)
@click.argument("source")
@click.argument("dataset")
@options_of(WriteOptions, only=("layout", "append"))
@click.option("--discard-append", is_flag=True, help="First drop an append to DATASET that was not finished.")
@writing_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(source: str, dataset: str, discard_append: bool, as_json: bool, **options: Any) -> None:
    """Write real images as shards with a manifest.

    SOURCE is a folder of class folders; ImageNet's archives; a tar, zip or folder of class tars; WebDataset tars (one,
    a folder of them, or a pattern in quotes); Parquet files with image bytes; FFCV's .beton; a folder of MDS or LitData
    shards; idx files (Fashion-MNIST, MNIST); a dataset; or torchvision:NAME, a published set whose files are below
    --root (docs/transfer_sets.md lists them). DATASET is a folder or s3://bucket/prefix. Images keep their
    bytes; files that are none get a row that says why.
    """
    if discard_append:
        from shardtools.writing import discard_unfinished_append

        num_parts = discard_unfinished_append(dataset)
        click.echo(
            f"dropped an unfinished append of {counted(num_parts, 'shard')}" if num_parts else "no append to drop",
            err=True,
        )
    run(source, dataset, options, as_json=as_json)
