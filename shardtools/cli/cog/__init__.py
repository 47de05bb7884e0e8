"""`shardtools cog`: ImageNet-CoG. One module a command; `COMMANDS` lists them."""

from __future__ import annotations

import click

from shardtools.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "eligible": ("shardtools.cli.cog.eligible", "Say which concepts may be unseen ones, step by step."),
    "levels": ("shardtools.cli.cog.levels", "Make levels of concepts, less and less alike to seen ones."),
    "run": ("shardtools.cli.cog.run", "Measure features on seen concepts and on each level."),
    "report": ("shardtools.cli.cog.report", "Print and draw figures on levels, own and published."),
}
"""Command name -> (module with a `command` object; one line of help)."""

EPILOG = """\b
Examples:
  shardtools cog eligible
  shardtools cog levels --counts counts.csv --out levels.csv
  shardtools cog run --level IN-1K=imagenet --dataset in21k --features lite0 --results cog.parquet
  shardtools cog report cog.parquet --reference cog
"""


@click.group("cog", cls=LazyGroup, places=COMMANDS, epilog=EPILOG)
def command() -> None:
    """Measure what a representation carries over to concepts that it has not seen (ImageNet-CoG)."""
