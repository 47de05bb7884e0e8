"""`shardtools sql`: one SQL statement over the manifests of datasets."""

from __future__ import annotations

import click

from shardtools.cli.results import guess_params, result_options, run

EPILOG = """\b
Tables:
  samples   one row an image (docs/format.md), with the column `dataset` first
  events    the event logs: dataset, time, event, log, facts (JSON)
  datasets  one row a dataset: kind, plan_id, scale, totals, settings (JSON)
  overlays.NAME  the rows of an overlay: dataset, key, ... (`shardtools overlay list DATASET`)

\b
Examples:
  shardtools sql "select wnid, count(*) as images from samples group by wnid" fashion-sd
  shardtools sql "describe samples" fashion-sd
  shardtools sql "from samples where seed = $seed" --param seed=42 s3://bucket/in100-sd --json
  shardtools sql "from samples join overlays.fixes using (dataset, key)" fashion-real
  shardtools sql "select key, sha256 from samples" fashion-sd fashion-real --output digests.parquet
"""


@click.command("sql", epilog=EPILOG)
@click.argument("statement", metavar="SQL")
@click.argument("datasets", metavar="DATASET...", nargs=-1, required=True)
@click.option("--overlay", "overlays", metavar="PATH", multiple=True, help="An overlay outside of its dataset.")
@result_options
def command(
    statement: str,
    datasets: tuple[str, ...],
    overlays: tuple[str, ...],
    params: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    output: str | None,
) -> None:
    """Ask the manifests of datasets a question in SQL.

    The SQL is DuckDB's; it may hold parameters as $name. A dataset is a folder or an s3:// address, and one that is
    still being made can be asked too. Statements that write are refused: nothing here changes a dataset.
    """
    run(
        statement,
        datasets,
        guess_params(params),
        as_json=as_json,
        as_csv=as_csv,
        output=output,
        overlays=overlays,
    )
