"""`shardtools analyze`: the thesis's four measures of features."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of
from shardtools.evaluation.analysis import AnalyzeOptions

EPILOG = """\b
Examples:
  shardtools features fashion --encoder fashion-run --name own
  shardtools analyze fashion --features own
  shardtools analyze imagenet-val imagenet-v2 --features own         (each, and their mean)

\b
Features are divided by their length before all four (thesis, section 5.5.5):
  sparsity    share of values below 1e-5
  distance    mean distance of two samples of a class; classes with one sample are left out
  redundancy  mean absolute correlation of two dimensions
  coding      coding length in nats, eps^2 = 0.5
"""


@click.command("analyze", epilog=EPILOG)
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@options_of(AnalyzeOptions)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list with an object a dataset.")
def command(datasets: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Say how sparse, spread, redundant and long to code the features of every DATASET are."""
    from shardtools.evaluation.analysis import analyze, mean_analysis

    wanted = AnalyzeOptions(datasets=datasets, **options)
    found = analyze(wanted, report=lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    from shardtools.cli.columns import format_columns, terminal_width

    shown = found if len(found) == 1 else [*found, mean_analysis(found)]
    header = ["dataset", "samples", "classes", "sparsity", "distance", "redundancy", "coding"]
    cells = [
        [
            one.dataset,
            str(one.num_samples),
            str(one.num_classes),
            f"{one.sparsity:.1%}",
            "-" if one.intra_class_distance is None else f"{one.intra_class_distance:.4f}",
            "-" if one.redundancy is None else f"{one.redundancy:.4f}",
            f"{one.coding_length:.2f}",
        ]
        for one in shown
    ]
    click.echo("\n".join(format_columns(header, cells, terminal_width())))
