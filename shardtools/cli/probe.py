"""`shardtools probe`: what a linear classifier on frozen features reaches."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.evaluation.probes import ProbeOptions
from shardtools.quoting import shell_word
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.evaluation.probes import ProbeResult

EPILOG = """\b
Examples:
  shardtools probe photos --features lite0
  shardtools probe photos --features lite0 --shots 1,2,4,8,16,32,64,128
  shardtools probe flowers --features lite0 --solver lbfgs --val-split val --test-split test
  shardtools probe generated --features lite0 --test-dataset photos

\b
A killed run goes on with the same command. Figures are rows of results: shardtools eval table PROBE/results.parquet
"""


@click.command("probe", epilog=EPILOG)
@click.argument("dataset")
@options_of(ProbeOptions)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: rows of results, settings and notes.")
@click.option("--results", metavar="FILE", help="Add all figures to a .parquet or .csv of results.")
def command(dataset: str, as_json: bool, results: str | None, **options: Any) -> None:
    """Measure features of DATASET by linear classifiers: top-1 on images that nothing was learnt from.

    Settings are chosen on a part of the training images; five seeds give mean and deviation.
    """
    from shardtools.cli.progress import RunProgress
    from shardtools.evaluation.probes import run_probe
    from shardtools.evaluation.sets import add_results

    wanted = ProbeOptions(dataset=dataset, **options)
    with RunProgress(noun="epochs" if wanted.solver == "sgd" else "trials", doing="reading the manifests") as progress:
        result = run_probe(wanted, progress=progress)
    if results is not None:
        add_results(result.results, results)
    if as_json:
        found = {
            "url": result.url,
            "results": [asdict(row) for row in result.results],
            "cells": [asdict(cell) for cell in result.cells],
            "overlays": result.overlays,
            "notes": result.notes,
        }
        click.echo(json.dumps(found, indent=1))
    else:
        _print(result, wanted)


def _print(result: ProbeResult, wanted: ProbeOptions) -> None:
    from shardtools.cli.columns import format_columns, terminal_width
    from shardtools.evaluation.probes import text_table

    if not result.num_measured:
        click.echo("nothing was left to do", err=True)
    header, rows = text_table(result)
    click.echo("\n".join(format_columns(header, rows, terminal_width())))
    for note in result.notes:
        click.echo(note)
    click.echo(f"{counted(len(result.cells), 'measurement')} in {result.url}")
    if result.overlays and wanted.out is None:
        name = result.overlays[0].rpartition("/")[2]
        place = shell_word(wanted.test_dataset or wanted.dataset)
        click.echo(f"Next:\n  shardtools query mistakes {place} --on {shell_word(f'predictions={name}')}")
