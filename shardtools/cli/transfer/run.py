"""`shardtools transfer run`: the cells of a study are trained."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.quoting import shell_word
from shardtools.transfer import TransferOptions
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.transfer import Ran

EPILOG = """\b
Examples:
  shardtools transfer run study.toml
  shardtools transfer run study.toml --processes 8
  shardtools transfer run study.toml --task 17/100
  srun shardtools transfer run study.toml

\b
Any number of these may run at once, on any machines that see the folder: a cell is trained once, by whoever comes
first. Killed or stopped, the same command goes on, in the middle of a training too. A cell that fails is a row with
its reason; --retry-failed tries it again.
"""


@click.command("run", epilog=EPILOG)
@click.argument("study", metavar="STUDY.toml")
@options_of(TransferOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(study: str, as_json: bool, **options: Any) -> None:
    """Train the cells of STUDY.toml that are not done: every model on every set, in every setting of the grid.

    A cell's folder is DIR/cells/DIGEST; its file says what was trained, the best epoch by validation and its values.
    """
    from shardtools.cli.progress import RunProgress
    from shardtools.transfer import run_study

    with RunProgress(noun="cells", doing="reading the study") as progress:
        ran = run_study(study, TransferOptions(**options), progress=progress)
    click.echo(json.dumps({**asdict(ran), "num_left": ran.num_left}) if as_json else summary(study, ran, options))


def summary(study: str, ran: Ran, options: dict[str, Any]) -> str:
    """How the study stands, and what to type next."""
    failed = f", {ran.num_failed} failed" if ran.num_failed else ""
    left = f", {ran.num_left} left to other runs" if ran.num_left else ""
    lines = [
        f"{counted(ran.num_here, 'cell')} here; of {counted(ran.num_cells, 'cell')} of the study {ran.num_done} done"
        f"{failed}{left}",
        *(["the report says why, run --retry-failed tries them again"] if ran.num_failed else []),
    ]
    command = f"  shardtools transfer report {shell_word(study)}"
    if options.get("out"):
        command += f" --out {shell_word(options['out'])}"
    return "\n".join([*lines, "Next:", command])
