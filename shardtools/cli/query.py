"""`shardtools query`: the named questions of queries/."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.results import result_options, run, split_params

if TYPE_CHECKING:
    from shardtools.sql import NamedQuery

EPILOG = """\b
Examples:
  shardtools query
  shardtools query classes fashion-sd
  shardtools query duplicates fashion-sd fashion-real --param min_copies=3
  shardtools query mistakes photos --on predictions=predictions_lite0
  shardtools query failures --show
"""


@click.command("query", epilog=EPILOG)
@click.argument("name", metavar="[NAME]", required=False)
@click.argument("datasets", metavar="[DATASET...]", nargs=-1)
@click.option("--show", is_flag=True, help="Print the query's SQL and run nothing.")
@click.option(
    "--on",
    "overlays",
    metavar="NAME=OVERLAY",
    multiple=True,
    help="Ask another overlay than NAME; may be repeated.  [default: NAME, or the only one called NAME_...]",
)
@result_options
def command(
    name: str | None,
    datasets: tuple[str, ...],
    show: bool,
    overlays: tuple[str, ...],
    params: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    output: str | None,
) -> None:
    """Run one of the named questions in queries/; without NAME, list them."""
    from shardtools.sql import find_query, named_queries

    if name is None:
        _print_list(list(named_queries().values()), as_json=as_json)
        return
    query = find_query(name)
    if show:
        click.echo(query.sql, nl=False)
        return
    if not datasets:
        raise click.UsageError(f"give a dataset: shardtools query {query.name} DATASET; --show prints its SQL")
    query = query.with_overlays(datasets, _split_overlays(overlays))
    for note in query.check_overlays(datasets):
        click.echo(note, err=True)
    run(query.sql, datasets, query.bind(split_params(params)), as_json=as_json, as_csv=as_csv, output=output)


def _split_overlays(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    wrong = next((text for text, pair in zip(given, pairs, strict=True) if not pair[0] or not pair[2]), None)
    if wrong is not None:
        raise click.UsageError(f"--on takes NAME=OVERLAY, found {wrong!r}")
    return {name: overlay for name, _, overlay in pairs}


def _print_list(queries: list[NamedQuery], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_json_object(query) for query in queries], indent=2))
        return
    from shardtools.cli.columns import format_columns, terminal_width

    rows = [[query.name, query.question, " ".join(f"${one.name}" for one in query.parameters)] for query in queries]
    click.echo("\n".join(format_columns(["name", "question", "parameters"], rows, terminal_width())))
    click.echo("\nrun one: shardtools query classes DATASET; see its SQL: shardtools query classes --show")


def _json_object(query: NamedQuery) -> dict[str, Any]:
    parameters = [
        {"name": one.name, "type": one.type_name, "default": one.default, "meaning": one.meaning}
        for one in query.parameters
    ]
    return {
        "name": query.name,
        "question": query.question,
        "parameters": parameters,
        "columns": dict(query.columns),
        "overlays": dict(query.overlays),
    }
