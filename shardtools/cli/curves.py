"""`shardtools curves`: the curves of training runs as one picture."""

from __future__ import annotations

import json

import click

from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools curves fashion-run --out fashion.png
  shardtools curves runs/seed0 runs/seed1 runs/seed2 --out seeds.png
"""


@click.command("curves", epilog=EPILOG)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", default="curves.png", show_default=True, help="Picture to write (.png).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the last evaluation of each run.")
def command(runs: tuple[str, ...], out: str, as_json: bool) -> None:
    """Draw loss, accuracy, learning rate, images/s and data-wait share of training runs.

    RUN is what `shardtools train` was given as --out; runs that are not finished can be drawn too.
    """
    from shardtools.cli.progress import RunProgress
    from shardtools.training import draw_curves, read_metrics

    with RunProgress(noun="runs", doing="drawing"):
        draw_curves(runs, out)
    if not as_json:
        click.echo(f"wrote the curves of {counted(len(runs), 'run')} to {out}")
        return
    last = {}
    for run in runs:
        columns = read_metrics(run)["evaluation"]
        # NaN is no JSON.
        last[run] = {
            name: None if values[-1] != values[-1] else float(values[-1])
            for name, values in columns.items()
            if len(values)
        }
    click.echo(json.dumps({"out": out, "last_evaluation": last}))
