"""`shardtools corrupt`: copies of a dataset, made worse as ImageNet-C is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of, values_of
from shardtools.cli.writing_options import require_images, summary
from shardtools.corruption import CorruptOptions
from shardtools.sources import SourceOptions
from shardtools.writing import WriteOptions

EPILOG = """\b
Examples:
  shardtools corrupt imagenet-val imagenet-c
  shardtools corrupt imagenet-val noise --corruption gaussian_noise,shot_noise --severity 3
  shardtools corrupt fashion-real fashion-c --whole --split test
  shardtools sql "select corruption, severity, count(*) from samples group by all" fashion-c

\b
Networks can also be judged on corrupted pictures that are never written: shardtools predict --help.
The same command resumes a run that was stopped or killed. Draws depend on --seed, the picture's key, the corruption and
the severity alone.
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""


@click.command("corrupt", epilog=EPILOG)
@click.argument("source")
@click.argument("dataset")
@options_of(CorruptOptions)
@options_of(SourceOptions, only=("split", "kind"))
@options_of(WriteOptions, only=("samples_per_shard", "num_processes"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(source: str, dataset: str, as_json: bool, **options: Any) -> None:
    """Write copies of SOURCE with noise, blur, weather and digital damage.

    SOURCE is a dataset of shardtools or anything that `shardtools write` reads. DATASET is a folder or
    s3://bucket/prefix; its rows say corruption, severity, and of which picture they are. Fifteen corruptions at five
    severities make 75 copies of each picture.
    """
    from shardtools.cli.progress import RunProgress
    from shardtools.writing import write_corrupted

    wanted = CorruptOptions(**values_of(CorruptOptions, options))
    with RunProgress(noun="samples", before="starting", doing="listing the source") as progress:
        result = write_corrupted(
            SourceOptions(source=source, **values_of(SourceOptions, options)),
            dataset,
            wanted,
            progress=progress,
            **values_of(WriteOptions, options),
        )
    click.echo(json.dumps(asdict(result)) if as_json else summary(result))
    require_images(result)
