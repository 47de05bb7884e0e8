"""`shardtools eval variation`: gaps of models where factors of rendered pictures vary, in the settings of seed 002."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.evaluation.variation import VariationOptions
from shardtools.words import counted

if TYPE_CHECKING:
    pass

EPILOG = """\b
Examples:
  shardtools eval variation rooms --features lite0 --folds 5
  shardtools eval variation rooms --features lite0 --features lite1 --folds 5 --setting samples --results gaps.parquet
  shardtools eval variation rooms rooms-all --features lite0 --folds 5 --setting all
  shardtools eval variation rooms --features lite0 --folds 5 --setting classes --text-features texts
  shardtools eval variation rooms --predictions predictions_clip
  shardtools eval variation rooms --setting classes --folds 5 --training-sets halves

\b
DATASET is what `shardtools render` made; several (one a grid, say) are taken as one. Gaps are points of accuracy:
held-out objects with a factor varied less the same objects canonical, by the same model. Intervals draw objects again.
"""


@click.command("variation", epilog=EPILOG)
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@options_of(VariationOptions, first=("features", "setting", "predictions"))
@click.option("--training-sets", metavar="NAME", help="Write what is trained on as an overlay, for `shardtools train`.")
@click.option("--replace", is_flag=True, help="Write that overlay anew.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: all figures, points and notes.")
@click.option("--results", "--out", "results", metavar="FILE", help="Add all figures to a .parquet or .csv of results.")
def command(
    datasets: tuple[str, ...],
    training_sets: str | None,
    replace: bool,
    as_json: bool,
    results: str | None,
    **options: Any,
) -> None:
    """Measure the gaps of models when pose, size, position, lighting or background of DATASET's objects varies.

    Linear classifiers are fitted to --features in a setting of seed 002; --predictions are judged as they are.
    """
    from shardtools.cli.columns import format_tables, terminal_width
    from shardtools.cli.progress import RunProgress
    from shardtools.evaluation.sets import add_results
    from shardtools.evaluation.variation import measure, save_training_sets, text_tables

    wanted = VariationOptions(datasets=datasets, **options)
    if training_sets is not None:
        num_rows = save_training_sets(wanted, training_sets, replace=replace)
        click.echo(f"wrote {counted(num_rows, 'row')} to overlay {training_sets}", err=True)
        if not wanted.features and not wanted.predictions:
            return
    with RunProgress(noun="classifiers", doing="reading the manifest") as progress:
        result = measure(wanted, progress=progress)
    if results is not None:
        add_results(result.results, results)
    if as_json:
        rows = [asdict(row) for row in result.results]
        points = [{"model": model.model, **asdict(point)} for model in result.models for point in model.points]
        click.echo(json.dumps({"results": rows, "points": points, "notes": result.notes}, indent=1))
    else:
        click.echo("\n".join([*format_tables(text_tables(result), terminal_width()), *result.notes]))
