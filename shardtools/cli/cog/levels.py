"""`shardtools cog levels`: levels of concepts, as a file, and as an overlay of a dataset."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.cog.eligible import funnel_lines
from shardtools.cli.options import options_of, values_of
from shardtools.evaluation.cog import EligibleOptions, LevelOptions, PartOptions
from shardtools.quoting import shell_word
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.evaluation.cog import LevelImages, MadeLevels

EPILOG = """\b
Examples:
  shardtools cog levels --counts counts.csv --out levels.csv
  shardtools cog levels --counts in21k --from in21k
  shardtools cog levels --levels cog_levels_mapping_file.pkl --parts cog_concepts_split_file.pkl --from in21k
  shardtools cog levels --levels levels.csv --again --measure text --vectors class-texts --out by-text.csv
  shardtools cog levels --levels levels.csv --random 15 --out random.csv
  shardtools cog levels --seen fashion --concepts mine.txt --num-levels 3 --size 10

\b
The published files are on the authors' server; they are read without running what stands in them. Their concepts, where
you have them, go before levels made here: where the gaps between the published levels lie is not published.
"""


@click.command("levels", epilog=EPILOG)
@options_of(LevelOptions)
@options_of(EligibleOptions)
@click.option(
    "--out", metavar="FILE.csv", help="Write the levels: level, rank, wnid, similarity, nearest seen concept."
)
@click.option(
    "--from", "dataset", metavar="DATASET", help="Deal the images of DATASET to training and test, as an overlay."
)
@options_of(PartOptions, without=("seed",))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: levels, steps, images.")
def command(out: str | None, dataset: str | None, as_json: bool, **options: Any) -> None:
    """Make levels of concepts that are less and less alike to seen ones, and say which images are theirs."""
    from shardtools.evaluation.cog import make_levels, write_levels, write_parts

    parts = PartOptions(**values_of(PartOptions, options))
    made = make_levels(
        LevelOptions(**values_of(LevelOptions, options)), EligibleOptions(**values_of(EligibleOptions, options))
    )
    if out is not None:
        click.echo(f"wrote {counted(write_levels(made.levels, out), 'concept')} to {out}", err=True)
    images = () if dataset is None else write_parts(dataset, made.levels, parts)
    if as_json:
        click.echo(json.dumps(_json_object(made, images), indent=1))
        return
    if made.funnel is not None:
        click.echo("\n".join([*funnel_lines(made.funnel), ""]))
    _print(made, images)
    if dataset is not None:
        _print_next(dataset, parts.name, made.levels[0].name)


def _json_object(made: MadeLevels, images: tuple[LevelImages, ...]) -> dict[str, Any]:
    return {
        "how": made.how,
        "steps": [] if made.funnel is None else [asdict(step) for step in made.funnel.steps],
        "levels": [asdict(level) for level in made.levels],
        "images": [asdict(one) for one in images],
        "notes": made.notes,
    }


def _print(made: MadeLevels, images: tuple[LevelImages, ...]) -> None:
    from shardtools.cli.columns import format_columns, terminal_width
    from shardtools.evaluation.cog import level_rows

    header, rows = level_rows(made.levels, images)
    for position in range(1, len(header)):
        size = max(len(row[position]) for row in (header, *rows))
        for row in (header, *rows):
            row[position] = row[position].rjust(size)
    click.echo("\n".join(format_columns(header, rows, terminal_width())))
    click.echo(made.how)
    for note in made.notes:
        click.echo(note)


def _print_next(dataset: str, overlay: str, level: str) -> None:
    from shardtools.evaluation.cog import level_view

    view = level_view(overlay, level, "train")
    click.echo("Next:")
    click.echo(f"  shardtools cog run --dataset {shell_word(dataset)} --overlay {shell_word(overlay)} --features NAME")
    click.echo(f"  shardtools train {shell_word(dataset)} --view {shell_word(view)} ...")
