"""Groups of commands whose modules are imported when they are used.

Owns the reading of a table of commands, so that `shardtools --help` imports none of them. The price: each command's one
line of help is typed beside the name of its module, apart from the command.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used.

    Args:
        places: Command name -> (module with a `command` object, or an audit of one file with an `AUDIT`; one line of
            help).
        settings: Of `click.Group`.
    """

    def __init__(self, *args: Any, places: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.places)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.places:
            return None
        module = importlib.import_module(self.places[name][0])
        if hasattr(module, "AUDIT"):
            from shardtools.cli.sample_audit import sample_audit_command

            return sample_audit_command(module.AUDIT)
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in self.places.items()])
