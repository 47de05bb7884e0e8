"""`shardtools classes`: class sets, their classes, and a search over the shipped table."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import click

from shardtools.errors import TaxonomyError
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.taxonomy import ImageClass, Synset


@click.command()
@click.argument("words", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def command(words: tuple[str, ...], as_json: bool, as_csv: bool) -> None:
    r"""Look up class sets, wnids and synset names.

    Without WORDS, lists the class sets. WORDS may be a class set, wnids and synset names joined by commas, or a .txt or
    .csv file of classes, as `gen-sd --classes` takes them; anything else is searched for among the names of the 23,547
    synsets that ship with shardtools.

    \b
    Examples:
      shardtools classes
      shardtools classes imagenet-100
      shardtools classes robin
      shardtools classes n03595614,sandal.n.01 --json
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other; give one")
    records, footer = _look_up(" ".join(words))
    if as_json:
        click.echo(json.dumps(records, indent=2, ensure_ascii=False))
        return
    cells = [[_cell(value) for value in record.values()] for record in records]
    if as_csv:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([list(records[0]), *cells])
        click.echo(text.getvalue(), nl=False)
        return
    from shardtools.cli.columns import format_columns, terminal_width

    hidden = {"hypernym_wnids"}
    shown = [position for position, column in enumerate(records[0]) if column not in hidden]
    header = [list(records[0])[position].replace("_", " ") for position in shown]
    lines = format_columns(header, [[row[position] for position in shown] for row in cells], terminal_width())
    click.echo("\n".join([*lines, "", footer]))


def _look_up(words: str) -> tuple[list[dict[str, Any]], str]:
    """Records to print, and a line to print under them."""
    from shardtools.taxonomy import CLASS_SETS, class_set_sizes, find_classes, is_identifier, load_classes, suggest

    if not words:
        sizes = class_set_sizes()
        sets = [{"class_set": name, "classes": sizes[name], "what": line} for name, line in CLASS_SETS.items()]
        return sets, "see one: shardtools classes fashion; search: shardtools classes robin"
    is_list = words in CLASS_SETS or "," in words or words.lower().endswith((".txt", ".csv"))
    if is_list:
        classes = load_classes(words)
        footer = f"{counted(len(classes), 'class', 'classes', spec=',')} in {words}"
        return [_class_object(entry) for entry in classes], footer
    synsets = find_classes(words)
    if synsets:
        footer = (
            f"{counted(len(synsets), 'synset', spec=',')} for {words!r}; "
            f"use one: shardtools prompts --classes {synsets[0].name}"
        )
        return [_synset_object(synset) for synset in synsets], footer
    if is_identifier(words):
        return [_class_object(entry) for entry in load_classes(words)], "from WordNet 3.0; it is in no class set"
    near = suggest(words)
    hint = f"did you mean {' or '.join(near)}?" if near else "`shardtools classes` lists the class sets"
    raise TaxonomyError(f"no class set or synset of the shipped table is called {words!r}; {hint}")


def _class_object(entry: ImageClass) -> dict[str, Any]:
    return {
        "class_index": entry.class_index,
        "wnid": entry.wnid,
        "lemmas": list(entry.lemmas),
        "hypernyms": [list(parent) for parent in entry.hypernyms],
        "hypernym_wnids": list(entry.hypernym_wnids),
        "definition": entry.definition,
    }


def _synset_object(synset: Synset) -> dict[str, Any]:
    from shardtools.taxonomy import lemmas_of

    return {
        "wnid": synset.wnid,
        "synset": synset.name,
        "class_sets": dict(synset.class_sets),
        "lemmas": list(synset.lemmas),
        "hypernyms": [list(lemmas_of(parent)) for parent in synset.hypernym_wnids],
        "hypernym_wnids": list(synset.hypernym_wnids),
        "definition": synset.definition,
    }


def _cell(value: Any) -> str:
    """A record's value as one line of text: names joined by ", ", parents by "; "."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name} {index}" for name, index in value.items())
    if isinstance(value, list):
        nested = any(isinstance(entry, list) for entry in value)
        return ("; " if nested else ", ").join(_cell(entry) for entry in value)
    return str(value)
