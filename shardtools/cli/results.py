"""Results of SQL on the command line: options that `sql` and `query` share, and aligned text.

Owns the text form: it is for eyes, so it stops after `MAX_TEXT_ROWS` rows and says so. The price: a script that wants
all rows must ask for --csv, --json or --output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.sql import Rows

MAX_TEXT_ROWS = 1000
_NULL = "-"
_EXACT_BELOW = 1e15
_Command = TypeVar("_Command", bound=Callable[..., Any])


def result_options(command: _Command) -> _Command:
    """Adds --param, --json, --csv and --output."""
    for option in (
        click.option("--output", metavar="FILE", help="Write to FILE.parquet, FILE.csv or FILE.json (path or s3://)."),
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV, all rows."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON array of objects, all rows."),
        click.option("--param", "params", metavar="NAME=VALUE", multiple=True, help="Value of $NAME; may be repeated."),
    ):
        command = option(command)
    return command


def split_params(params: Sequence[str]) -> dict[str, str]:
    """Parameter name -> text out of `name=value` (or `$name=value`)."""
    pairs = {}
    for param in params:
        name, equals, value = param.partition("=")
        name = name.removeprefix("$")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"--param takes name=value, found {param!r}")
        pairs[name] = value
    return pairs


def guess_params(params: Sequence[str]) -> dict[str, Any]:
    """Values of undeclared parameters: JSON scalars (12, 0.5, true, null, "12"), anything else as text."""
    return {name: _guess(text) for name, text in split_params(params).items()}


def run(
    sql: str,
    datasets: Sequence[str],
    parameters: Mapping[str, Any],
    *,
    as_json: bool,
    as_csv: bool,
    output: str | None,
    overlays: Sequence[str] = (),
    tables: Mapping[str, Any] | None = None,
) -> None:
    """Runs one statement and prints or writes its rows."""
    if as_json + as_csv + (output is not None) > 1:
        raise click.UsageError("--json, --csv and --output exclude each other; give one")
    from shardtools.cli.progress import RunProgress
    from shardtools.cli.terminal import data_output
    from shardtools.sql import Session, save, write_csv, write_json
    from shardtools.sql.output import check_output

    if output is not None:
        check_output(output)
    # Rows that go to a terminal as they come show by themselves that it goes on.
    shows_rows = (as_json or as_csv) and sys.stdout.isatty()
    waiting = nullcontext() if shows_rows else RunProgress(noun="rows", doing="asking")
    with waiting, Session(datasets, overlays=overlays, tables=tables) as session:
        for note in session.notes:
            click.echo(note, err=True)
        rows = session.stream(sql, parameters)
        if output is not None:
            click.echo(f"wrote {counted(save(rows, output), 'row')} to {output}", err=True)
        elif as_json:
            write_json(rows, sys.stdout)
        elif as_csv:
            write_csv(rows, data_output())
        else:
            _print_text(rows)


def _print_text(rows: Rows) -> None:
    from shardtools.cli.columns import format_columns, terminal_width

    cells: list[list[str]] = []
    for row in _tuples(rows):
        if len(cells) == MAX_TEXT_ROWS:
            click.echo(
                f"these are the first {MAX_TEXT_ROWS} rows; all: --csv, --json or --output rows.parquet", err=True
            )
            break
        cells.append([_cell(value) for value in row])
    header = [field.name for field in rows.schema]
    if not header:
        return
    for position, field in enumerate(rows.schema):
        if _is_number(field.type):
            width = max(len(line[position]) for line in [header, *cells])
            for line in [header, *cells]:
                line[position] = line[position].rjust(width)
    click.echo("\n".join(format_columns(header, cells, terminal_width())))
    if not cells:
        click.echo("no rows", err=True)


def _tuples(rows: Rows) -> Iterator[tuple[Any, ...]]:
    for batch in rows:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _cell(value: Any) -> str:
    from shardtools.sql import to_json_value

    content = value if isinstance(value, float) else to_json_value(value)
    if content is None:
        return _NULL
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, float):
        if 1e-3 <= abs(content) < _EXACT_BELOW or content == 0:
            return f"{content:.4f}".rstrip("0").rstrip(".")
        return f"{content:.6g}"
    text = json.dumps(content, ensure_ascii=False) if isinstance(content, dict | list) else str(content)
    # A cell is one line: line breaks and other control characters show as escapes.
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _is_number(arrow_type: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_integer(arrow_type) or kinds.is_floating(arrow_type) or kinds.is_decimal(arrow_type))


def _guess(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) else value
