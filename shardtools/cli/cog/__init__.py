"""`shardtools cog`: ImageNet-CoG. One module a command; `COMMANDS` lists them."""

from __future__ import annotations

import click

from shardtools.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "eligible": ("shardtools.cli.cog.eligible", "Say which concepts may be unseen ones, step by step."),
    "levels": ("shardtools.cli.cog.levels", "Make levels of concepts, less and less alike to seen ones."),
}
"""Command name -> (module with a `command` object; one line of help)."""

EPILOG = """\b
Examples:
  shardtools cog eligible
  shardtools cog levels --counts counts.csv --out levels.csv
"""


@click.group("cog", cls=LazyGroup, places=COMMANDS, epilog=EPILOG)
def command() -> None:
    """Measure what a representation carries over to concepts that it has not seen (ImageNet-CoG)."""
