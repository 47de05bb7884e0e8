"""`shardtools transfer`: fine-tuning many models on many sets. One module a command; `COMMANDS` lists them."""

from __future__ import annotations

import click

from shardtools.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "plan": ("shardtools.cli.transfer.plan", "Say what a study will train, and how long it takes."),
    "run": ("shardtools.cli.transfer.run", "Train the cells that are not done, each exactly once."),
    "report": ("shardtools.cli.transfer.report", "Put the best of each model beside its accuracy in pretraining."),
}
"""Command name -> (module with a `command` object; one line of help)."""

EPILOG = """\b
Examples:
  shardtools transfer plan study.toml
  shardtools transfer run study.toml --processes 2
  shardtools transfer run study.toml --task 17/100
  shardtools transfer report study.toml --markdown report.md --picture transfer.png
"""


@click.group("transfer", cls=LazyGroup, places=COMMANDS, epilog=EPILOG)
def command() -> None:
    """Fine-tune models on sets in a grid of settings: does progress in pretraining carry over?

    After Fang, Kornblith and Schmidt, "Does progress on ImageNet transfer to real-world datasets?" (2023).
    """
