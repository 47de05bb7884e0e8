"""`shardtools write`: real images as shards with a manifest."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import Any

import click

EPILOG = """\b
Examples:
  shardtools write photos photos-shards
  shardtools write /usr/share/datasets/fashion-mnist fashion
  shardtools write /data/imagenet s3://bucket/imagenet --classes imagenet-1k --num-processes 16
  shardtools write "s3://bucket/old/train-{000000..000146}.tar" imagenet --classes imagenet-1k

\b
The same command resumes a run that was stopped or killed. SIGTERM and Ctrl-C finish the shard in hand.
Exit codes: 0 done, 1 a known error (one line), 2 wrong usage.
"""


@click.command("write", epilog=EPILOG)
@click.argument("source")
@click.argument("dataset")
@click.option(
    "--source-kind",
    type=click.Choice(["auto", "imagefolder", "idx", "webdataset"]),
    default="auto",
    show_default=True,
    help="How SOURCE is laid out; auto looks at its names.",
)
@click.option(
    "--split", help="Name for a source without splits, or the one to write.  [default: the source's, or train]"
)
@click.option(
    "--classes", help="Class set whose order gives the labels (imagenet-1k, ...), wnids, or a .txt/.csv file."
)
@click.option("--samples-per-shard", type=int, default=1000, show_default=True, help="Rows of one shard.")
@click.option("--num-processes", type=int, help="Processes on this machine.  [default: one a CPU core]")
@click.option(
    "--check",
    type=click.Choice(["decode", "header"]),
    default="decode",
    show_default=True,
    help="Decode every image in full, or read only its header.",
)
@click.option(
    "--shuffle/--no-shuffle",
    default=None,
    help="Write samples in a fixed random order.  [default: yes for image folders, no for idx files and tars]",
)
@click.option("--shuffle-seed", type=int, default=0, show_default=True, help="Another seed gives another order.")
@click.option("--flatten-keys", is_flag=True, help='Write the key "a/b" of a tar as "a__b" instead of refusing it.')
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    dataset: str,
    source_kind: str,
    samples_per_shard: int,
    num_processes: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Write real images as shards with a manifest.

    SOURCE is a folder of class folders, a folder of idx files (Fashion-MNIST, MNIST), or WebDataset tars: one, a folder
    of them, or a pattern in quotes. DATASET is a folder or s3://bucket/prefix. Images keep their bytes; files that are
    none get a row that says why.
    """
    from shardtools.cli.progress import RunProgress
    from shardtools.sources import SourceOptions
    from shardtools.writing import WriteOptions, write_dataset

    wanted = WriteOptions(
        source=SourceOptions(kind=source_kind, **options),
        out=dataset,
        samples_per_shard=samples_per_shard,
        num_processes=num_processes,
    )
    with RunProgress(noun="samples", before="starting") as progress:
        result = write_dataset(wanted, progress=progress)
    click.echo(json.dumps(asdict(result)) if as_json else summary(result))


def summary(result: Any) -> str:
    """What a run did and the next three commands worth typing."""
    place = shlex.quote(result.url)
    splits = ", ".join(f"{split} {count}" for split, count in result.splits.items())
    if result.num_written:
        speed = result.num_written / result.seconds
        processes = f"{result.num_processes} {'processes' if result.num_processes > 1 else 'process'}"
        head = f"{result.num_written} samples read in {result.seconds:.1f} s ({speed:.0f}/s, {processes})"
    else:
        head = "nothing left to write"
    size = f"{result.num_bytes / 1e9:.2f} GB" if result.num_bytes >= 1e9 else f"{result.num_bytes / 1e6:.2f} MB"
    shards = f"{result.num_shards} {'shard' if result.num_shards == 1 else 'shards'}"
    lines = [f"{head}: {result.url} holds {result.num_images} images ({size}) in {shards}; rows by split: {splits}"]
    rejected = {status: count for status, count in result.statuses.items() if status != "ok"}
    if rejected:
        reasons = ", ".join(f"{count} {status}" for status, count in rejected.items())
        lines.append(f"rejected: {reasons}; each has a row that says why")
    lines += ["Next:", f"  shardtools query classes {place}", f"  shardtools verify {place}"]
    if rejected:
        question = "select key, status, reason from samples where status <> 'ok' limit 5"
    else:
        question = "select key, wnid, class_index, num_bytes from samples limit 5"
    lines.append(f'  shardtools sql "{question}" {place}')
    return "\n".join(lines)
