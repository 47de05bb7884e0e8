"""`shardtools eval`: judging networks. One module a command; `COMMANDS` lists them."""

from __future__ import annotations

import click

from shardtools.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "ood": ("shardtools.cli.eval.ood", "Judge models on test sets; predict what is missing, print one table."),
    "attack": ("shardtools.cli.eval.attack", "Attack a model with the images of a dataset."),
    "variation": (
        "shardtools.cli.eval.variation",
        "Measure how models hold when factors of rendered pictures vary.",
    ),
    "transfer": (
        "shardtools.cli.eval.transfer",
        "Measure what features carry over to other sets, by linear classifiers.",
    ),
    "table": ("shardtools.cli.eval.table", "Print figures, own and published, side by side."),
    "make-cue-conflict": ("shardtools.cli.eval.make_cue_conflict", "Fill cut-outs with textures of other categories."),
}
"""Command name -> (module with a `command` object; one line of help)."""

EPILOG = """\b
Examples:
  shardtools eval ood lite0 --on c=photos --on-the-fly
  shardtools eval attack lite0 photos --attack pgd-seed
  shardtools eval table --reference seed001
  shardtools eval table results.parquet --reference robustbench --on imagenet-c
"""


@click.group("eval", cls=LazyGroup, places=COMMANDS, epilog=EPILOG)
def command() -> None:
    """Judge networks: on test sets, corrupted and attacked; and put the figures beside published ones."""
