"""`shardtools status`: how far a dataset is, from its files alone."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from shardtools.words import counted, size

EPILOG = """\b
Examples:
  shardtools status fashion-sd
  shardtools status s3://bucket/in100-sd --json
"""


@click.command("status", epilog=EPILOG)
@click.argument("dataset")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dataset: str, as_json: bool) -> None:
    """Say how far a dataset is, from its files alone, also while a run is writing."""
    from shardtools.cli.progress import RunProgress
    from shardtools.dataset import read_status

    with RunProgress(noun="files", doing="listing files"):
        status = read_status(dataset)
    if as_json:
        click.echo(json.dumps(asdict(status)))
        return
    rows = _of(status.num_rows, status.num_rows_planned, "row")
    shards = _of(status.num_shards, status.num_shards_planned, "shard")
    state = "committed" if status.committed else "not finished"
    click.echo(f"{status.url}: {status.kind}, {state}: {rows} in {shards}")
    counts = ", ".join(f"{count} {name}" for name, count in status.statuses.items()) or "none yet"
    click.echo(f"rows by status: {counts}; {size(status.num_bytes)} of images")
    if status.images_per_second is not None:
        left = f", about {status.seconds_left:.0f} s left" if status.seconds_left is not None else ""
        click.echo(
            f"running: {status.images_per_second:.1f} images/s on "
            f"{counted(status.num_processes or 0, 'process', 'processes')}{left}"
        )
    elif not status.committed:
        click.echo("no run is writing: the command that began it resumes it")


def _of(count: int, planned: int | None, noun: str) -> str:
    """Like "3 of 8 shards"."""
    return counted(count, noun) if planned is None else f"{count} of {counted(planned, noun)}"
