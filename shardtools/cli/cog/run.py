"""`shardtools cog run`: linear classifiers on the features of each level."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.cog.report import draw, print_tables
from shardtools.cli.options import options_of
from shardtools.evaluation.cog import CogOptions

EPILOG = """\b
Examples:
  shardtools cog run --level IN-1K=imagenet --dataset in21k --features lite0 --features lite1 --results cog.parquet
  shardtools cog run --level IN-1K=imagenet --level L1=level1 --level L5=level5 --features lite0 --shots 1,2,4
  shardtools cog run --dataset in21k --overlay cog_levels --only L1,L5 --features lite0 --shots "" --pictures figures
  shardtools cog report cog.parquet --reference cog

\b
A killed run goes on with the same command. Features are those of `shardtools features DATASET --protocol trex`;
`shardtools cog levels --from DATASET` writes the overlay.
"""


@click.command("run", epilog=EPILOG)
@options_of(CogOptions, first=("levels", "dataset", "overlay", "only", "features", "shots"))
@click.option("--results", metavar="FILE", help="Add all figures to a .parquet or .csv of results.")
@click.option("--pictures", metavar="FOLDER", help="Draw what can be drawn.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: rows of results and notes.")
def command(results: str | None, pictures: str | None, as_json: bool, **options: Any) -> None:
    """Measure features by linear classifiers on seen concepts and on each level of unseen ones."""
    from shardtools.cli.progress import RunProgress
    from shardtools.evaluation.cog import own_figures, run_cog
    from shardtools.evaluation.sets import add_results
    from shardtools.pictures import require_pictures

    wanted = CogOptions(**options)
    if pictures is not None:
        require_pictures("cog run --pictures")
    with RunProgress(noun="epochs" if wanted.solver == "sgd" else "trials", doing="reading the manifests") as progress:
        found = run_cog(wanted, progress=progress)
    if results is not None:
        add_results(found.results, results)
    figures = own_figures(found.results, baseline=found.baseline)
    if as_json:
        rows = [asdict(row) for row in found.results]
        click.echo(json.dumps({"results": rows, "baseline": found.baseline, "notes": found.notes}, indent=1))
    else:
        print_tables(figures)
        for note in found.notes:
            click.echo(note)
    if pictures is not None:
        draw(figures, pictures)
