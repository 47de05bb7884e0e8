"""`shardtools recipes`: what `shardtools train --recipe` takes."""

from __future__ import annotations

import json

import click

from shardtools.quoting import shell_word

EPILOG = """\b
Examples:
  shardtools recipes
  shardtools recipes imagenet-sd
  shardtools recipes micro > mine.toml
"""


@click.command("recipes", epilog=EPILOG)
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the list, or the recipe's values.")
def command(name: str | None, as_json: bool) -> None:
    """List the recipes of `shardtools train`; with NAME, print that recipe's file.

    Its comment gives the command, the hardware, the time and the expected accuracy. A copy that you change is a recipe
    too: `shardtools train ... --recipe mine.toml`.
    """
    if name is None:
        print_recipes(as_json=as_json)
        return
    from dataclasses import asdict

    from shardtools.training import find_recipe, load_recipe

    file = find_recipe(name)
    click.echo(json.dumps(asdict(load_recipe(file.name))) if as_json else file.text, nl=as_json)


def print_recipes(*, as_json: bool) -> None:
    """One line a recipe."""
    from shardtools.cli.columns import format_columns, terminal_width
    from shardtools.training import list_recipes

    recipes = list_recipes()
    if as_json:
        click.echo(json.dumps([{"recipe": one.name, "what": one.summary} for one in recipes], indent=2))
        return
    lines = format_columns(["recipe", "what"], [[one.name, one.summary] for one in recipes], terminal_width())
    click.echo(
        "\n".join(
            [*lines, "", f"see one, with its command and accuracy: shardtools recipes {shell_word(recipes[0].name)}"]
        )
    )
