"""`shardtools overlay`: tables of facts about samples, beside their dataset."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.quoting import shell_word
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.overlays import Overlay

EPILOG = """\b
Examples:
  shardtools overlay list fashion-real
  shardtools overlay import fashion-real fixes corrected_labels.csv
  shardtools sql "select o.class_index, s.* from samples s join overlays.fixes o using (key)" fashion-real
  shardtools overlay remove fashion-real fixes
"""


@click.group("overlay", epilog=EPILOG)
def command() -> None:
    """List, show, import and remove overlays: tables of facts about a dataset's samples."""


@command.command("list")
@click.argument("dataset")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array of objects.")
def list_command(dataset: str, as_json: bool) -> None:
    """List the overlays of DATASET."""
    from shardtools.dataset import open_dataset
    from shardtools.overlays import list_overlays

    opened = open_dataset(dataset, incomplete=True)
    records = [_json_object(overlay, opened) for overlay in list_overlays(dataset)]
    if as_json:
        click.echo(json.dumps(records, indent=1, ensure_ascii=False))
        return
    if not records:
        click.echo(
            f"{dataset} has no overlays; make one: shardtools overlay import {shell_word(dataset)} NAME FILE.csv",
            err=True,
        )
        return
    from shardtools.cli.columns import format_columns, terminal_width

    cells = [
        [
            record["name"],
            str(record["num_rows"]),
            ", ".join(column["name"] for column in record["columns"]),
            record["made_by"],
            "yes" if record["fits"] else "no: of another version",
        ]
        for record in records
    ]
    click.echo("\n".join(format_columns(["name", "rows", "columns", "made by", "usable"], cells, terminal_width())))


@command.command("show")
@click.argument("dataset")
@click.argument("name")
@click.option("--check", is_flag=True, help="Compare the digest of every part first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show_command(dataset: str, name: str, check: bool, as_json: bool) -> None:
    """Show what the overlay NAME of DATASET holds; NAME may also be the path of an overlay elsewhere (./NAME)."""
    from shardtools.dataset import open_dataset
    from shardtools.overlays import open_overlay

    overlay = open_overlay(dataset, name, any_version=True)
    if check:
        overlay.check_digests()
    record = _json_object(overlay, open_dataset(dataset))
    if as_json:
        click.echo(json.dumps(record, indent=1, ensure_ascii=False))
        return
    rows = counted(record["num_rows"], "row")
    click.echo(f"{overlay.url}: {rows} in {counted(len(overlay.info.parts), 'part')}, made by {record['made_by']}")
    click.echo("columns: " + ", ".join(f"{column['name']} {column['type']}" for column in record["columns"]))
    click.echo(f"unique: {', '.join(overlay.info.unique)}")
    click.echo(f"settings: {json.dumps(record['settings'], ensure_ascii=False)}")
    fits = (
        "this version"
        if record["fits"]
        else f"another version: `shardtools overlay accept {shell_word(dataset)} {shell_word(name)}`"
    )
    click.echo(f"dataset: commit {overlay.info.dataset_sha256[:8]}, {fits}")


@command.command("import")
@click.argument("dataset")
@click.argument("name")
@click.argument("file")
@click.option("--unique", metavar="COLUMN", multiple=True, help="A column that with `key` comes once; may be repeated.")
@click.option("--replace", is_flag=True, help="Write anew an overlay that is there.")
@click.option("--out", metavar="FOLDER", help="Write the overlay there, where DATASET cannot be written.")
def import_command(dataset: str, name: str, file: str, unique: tuple[str, ...], replace: bool, out: str | None) -> None:
    """Make the overlay NAME of DATASET out of a .csv or .parquet FILE with a column `key`."""
    from shardtools.cli.progress import RunProgress
    from shardtools.overlays import import_overlay

    columns = dict.fromkeys(("key", *unique))
    with RunProgress(noun="rows", doing="reading the table"):
        info = import_overlay(dataset, name, file, unique=tuple(columns), replace=replace, out=out)
    place = out or f"{dataset.rstrip('/')}/overlays/{name}"
    click.echo(f"wrote {counted(info.num_rows, 'row')} to {place}", err=True)


@command.command("accept")
@click.argument("dataset")
@click.argument("name")
def accept_command(dataset: str, name: str) -> None:
    """Keep the overlay NAME for a later version of DATASET, if that still has all of its keys."""
    from shardtools.overlays import accept_overlay

    info = accept_overlay(dataset, name)
    click.echo(f"overlay {info.name} is one of commit {info.dataset_sha256[:8]} of {dataset}", err=True)


@command.command("remove")
@click.argument("dataset")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def remove_command(dataset: str, names: tuple[str, ...]) -> None:
    """Remove overlays of DATASET; the dataset itself is left as it is."""
    from shardtools.overlays import remove_overlay

    for name in names:
        remove_overlay(dataset, name)
        click.echo(f"removed overlay {name} of {dataset}", err=True)


def _json_object(overlay: Overlay, dataset: Any) -> dict[str, Any]:
    from shardtools.overlays import fits

    info = overlay.info
    return {**asdict(info), "num_rows": info.num_rows, "url": overlay.url, "fits": fits(info, dataset)}
