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
  results   figures of networks, with --results: reference, model, dataset, metric, value, ...

\b
Examples:
  shardtools sql "select wnid, count(*) as images from samples group by wnid" fashion-sd
  shardtools sql "describe samples" fashion-sd
  shardtools sql "from samples where seed = $seed" --param seed=42 s3://bucket/in100-sd --json
  shardtools sql "from samples join overlays.fixes using (dataset, key)" fashion-real
  shardtools sql "select key, sha256 from samples" fashion-sd fashion-real --output digests.parquet
  shardtools sql "from results where metric = 'top1_accuracy' order by value" --results own.csv --results testbed
"""


@click.command("sql", epilog=EPILOG)
@click.argument("statement", metavar="SQL")
@click.argument("datasets", metavar="[DATASET]...", nargs=-1)
@click.option("--overlay", "overlays", metavar="PATH", multiple=True, help="An overlay outside of its dataset.")
@click.option(
    "--results",
    "result_files",
    metavar="FILE|NAME",
    multiple=True,
    help="A file of `shardtools eval`, or published figures by their name, as rows of `results`.",
)
@result_options
def command(
    statement: str,
    datasets: tuple[str, ...],
    overlays: tuple[str, ...],
    result_files: tuple[str, ...],
    params: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    output: str | None,
) -> None:
    """Ask the manifests of datasets a question in SQL.

    The SQL is DuckDB's; it may hold parameters as $name. A dataset is a folder or an s3:// address, and one that is
    still being made can be asked too. Statements that write are refused: nothing here changes a dataset.
    """
    if not datasets and not result_files:
        raise click.UsageError("SQL needs at least one dataset, or --results: give its folder or s3:// address")
    tables = None
    if result_files:
        from shardtools.evaluation.results import joined_table

        tables = {"results": joined_table(result_files)}
    run(
        statement,
        datasets,
        guess_params(params),
        as_json=as_json,
        as_csv=as_csv,
        output=output,
        overlays=overlays,
        tables=tables,
    )
