"""`shardtools report`: one page to look at a dataset and to decide on its samples."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.report import ReportOptions
from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools report photos-shards
  shardtools report s3://bucket/imagenet --out imagenet.html --suspects 2000
  shardtools report photos-shards --csv suspects.csv --parquet suspects.parquet

\b
The page is one file that opens anywhere: no server, no network. What it shows beside counts comes from overlays; a
section whose overlay is missing says which command writes it. Decisions made on the page are exported as edits.json,
which `shardtools apply` reads.
"""


@click.command("report", epilog=EPILOG)
@click.argument("dataset")
@click.option("--out", metavar="FILE", default="report.html", show_default=True, help="Path or s3:// address, .html.")
@options_of(ReportOptions, changes={"max_bytes": {"type": click.IntRange(1, 1000)}})
@click.option("--csv", "csv_file", metavar="FILE", help="Write the table of all suspects too, .csv.")
@click.option("--parquet", "parquet_file", metavar="FILE", help="Write the table of all suspects too, .parquet.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    dataset: str,
    out: str,
    csv_file: str | None,
    parquet_file: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a page about DATASET: counts, suspect labels, duplicates, image quality, classes and prompts."""
    from shardtools.cli.progress import RunProgress
    from shardtools.errors import OptionError

    tables = [(path, suffix) for path, suffix in ((csv_file, ".csv"), (parquet_file, ".parquet")) if path is not None]
    for path, suffix in tables:
        if not path.lower().endswith(suffix):
            raise OptionError(
                f"--{suffix[1:]} writes a name that ends in {suffix}, found {path!r}: choose another name"
            )
    chosen = ReportOptions(**options)
    with RunProgress(noun="pictures", doing="reading the manifest") as progress:
        from shardtools.report import export_suspects, write_report

        result = write_report(dataset, out, chosen, progress=progress)
        written = {path: export_suspects(dataset, path, overlays=chosen.overlays) for path, _ in tables}
    if as_json:
        click.echo(json.dumps(asdict(result) | {"tables": written}))
        return
    click.echo(
        f"{result.path}: {result.num_bytes / 1e6:.1f} MB, {counted(result.num_suspects, 'suspect')}, "
        f"{counted(result.num_pairs, 'duplicate pair')}, {counted(result.num_outliers, 'image')} of odd quality, "
        f"{counted(result.num_pictures, 'thumbnail')}"
    )
    for path, count in written.items():
        click.echo(f"{path}: {counted(count, 'suspect')}")
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
